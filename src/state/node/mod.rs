//! A node of a cluster: the writer of a database that several nodes share.

mod turn;
mod commit;
mod settle;
mod follow;
mod tidy;

pub(super) use self::{follow::load, turn::Node};
