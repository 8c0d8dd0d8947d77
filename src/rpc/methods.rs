//! Every method of the server, with its access and its kind of work. The server doesn't serve a method that is missing
//! here.

use std::{collections::HashMap, sync::LazyLock};

use foldhash::fast::FixedState;

use crate::auth::Scope;

/// The access to a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Any caller, without credentials.
    Open,
    /// Any caller with credentials.
    Known,
    /// Callers whose credentials have the scope.
    Scoped(Scope),
}

/// The kind of work of a method, which decides the order in which calls are shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A health check. It is never refused, because an orchestrator restarts a server that doesn't answer.
    Probe,
    /// A check that is answered from memory at once.
    Check,
    /// A list or a batch: its cost grows with the organization or the request. Background threads compute it.
    Scan,
    /// A change, which waits for the disk.
    Write,
    /// A stream that may be long or endless.
    Stream,
    /// A document that is sent in pieces, and then changes the state.
    Import,
}

impl Work {
    /// Return whether this is a unary call. The others are streams.
    pub fn is_unary(self) -> bool {
        match self {
            Self::Probe | Self::Check | Self::Scan | Self::Write => true,
            Self::Stream | Self::Import => false,
        }
    }

    /// Return whether the call may change the state. Then its outcome is unknown when it is cut off.
    pub fn may_change(self) -> bool {
        match self {
            Self::Write | Self::Import => true,
            Self::Probe | Self::Check | Self::Scan | Self::Stream => false,
        }
    }
}

/// A method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// The path: `/package.Service/Method`.
    pub path: &'static str,
    /// The access to it.
    pub access: Access,
    /// The kind of work.
    pub work: Work,
}

/// Return the method of this path with its index in [`METHODS`], or `None`.
pub fn find(path: &str) -> Option<(usize, &'static Method)> {
    static PLACES: LazyLock<HashMap<&str, usize, FixedState>> =
        LazyLock::new(|| METHODS.iter().enumerate().map(|(place, method)| (method.path, place)).collect());
    let place = *PLACES.get(path)?;
    Some((place, METHODS.get(place)?))
}

const fn method(path: &'static str, access: Access, work: Work) -> Method {
    Method { path, access, work }
}

use Access::{Known, Open, Scoped};
use Scope::{Admin, Audit, Directory, Settings, SignIn, Supervise};
use Work::{Check, Import, Probe, Scan, Stream, Write};

/// Every method, in the order of the paths.
pub const METHODS: &[Method] = &[
    method("/grpc.health.v1.Health/Check", Open, Probe),
    method("/grpc.health.v1.Health/Watch", Open, Stream),
    method("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Known, Stream),
    method("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Known, Stream),
    // Cuts need the scope `admin` because they destroy audit events.
    method("/queuegate.v1.AuditService/CutAuditLog", Scoped(Admin), Write),
    method("/queuegate.v1.AuditService/ExportAuditLog", Scoped(Audit), Stream),
    method("/queuegate.v1.AuditService/GetAuditLogHead", Scoped(Audit), Scan),
    method("/queuegate.v1.AuditService/ListAuditEvents", Scoped(Audit), Scan),
    method("/queuegate.v1.AuditService/VerifyAuditLog", Scoped(Audit), Stream),
    method("/queuegate.v1.AuditService/WatchAuditEvents", Scoped(Audit), Stream),
    // A link's holder acts as its user.
    method("/queuegate.v1.ConsoleService/CreateConsoleLink", Scoped(Admin), Check),
    method("/queuegate.v1.DirectoryService/AssignRole", Scoped(Directory), Write),
    method("/queuegate.v1.DirectoryService/ClearPin", Scoped(Directory), Write),
    method("/queuegate.v1.DirectoryService/CreateOrganization", Scoped(Directory), Write),
    method("/queuegate.v1.DirectoryService/CreateQueue", Scoped(Directory), Write),
    method("/queuegate.v1.DirectoryService/CreateUser", Scoped(Directory), Write),
    method("/queuegate.v1.DirectoryService/DeleteOrganization", Scoped(Directory), Write),
    method("/queuegate.v1.DirectoryService/DeleteQueue", Scoped(Directory), Write),
    method("/queuegate.v1.DirectoryService/DeleteUser", Scoped(Directory), Write),
    method("/queuegate.v1.DirectoryService/ExportDirectory", Scoped(Directory), Stream),
    method("/queuegate.v1.DirectoryService/GetOrganization", Scoped(Directory), Check),
    method("/queuegate.v1.DirectoryService/GetQueue", Scoped(Directory), Check),
    method("/queuegate.v1.DirectoryService/GetUser", Scoped(Directory), Check),
    method("/queuegate.v1.DirectoryService/ImportDirectory", Scoped(Directory), Import),
    method("/queuegate.v1.DirectoryService/ListOrganizations", Scoped(Directory), Scan),
    method("/queuegate.v1.DirectoryService/ListQueues", Scoped(Directory), Scan),
    method("/queuegate.v1.DirectoryService/ListRoleAssignments", Scoped(Directory), Scan),
    method("/queuegate.v1.DirectoryService/ListUsers", Scoped(Directory), Scan),
    method("/queuegate.v1.DirectoryService/SetPin", Scoped(Directory), Write),
    method("/queuegate.v1.DirectoryService/UnassignRole", Scoped(Directory), Write),
    method("/queuegate.v1.DirectoryService/UpdateOrganization", Scoped(Directory), Write),
    method("/queuegate.v1.DirectoryService/UpdateQueue", Scoped(Directory), Write),
    method("/queuegate.v1.DirectoryService/UpdateUser", Scoped(Directory), Write),
    method("/queuegate.v1.PermissionService/BatchCheckPermissions", Scoped(Scope::Check), Scan),
    method("/queuegate.v1.PermissionService/CheckPermission", Scoped(Scope::Check), Check),
    method("/queuegate.v1.PermissionService/GetPermissionSettings", Scoped(Settings), Check),
    method("/queuegate.v1.PermissionService/ListPermissions", Scoped(Scope::Check), Check),
    method("/queuegate.v1.PermissionService/ListUserPermissions", Scoped(Scope::Check), Check),
    method("/queuegate.v1.PermissionService/PreviewPermissionSettings", Scoped(Settings), Scan),
    method("/queuegate.v1.PermissionService/UpdatePermissionSettings", Scoped(Settings), Write),
    method("/queuegate.v1.QueueAccessService/BatchCheckQueueAccess", Scoped(Scope::Check), Scan),
    method("/queuegate.v1.QueueAccessService/CheckQueueAccess", Scoped(Scope::Check), Check),
    method("/queuegate.v1.QueueAccessService/GetSession", Scoped(Scope::Check), Check),
    method("/queuegate.v1.QueueAccessService/ListAccessibleQueues", Scoped(Scope::Check), Scan),
    method("/queuegate.v1.QueueAccessService/ListEligibleAgents", Scoped(Scope::Check), Scan),
    method("/queuegate.v1.QueueAccessService/ListSessions", Scoped(Scope::Check), Scan),
    method("/queuegate.v1.QueueAccessService/SignIn", Scoped(SignIn), Write),
    method("/queuegate.v1.QueueAccessService/SignOut", Scoped(SignIn), Write),
    method("/queuegate.v1.QueueAccessService/SupervisorSignIn", Scoped(Supervise), Write),
    method("/queuegate.v1.QueueAccessService/SupervisorSignOut", Scoped(Supervise), Write),
    method("/queuegate.v1.QueueAccessService/VerifyPin", Scoped(SignIn), Write),
    method("/queuegate.v1.QueueAccessService/WatchSessions", Scoped(Scope::Check), Stream),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;

    use super::*;

    /// The server doesn't serve a new rpc that is missing above. This test finds it.
    #[test]
    fn every_method_of_the_api_is_here_and_no_other() {
        let mut served = BTreeSet::new();
        for descriptors in [
            crate::rpc::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            for file in prost_types::FileDescriptorSet::decode(descriptors).unwrap().file {
                for service in &file.service {
                    served.extend(
                        service
                            .method
                            .iter()
                            .map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name())),
                    );
                }
            }
        }
        assert_eq!(served, METHODS.iter().map(|method| method.path.to_owned()).collect());
        assert!(METHODS.is_sorted_by(|a, b| a.path < b.path), "in order of the paths");
        for (place, method) in METHODS.iter().enumerate() {
            assert_eq!(find(method.path), Some((place, method)));
        }
        assert_eq!(find("/queuegate.v1.QueueAccessService/"), None);
    }

    #[test]
    fn our_own_methods_need_a_scope() {
        for method in METHODS.iter().filter(|method| method.path.starts_with("/queuegate.")) {
            assert!(matches!(method.access, Scoped(_)), "{}", method.path);
        }
    }
}
