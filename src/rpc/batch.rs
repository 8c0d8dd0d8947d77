//! Many checks in one call: the limits of a batch, and the error of an item.

use super::{error::Error, status::item_status};
use crate::domain::ids::shortened;

/// The most items in a batch.
const LARGEST: usize = 1_000;

/// The largest batch that its own thread answers: it takes about a tenth of a millisecond. Larger ones go to the
/// background threads.
pub(super) const SMALL: usize = 32;

/// The longest correlation id, in characters.
const LONGEST_CORRELATION_ID: usize = 256;

/// Refuse a batch that is empty or too large.
pub(super) fn check_size(items: usize) -> Result<(), Error> {
    if (1..=LARGEST).contains(&items) {
        return Ok(());
    }
    Err(Error::invalid("items", &format_args!("must be 1 to {LARGEST} items, but are {items}")))
}

/// Answer one item. An error in it doesn't affect other items. Its correlation id is returned, shortened if it is too
/// long.
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
