//! Dispatches calls to the services, by the names of their methods.

use std::{convert::Infallible, pin::Pin};

use http::{Request, Response};
use tonic::{body::Body, codegen::Service, service::Routes};

use super::request_body::RequestBody;
use crate::rpc::{
    CallerServices,
    proto::{
        audit_service_server::AuditServiceServer, console_service_server::ConsoleServiceServer,
        directory_service_server::DirectoryServiceServer, permission_service_server::PermissionServiceServer,
        queue_access_service_server::QueueAccessServiceServer,
    },
    watch_sessions,
};

/// The method whose messages are encoded once for all callers.
const WATCH_SESSIONS: &str = "/queuegate.v1.QueueAccessService/WatchSessions";

/// The future answer to a call.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// All services, for one caller. Ours are called without a router, which takes longer than a decision.
pub struct Services {
    queue_access: QueueAccessServiceServer<CallerServices>,
    permission: PermissionServiceServer<CallerServices>,
    directory: DirectoryServiceServer<CallerServices>,
    audit: AuditServiceServer<CallerServices>,
    console: ConsoleServiceServer<CallerServices>,
    services: CallerServices,
    others: Routes,
}

impl Services {
    /// Combine our services with those of other crates.
    pub fn new(services: CallerServices, others: Routes) -> Self {
        Self {
            queue_access: services.queue_access(),
            permission: services.permission(),
            directory: services.directory(),
            audit: services.audit(),
            console: services.console(),
            services,
            others,
        }
    }

    /// Call a method.
    pub fn call(&self, request: Request<RequestBody>) -> Answering {
        if request.uri().path() == WATCH_SESSIONS {
            let answering = watch_sessions(self.services.clone(), request);
            return Box::pin(async { Ok(answering.await) });
        }
        let service = request.uri().path().rsplit_once('/').map(|(service, _)| service);
        match service {
            Some("/queuegate.v1.QueueAccessService") => self.queue_access.clone().call(request),
            Some("/queuegate.v1.PermissionService") => self.permission.clone().call(request),
            Some("/queuegate.v1.DirectoryService") => self.directory.clone().call(request),
            Some("/queuegate.v1.AuditService") => self.audit.clone().call(request),
            Some("/queuegate.v1.ConsoleService") => self.console.clone().call(request),
            Some(_) | None => Box::pin(self.others.clone().call(request.map(Body::new))),
        }
    }
}
