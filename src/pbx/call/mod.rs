//! A call, from its environment to the variables that the dialplan reads.
//!
//! INVARIANT: after a call, the session and the member both exist or neither does. A session whose member wasn't added,
//! or may not have been, is ended. A member whose session can't be ended now is removed, and the sign-out is in the
//! journal. When the PBX no longer answers, the reconciliation corrects the member.

mod result;
mod phone;
mod report;
mod sign_out;
mod sign_in;
mod toggle;
mod pause;
mod on_queue;
mod all_queues;
mod identify;
mod hot_desk;
mod action;
mod handle;

pub(super) use self::handle::handle;
