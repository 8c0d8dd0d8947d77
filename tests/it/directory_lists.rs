//! The lists of DirectoryService by filters, over the wire. `src/domain/directory_lists.rs` tests every combination.

use queuegate::rpc::proto::*;
use tonic::Code;

use crate::support::{ACME, TestServer, described};

fn all_users() -> ListUsersRequest {
    ListUsersRequest { organization_id: ACME.into(), ..Default::default() }
}

async fn users(server: &mut TestServer, request: ListUsersRequest) -> Vec<String> {
    let answer = server.client.directory.list_users(request).await.unwrap().into_inner();
    assert!(answer.total_size.is_none() && answer.next_page_token.is_empty());
    answer.users.into_iter().map(|user| user.user_id).collect()
}

#[tokio::test]
async fn users_are_listed_by_text_role_queue_licence_and_disablement() {
    let mut server = TestServer::acme().await;
    let queue = |id: &str| Some(list_users_request::Queue::QueueId(id.into()));
    for (request, expected) in [
        (ListUsersRequest { text: "PETRA n".into(), ..all_users() }, vec!["petra"]),
        (ListUsersRequest { text: "20".into(), ..all_users() }, vec!["petra", "sam"]),
        (ListUsersRequest { role: Role::Agent.into(), ..all_users() }, vec!["anna", "bo"]),
        (ListUsersRequest { queue: queue("sales"), ..all_users() }, vec!["anna", "sam"]),
        (ListUsersRequest { queue: queue("sales"), role: Role::Agent.into(), ..all_users() }, vec!["anna"]),
        (ListUsersRequest { queue: queue("nowhere"), ..all_users() }, vec![]),
        (ListUsersRequest { licensed: Some(false), ..all_users() }, vec!["cleo", "dan"]),
        (ListUsersRequest { licensed: Some(false), disabled: Some(false), ..all_users() }, vec!["cleo"]),
    ] {
        assert_eq!(users(&mut server, request.clone()).await, expected, "{request:?}");
    }
}

#[tokio::test]
async fn queues_are_listed_by_text_and_kind() {
    let mut server = TestServer::acme().await;
    let all = ListQueuesRequest { organization_id: ACME.into(), ..Default::default() };
    for (request, expected, total_size) in [
        (ListQueuesRequest { text: "web".into(), ..all.clone() }, vec!["chat"], None),
        (ListQueuesRequest { kind: QueueKind::CallQueue.into(), ..all.clone() }, vec!["sales", "support"], None),
        (ListQueuesRequest { text: "81".into(), kind: QueueKind::Inbox.into(), ..all.clone() }, vec![], None),
        (all.clone(), vec!["chat", "front-desk", "renewals", "sales", "support"], Some(5)),
    ] {
        let answer = server.client.directory.list_queues(request).await.unwrap().into_inner();
        let found: Vec<_> = answer.queues.iter().map(|queue| queue.queue_id.as_str()).collect();
        assert_eq!((found, answer.total_size), (expected, total_size));
    }
}

#[tokio::test]
async fn role_assignments_are_listed_by_the_text_and_disablement_of_their_users() {
    let mut server = TestServer::acme().await;
    let all = ListRoleAssignmentsRequest { organization_id: ACME.into(), ..Default::default() };
    for (request, expected) in [
        (ListRoleAssignmentsRequest { text: "Anna".into(), ..all.clone() }, vec!["anna chat", "anna sales"]),
        (ListRoleAssignmentsRequest { text: "201".into(), ..all.clone() }, vec!["sam sales"]),
        (ListRoleAssignmentsRequest { disabled: Some(true), ..all.clone() }, vec![]),
    ] {
        let answer = server.client.directory.list_role_assignments(request).await.unwrap().into_inner();
        let found = answer.assignments.iter().map(|held| format!("{} {}", held.user_id, held.queue_id));
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}

/// Pages of a filtered list together have the whole list, and a token is only good for the same filter.
#[tokio::test]
async fn a_page_token_is_bound_to_the_filter() {
    let mut server = TestServer::acme().await;
    let first = ListUsersRequest { licensed: Some(true), page_size: 1, ..all_users() };
    let (mut request, mut found) = (first.clone(), Vec::new());
    loop {
        let page = server.client.directory.list_users(request.clone()).await.unwrap().into_inner();
        found.extend(page.users.into_iter().map(|user| user.user_id));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
        for other in [
            ListUsersRequest { licensed: Some(false), ..request.clone() },
            ListUsersRequest { licensed: None, ..request.clone() },
            ListUsersRequest { text: "a".into(), ..request.clone() },
            ListUsersRequest { role: Role::Agent.into(), ..request.clone() },
        ] {
            let status = server.client.directory.list_users(other).await.unwrap_err();
            let expected = (Code::InvalidArgument, "INVALID_FIELD".into(), vec!["page_token".into()]);
            assert_eq!(described(&status), expected);
        }
    }
    assert_eq!(found, ["anna", "bo", "petra", "sam"]);
}

#[tokio::test]
async fn a_list_without_a_filter_gives_its_total_size() {
    let mut server = TestServer::acme().await;
    let request = ListUsersRequest { page_size: 2, ..all_users() };
    let page = server.client.directory.list_users(request).await.unwrap().into_inner();
    assert_eq!((page.users.len(), page.total_size), (2, Some(6)));
}
