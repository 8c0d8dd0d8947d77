//! Static members in Asterisk's `queues.conf`, which become assignments.
//!
//! `encoding` decodes a file, `comments` removes its comments, and `reader` reads sections, templates and included files
//! as Asterisk does: `tests/asterisk/run queues_conf` compares the two. `names` finds the user and the queue of each
//! member. Only `folder` touches the disk.

mod encoding;
mod comments;
mod wildcards;
mod place;
mod section;
mod reader;
mod names;
mod folder;

pub use self::{
    encoding::OtherEncoding,
    folder::Folder,
    names::{Mapped, Names, StaticMember},
    place::{LeftOut, Place},
    reader::{Files, Found, Reading, Refused, read},
    section::Member,
};
