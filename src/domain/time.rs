//! An instant of the wall clock. The rules never read a clock; they are given the time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Return the instant `ms` milliseconds after 1970-01-01T00:00:00Z.
    pub fn from_unix_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Return the milliseconds since 1970-01-01T00:00:00Z.
    pub fn unix_ms(self) -> i64 {
        self.0
    }

    /// Return this instant plus `duration`, or the last instant that fits.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Return this instant less `duration`, or the first instant that fits.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Return the time from `earlier` to this instant, or zero if `earlier` isn't earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_in_milliseconds_and_saturates() {
        let at = Timestamp::from_unix_ms;
        let second = Duration::from_secs(1);
        assert_eq!((at(5).plus(second), at(5).minus(second)), (at(1_005), at(-995)));
        assert_eq!((at(i64::MAX - 1).plus(second), at(i64::MIN + 1).minus(second)), (at(i64::MAX), at(i64::MIN)));
        assert_eq!((at(0).plus(Duration::MAX), at(0).minus(Duration::MAX)), (at(i64::MAX), at(-i64::MAX)));
        assert_eq!(at(1_005).since(at(5)), second);
        assert_eq!((at(5).since(at(5)), at(5).since(at(6))), (Duration::ZERO, Duration::ZERO));
    }
}
