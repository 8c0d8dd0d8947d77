//! queuegate decides whether a contact-center agent may sign in to a queue, records who is signed in, and says why.

pub mod document;
pub mod domain;
pub mod state;
pub mod store;
