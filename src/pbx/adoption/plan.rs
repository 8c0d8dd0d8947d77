//! The plan: the corrections that reconciling would make now. It changes nothing.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    domain::ids::{Extension, OrganizationId, QueueRef},
    pbx::{
        api::{ApiClient, Failure},
        config::{Config, Manager},
        connection::{Member, PbxConnection, PbxError},
        key_locks::MemberKey,
        reconcile::{Correction, SessionPhones, differences},
    },
    rpc::proto::{self, QueueKind},
};

/// The time limit of a request to queuegate.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A queue that the PBX and queuegate have.
#[derive(Debug)]
pub struct PlannedQueue {
    /// The organization.
    pub organization: OrganizationId,
    /// The queue's name on the PBX.
    pub pbx_queue: String,
    /// The queue's id.
    pub queue: QueueRef,
    /// Its members, present and missing, in the order of their interfaces.
    pub members: Vec<PlannedMember>,
}

/// A member, with the correction that reconciling would make.
#[derive(Debug)]
pub struct PlannedMember {
    /// The interface.
    pub interface: String,
    /// The extension of the interface's user, if it is the interface of one.
    pub extension: Option<Extension>,
    /// The correction.
    pub step: Step,
}

/// The correction of a member.
#[derive(Debug)]
pub enum Step {
    /// It has a session, and stays.
    Keep,
    /// It is in the PBX's configuration, and stays.
    LeaveStatic,
    /// It has a session, and isn't a member.
    Add,
    /// It has no session.
    Remove(Prospect),
}

/// The result that a sign-in of a member's user would have, which [`super::adopt`] makes.
#[derive(Debug)]
pub enum Prospect {
    /// The interface belongs to no user.
    NoUser,
    /// The user may sign in, for this reason.
    Allowed(String),
    /// The user is signed in, and rings at another PBX.
    Elsewhere {
        /// The session's device.
        device: String,
    },
    /// The user may not sign in: the reason, and its explanation.
    Denied {
        /// The reason.
        reason: String,
        /// The explanation.
        explanation: String,
    },
}

/// A plan or an adoption that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The PBX failed.
    #[error("the PBX at {address}: {problem}")]
    Pbx {
        /// Its address.
        address: std::net::SocketAddr,
        /// The failure.
        problem: String,
    },
    /// A request to queuegate failed.
    #[error("a request to queuegate failed")]
    Queuegate(#[source] tonic::Status),
}

impl Error {
    pub(super) fn of_pbx(manager: &Manager, error: &PbxError) -> Self {
        Self::Pbx { address: manager.address, problem: error.to_string() }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let cause = failure.cause();
        Self::Queuegate(tonic::Status::new(cause.code, cause.text.clone()))
    }
}

/// Compare the members of all queues with the sessions.
pub async fn plan(
    config: &Config,
    manager: &Manager,
    queuegate: &crate::client::Client,
) -> Result<Vec<PlannedQueue>, Error> {
    let api = ApiClient::new(queuegate.queue_access.clone());
    let failed = |error: PbxError| Error::of_pbx(manager, &error);
    let mut pbx = PbxConnection::open(config, manager).await.map_err(failed)?;
    let mut phones = SessionPhones::default();
    let mut planned = Vec::new();
    for (pbx_queue, members) in pbx.members(None).await.map_err(failed)? {
        for organization in &manager.organizations {
            let Some(named) = config.queue_name.queue(organization, &pbx_queue) else { continue };
            let found = api.queue(organization, &named, Instant::now() + REQUEST_TIMEOUT).await?;
            let Some(info) = found.filter(|info| info.kind == QueueKind::CallQueue) else { continue };
            let Ok(queue) = info.id.parse().map(QueueRef::Id) else { continue };
            let signed_in = phones.of_queue(config, &api, (organization, &queue, &pbx_queue)).await?;
            let corrections = differences(&pbx_queue, &members, &signed_in.phones, |_| None);
            let mut steps = Vec::new();
            for member in &members {
                let key = MemberKey::new(&pbx_queue, &member.interface);
                let is_surplus =
                    corrections.iter().any(|(correction, of, _)| *correction == Correction::Remove && *of == key);
                let step = match member {
                    Member { is_dynamic: false, .. } => Step::LeaveStatic,
                    _ if is_surplus => {
                        Step::Remove(prospect(config, &api, (organization, &queue), &member.interface).await?)
                    }
                    _ => Step::Keep,
                };
                steps.push((member.interface.clone(), step));
            }
            let missing = corrections.into_iter().filter(|(correction, ..)| *correction == Correction::Add);
            steps.extend(missing.map(|(_, _, interface)| (interface, Step::Add)));
            steps.sort_by(|(one, _), (other, _)| one.cmp(other));
            let members = steps.into_iter().map(|(interface, step)| PlannedMember {
                extension: owner(config, organization, &interface),
                interface,
                step,
            });
            let members = members.collect();
            planned.push(PlannedQueue { organization: organization.clone(), pbx_queue, queue, members });
            break;
        }
    }
    Ok(planned)
}

fn owner(config: &Config, organization: &OrganizationId, interface: &str) -> Option<Extension> {
    config.interface.owner(organization, interface, &config.endpoints).map(|(_, extension)| extension)
}

async fn prospect(
    config: &Config,
    api: &ApiClient,
    (organization, queue): (&OrganizationId, &QueueRef),
    interface: &str,
) -> Result<Prospect, Error> {
    let Some(extension) = owner(config, organization, interface) else { return Ok(Prospect::NoUser) };
    let decision = api.check(organization, &extension, queue, Instant::now() + REQUEST_TIMEOUT).await?;
    let session = decision.session.clone();
    Ok(prospect_of(config, extension, decision, session.as_ref()))
}

/// Return the prospect of a user with a decision and the session that it leads to.
pub(super) fn prospect_of(
    config: &Config,
    extension: Extension,
    decision: proto::Decision,
    session: Option<&proto::Session>,
) -> Prospect {
    if let Some(session) = session.filter(|session| config.rings_elsewhere(extension, session)) {
        return Prospect::Elsewhere { device: session.device.clone() };
    }
    let name = decision.reason().as_str_name();
    let reason = name.strip_prefix("REASON_").unwrap_or(name).to_owned();
    if decision.allowed() {
        Prospect::Allowed(reason)
    } else {
        Prospect::Denied { reason, explanation: decision.explanation }
    }
}
