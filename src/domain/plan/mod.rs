//! The planner: a pure function from a snapshot, a command and an instant to changes.
//!
//! INVARIANT: a rejection changes nothing. An acceptance yields every change of the command, in the order in which they
//! are applied and logged. A denial by the rules is an acceptance with a record of the denial.

mod lookup;
mod changes;
mod planner;
mod actor;
mod sessions;
mod directory;
mod document;
mod import;
mod pins;
mod carry_out;
#[cfg(test)]
mod import_tests;
#[cfg(test)]
mod tests;

pub use self::{
    carry_out::{Context, Plan, plan, plan_expirations, plan_refusal},
    changes::Changes,
    document::problems as import_problems,
    lookup::{found_organization, found_queue, found_user, no_organization},
    pins::{Comparable, comparable},
};
