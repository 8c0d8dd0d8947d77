//! The organization of most scenarios, and the requests about it.

use queuegate::rpc::proto::{
    BatchCheckQueueAccessRequest, Channel, CheckQueueAccessItem, CheckQueueAccessRequest, SignInRequest,
    SignOutRequest, check_queue_access_item as item, check_queue_access_request as check, sign_in_request,
    sign_out_request,
};
use rand::{SeedableRng, rngs::StdRng, seq::index};

use crate::{
    harness::request::{BATCH_CHECK, CHECK, EncodedRequest, SIGN_IN, SIGN_OUT},
    organization::{Plan, queue_extension, queue_id, user_extension, user_id},
};

/// The id of the organization.
pub const ORGANIZATION: &str = "bench";

/// The number of queues that a user is assigned to.
pub const ASSIGNMENTS: usize = 10;

/// The number of different checks. The data that they read doesn't fit into a processor's nearest caches.
pub const CHECKS: usize = 4_096;

/// The largest number of checks in a batch.
pub const BATCH: usize = 1_000;

/// Plan an organization with this number of users, one queue per hundred users, and ten queues per user.
pub fn plan(users: usize) -> anyhow::Result<Plan> {
    let queues = (users / 100).max(ASSIGNMENTS);
    Ok(Plan { organization_id: ORGANIZATION.parse()?, users, queues, assignments: ASSIGNMENTS, sessions: 0 })
}

/// Choose users at random, the same ones in every run. Users repeat only if there are too few.
pub fn random_users(users: usize, amount: usize) -> impl Iterator<Item = usize> {
    let chosen = index::sample(&mut StdRng::seed_from_u64(13), users, amount.min(users)).into_vec();
    chosen.into_iter().cycle().take(amount)
}

/// Encode checks of random users on queues of theirs, by extension, as a PBX sends them when a user dials *13.
pub fn checks(plans: &[Plan]) -> anyhow::Result<Vec<EncodedRequest>> {
    let chosen =
        plans.iter().map(|plan| random_users(plan.users, CHECKS / plans.len() + 1).map(move |user| (plan, user)));
    let requests = chosen.flatten().enumerate().map(|(number, (plan, user))| {
        let queue = plan.queue_of(user, 1 + number % (plan.assignments - 1));
        anyhow::Ok(CheckQueueAccessRequest {
            organization_id: plan.organization_id.to_string(),
            user: Some(check::User::UserExtension(user_extension(user)?.to_string())),
            queue: Some(check::Queue::QueueExtension(queue_extension(queue)?.to_string())),
            channel: Channel::FeatureCode.into(),
            explain: false,
            at_least_revision: String::new(),
        })
    });
    requests.map(|request| Ok(EncodedRequest::new(CHECK, &request?))).collect()
}

/// Encode the same kind of checks, in batches of the largest size.
pub fn batch_checks(plan: &Plan) -> anyhow::Result<Vec<EncodedRequest>> {
    let items = random_users(plan.users, 64 * BATCH).enumerate().map(|(number, user)| {
        let queue = plan.queue_of(user, 1 + number % (plan.assignments - 1));
        Ok(CheckQueueAccessItem {
            correlation_id: String::new(),
            user: Some(item::User::UserExtension(user_extension(user)?.to_string())),
            queue: Some(item::Queue::QueueExtension(queue_extension(queue)?.to_string())),
            channel: Channel::FeatureCode.into(),
        })
    });
    let items = items.collect::<anyhow::Result<Vec<_>>>()?;
    let batches = items.chunks(BATCH).map(|items| {
        let organization_id = plan.organization_id.to_string();
        let request =
            BatchCheckQueueAccessRequest { organization_id, items: items.to_vec(), at_least_revision: String::new() };
        EncodedRequest::new(BATCH_CHECK, &request)
    });
    Ok(batches.collect())
}

/// Encode sign-ins of random users, each with its sign-out after it, so that each request is a change.
pub fn changes(plan: &Plan, users: usize) -> anyhow::Result<Vec<EncodedRequest>> {
    let pairs = random_users(plan.users, users).map(|user| {
        let (organization_id, queue) =
            (plan.organization_id.to_string(), queue_id(plan.queue_of(user, 0))?.to_string());
        let user = user_id(user)?.to_string();
        let sign_in = SignInRequest {
            organization_id: organization_id.clone(),
            user: Some(sign_in_request::User::UserId(user.clone())),
            queue: Some(sign_in_request::Queue::QueueId(queue.clone())),
            channel: Channel::FeatureCode.into(),
            device: String::new(),
            request_id: String::new(),
            all_assigned_queues: false,
        };
        let sign_out = SignOutRequest {
            organization_id,
            user: Some(sign_out_request::User::UserId(user)),
            queue: Some(sign_out_request::Queue::QueueId(queue)),
            all_queues: false,
            request_id: String::new(),
        };
        anyhow::Ok([EncodedRequest::new(SIGN_IN, &sign_in), EncodedRequest::new(SIGN_OUT, &sign_out)])
    });
    Ok(pairs.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Encode the same changes, with all sign-ins before all sign-outs.
///
/// An open loop doesn't wait for a user's sign-in before it sends the sign-out, so the two must be far apart.
pub fn distant_changes(plan: &Plan, users: usize) -> anyhow::Result<Vec<EncodedRequest>> {
    let (mut sign_ins, sign_outs): (Vec<_>, Vec<_>) =
        changes(plan, users)?.into_iter().partition(|request| request.path == SIGN_IN);
    sign_ins.extend(sign_outs);
    Ok(sign_ins)
}
