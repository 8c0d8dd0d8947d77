//! The peer of a connection: its caller's identity and services, and the admission of its calls.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use http::HeaderValue;

use super::{
    activity::Activity,
    callers::{CallPermit, ConnectionCalls},
    core_resources::CoreResources,
    services::Services,
};
use crate::{
    auth::{CertificateName, Identity, Presented, Recognized},
    rpc::{
        error::Error,
        methods::{self, Access},
    },
};

/// The peer of a connection.
pub struct Peer {
    pub core: Arc<CoreResources>,
    certificate_names: Vec<CertificateName>,
    /// The identity of a caller without credentials, and of a caller in this process.
    anyone: Arc<Identity>,
    is_in_process: bool,
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
    fn connection_caller(&mut self, identity: Arc<Identity>, core: &CoreResources) -> Arc<ConnectionCaller> {
        match &self.connection_caller {
            Some(connection_caller) if Arc::ptr_eq(&connection_caller.identity, &identity) => {
                Arc::clone(connection_caller)
            }
            Some(_) | None => {
                let in_flight = Arc::new(ConnectionCalls::new(core.callers.of(identity.caller())));
                let services = Services::new(core.rpc.services(Arc::clone(&identity)), core.others.clone());
                let connection_caller = Arc::new(ConnectionCaller { identity, in_flight, services });
                self.connection_caller = Some(Arc::clone(&connection_caller));
                connection_caller
            }
        }
    }
}

impl Peer {
    pub fn new(core: Arc<CoreResources>, address: IpAddr, certificate_names: Vec<CertificateName>) -> Self {
        let anyone = Arc::new(Identity::anyone_at(address));
        Self {
            core,
            certificate_names,
            anyone,
            is_in_process: false,
            known: Mutex::default(),
            activity: Activity::new(),
        }
    }

    /// A caller in this process, whose identity is given. It presents no credentials.
    pub fn in_process(core: Arc<CoreResources>, identity: Arc<Identity>) -> Self {
        Self {
            core,
            certificate_names: Vec::new(),
            anyone: identity,
            is_in_process: true,
            known: Mutex::default(),
            activity: Activity::new(),
        }
    }

    /// Whether the identity of the caller can end during a call. That of a caller without credentials can't.
    pub fn identity_can_end(&self) -> bool {
        self.is_in_process || self.core.authority.is_some()
    }

    /// Authenticate and admit a call, or return the error with which it is refused.
    pub fn admit(
        &self,
        method: &methods::Method,
        authorization: Option<&HeaderValue>,
    ) -> Result<(Arc<ConnectionCaller>, CallPermit), Error> {
        let CoreResources { authority, admission, clock, .. } = &*self.core;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = match (authority.as_ref().filter(|_| !self.is_in_process), method.access) {
            (None, _) | (Some(_), Access::Open) => Arc::clone(&self.anyone),
            (Some(authority), Access::Known | Access::Scoped(_)) => {
                let authorization = authorization.map(HeaderValue::as_bytes);
                let presented = Presented { authorization, certificate_names: &self.certificate_names };
                authority
                    .authenticate(presented, &mut known.recognized, || clock.now())
                    .map_err(Error::Unauthenticated)?
            }
        };
        if self.is_in_process && identity.has_ended() {
            return Err(Error::CredentialsEnded);
        }
        if let Access::Scoped(scope) = method.access
            && !identity.holds(scope)
        {
            return Err(Error::ScopeRequired(scope));
        }
        let connection_caller = known.connection_caller(identity, &self.core);
        let permit = admission.enter(&connection_caller.in_flight, method.work)?;
        Ok((connection_caller, permit))
    }
}
