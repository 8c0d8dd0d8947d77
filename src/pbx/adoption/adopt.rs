//! The adoption: a session for each member without one, made by a sign-in of its user.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::plan::{Error, PlannedMember, PlannedQueue, Prospect, Step, prospect_of};
use crate::{
    client::Client,
    domain::ids::Extension,
    pbx::{api::ApiClient, config::Config},
};

/// The time limit of a sign-in.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(10);

/// The adoption of a member.
#[derive(Debug)]
pub struct Adoption {
    /// The queue's name on the PBX.
    pub pbx_queue: String,
    /// The interface.
    pub interface: String,
    /// The extension of the interface's user.
    pub extension: Option<Extension>,
    /// The decision about the sign-in. If it is allowed, the member has a session.
    pub result: Prospect,
}

/// Sign in the user of each planned member without a session. It fails at the first sign-in without an answer; those
/// before it stay, and a repetition goes on with the others.
pub async fn adopt(config: &Config, planned: Vec<PlannedQueue>, queuegate: &Client) -> Result<Vec<Adoption>, Error> {
    let api = ApiClient::new(queuegate.queue_access.clone());
    let mut adopted = Vec::new();
    for PlannedQueue { organization, pbx_queue, queue, members } in planned {
        for PlannedMember { interface, extension, step } in members {
            let Step::Remove(_) = step else { continue };
            let result = match extension {
                None => Prospect::NoUser,
                Some(extension) => {
                    let request_id = format!("adopt-{}", Uuid::new_v4().simple());
                    let deadline = Instant::now() + SIGN_IN_TIMEOUT;
                    let device = config.device(&interface);
                    let signing_in = api.sign_in(&organization, &extension, &queue, &device, &request_id, deadline);
                    let answer = signing_in.await?;
                    prospect_of(config, extension, answer.decision.unwrap_or_default(), answer.session.as_ref())
                }
            };
            adopted.push(Adoption { pbx_queue: pbx_queue.clone(), interface, extension, result });
        }
    }
    Ok(adopted)
}
