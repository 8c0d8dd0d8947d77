//! One dial for all queues of a caller: the session and the member of each, and one result.

use queuegate::rpc::proto::*;

use super::{Call, Center};
use crate::{support::ACME, wire::Passing};

/// A center in which bo (102) is an agent of sales and support.
async fn center() -> Center {
    let mut center = Center::open().await;
    let request = AssignRoleRequest {
        organization_id: ACME.into(),
        user: Some(assign_role_request::User::UserId("bo".into())),
        queue: Some(assign_role_request::Queue::QueueId("sales".into())),
        role: Role::Agent.into(),
        ..Default::default()
    };
    center.server.client.directory.assign_role(request).await.unwrap();
    center
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_signs_in_to_all_assigned_queues_and_out_of_all() {
    let mut center = center().await;
    let ended = center.dial(Call::from("102", "sign-in?queue=all")).await;
    assert_eq!(ended.answer(), ("allowed", "ALL_QUEUES", "agent-loginok"));
    assert_eq!(ended.get("QUEUEGATE_QUEUES"), "sales=ASSIGNED,support=ASSIGNED");
    assert_eq!(ended.sounds, ["agent-loginok"]);
    assert_eq!(center.pbx.members().len(), 2);
    assert!(center.agree().await);
    let ended = center.dial(Call::from("102", "sign-in?queue=all")).await;
    assert_eq!(ended.get("QUEUEGATE_QUEUES"), "sales=ALREADY_SIGNED_IN,support=ALREADY_SIGNED_IN");
    let ended = center.dial(Call::from("102", "toggle?queue=all")).await;
    assert_eq!(ended.answer(), ("allowed", "ALL_QUEUES", "agent-loggedoff"));
    assert_eq!(ended.get("QUEUEGATE_QUEUES"), "sales=SIGNED_OUT,support=SIGNED_OUT");
    assert!(center.agree().await && center.pbx.members().is_empty());
    let ended = center.dial(Call::from("102", "toggle?queue=all")).await;
    assert_eq!(ended.get("QUEUEGATE_QUEUES"), "sales=ASSIGNED,support=ASSIGNED");
    let ended = center.dial(Call::from("102", "sign-out?queue=all")).await;
    assert_eq!(ended.answer(), ("allowed", "ALL_QUEUES", "agent-loggedoff"));
    let ended = center.dial(Call::from("102", "sign-out?queue=all")).await;
    assert_eq!(ended.answer(), ("allowed", "NOT_SIGNED_IN", "agent-loggedoff"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unassigned_queue_is_left_at_the_sign_in_and_ended_at_the_sign_out() {
    let mut center = center().await;
    let ended = center.dial(Call::from("101", "sign-in?queue=802")).await;
    assert_eq!(ended.answer().1, "UNASSIGNED_ALLOWED");
    center.server.set(UnassignedQueueSignIn::Restricted).await;
    let ended = center.dial(Call::from("101", "check?queue=all")).await;
    assert_eq!(ended.get("QUEUEGATE_QUEUES"), "sales=ASSIGNED,support=ALREADY_SIGNED_IN");
    let ended = center.dial(Call::from("101", "sign-out?queue=all")).await;
    assert_eq!(ended.get("QUEUEGATE_QUEUES"), "support=SIGNED_OUT");
    // An inbox is assigned too, but a feature code doesn't reach it.
    let ended = center.dial(Call::from("101", "sign-in?queue=all")).await;
    assert_eq!(ended.get("QUEUEGATE_QUEUES"), "sales=ASSIGNED");
    assert!(center.agree().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_tells_which_queues_failed() {
    let mut center = center().await;
    center.pbx.drop_queue("802");
    let ended = center.dial(Call::from("102", "sign-in?queue=all")).await;
    assert_eq!(ended.answer(), ("allowed", "SOME_QUEUES", "agent-loginok"));
    assert_eq!(ended.get("QUEUEGATE_QUEUES"), "sales=ASSIGNED,support=NO_SUCH_QUEUE");
    assert!(center.agree().await);
    for (user, answer) in [
        ("103", ("denied", "NO_ASSIGNED_QUEUE", "feature-not-avail-line")),
        ("104", ("denied", "USER_DISABLED", "feature-not-avail-line")),
        ("999", ("denied", "UNKNOWN_USER", "feature-not-avail-line")),
    ] {
        let ended = center.dial(Call::from(user, "sign-in?queue=all")).await;
        assert_eq!(ended.answer(), answer);
    }
    center.wire.set(Passing::Broken);
    let ended = center.dial(Call::from("102", "sign-out?queue=all")).await;
    assert_eq!(ended.answer().0, "failed");
    assert_eq!(center.pbx.members().len(), 1);
}
