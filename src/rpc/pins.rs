//! PINs. Hashing takes some 20 ms of a processor and 19 MiB, so it happens on the background threads, when it is the
//! turn of its organization.

use tonic::{Request, Response, Status};

use super::{
    error::Error,
    from_proto::{self, all},
    language::received,
    proto,
    services::{CallerServices, authorize, unexpected},
    to_proto,
};
use crate::{
    auth::{hash_pin, is_pin_of},
    domain::{
        command::{Action, Command, Outcome, Rejection},
        ids::{OrganizationId, UserRef},
        pin::{Pin, PinAnswer, PinHash},
        plan::{Comparable, comparable, found_organization},
        settings::Etag,
        snapshot::Snapshot,
    },
    state,
};

/// The number of comparisons after which a PIN that others keep setting is given up.
const MAX_COMPARISONS: usize = 3;

pub(super) async fn set(
    services: &CallerServices,
    request: Request<proto::SetPinRequest>,
) -> Result<Response<proto::SetPinResponse>, Status> {
    let (language, request) = received(request);
    let proto::SetPinRequest { organization_id, user, pin, request_id, actor_user_id } = request;
    let organization = from_proto::organization_id(&services.caller, &organization_id);
    let fields = all((from_proto::user(user), from_proto::pin(&pin)));
    let action = match (&organization, fields) {
        (Ok(organization_id), Ok((user, pin))) => {
            let hashed = services.scan(organization_id.as_str(), move || hash_pin(&pin)).await?;
            let hash = hashed.map_err(|error| Error::Internal(format!("a PIN can't be hashed: {error}")))?;
            Ok(Action::SetPin { user, hash })
        }
        // It is never carried out: the organization is malformed, and the error names that beside the other fields.
        (Err(_), Ok((user, _))) => Ok(Action::SetPin { user, hash: PinHash::default() }),
        (_, Err(error)) => Err(error),
    };
    let (_, done) = services.execute(language, organization, action, &actor_user_id, &request_id).await?;
    Ok(Response::new(proto::SetPinResponse { revision: done.revision.to_string() }))
}

pub(super) async fn clear(
    services: &CallerServices,
    request: Request<proto::ClearPinRequest>,
) -> Result<Response<proto::ClearPinResponse>, Status> {
    let (language, request) = received(request);
    let proto::ClearPinRequest { organization_id, user, request_id, actor_user_id } = request;
    let organization = from_proto::organization_id(&services.caller, &organization_id);
    let action = from_proto::user(user).map(|user| Action::ClearPin { user });
    let (_, done) = services.execute(language, organization, action, &actor_user_id, &request_id).await?;
    Ok(Response::new(proto::ClearPinResponse { revision: done.revision.to_string() }))
}

pub(super) async fn verify(
    services: &CallerServices,
    request: Request<proto::VerifyPinRequest>,
) -> Result<Response<proto::VerifyPinResponse>, Status> {
    let proto::VerifyPinRequest { organization_id, user, pin } = request.into_inner();
    let (organization_id, user, pin) = all((
        from_proto::organization_id(&services.caller, &organization_id),
        from_proto::user(user),
        from_proto::pin(&pin),
    ))?;
    for _ in 0..MAX_COMPARISONS {
        let snapshot = services.snapshot("").await?;
        let compared = compare(services, &snapshot, &organization_id, &user, &pin).await?;
        let (etag, is_equal) = match compared {
            Compared::Answered(answer) => return Ok(answered(answer, &snapshot)),
            Compared::Outdated => continue,
            Compared::With(etag, is_equal) => (etag, is_equal),
        };
        let action = Action::VerifyPin { user: user.clone(), etag, is_equal };
        let command = Command { organization_id: organization_id.clone(), action, actor: None };
        authorize(&services.caller, &command)?;
        let caller = services.caller.caller().clone();
        match services.state()?.execute(services.replies(), command, caller, None).await {
            Ok(done) => {
                let Outcome::PinVerified { answer } = done.outcome else {
                    return Err(unexpected(&done.outcome).into());
                };
                let revision = done.revision.to_string();
                return Ok(Response::new(to_proto::pin_answer(answer, revision)));
            }
            // The PIN was set anew during the comparison.
            Err(state::Error::Rejected(Rejection::StaleEtag { .. })) => {}
            Err(error) => return Err(Error::from(error).into()),
        }
    }
    Err(Error::from(Rejection::StaleEtag { thing: format!("the PIN of user {user}") }).into())
}

/// The result of a comparison that doesn't count yet.
enum Compared {
    /// The answer is the same for any PIN.
    Answered(PinAnswer),
    /// The PIN was set or cleared during the comparison.
    Outdated,
    /// Whether it is equal to the PIN of this version.
    With(Etag, bool),
}

async fn compare(
    services: &CallerServices,
    snapshot: &Snapshot,
    organization_id: &OrganizationId,
    user: &UserRef,
    pin: &Pin,
) -> Result<Compared, Error> {
    let state = services.state()?.clone();
    let organization = found_organization(snapshot, organization_id)?;
    let user_id = match comparable(organization, user, state.now()) {
        Ok(Comparable { user, state: _ }) => user.user_id.clone(),
        Err(answer) => return Ok(Compared::Answered(answer)),
    };
    let (organization, pin) = (organization_id.clone(), pin.clone());
    let compare = move || {
        let Some((etag, hash)) = state.log_reader()?.pin_hash(&organization, &user_id)? else {
            return Ok(Compared::Outdated);
        };
        let is_equal = is_pin_of(&pin, &hash);
        let is_equal = is_equal.map_err(|error| Error::Internal(format!("a PIN can't be compared: {error}")))?;
        Ok(Compared::With(etag, is_equal))
    };
    services.scan(organization_id.as_str(), compare).await?
}

fn answered(answer: PinAnswer, snapshot: &Snapshot) -> Response<proto::VerifyPinResponse> {
    Response::new(to_proto::pin_answer(answer, snapshot.revision().to_string()))
}
