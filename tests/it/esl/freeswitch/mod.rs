//! A PBX that behaves as FreeSWITCH does, as far as the handler can see.
//!
//! It knows the lists and the texts of FreeSWITCH's `mod_callcenter.c` and `mod_event_socket.c`: an API command always has an
//! answer, each one is reported by an event, headers of channels and events are encoded, and after a hang-up the connection
//! of a call stays only if the handler has asked for it.

mod call;
mod port;
mod switch;

pub use self::{
    call::{Call, Ended, Mishap},
    port::{EventSocketPort, PASSWORD},
    switch::Switch,
};
