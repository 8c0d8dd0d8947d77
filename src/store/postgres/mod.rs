//! The PostgreSQL database that several equal nodes share.
//!
//! There is no leader. Each node plans on the state that it knows, and the head row decides: a commit that doesn't
//! continue the head is refused, and the node reads the other nodes' changes and plans again.

mod error;
mod target;
mod session;
mod schema;
mod head;
mod statement;
mod rows;
mod row_parts;
mod history;
mod opening;
mod commit;
mod clock;
mod database;
mod tidying;
mod load;
mod log_reader;
mod bell;
mod cluster_report;
mod examine;
mod offline;
pub(super) mod moving;

pub use self::{
    bell::{Bell, NodeReport},
    clock::DatabaseTime,
    cluster_report::{ClusterReport, ListedNode},
    commit::Locking,
    database::{Commit, Store, Wait},
    examine::examine,
    history::News,
    log_reader::LogReader,
    offline::{make_schema, new_epoch},
    target::{Target, is_connection_string},
};
