//! Black-box tests: a real server on port 0, its real clients, and the rules against committed tables.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "these are tests, helpers and all"
)]

mod support;
mod wire;

mod access;
mod actor;
mod agi;
mod api_stability;
mod architecture;
mod audit;
mod backup;
mod bad_input;
mod cluster;
mod command_line;
mod compression;
mod console;
mod decision_tables;
mod directory;
mod directory_commands;
mod directory_lists;
mod drains;
mod durability;
mod esl;
mod etags;
mod expiry;
mod faults;
mod files;
mod fuzz;
mod languages;
mod limits;
mod model;
mod operations;
mod overload;
mod packaging;
mod permissions;
mod pins;
mod prose;
mod races;
mod readme;
mod server;
mod sessions;
mod settings;
mod several_servers;
mod sigkill;
mod slow_readers;
mod starting;
mod status;
mod tampering;
mod tls;
mod top;
mod watch;
mod week;
