//! The peer of a connection: its caller's identity and services, and the admission of its calls.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use http::HeaderValue;
use tonic::service::Routes;

use super::{
    activity::Activity,
    admission::Admission,
    callers::{CallPermit, Callers, ConnectionCalls},
    services::Services,
};
use crate::{
    auth::{Authority, CertificateName, Identity, Presented, Recognized},
    rpc::{
        Rpc,
        error::Error,
        methods::{self, Access},
    },
    state::clock::Clock,
    telemetry::{metrics::Metrics, traces::Traces},
};

/// The resources that all connections of one processor share.
pub struct Gate {
    pub rpc: Rpc,
    /// The services of other crates, such as health and reflection.
    pub others: Routes,
    /// `None`: no authentication, and every caller may do everything.
    pub authority: Option<Arc<Authority>>,
    pub admission: Arc<Admission>,
    pub callers: Arc<Callers>,
    pub metrics: Arc<Metrics>,
    /// `None`: no call is traced.
    pub traces: Option<Arc<Traces>>,
    pub clock: Arc<dyn Clock>,
}

/// The peer of a connection.
pub struct Peer {
    pub gate: Arc<Gate>,
    certificate_names: Vec<CertificateName>,
    /// The identity of a caller without credentials.
    anyone: Arc<Identity>,
    known: Mutex<Known>,
    pub activity: Activity,
}

/// The last caller. Most connections have one caller, who isn't authenticated anew at each call.
#[derive(Default)]
struct Known {
    recognized: Option<Recognized>,
    connection_caller: Option<Arc<ConnectionCaller>>,
}

/// A caller on a connection.
pub struct ConnectionCaller {
    pub identity: Arc<Identity>,
    in_flight: Arc<ConnectionCalls>,
    pub services: Services,
}

impl Known {
    fn connection_caller(&mut self, identity: Arc<Identity>, gate: &Gate) -> Arc<ConnectionCaller> {
        match &self.connection_caller {
            Some(connection_caller) if Arc::ptr_eq(&connection_caller.identity, &identity) => {
                Arc::clone(connection_caller)
            }
            Some(_) | None => {
                let in_flight = Arc::new(ConnectionCalls::new(gate.callers.of(identity.caller())));
                let services = Services::new(gate.rpc.services(Arc::clone(&identity)), gate.others.clone());
                let connection_caller = Arc::new(ConnectionCaller { identity, in_flight, services });
                self.connection_caller = Some(Arc::clone(&connection_caller));
                connection_caller
            }
        }
    }
}

impl Peer {
    pub fn new(gate: Arc<Gate>, address: IpAddr, certificate_names: Vec<CertificateName>) -> Self {
        let anyone = Arc::new(Identity::anyone_at(address));
        Self { gate, certificate_names, anyone, known: Mutex::default(), activity: Activity::new() }
    }

    /// Authenticate and admit a call, or return the error with which it is refused.
    pub fn admit(
        &self,
        method: &methods::Method,
        authorization: Option<&HeaderValue>,
    ) -> Result<(Arc<ConnectionCaller>, CallPermit), Error> {
        let Gate { authority, admission, clock, .. } = &*self.gate;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = match (authority, method.access) {
            (None, _) | (Some(_), Access::Open) => Arc::clone(&self.anyone),
            (Some(authority), Access::Known | Access::Scoped(_)) => {
                let authorization = authorization.map(HeaderValue::as_bytes);
                let presented = Presented { authorization, certificate_names: &self.certificate_names };
                authority
                    .authenticate(presented, &mut known.recognized, || clock.now())
                    .map_err(Error::Unauthenticated)?
            }
        };
        if let Access::Scoped(scope) = method.access
            && !identity.holds(scope)
        {
            return Err(Error::ScopeRequired(scope));
        }
        let connection_caller = known.connection_caller(identity, &self.gate);
        let permit = admission.enter(&connection_caller.in_flight, method.work)?;
        Ok((connection_caller, permit))
    }
}
