//! The database and its nodes, as `queuegate status` shows them.

use serde::{Deserialize, Serialize};
use tokio_postgres::Row;

use super::schema::TIMELINE;

/// The database of a cluster, and the nodes that have announced themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterReport {
    /// The address of the server that takes writes, or the folder of its Unix socket.
    pub server: String,
    /// PostgreSQL's timeline. It rises with every promotion.
    pub timeline: i64,
    /// The setting of this name. Empty: a failover may lose acknowledged changes.
    pub synchronous_standby_names: String,
    /// The epoch of the head.
    pub epoch: i64,
    /// The number of the last change.
    pub sequence: i64,
    /// The nodes, oldest first.
    pub nodes: Vec<ListedNode>,
}

/// A node, as it announced itself at its last heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedNode {
    /// The id of the process.
    pub node_id: String,
    /// The address on which it serves calls.
    pub address: String,
    /// Its version.
    pub version: String,
    /// The number of the last change that it had seen.
    pub sequence: i64,
    /// How long it hadn't seen the head, in milliseconds.
    pub stale_ms: i64,
    /// How long ago it started, in milliseconds.
    pub uptime_ms: i64,
    /// How long ago the heartbeat was, in milliseconds. It comes every two seconds.
    pub silent_ms: i64,
}

/// The query for a [`ClusterReport`] without its nodes.
pub(super) fn report_query() -> String {
    format!(
        "SELECT coalesce(host(inet_server_addr()) || ':' || inet_server_port(), \
         current_setting('unix_socket_directories')), {TIMELINE}, \
         current_setting('synchronous_standby_names'), epoch, sequence FROM head"
    )
}

/// The query for the nodes.
pub(super) const NODES_QUERY: &str = "WITH clock AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms) \
     SELECT node_id, address, version, revision, stale_ms, now_ms - start_time_ms, now_ms - heartbeat_time_ms \
     FROM node, clock ORDER BY start_time_ms, node_id";

impl ClusterReport {
    pub(super) fn new(row: &Row, nodes: &[Row]) -> Self {
        Self {
            server: row.get(0),
            timeline: row.get(1),
            synchronous_standby_names: row.get(2),
            epoch: row.get(3),
            sequence: row.get(4),
            nodes: nodes.iter().map(ListedNode::new).collect(),
        }
    }
}

impl ListedNode {
    fn new(row: &Row) -> Self {
        Self {
            node_id: row.get(0),
            address: row.get(1),
            version: row.get(2),
            sequence: row.get(3),
            stale_ms: row.get(4),
            uptime_ms: row.get(5),
            silent_ms: row.get(6),
        }
    }
}
