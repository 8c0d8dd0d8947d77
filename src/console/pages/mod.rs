//! The pages with the changes that their forms make, and the parts that several pages share.

pub(super) mod enter;
pub(super) mod reach;
pub(super) mod find;
pub(super) mod setting;
pub(super) mod floor;
pub(super) mod live;
pub(super) mod supervise;
pub(super) mod why;
pub(super) mod permissions;
pub(super) mod matrix;
pub(super) mod people;
pub(super) mod queues;
pub(super) mod csv;
pub(super) mod audit;
pub(super) mod audit_live;
pub(super) mod event;
pub(super) mod me;
