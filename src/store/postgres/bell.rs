//! The bell between nodes: a node that has committed rings it, and the others read the log at once. The bell may fail:
//! every node also reads the log at intervals.
//!
//! The same connection announces the node, for `queuegate status`.

use std::{sync::Arc, thread, time::Duration};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, error::TryRecvError, unbounded_channel},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_postgres::{Notification, types::ToSql};
use tracing::debug;

use super::{session::Session, target::Target};
use crate::store::error::Error;

/// The interval at which a node announces itself.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The pause before the bell connects again.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A node, as it announces itself.
#[derive(Debug, Clone)]
pub struct NodeReport {
    /// The id of the process.
    pub node_id: String,
    /// The address on which it serves calls.
    pub address: String,
    /// The sequence of its published state.
    pub revision: i64,
    /// How long it hasn't seen the head, in milliseconds.
    pub stale_ms: i64,
}

/// The bell. It ends when it is dropped.
#[derive(Debug)]
pub struct Bell(UnboundedSender<()>);

impl Bell {
    /// Start the bell's thread. `rung` is called when another node has rung.
    pub fn start(
        target: Target,
        report: Arc<dyn Fn() -> NodeReport + Send + Sync>,
        rung: impl Fn() + Send + 'static,
    ) -> Result<Self, Error> {
        let (sender, rings) = unbounded_channel();
        let failed = |error: std::io::Error| Error::Damaged(format!("can't start the bell thread: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let run = move || runtime.block_on(keep(&target, &*report, &rung, rings));
        thread::Builder::new().name("bell".to_owned()).spawn(run).map_err(failed)?;
        Ok(Self(sender))
    }

    /// Ring: this node has committed something.
    pub fn ring(&self) {
        // Without the bell, the others read the log a little later.
        let _ = self.0.send(());
    }
}

/// Listen, ring and announce until the bell is dropped. After a failure, connect again.
async fn keep(
    target: &Target,
    report: &(dyn Fn() -> NodeReport + Send + Sync),
    rung: &(impl Fn() + Send + 'static),
    mut rings: UnboundedReceiver<()>,
) {
    while !rings.is_closed() {
        match serve(target, report, rung, &mut rings).await {
            Ok(()) => return,
            Err(problem) => debug!(problem, "the bell between nodes doesn't work now"),
        }
        sleep(PAUSE).await;
        while rings.try_recv().is_ok() {}
        if matches!(rings.try_recv(), Err(TryRecvError::Disconnected)) {
            return;
        }
    }
}

/// Serve on one connection. Return an error if it breaks.
async fn serve(
    target: &Target,
    report: &(dyn Fn() -> NodeReport + Send + Sync),
    rung: &(impl Fn() + Send + 'static),
    rings: &mut UnboundedReceiver<()>,
) -> Result<(), String> {
    let broken = |error: tokio_postgres::Error| super::error::described(&error);
    let connecting = timeout(PATIENCE, Session::connect_and_listen(target, "bell"));
    let connected = connecting.await.map_err(|_| "no answer".to_owned())?;
    let (mut session, mut heard) = connected.map_err(|error| error.to_string())?;
    // Neither the bell nor an announcement must survive a failover, so they don't wait for a standby.
    let begin = "SET synchronous_commit = off; LISTEN queuegate";
    session.client.batch_execute(begin).await.map_err(broken)?;
    let own: i32 = session.client.query_one("SELECT pg_backend_pid()", &[]).await.map_err(broken)?.get(0);
    // A change may have been committed while nobody listened.
    rung();
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ring = rings.recv() => {
                if ring.is_none() {
                    let node = report();
                    let parameters: [&(dyn ToSql + Sync); 1] = [&node.node_id];
                    let gone = session.client.execute("DELETE FROM node WHERE node_id = $1", &parameters);
                    // A node that isn't deleted is shown with its last heartbeat.
                    let _ = timeout(PATIENCE, gone).await;
                    return Ok(());
                }
                // One ring is enough for all commits so far.
                while rings.try_recv().is_ok() {}
                timeout(PATIENCE, session.client.batch_execute("NOTIFY queuegate"))
                    .await
                    .map_err(|_| "no answer".to_owned())?
                    .map_err(broken)?;
            }
            notification = heard.recv() => match notification {
                Some(notification) if is_of_another(&notification, own) => rung(),
                Some(_) => {}
                None => return Err("the connection was closed".to_owned()),
            },
            _ = heartbeat.tick() => {
                timeout(PATIENCE, announce(&mut session, &report()))
                    .await
                    .map_err(|_| "no answer".to_owned())?
                    .map_err(broken)?;
            }
        }
    }
}

fn is_of_another(notification: &Notification, own: i32) -> bool {
    notification.process_id() != own
}

/// Write a node's row, and remove the rows of nodes that have been silent for a day.
async fn announce(session: &mut Session, node: &NodeReport) -> Result<(), tokio_postgres::Error> {
    let NodeReport { node_id, address, revision, stale_ms } = node;
    let sql = "WITH clock AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms), \
               gone AS (DELETE FROM node USING clock WHERE heartbeat_time_ms < now_ms - 86400000) \
               INSERT INTO node SELECT $1, $2, $3, $4, $5, now_ms, now_ms FROM clock \
               ON CONFLICT (node_id) DO UPDATE SET address = excluded.address, revision = excluded.revision, \
               stale_ms = excluded.stale_ms, heartbeat_time_ms = excluded.heartbeat_time_ms";
    let statement = session.prepare(sql).await?;
    let version = env!("CARGO_PKG_VERSION");
    session.client.execute(&statement, &[node_id, address, &version, revision, stale_ms]).await.map(drop)
}
