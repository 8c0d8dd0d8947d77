//! The penalty and the name of a member: those of the assignment and of the user.

use queuegate::rpc::proto::*;

use super::{Call, Center};
use crate::support::ACME;

async fn assign(center: &mut Center, penalty: i32) {
    let request = AssignRoleRequest {
        organization_id: ACME.into(),
        user: Some(assign_role_request::User::UserId("anna".into())),
        queue: Some(assign_role_request::Queue::QueueId("sales".into())),
        role: Role::Agent.into(),
        penalty: Some(penalty),
        ..Default::default()
    };
    center.server.client.directory.assign_role(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_has_the_penalty_of_the_assignment_and_the_name_of_the_user() {
    let mut center = Center::reconciled().await;
    assign(&mut center, 7).await;
    let ended = center.dial(Call::from("101", "sign-in?queue=801")).await;
    assert_eq!(ended.answer().1, "ASSIGNED");
    assert_eq!(*center.pbx.executed.lock().unwrap(), ["AddQueueMember(801,PJSIP/101,7,,Anna Berg)"]);
    center.pbx.until_described("801", "PJSIP/101", 7, "Anna Berg").await;
    // A member that is added again has them too.
    center.pbx.forget_dynamic_members();
    center.killed(true).await.pbx.until_described("801", "PJSIP/101", 7, "Anna Berg").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_penalty_reaches_a_member_that_is_signed_in() {
    let mut center = Center::reconciled().await;
    center.dial(Call::from("101", "sign-in?queue=801")).await;
    center.pbx.until_described("801", "PJSIP/101", 0, "Anna Berg").await;
    assign(&mut center, 12).await;
    // A change of an assignment is no event of a session; the next comparison finds it.
    center.killed(true).await.pbx.until_described("801", "PJSIP/101", 12, "Anna Berg").await;
}
