//! PINs: they identify a person at a phone that isn't theirs, and grant nothing by themselves (`docs/semantics.md`
//! section 7).
//!
//! INVARIANT: neither a PIN nor its hash is in the state, in the audit log or in a log line. The hash is in a table
//! alone, which only a verification reads.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ids::UserId, model::User, named_enum::named_enum, settings::Etag, time::Timestamp};

/// The number of wrong PINs in a row that locks a PIN.
pub const MAX_FAILURES: u8 = 5;

/// How long a PIN is locked.
pub const LOCKED_FOR: Duration = Duration::from_secs(5 * 60);

/// A PIN: 4 to 10 digits. `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Pin(String);

/// The text is not 4 to 10 digits. The error doesn't repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 4 to 10 digits")]
pub struct MalformedPin;

impl Pin {
    /// Return the digits, to hash them.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl FromStr for Pin {
    type Err = MalformedPin;

    fn from_str(text: &str) -> Result<Self, MalformedPin> {
        let is_pin = (4..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_pin { Ok(Self(text.to_owned())) } else { Err(MalformedPin) }
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}

/// The Argon2id hash of a PIN, in the PHC string format. A PIN has few digits, so a stolen hash can be guessed: it is a
/// secret too. `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PinHash(String);

impl PinHash {
    /// Wrap a hash.
    pub fn new(hash: String) -> Self {
        Self(hash)
    }

    /// Return the hash, to store or to verify it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PinHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PinHash(..)")
    }
}

/// The state of a user's PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinState {
    /// The change that set it. It says whether a hash that was read is the present one.
    pub etag: Etag,
    /// The number of wrong PINs in a row.
    pub failures: u8,
    /// The end of the lock, which may have passed.
    pub locked_until: Option<Timestamp>,
}

impl PinState {
    /// Return a new PIN.
    pub fn new(etag: Etag) -> Self {
        Self { etag, failures: 0, locked_until: None }
    }

    /// Return the end of the lock, if the PIN is locked.
    pub fn lock(&self, now: Timestamp) -> Option<Timestamp> {
        self.locked_until.filter(|until| *until > now)
    }

    /// Return the number of failures and the end of the lock after another wrong PIN.
    pub fn after_failure(&self, now: Timestamp) -> (u8, Option<Timestamp>) {
        // A lock that has passed begins the count anew.
        let before = if self.locked_until.is_some() { 0 } else { self.failures };
        let failures = before.saturating_add(1);
        (failures, (failures >= MAX_FAILURES).then(|| now.plus(LOCKED_FOR)))
    }
}

named_enum!(
    /// The reason of the answer to a PIN.
    PinReason, "a reason such as WRONG" {
        /// The PIN is the user's.
        Verified = "VERIFIED",
        /// The PIN is another one.
        Wrong = "WRONG",
        /// The PIN is locked, after several wrong ones in a row.
        Locked = "LOCKED",
        /// The user has no PIN.
        NotSet = "NOT_SET",
        /// There is no such user.
        UnknownUser = "UNKNOWN_USER",
        /// The user is disabled.
        UserDisabled = "USER_DISABLED",
    }
);

/// The answer to a PIN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinAnswer {
    /// The reason.
    pub reason: PinReason,
    /// The user, if they exist.
    pub user_id: Option<UserId>,
    /// The end of the lock, if the PIN is locked.
    pub locked_until: Option<Timestamp>,
}

impl PinAnswer {
    /// Make the answer about a user.
    pub fn about(user: &User, reason: PinReason, locked_until: Option<Timestamp>) -> Self {
        Self { reason, user_id: Some(user.user_id.clone()), locked_until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_4_to_10_digits_and_no_error_or_debug_text_shows_it() {
        for wrong in ["", "123", "12345678901", "12a4", "१२३४", " 1234"] {
            assert_eq!(wrong.parse::<Pin>(), Err(MalformedPin), "{wrong}");
        }
        let pin: Pin = "0123456789".parse().unwrap();
        assert_eq!(format!("{pin:?} {:?}", PinHash::new("secret".to_owned())), "Pin(..) PinHash(..)");
    }

    #[test]
    fn the_fifth_wrong_pin_in_a_row_locks_it_and_a_lock_that_has_passed_begins_anew() {
        let now = Timestamp::from_unix_ms(1_000);
        let mut state = PinState::new(Etag(1));
        for failures in 1..MAX_FAILURES {
            (state.failures, state.locked_until) = state.after_failure(now);
            assert_eq!((state.failures, state.lock(now)), (failures, None));
        }
        (state.failures, state.locked_until) = state.after_failure(now);
        let until = now.plus(LOCKED_FOR);
        assert_eq!((state.failures, state.lock(now)), (MAX_FAILURES, Some(until)));
        assert_eq!((state.lock(until), state.after_failure(until)), (None, (1, None)));
    }
}
