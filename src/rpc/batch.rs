//! Many questions in one call: how many there may be, and what becomes of one that can't be answered.

use super::{error::Error, status::item_status};
use crate::domain::ids::shortened;

/// How many questions a batch may hold.
const LARGEST: usize = 1_000;

/// The largest batch that is answered where it came in: about a tenth of a millisecond. Larger ones go to the background.
pub(super) const SMALL: usize = 32;

/// How long a correlation id may be, in characters.
const LONGEST_CORRELATION_ID: usize = 256;

/// Refuses a batch that is empty or too large.
pub(super) fn check_size(items: usize) -> Result<(), Error> {
    if (1..=LARGEST).contains(&items) {
        return Ok(());
    }
    Err(Error::invalid("items", &format_args!("must be 1 to {LARGEST} items, but are {items}")))
}

/// Answers one question. What is wrong with it spoils no other; its correlation id comes back, shortened if it is too
/// long to be one.
pub(super) fn answer<T>(
    correlation_id: String,
    answer: impl FnOnce() -> Result<T, Error>,
) -> (String, Result<T, tonic_types::pb::Status>) {
    if correlation_id.chars().nth(LONGEST_CORRELATION_ID).is_some() {
        let problem = format_args!("must be at most {LONGEST_CORRELATION_ID} characters");
        let error = Error::invalid("correlation_id", &problem);
        return (shortened(&correlation_id), Err(item_status(error)));
    }
    (correlation_id, answer().map_err(item_status))
}
