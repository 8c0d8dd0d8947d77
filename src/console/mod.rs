//! The console: web pages for administrators and supervisors.
//!
//! It is a client of the API within the process, with an identity for each person. So the gate, the scopes, the audit
//! log and the errors are those of any other caller, and the server checks each permission again.
//!
//! INVARIANT: every request passes the guard first, and a page of a person is made only with that person's session.

mod origin;
mod text;
mod settings;
mod look;
mod api;
mod session;
mod failure;
mod hub;
mod shared;
mod visit;
mod words;
mod page;
mod pages;
mod guard;
mod router;

pub use self::{
    api::Connect,
    origin::{Origin, Scheme},
    router::Console,
    settings::{Changes, Entrance, Settings, hosts},
    shared::Now,
};
