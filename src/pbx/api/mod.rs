//! queuegate's API as the handler uses it: each request has a deadline, and each failure tells whether the request may
//! have been carried out.

mod failure;
mod client;

pub(super) use self::{
    client::{ApiClient, QueueInfo},
    failure::Failure,
};
