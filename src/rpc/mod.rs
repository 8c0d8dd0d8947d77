//! The gRPC services: the only module that converts between domain values and messages. A request becomes domain values,
//! the rules or the writer answer, and the answer becomes a message. Every error becomes a status in [`status`].

#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod proto;
pub mod code;
pub mod methods;
pub mod deadline;
mod language;
mod names;
pub mod error;
pub mod status;
mod background;
mod permits;
mod scan;
mod imports;
mod revisions;
mod watchers;
mod from_proto;
mod to_proto;
mod services;
mod stream;
mod page;
mod batch;
mod queue_access;
mod watch;
mod permission;
mod pins;
mod directory_lists;
mod directory;
mod export;
mod import;
mod audit;
mod audit_watch;
mod console;
pub mod reflection;

pub use self::{
    names::call_labels,
    services::{CallerServices, Rpc, StreamTimes},
    watch::serve as watch_sessions,
};

/// The descriptors of the services, with their comments, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/queuegate_descriptor.bin"));

/// The names of the services in health checks.
pub const SERVICE_NAMES: [&str; 5] = [
    "queuegate.v1.QueueAccessService",
    "queuegate.v1.PermissionService",
    "queuegate.v1.DirectoryService",
    "queuegate.v1.AuditService",
    "queuegate.v1.ConsoleService",
];
