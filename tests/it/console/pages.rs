//! Each page for each role in each language, and odd names in all of them.

use queuegate::{domain::language::Language, rpc::proto};

use super::acme;
use crate::support::ACME;

/// Each page, and its status for a contact admin, a supervisor, an agent, and a person without a role.
const PAGES: &[(&str, [u16; 4])] = &[
    ("floor", [200, 200, 303, 303]),
    ("sign-in-agent?queue=sales", [200, 200, 403, 403]),
    ("sign-in-agent?queue=support", [200, 403, 403, 403]),
    ("why", [200; 4]),
    ("why?queue=sales", [200; 4]),
    ("why?user=bo&queue=801", [200, 200, 200, 200]),
    ("permissions", [200, 403, 403, 403]),
    ("matrix", [200, 200, 200, 403]),
    ("matrix?user=anna", [200, 403, 200, 403]),
    ("people", [200, 403, 403, 403]),
    ("people?role=supervisor&text=s", [200, 403, 403, 403]),
    ("person?id=anna", [200, 403, 403, 403]),
    ("queues", [200, 200, 403, 403]),
    ("queue?id=sales", [200, 200, 403, 403]),
    ("queue?id=support", [200, 403, 403, 403]),
    ("audit", [200, 403, 403, 403]),
    ("audit?allowed=no&action=AUDIT_ACTION_SIGN_IN&from=2027-01-01", [200, 403, 403, 403]),
    ("audit.csv", [200, 403, 403, 403]),
    ("audit?follow=yes", [200, 403, 403, 403]),
    ("verify", [200, 403, 403, 403]),
    ("me", [200; 4]),
    ("nothing-here", [404; 4]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_sees_its_pages_in_each_language() {
    let (mut server, browser) = acme().await;
    server.sign_in("anna", "sales").await;
    for (index, user) in ["petra", "sam", "anna", "cleo"].into_iter().enumerate() {
        let mut person = browser.enters_as(user).await;
        for (path, statuses) in PAGES {
            let mut titles = std::collections::BTreeSet::new();
            for language in Language::ALL {
                person.language = language.code();
                let page = person.get(path).await;
                assert_eq!(page.status, statuses[index], "{user} {path} {language:?}: {}", page.body);
                if page.status == 303 || path.ends_with(".csv") && page.status == 200 {
                    continue;
                }
                page.has(&format!("<html lang=\"{}\"", language.code()));
                for inline in [" style=", "<style", " onclick", " onload", "javascript:", "<script>"] {
                    assert!(!page.body.contains(inline), "{user} {path}: {inline}");
                }
                assert_eq!(page.body.matches("<h1>").count(), 1, "{user} {path}");
                titles.insert(page.body.split("<nav").nth(1).unwrap_or(&page.body).to_owned());
            }
            assert!(titles.len() >= 6 || titles.is_empty(), "{user} {path}: {} languages", titles.len());
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_floor_shows_only_queues_in_reach() {
    let (mut server, browser) = acme().await;
    server.sign_in("anna", "sales").await;
    server.sign_in("bo", "support").await;
    let (mut petra, mut sam) = (browser.enters_as("petra").await, browser.enters_as("sam").await);
    let page = petra.get("floor").await;
    page.has("id=\"queue-sales\"");
    page.has("id=\"queue-support\"");
    let page = sam.get("floor").await;
    page.has("id=\"queue-sales\"");
    page.has("Anna Berg");
    assert!(!page.body.contains("queue-support") && !page.body.contains("Bo Lindqvist"));
    let page = petra.get("floor?text=supp").await;
    assert!(page.body.contains("queue-support") && !page.body.contains("queue-sales"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_shows_the_rule_that_decided_and_the_refusals() {
    let (mut server, browser) = acme().await;
    let mut petra = browser.enters_as("petra").await;
    petra.get("why?user=bo&queue=sales").await.has("Allowed");
    server.set(queuegate::rpc::proto::UnassignedQueueSignIn::Restricted).await;
    server.sign_in("cleo", "sales").await;
    let page = petra.get("why?user=103&queue=sal").await;
    page.has("Denied");
    page.has("Cleo Martin (103) isn't assigned to Sales (801)");
    page.has("class=\"decided\" aria-current=\"true\"><span class=\"condition\">Otherwise: it is restricted.");
    assert_eq!(page.body.matches("class=\"passed\"").count(), 8);
    page.has("First, a contact admin must give the person a licence");
    assert!(!page.body.contains("There was no refusal"));
    petra
        .get("why?user=nobody&queue=sales")
        .await
        .has("class=\"decided\" aria-current=\"true\"><span class=\"condition\">The person is unknown.");
    petra.get("why?user=cleo&queue=s").await.has("Which queue?");
    // Others' decisions are for people who see the queue's settings.
    let (mut sam, mut anna) = (browser.enters_as("sam").await, browser.enters_as("anna").await);
    assert_eq!(sam.get("why?user=cleo&queue=support").await.status, 403);
    let page = anna.get("why?user=cleo&queue=sales").await;
    assert!(page.body.contains("Anna Berg") && !page.body.contains("Cleo"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_with_more_people_than_it_shows_says_so() {
    let (mut server, mut browser) = acme().await;
    let more = "There are more. Type more letters of the name.";
    for number in 0..31 {
        let user_id = format!("zed-{number}");
        let user = Some(proto::User { user_id: user_id.clone(), display_name: Some(user_id), ..Default::default() });
        let request = proto::CreateUserRequest { organization_id: ACME.into(), user, ..Default::default() };
        server.client.directory.create_user(request).await.unwrap();
    }
    let mut petra = browser.enters_as("petra").await;
    for path in ["why?queue=sales&user=zed", "sign-in-agent?queue=sales&text=zed", "matrix?user=zed"] {
        petra.get(path).await.has(more);
        let few = petra.get(&path.replace("zed", "zed-1")).await;
        assert!(few.body.contains("zed-1") && !few.body.contains(more), "{path}");
    }
    browser.get("enter?organization=acme&text=zed").await.has(more);
    assert!(!browser.get("enter?organization=acme&text=zed-1").await.body.contains(more));
    server.stop().await;
}

/// Names that would break out of HTML, attributes, events and files if they weren't escaped.
const ODD: [&str; 4] =
    ["<script>alert(1)</script>", "\" onmouseover=\"alert(1)", "O'Brien & Söhne </bdi>", "=HYPERLINK(\"http://x\")"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_names_are_escaped_everywhere() {
    let (mut server, browser) = acme().await;
    for (index, name) in ODD.iter().enumerate() {
        let quoted = serde_json::to_string(name).unwrap();
        let document = format!(
            "organization: {{ organization_id: acme, display_name: {quoted} }}\nqueues:\n  - {{ queue_id: odd{index}, \
             display_name: {quoted}, kind: CALL_QUEUE }}\nusers:\n  - {{ user_id: odd{index}, display_name: {quoted}, \
             contact_center_license: true, agent_of: [odd{index}] }}\n"
        );
        server.import(&document).await.unwrap();
        server.sign_in(&format!("odd{index}"), &format!("odd{index}")).await;
    }
    let mut petra = browser.enters_as("petra").await;
    for path in [
        "floor",
        "people",
        "person?id=odd0",
        "person?id=odd1",
        "queues",
        "queue?id=odd1",
        "enter?organization=acme",
        "why?user=odd0&queue=odd1",
        "matrix?user=odd1&queue=odd0",
        "audit",
        "sign-in-agent?queue=odd1",
        "me",
        "people?text=%22%3E%3Cscript%3E",
        "why?user=%3Cscript%3E&queue=%22%3E%3Cb%3E",
    ] {
        let page = petra.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.body.contains("<script>") && !page.body.contains("\" onmouseover"), "{path}: {}", page.body);
        assert!(!page.body.contains("O'Brien & "), "{path}");
    }
    let page = petra.get("floor").await;
    page.has("&lt;script&gt;alert(1)&lt;/script&gt;");
    page.has("&quot; onmouseover=&quot;alert(1)");
    server.stop().await;
}
