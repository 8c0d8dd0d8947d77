//! Asterisk's manager interface for the same queues: login, QueueStatus, QueueAdd, QueueRemove, QueuePause and events
//! of members.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

use super::asterisk::{Membership, Pbx};

pub const SECRET: &str = "s3cret";

/// The manager's listener.
pub struct ManagerPort {
    pub address: SocketAddr,
    /// False while Asterisk is down.
    up: watch::Sender<bool>,
}

impl ManagerPort {
    pub async fn open(pbx: Arc<Pbx>) -> Self {
        Self::open_as(pbx, None).await
    }

    /// With TLS.
    pub async fn open_as(pbx: Arc<Pbx>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (up, is_up) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (pbx, tls, mut is_up) = (Arc::clone(&pbx), tls.clone(), is_up.clone());
                tokio::spawn(async move {
                    let served = async {
                        match tls {
                            None => serve(pbx, connection).await,
                            // A handler that doesn't trust the certificate goes away.
                            Some(tls) => {
                                if let Ok(connection) = tls.accept(connection).await {
                                    serve(pbx, connection).await;
                                }
                            }
                        }
                    };
                    tokio::select! {
                        () = served => {}
                        _ = is_up.wait_for(|is_up| !is_up) => {}
                    }
                });
            }
        });
        Self { address, up }
    }

    /// Break all connections, and accept no other.
    pub fn go_down(&self) {
        self.up.send_replace(false);
    }

    pub fn come_up(&self) {
        self.up.send_replace(true);
    }
}

async fn serve(pbx: Arc<Pbx>, connection: impl AsyncRead + AsyncWrite) {
    let (reader, mut writer) = tokio::io::split(connection);
    let mut lines = BufReader::new(reader).lines();
    let mut changes = pbx.changes.subscribe();
    let mut is_logged_in = false;
    let mut action: BTreeMap<String, String> = BTreeMap::new();
    if writer.write_all(b"Asterisk Call Manager/11.0.0\r\n").await.is_err() {
        return;
    }
    loop {
        let text = tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) if line.is_empty() => answer(&pbx, &std::mem::take(&mut action), &mut is_logged_in),
                Ok(Some(line)) => {
                    let (name, value) = line.split_once(": ").unwrap();
                    action.insert(name.to_owned(), value.to_owned());
                    continue;
                }
                Ok(None) | Err(_) => return,
            },
            change = changes.recv() => {
                let Ok(change) = change else { return };
                if !is_logged_in {
                    continue;
                }
                format!(
                    "Event: {}\r\nPrivilege: agent,all\r\nQueue: {}\r\nMemberName: {2}\r\nInterface: {2}\r\nMembership: dynamic\r\n\r\n",
                    change.event, change.queue, change.interface
                )
            }
        };
        if writer.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(pbx: &Pbx, action: &BTreeMap<String, String>, is_logged_in: &mut bool) -> String {
    let get = |name: &str| action.get(name).map(String::as_str).unwrap_or_default();
    let id = format!("ActionID: {}\r\n", get("ActionID"));
    let error = |message: &str| format!("Response: Error\r\n{id}Message: {message}\r\n\r\n");
    let success = |message: &str| format!("Response: Success\r\n{id}Message: {message}\r\n\r\n");
    if get("Action") == "Login" {
        *is_logged_in = get("Username") == "queuegate" && get("Secret") == SECRET;
        return if *is_logged_in { success("Authentication accepted") } else { error("Authentication failed") };
    }
    if !*is_logged_in {
        return error("Permission denied");
    }
    let (queue, interface) = (get("Queue"), get("Interface"));
    match get("Action") {
        "QueueStatus" => {
            let mut text =
                format!("Response: Success\r\n{id}EventList: start\r\nMessage: Queue status will follow\r\n\r\n");
            for name in pbx.queue_names().iter().filter(|name| queue.is_empty() || *name == queue) {
                text.push_str(&format!("Event: QueueParams\r\nQueue: {name}\r\nMax: 0\r\n{id}\r\n"));
                for (member, membership) in pbx.members_of(name).unwrap_or_default() {
                    let key = (name.clone(), member.clone());
                    let paused = pbx.paused_members.lock().unwrap().get(&key).cloned();
                    let membership = match membership {
                        Membership::Static => "static",
                        Membership::Dynamic => "dynamic",
                    };
                    text.push_str(&format!(
                        "Event: QueueMember\r\nQueue: {name}\r\nName: {member}\r\nLocation: {member}\r\nStateInterface: {member}\r\n\
                         Membership: {membership}\r\nPenalty: {}\r\nPaused: {}\r\nPausedReason: {}\r\n{id}\r\n",
                        pbx.penalties.lock().unwrap().get(&key).copied().unwrap_or_default(),
                        u8::from(paused.is_some()),
                        paused.unwrap_or_default(),
                    ));
                }
            }
            text.push_str(&format!("Event: QueueStatusComplete\r\n{id}EventList: Complete\r\nListItems: 0\r\n\r\n"));
            text
        }
        "QueueAdd" => match pbx.add(queue, interface) {
            "ADDED" => {
                pbx.describe(queue, interface, get("Penalty").parse().unwrap_or_default(), get("MemberName"));
                if get("Paused") == "true" {
                    pbx.pause(queue, interface, "");
                }
                success("Added interface to queue")
            }
            "MEMBERALREADY" => error("Unable to add interface: Already there"),
            _ => error("Unable to add interface to queue: No such queue"),
        },
        "QueuePause" => {
            pbx.pause(queue, interface, get("Reason"));
            success("Interface paused successfully")
        }
        "QueuePenalty" if pbx.members().contains(&(queue.to_owned(), interface.to_owned())) => {
            let key = (queue.to_owned(), interface.to_owned());
            let name = pbx.names.lock().unwrap().get(&key).cloned().unwrap_or_default();
            pbx.describe(queue, interface, get("Penalty").parse().unwrap(), &name);
            success("Interface penalty set successfully")
        }
        "QueuePenalty" => error("Invalid interface, queuename or penalty"),
        "QueueRemove" => match pbx.remove(queue, interface) {
            "REMOVED" => success("Removed interface from queue"),
            "NOTINQUEUE" => error("Unable to remove interface: Not there"),
            "NOTDYNAMIC" => error("Member not dynamic"),
            _ => error("Unable to remove interface from queue: No such queue"),
        },
        "DeviceStateList" | "Setvar" if pbx.refuses_devices.load(Ordering::SeqCst) => error("Permission denied"),
        "DeviceStateList" => {
            let mut text = format!("Response: Success\r\n{id}EventList: start\r\nMessage: will follow\r\n\r\n");
            for (device, state) in &*pbx.devices.lock().unwrap() {
                text.push_str(&format!("Event: DeviceStateChange\r\n{id}Device: {device}\r\nState: {state}\r\n\r\n"));
            }
            text.push_str(&format!("Event: DeviceStateListComplete\r\n{id}EventList: Complete\r\n\r\n"));
            text
        }
        "Setvar" => {
            let device = get("Variable").strip_prefix("DEVICE_STATE(").and_then(|rest| rest.strip_suffix(')'));
            pbx.set_device(device.unwrap(), get("Value"));
            success("Variable Set")
        }
        _ => error("Invalid/unknown command"),
    }
}
