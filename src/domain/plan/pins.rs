//! PINs: setting, clearing, and the count of wrong ones.

use super::{lookup::found_user, planner::Planner};
use crate::domain::{
    change::Event,
    command::{Outcome, Rejection, Resource},
    ids::UserRef,
    model::User,
    pin::{PinAnswer, PinHash, PinReason, PinState},
    settings::Etag,
    snapshot::OrganizationState,
    time::Timestamp,
};

/// A PIN that can be compared.
#[derive(Debug)]
pub struct Comparable<'o> {
    /// The user.
    pub user: &'o User,
    /// The state of their PIN.
    pub state: PinState,
}

/// Return the PIN to compare, or the answer that is the same for any PIN.
pub fn comparable<'o>(
    organization: &'o OrganizationState,
    user: &UserRef,
    now: Timestamp,
) -> Result<Comparable<'o>, PinAnswer> {
    let Some(user) = organization.user(user) else {
        return Err(PinAnswer { reason: PinReason::UnknownUser, user_id: None, locked_until: None });
    };
    if user.disabled {
        return Err(PinAnswer::about(user, PinReason::UserDisabled, None));
    }
    let Some(state) = organization.pin_of(&user.user_id) else {
        return Err(PinAnswer::about(user, PinReason::NotSet, None));
    };
    match state.lock(now) {
        Some(until) => Err(PinAnswer::about(user, PinReason::Locked, Some(until))),
        None => Ok(Comparable { user, state }),
    }
}

impl Planner<'_> {
    pub(super) fn set_pin(&mut self, user: &UserRef, hash: &PinHash) -> Result<Outcome, Rejection> {
        let user_id = found_user(self.organization()?, user)?.user_id.clone();
        let etag = self.next_etag();
        self.push(Event::PinSet { user_id, etag, hash: hash.clone() })?;
        Ok(Outcome::PinChanged)
    }

    pub(super) fn clear_pin(&mut self, user: &UserRef) -> Result<Outcome, Rejection> {
        let organization = self.organization()?;
        let user_id = found_user(organization, user)?.user_id.clone();
        if organization.pin_of(&user_id).is_none() {
            let description = format!("user `{user_id}` has no PIN");
            return Err(Rejection::NotFound { resource: Resource::Pin, name: user_id.to_string(), description });
        }
        self.push(Event::PinCleared { user_id })?;
        Ok(Outcome::PinChanged)
    }

    /// Count the comparison of a PIN with the hash of this etag.
    pub(super) fn verify_pin(&mut self, user: &UserRef, etag: Etag, is_equal: bool) -> Result<Outcome, Rejection> {
        let Comparable { user, state } = match comparable(self.organization()?, user, self.now) {
            Ok(comparable) => comparable,
            Err(answer) => return Ok(Outcome::PinVerified { answer }),
        };
        if state.etag != etag {
            return Err(Rejection::StaleEtag { thing: format!("the PIN of user `{}`", user.user_id) });
        }
        let user_id = user.user_id.clone();
        let (answer, event) = if is_equal {
            let has_failures = state.failures > 0;
            let answer = PinAnswer::about(user, PinReason::Verified, None);
            (answer, has_failures.then_some(Event::PinAccepted { user_id }))
        } else {
            let (failures, locked_until) = state.after_failure(self.now);
            let answer = PinAnswer::about(user, PinReason::Wrong, locked_until);
            (answer, Some(Event::PinRefused { user_id, failures, locked_until }))
        };
        event.into_iter().try_for_each(|event| self.push(event))?;
        Ok(Outcome::PinVerified { answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        command::Action,
        fixture::{Fixture, by_user_id},
        pin::MAX_FAILURES,
    };

    fn verify(fixture: &mut Fixture, user: &str, is_equal: bool) -> PinReason {
        let etag = fixture.organization().pin_of(&user.parse().unwrap()).map_or(Etag(0), |state| state.etag);
        match fixture.ask(Action::VerifyPin { user: by_user_id(user), etag, is_equal }).unwrap() {
            Outcome::PinVerified { answer } => answer.reason,
            other => panic!("{other:?}"),
        }
    }

    fn set(fixture: &mut Fixture, user: &str) -> Result<Outcome, Rejection> {
        fixture.ask(Action::SetPin { user: by_user_id(user), hash: PinHash::new("hash".to_owned()) })
    }

    #[test]
    fn wrong_pins_in_a_row_lock_a_pin_and_a_right_one_or_a_new_one_begins_anew() {
        let mut fixture = Fixture::new();
        assert_eq!(verify(&mut fixture, "ann", true), PinReason::NotSet);
        set(&mut fixture, "ann").unwrap();
        let before = fixture.0.revision();
        assert_eq!(verify(&mut fixture, "ann", true), PinReason::Verified);
        assert_eq!(fixture.0.revision(), before, "a right PIN alone changes nothing");
        for round in 0..2 {
            for _ in 1..MAX_FAILURES {
                assert_eq!(verify(&mut fixture, "ann", false), PinReason::Wrong, "{round}");
            }
            assert_eq!(verify(&mut fixture, "ann", true), PinReason::Verified);
        }
        for _ in 0..MAX_FAILURES {
            assert_eq!(verify(&mut fixture, "ann", false), PinReason::Wrong);
        }
        assert_eq!(verify(&mut fixture, "ann", true), PinReason::Locked);
        set(&mut fixture, "ann").unwrap();
        assert_eq!(verify(&mut fixture, "ann", true), PinReason::Verified);
    }

    #[test]
    fn a_comparison_with_an_earlier_pin_does_not_count() {
        let mut fixture = Fixture::new();
        set(&mut fixture, "ann").unwrap();
        let etag = fixture.organization().pin_of(&"ann".parse().unwrap()).unwrap().etag;
        set(&mut fixture, "ann").unwrap();
        let stale = fixture.ask(Action::VerifyPin { user: by_user_id("ann"), etag, is_equal: true });
        assert!(matches!(stale, Err(Rejection::StaleEtag { .. })), "{stale:?}");
    }

    #[test]
    fn a_pin_goes_with_its_user_and_can_be_cleared() {
        let mut fixture = Fixture::new();
        assert!(matches!(set(&mut fixture, "nobody"), Err(Rejection::NotFound { .. })));
        set(&mut fixture, "ann").unwrap();
        fixture.ask(Action::ClearPin { user: by_user_id("ann") }).unwrap();
        let again = fixture.ask(Action::ClearPin { user: by_user_id("ann") });
        assert!(matches!(again, Err(Rejection::NotFound { resource: Resource::Pin, .. })), "{again:?}");
        set(&mut fixture, "dan").unwrap();
        assert_eq!(verify(&mut fixture, "dan", true), PinReason::UserDisabled);
        assert_eq!(verify(&mut fixture, "nobody", true), PinReason::UnknownUser);
        set(&mut fixture, "eve").unwrap();
        let if_missing = crate::domain::command::IfMissing::Fail;
        fixture.ask(Action::DeleteUser { user_id: "eve".parse().unwrap(), if_missing, expected_etag: None }).unwrap();
        assert_eq!(fixture.organization().pin_of(&"eve".parse().unwrap()), None);
    }
}
