//! The handler's metrics over HTTP.

use queuegate::pbx::config::Removal;

use super::{Center, EFFECT_TIMEOUT, asterisk::Call};
use crate::{support::get, wire::Passing};

impl Center {
    /// Wait until the metrics have these lines.
    async fn until_measured(&self, lines: &[&str]) {
        let address = self.agi.metrics.unwrap();
        let mut text = String::new();
        let reached = async {
            while !lines.iter().all(|line| text.lines().any(|other| other == *line)) {
                (_, text) = get(address, "/metrics").await;
            }
        };
        if tokio::time::timeout(EFFECT_TIMEOUT, reached).await.is_err() {
            panic!("{lines:?} are not in\n{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_corrections_and_connections_are_measured() {
    let mut center = Center::open_with(true, |config| {
        config.metrics_listen = Some("127.0.0.1:0".parse().unwrap());
        config.manager.as_mut().unwrap().removal = Removal::IfPlanned;
    })
    .await;
    let connected = [r#"queuegate_pbx_connected{to="pbx"} 1"#, r#"queuegate_pbx_connected{to="queuegate"} 1"#];
    center.until_measured(&connected).await;
    for script in ["sign-in?queue=801", "sign-in?queue=801", "sign-in?queue=899", "sign-up?queue=801"] {
        center.dial(Call::from("101", script)).await;
    }
    center.server.supervisor_sign_in("cleo", "sales", None).await;
    center.pbx.add("801", "PJSIP/199");
    center
        .until_measured(&[
            r#"queuegate_pbx_calls_total{action="sign-in",status="allowed",reason="ASSIGNED"} 1"#,
            r#"queuegate_pbx_calls_total{action="sign-in",status="allowed",reason="ALREADY_SIGNED_IN"} 1"#,
            r#"queuegate_pbx_calls_total{action="sign-in",status="denied",reason="UNKNOWN_QUEUE"} 1"#,
            r#"queuegate_pbx_calls_total{action="invalid",status="failed",reason="BAD_REQUEST"} 1"#,
            r#"queuegate_pbx_call_duration_seconds_count{action="sign-in"} 3"#,
            r#"queuegate_pbx_corrections_total{correction="add"} 1"#,
            r#"queuegate_pbx_corrections_total{correction="leave"} 1"#,
            "queuegate_pbx_journal_entries 0",
        ])
        .await;
    center.server.sign_out("cleo", "sales").await;
    center.until_measured(&[r#"queuegate_pbx_corrections_total{correction="remove"} 1"#]).await;
    center.wire.set(Passing::Broken);
    center.dial(Call::from("101", "sign-out?queue=801")).await;
    center.manager.go_down();
    center
        .until_measured(&[
            r#"queuegate_pbx_calls_total{action="sign-out",status="allowed",reason="SIGN_OUT_REMEMBERED"} 1"#,
            "queuegate_pbx_journal_entries 1",
            r#"queuegate_pbx_connected{to="pbx"} 0"#,
            r#"queuegate_pbx_connected{to="queuegate"} 0"#,
        ])
        .await;
    center.wire.set(Passing::Everything);
    center.manager.come_up();
    center.until_measured(&connected).await;
    let (status, body) = get(center.agi.metrics.unwrap(), "/status").await;
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 404 Not Found", "try /metrics\n"));
}
