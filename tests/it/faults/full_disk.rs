//! Full disks and broken disks, under a server with clients.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use queuegate::{client::Client, rpc::proto::*};

use crate::{
    durability::{Process, get, prepare, sign_out},
    support::{ACME, described, program, program_by, sign_in},
};

const USERS: usize = 40;

/// Makes changes until a full disk refuses one. Returns how many fit before.
async fn until_refused(client: &mut Client, live: &mut [Option<String>]) -> usize {
    for change in 0..20_000 {
        let number = change % USERS;
        let user = format!("u{number}");
        let refused = match live[number].take() {
            None => match client.queue_access.sign_in(sign_in(&user, "sales")).await {
                Ok(answer) => {
                    live[number] = Some(answer.into_inner().session.unwrap().session_id);
                    continue;
                }
                Err(status) => status,
            },
            Some(session) => match client.queue_access.sign_out(all_queues(&user)).await {
                Ok(_) => continue,
                Err(status) => {
                    live[number] = Some(session);
                    status
                }
            },
        };
        let (code, reason, _) = described(&refused);
        assert_eq!((code, reason.as_str()), (tonic::Code::Unavailable, "NOT_WRITABLE"), "{refused:?}");
        return change;
    }
    panic!("a full disk took everything");
}

fn all_queues(user: &str) -> SignOutRequest {
    SignOutRequest { all_queues: true, ..sign_out(user) }
}

/// Decisions continue, and they follow from the acknowledged writes.
async fn decides(client: &mut Client, live: &[Option<String>]) {
    for (number, session) in live.iter().enumerate() {
        let found = get(&mut client.queue_access, &format!("u{number}")).await.map(|session| session.session_id);
        assert_eq!(&found, session, "u{number}");
    }
    let request = CheckQueueAccessRequest {
        organization_id: ACME.into(),
        user: Some(check_queue_access_request::User::UserId("u0".into())),
        queue: Some(check_queue_access_request::Queue::QueueId("sales".into())),
        channel: Channel::FeatureCode.into(),
        ..Default::default()
    };
    let decision = client.queue_access.check_queue_access(request).await.unwrap().into_inner().decision.unwrap();
    assert_eq!(decision.allowed, Some(true));
}

async fn log_is_whole(client: &mut Client) {
    let request = VerifyAuditLogRequest { organization_id: ACME.into(), ..Default::default() };
    let mut answers = client.audit.verify_audit_log(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(answer) = answers.message().await.unwrap() {
        last = Some(answer);
    }
    assert_eq!(last.unwrap().verification.unwrap().valid, Some(true));
}

/// Fills the disk and frees it again, this many times, and restarts at the end.
async fn fill_and_free(
    server: &Process,
    rounds: usize,
    fill: impl Fn(),
    free: impl Fn(),
) -> (usize, Vec<Option<String>>) {
    let mut client = server.client().await;
    let mut live = vec![None; USERS];
    let mut fitted = 0;
    for _ in 0..rounds {
        fill();
        fitted += until_refused(&mut client, &mut live).await;
        decides(&mut client, &live).await;
        // The refusals continue as long as the disk is full.
        until_refused(&mut client, &mut live).await;
        free();
        // With free space, the same server makes the next change.
        for number in [0, 1] {
            let user = format!("u{number}");
            client.queue_access.sign_out(all_queues(&user)).await.unwrap();
            let answer = client.queue_access.sign_in(sign_in(&user, "sales")).await.unwrap().into_inner();
            live[number] = Some(answer.session.unwrap().session_id);
        }
        decides(&mut client, &live).await;
    }
    log_is_whole(&mut client).await;
    (fitted, live)
}

/// The library simulates a full disk as long as a certain file exists.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_changes_and_decisions_go_on() {
    let folder = super::folder();
    let (data, full) = (folder.path().join("data"), folder.path().join("full"));
    std::fs::create_dir(&data).unwrap();
    let database = data.join("full.db");
    let mut command = super::preloaded(program(), &super::shim(folder.path()), &data);
    command.env("FAULTS_FULL", &full);
    let server = prepare(Process::start_by(command, &database), USERS).await;
    let fill = || drop(File::create(&full).unwrap());
    let free = || std::fs::remove_file(&full).unwrap();
    let (_, live) = fill_and_free(&server, 4, fill, free).await;
    drop(server);
    // A start needs a little space, and the error says so.
    fill();
    let mut command = super::preloaded(program(), &folder.path().join("shim.so"), &data);
    command.env("FAULTS_FULL", &full).args(["serve", "--listen", "127.0.0.1:0", "--database"]).arg(&database);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("no space left to open") && output.status.code() == Some(4), "{text}");
    free();
    let server = Process::start(&database);
    decides(&mut server.client().await, &live).await;
}

/// After a disk error the process ends without another write, and no acknowledged write is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_disk_ends_the_process_and_takes_back_nothing() {
    for fault in ["sync:30:5:on", "sync:30:5:once", "write:400:5:once"] {
        let folder = super::folder();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let database = data.join("broken.db");
        let mut command = super::preloaded(program(), &super::shim(folder.path()), &data);
        command.env("FAULTS_FAIL", fault).stdout(Stdio::null());
        let mut server = prepare(Process::start_by(command, &database), USERS).await;
        let mut client = server.client().await;
        let mut live = vec![None; USERS];
        let failed = loop {
            let number =
                (0..USERS).find(|number| live[*number].is_none()).expect("the fault comes before the users end");
            match client.queue_access.sign_in(sign_in(&format!("u{number}"), "sales")).await {
                Ok(answer) => live[number] = Some(answer.into_inner().session.unwrap().session_id),
                Err(status) => break status,
            }
        };
        assert_eq!(described(&failed).1, "OUTCOME_UNKNOWN", "{fault}: {failed:?}");
        drop(client);
        assert_eq!(server.child.wait().unwrap().code(), Some(4), "{fault}");
        let server = Process::start(&database);
        let mut client = server.client().await;
        for (number, session) in live.iter().enumerate().filter(|(_, session)| session.is_some()) {
            let found = get(&mut client.queue_access, &format!("u{number}")).await.map(|session| session.session_id);
            assert_eq!(&found, session, "{fault}: u{number}");
        }
    }
}

/// A separate file system, which ends with its process.
struct Small {
    kind: &'static str,
    mount: PathBuf,
    script: String,
}

impl Small {
    /// The file systems that this user can create: tmpfs with a user namespace, ext4 as root.
    fn all(folder: &Path) -> Vec<Self> {
        let mount = folder.join("small");
        std::fs::create_dir(&mount).unwrap();
        let image = folder.join("ext4.image");
        File::create(&image).unwrap().set_len(24 << 20).unwrap();
        let formatted = Command::new("mkfs.ext4").arg("-q").arg(&image).status().is_ok_and(|status| status.success());
        let at = mount.display();
        let tmpfs = format!("mount -t tmpfs -o size=8m tmpfs {at}");
        let ext4 = format!("mount -o loop {} {at}", image.display());
        let small = |kind, script| Self { kind, mount: mount.clone(), script };
        let mut found = vec![small("tmpfs", tmpfs)];
        found.extend(formatted.then(|| small("ext4", ext4)));
        found.retain(|small| {
            let mut command = small.command();
            command.args(["true"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        });
        found
    }

    /// Runs the appended command with the file system mounted. Only that process sees it.
    fn command(&self) -> Command {
        let is_root = std::os::unix::fs::MetadataExt::uid(&self.mount.metadata().unwrap()) == 0;
        let mut command = Command::new("unshare");
        command.args([if is_root { "-m" } else { "-Urm" }, "sh", "-c"]);
        command.arg(format!("{} && exec \"$@\"", self.script)).arg("sh");
        command
    }
}

/// Fills real file systems to the last byte and frees them, again and again. `QUEUEGATE_FULL_DISKS=50` runs a campaign.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_system_that_fills_up_refuses_changes_and_recovers() {
    let rounds: usize = std::env::var("QUEUEGATE_FULL_DISKS").ok().map_or(3, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let all = Small::all(folder.path());
    if all.is_empty() {
        println!("left out: no file system can be mounted here");
    }
    for small in all {
        let database = small.mount.join("small.db");
        let start = || Process::start_by(program_by(small.command()), &database);
        let server = prepare(start(), USERS).await;
        // The process's own view of the files, which includes the small file system.
        let inside = PathBuf::from(format!("/proc/{}/root{}", server.child.id(), small.mount.display()));
        let ballast = inside.join("ballast");
        let fill = || {
            let mut file = File::create(&ballast).unwrap();
            for size in [65_536, 4_096, 512, 1] {
                while file.write_all(&vec![7; size]).and_then(|()| file.sync_all()).is_ok() {}
            }
        };
        let free = || std::fs::remove_file(&ballast).unwrap();
        let (fitted, live) = fill_and_free(&server, rounds, fill, free).await;
        println!("{}: full {rounds} times, {fitted} changes still fit, and no acknowledged one was lost", small.kind);
        // Copy it, because the file system ends with the process.
        for name in ["small.db", "small.db-wal"] {
            std::fs::copy(inside.join(name), folder.path().join(name)).unwrap();
        }
        drop(server);
        let server = Process::start(&folder.path().join("small.db"));
        decides(&mut server.client().await, &live).await;
    }
}
