//! The guard: hosts, origins, headers, and the read-only console.

use queuegate::console::Changes;

use super::{acme, acme_as};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_consoles_own_hosts_are_answered() {
    let (server, mut browser) = acme().await;
    let port = browser.address.port();
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        (format!("localhost:{port}"), 200),
        (format!("LOCALHOST:{port}"), 200),
        (format!("[::1]:{port}"), 200),
        ("127.0.0.1".to_owned(), 403),
        (format!("127.0.0.1.evil.example:{port}"), 403),
        ("evil.example".to_owned(), 403),
        (String::new(), 403),
    ] {
        for path in ["enter", "console.js", "nothing-here"] {
            let status = if (status, path) == (200, "nothing-here") { 404 } else { status };
            assert_eq!(browser.send("GET", path, &[("host", &host)], "").await.status, status, "{host} {path}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_must_come_from_the_consoles_own_pages() {
    let (server, mut browser) = acme().await;
    let own = format!("http://{}", browser.address);
    let localhost = format!("http://localhost:{}", browser.address.port());
    for (origin, site, status) in [
        (own.as_str(), "same-origin", 303),
        (&own, "", 303),
        ("", "same-origin", 303),
        ("", "", 403),
        ("null", "", 403),
        ("null", "same-origin", 403),
        ("", "same-site", 403),
        ("", "none", 403),
        (&own, "cross-site", 403),
        ("https://evil.example", "", 403),
        ("https://evil.example", "same-origin", 403),
        // The browser is at another of the console's names.
        (&localhost, "", 403),
    ] {
        let headers = [("origin", origin), ("sec-fetch-site", site)];
        let page = browser.send("POST", "enter", &headers, "organization=acme&user=sam").await;
        assert_eq!(page.status, status, "{origin:?} {site:?}");
        assert_eq!(page.header("set-cookie").is_empty(), status != 303, "{origin:?} {site:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_response_has_the_headers_and_no_script_of_its_own() {
    let (server, browser) = acme().await;
    let mut petra = browser.enters_as("petra").await;
    for path in
        ["enter", "floor", "why?queue=sales", "permissions", "me", "console.css", "console.js", "nothing", "audit.csv"]
    {
        let page = petra.get(path).await;
        let policy = page.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        assert_eq!(page.header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(page.header("access-control-allow-origin"), "", "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_get_a_page_too() {
    let (server, browser) = acme().await;
    let mut petra = browser.enters_as("petra").await;
    for path in [
        "floor?page=x",
        "sign-in-agent",
        "person",
        "queue?id=",
        "event?revision=x",
        "audit?from=yesterday",
        "floor?after=x",
    ] {
        let page = petra.get(path).await;
        assert!(
            (400..600).contains(&page.status) && page.body.contains("<h1>"),
            "{path}: {} {}",
            page.status,
            page.body
        );
    }
    let long = "x".repeat(70_000);
    for (path, fields) in [
        ("sign-out-agent", &[("session", "no-slash")][..]),
        ("sign-in-agent", &[("queue", "sales"), ("hours", "many")]),
        ("assign", &[("user", "anna"), ("role", "emperor")]),
        ("choose", &[("language", "tlh"), ("theme", "dark")]),
        ("queue-new", &[("id", &long)]),
    ] {
        let page = petra.post(path, fields).await;
        assert!(
            (400..500).contains(&page.status) && page.body.contains("<h1>"),
            "{path}: {} {}",
            page.status,
            page.body
        );
    }
    assert_eq!(petra.send("DELETE", "floor", &[("sec-fetch-site", "same-origin")], "").await.status, 405);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_console_changes_nothing() {
    let (server, browser) = acme_as(Changes::ReadOnly).await;
    let mut petra = browser.enters_as("petra").await;
    for path in ["floor", "permissions", "person?id=anna", "queue?id=sales", "queues", "me"] {
        let page = petra.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        page.has("This console is read-only");
        for change in
            ["sign-in-agent?", "action=\"assign\"", "action=\"queue\"", "queue-new", "action=\"sign-out\"", "set-pin"]
        {
            assert!(!page.body.contains(change), "{path}: {change}");
        }
    }
    for (path, fields) in [
        ("sign-in-agent", &[("queue", "sales"), ("user", "cleo"), ("hours", "8")][..]),
        ("permissions", &[("unassigned", "restricted")]),
        ("queue-delete", &[("id", "sales")]),
        ("set-pin", &[("pin", "4711")]),
        ("assign", &[("user", "anna"), ("role", "agent"), ("queue", "support")]),
    ] {
        assert_eq!(petra.post(path, fields).await.status, 403, "{path}");
    }
    assert_eq!(petra.post("choose", &[("language", "de"), ("theme", "dark")]).await.status, 303);
    petra.get("floor").await.has("lang=\"de\" data-theme=\"dark\"");
    assert_eq!(petra.post("leave", &[]).await.status, 303);
    server.stop().await;
}
