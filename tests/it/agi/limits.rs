//! Limits: the peers that may connect, the size of their input, and the applications that a call can execute.

use queuegate::{
    client::{Client, Credentials},
    pbx::{self, Error},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Center, asterisk::Call, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_machines_connect_only_from_allowed_networks() {
    let folder = tempfile::tempdir().unwrap();
    let mut exposed = config(&folder);
    exposed.listen = "0.0.0.0:0".parse().unwrap();
    let client = || Client::prepare_as("127.0.0.1:1", Credentials::default()).unwrap();
    assert!(matches!(pbx::start(exposed, client()).await, Err(Error::Exposed(_))));
    let mut allowing = config(&folder);
    allowing.allow = vec!["192.0.2.0/24".parse().unwrap()];
    let admits = |address: &str| allowing.admits(address.parse().unwrap());
    assert!(admits("127.0.0.1") && admits("::1") && admits("192.0.2.9") && admits("::ffff:127.0.0.1"));
    assert!(!admits("192.0.3.9") && !admits("2001:db8::1"));
    assert!(!config(&folder).admits("192.0.2.9".parse().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_no_environment_is_cut_off_and_the_next_call_is_handled() {
    let center = Center::open().await;
    let many = "agi_arg: x\n".repeat(1_000);
    let arguments: String = (0..1_000).map(|number| format!("agi_arg_{number}: x\n")).collect();
    for text in ["GET / HTTP/1.1\r\n", &"x".repeat(100_000), &many.repeat(100), &arguments, "\u{0}\n", "agi_\u{7f}: \n"]
    {
        let mut connection = TcpStream::connect(center.agi.address).await.unwrap();
        // The server may close the connection before it has read all.
        let _ = connection.write_all(text.as_bytes()).await;
        let mut answer = Vec::new();
        if !text.starts_with("agi_arg: ") {
            let _ = connection.read_to_end(&mut answer).await;
            assert_eq!(answer, b"");
        }
    }
    assert_eq!(center.dial(Call::from("101", "sign-in?queue=801")).await.get("QUEUEGATE_STATUS"), "allowed");
}

/// A phone can dial line ends, and Asterisk passes them on if the dialplan doesn't filter them. So a phone can add
/// lines to the environment, end it, and imitate a reply.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dialed_lines_of_an_environment_change_no_caller() {
    let mut center = Center::open().await;
    center.dial(Call::from("102", "sign-in?queue=801")).await;
    for dialed in [
        "801\nagi_channel: PJSIP/102-0000002a",
        "801\nagi_arg_1: endpoint=102",
        "801\nagi_channel: PJSIP/102-0000002a\n",
        "801\nagi_channel: PJSIP/102-0000002a\n\n200 result=1 (PJSIP/102-0000002a)",
        "801\nagi_channel: PJSIP/102-0000002a\n\n200 result=1 (PJSIP/102-0000002a)\n200 result=1\n200 result=0\n200 result=1 (REMOVED)",
    ] {
        for action in ["sign-out", "toggle", "sign-in"] {
            let ended = center.dial(Call::from("101", &format!("{action}?queue={dialed}"))).await;
            assert_ne!(ended.get("QUEUEGATE_STATUS"), "allowed", "{action} {dialed:?}");
            let sessions = center.server.sessions().await;
            assert!(sessions.len() == 1 && sessions[0].user_id == "bo", "{action} {dialed:?}");
        }
    }
    assert_eq!(center.pbx.executed.lock().unwrap().len(), 1);
    assert!(center.agree().await);
}

/// The dialplan gets no status, which counts as a refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_above_the_limit_is_closed() {
    let center = Center::open_as(|config| config.max_calls = 1).await;
    let mut first = TcpStream::connect(center.agi.address).await.unwrap();
    first.write_all(b"agi_network: yes\n").await.unwrap();
    // The server accepts in order, so the first connection has the permit by then.
    let ended = center.dial(Call::from("101", "sign-in?queue=801")).await;
    assert_eq!((ended.get("AGISTATUS"), ended.get("QUEUEGATE_STATUS")), ("SUCCESS", ""));
    drop(first);
    let accepted = async {
        while center.dial(Call::from("101", "sign-in?queue=801")).await.get("QUEUEGATE_STATUS") != "allowed" {}
    };
    tokio::time::timeout(super::EFFECT_TIMEOUT, accepted).await.unwrap();
}

/// Each call executes only the two applications, with a queue and an interface by the configured templates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_executes_another_application_or_uses_another_name() {
    const PIECES: &[&str] = &[
        "sign-in",
        "sign-out",
        "toggle",
        "check",
        "?",
        "&",
        "queue=",
        "801",
        "sales",
        "endpoint=",
        "101",
        "organization=",
        "acme",
        "member=yes",
        ",",
        "\"",
        "\\",
        "%0a",
        "%0d%0a",
        "%22",
        "%2c",
        "EXEC System ",
        "${SHELL(reboot)}",
        "%24",
        "/",
        "PJSIP/101",
        "=",
        " ",
        "+",
        "é",
        "(",
        ")",
        "|",
    ];
    let center = Center::open().await;
    let mut random = StdRng::seed_from_u64(7);
    let mut piece = |most: usize| -> String {
        let number = random.random_range(1..=most);
        (0..number).map(|_| PIECES[random.random_range(0..PIECES.len())]).collect()
    };
    for _ in 0..500 {
        let mut call = Call::from("101", &piece(8));
        if call.script.len().is_multiple_of(3) {
            call.channel = format!("PJSIP/{}-00000001", piece(2));
        }
        call.arguments = vec![piece(3), piece(3)];
        call.digits = [piece(2)].into();
        let ended = center.dial(call).await;
        for command in ended.commands.iter().filter(|command| !command.starts_with("EXEC")) {
            let is_known = [
                "SET VARIABLE \"QUEUEGATE_",
                "SET VARIABLE \"AQMSTATUS\"",
                "SET VARIABLE \"RQMSTATUS\"",
                "GET VARIABLE",
                "GET FULL VARIABLE \"${CHANNEL(name)} ",
                "STREAM FILE",
                "GET DATA",
            ];
            assert!(is_known.iter().any(|known| command.starts_with(known)), "{command}");
        }
    }
    // Some calls are valid, so the test can fail.
    for script in ["sign-in?queue=801", "sign-out?queue=sales", "toggle?queue=801"] {
        center.dial(Call::from("101", script)).await;
    }
    let executed = center.pbx.executed.lock().unwrap().clone();
    assert!(executed.len() > 2, "{executed:?}");
    for line in executed {
        let arguments = line.strip_prefix("AddQueueMember(").or(line.strip_prefix("RemoveQueueMember("));
        let arguments = arguments.and_then(|rest| rest.strip_suffix(')')).unwrap_or_else(|| panic!("{line}"));
        let (queue, interface) = arguments.trim_end_matches(",,,Anna Berg").split_once(',').unwrap();
        assert!(queue.bytes().all(|byte| byte.is_ascii_digit()), "{line}");
        assert!(
            interface.strip_prefix("PJSIP/").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit())),
            "{line}"
        );
    }
}
