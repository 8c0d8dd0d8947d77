//! The database's clock, as a node measures it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// The longest wait for an answer whose time counts as the present. In a commit that waits for the standby, the database
/// tells the time long before its answer comes.
const MAX_CLOCK_WAIT: Duration = Duration::from_secs(1);

/// The difference of the database's clock from this machine's.
#[derive(Debug, Default)]
pub struct DatabaseTime {
    ahead_ms: AtomicI64,
}

impl DatabaseTime {
    /// Return how far the database's clock is ahead of this machine's, by the last measurement.
    pub fn ahead_ms(&self) -> i64 {
        self.ahead_ms.load(Ordering::Relaxed)
    }

    /// Measure the difference: the database returned this time, in an answer that came after `waited`.
    pub(super) fn measure(&self, database_ms: i64, waited: Duration) {
        if waited > MAX_CLOCK_WAIT {
            return;
        }
        let own = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let own_ms = i64::try_from(own.as_millis()).unwrap_or(i64::MAX);
        self.ahead_ms.store(database_ms.saturating_sub(own_ms), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_waited_for_the_standby_does_not_tell_the_time() {
        let clock = DatabaseTime::default();
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let database_ms = i64::try_from(wall.as_millis()).unwrap() + 3_600_000;
        clock.measure(database_ms, MAX_CLOCK_WAIT);
        let ahead_ms = clock.ahead_ms();
        assert!((3_500_000..=3_600_000).contains(&ahead_ms), "{ahead_ms}");
        clock.measure(database_ms - 6_000, MAX_CLOCK_WAIT + Duration::from_millis(1));
        assert_eq!(clock.ahead_ms(), ahead_ms);
    }
}
