//! Asterisk: FastAGI for calls, the manager interface for everything else, and its file of queues.

pub(super) mod agi;
pub mod manager_tls;
pub(super) mod manager;
pub mod queues_conf;
