//! The difference between the members and the sessions of a queue. PURE.

use std::collections::{BTreeMap, BTreeSet};

use super::phones::RingingPhone;
use crate::pbx::{connection::Member, journal::PendingAction, key_locks::MemberKey};

/// A correction of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Correction {
    Add,
    SetPenalty,
    Remove,
}

impl Correction {
    /// Return the name for the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::SetPenalty => "set penalty",
            Self::Remove => "remove",
        }
    }
}

/// Return the corrections after which exactly the phones with a session are members, with the penalties of the sessions.
/// `with_session` has the phones by member. A member with a pending operation is corrected only if its session will end.
pub(crate) fn differences(
    pbx_queue: &str,
    members: &[Member],
    with_session: &BTreeMap<MemberKey, RingingPhone>,
    pending: impl Fn(&MemberKey) -> Option<PendingAction>,
) -> Vec<(Correction, MemberKey, String)> {
    let keyed = |member: &Member| (MemberKey::new(pbx_queue, &member.interface), member.interface.clone());
    let rings = |member: &&Member| !member.is_logged_out;
    let present: BTreeSet<MemberKey> = members.iter().filter(rings).map(|member| keyed(member).0).collect();
    let is_missing = |key: &MemberKey| !present.contains(key) && pending(key).is_none();
    let missing = with_session.iter().filter(|(key, _)| is_missing(key));
    let missing = missing.map(|(key, phone)| (Correction::Add, key.clone(), phone.interface.clone()));
    let is_surplus = |key: &MemberKey| match pending(key) {
        None => !with_session.contains_key(key),
        // The replay will end the session.
        Some(PendingAction::SignOut) => true,
        // The replay will find out whether there is a session to keep.
        Some(PendingAction::UndoSignIn { .. }) => false,
    };
    let dynamic = || members.iter().filter(|member| member.is_dynamic);
    let surplus = dynamic().map(keyed).filter(|(key, _)| is_surplus(key));
    let surplus = surplus.map(|(key, interface)| (Correction::Remove, key, interface));
    let has_other_penalty = |member: &&Member| {
        let (key, _) = keyed(member);
        let phone = with_session.get(&key).filter(|_| pending(&key).is_none());
        phone.is_some_and(|phone| phone.profile.penalty != member.state.penalty)
    };
    let other_penalty = dynamic().filter(has_other_penalty).map(keyed);
    let other_penalty = other_penalty.map(|(key, interface)| (Correction::SetPenalty, key, interface));
    missing.chain(surplus).chain(other_penalty).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pbx::{connection::MemberState, names::MemberProfile};

    #[test]
    fn a_dynamic_member_with_another_penalty_than_its_session_is_corrected() {
        for (penalty, is_dynamic, expected) in
            [(3, true, None), (0, true, Some(Correction::SetPenalty)), (0, false, None)]
        {
            let key = MemberKey::new("801", "PJSIP/101");
            let profile = MemberProfile { penalty: 3, ..MemberProfile::default() };
            let phone = RingingPhone { interface: "PJSIP/101".to_owned(), profile };
            let state = MemberState { penalty, ..MemberState::default() };
            let member = Member { interface: "PJSIP/101".to_owned(), is_dynamic, state, ..Member::default() };
            let found = differences("801", &[member], &[(key, phone)].into(), |_| None);
            let found: Vec<Correction> = found.into_iter().map(|(correction, ..)| correction).collect();
            assert_eq!(found, Vec::from_iter(expected), "{penalty} {is_dynamic}");
        }
    }

    #[test]
    fn a_member_whose_agent_is_logged_out_is_added_again_if_it_has_a_session() {
        let member =
            Member { interface: "101@pbx".to_owned(), is_dynamic: true, is_logged_out: true, ..Member::default() };
        let phone = RingingPhone { interface: "101@pbx".to_owned(), profile: MemberProfile::default() };
        let with_session = BTreeMap::from([(MemberKey::new("801", "101@pbx"), phone)]);
        let corrections = |with_session| differences("801", std::slice::from_ref(&member), with_session, |_| None);
        let of = |found: Vec<(Correction, MemberKey, String)>| {
            found.into_iter().map(|(correction, ..)| correction).collect::<Vec<_>>()
        };
        assert_eq!(of(corrections(&with_session)), [Correction::Add]);
        assert_eq!(of(corrections(&BTreeMap::new())), [Correction::Remove]);
    }

    /// Every combination of a session, a member and a pending operation.
    #[test]
    fn a_phone_rings_when_and_only_when_it_has_a_session_without_a_pending_end() {
        let undo = || Some(PendingAction::UndoSignIn { request_ids: vec!["r".to_owned()] });
        let sign_out = || Some(PendingAction::SignOut);
        // The member is absent, static (false) or dynamic (true).
        for (has_session, member_is_dynamic, pending, expected) in [
            (false, None, None, None),
            (true, None, None, Some(Correction::Add)),
            (false, Some(true), None, Some(Correction::Remove)),
            (true, Some(true), None, None),
            (false, Some(false), None, None),
            (true, Some(false), None, None),
            (false, None, sign_out(), None),
            (true, None, sign_out(), None),
            (false, Some(true), sign_out(), Some(Correction::Remove)),
            (true, Some(true), sign_out(), Some(Correction::Remove)),
            (true, Some(false), sign_out(), None),
            (true, None, undo(), None),
            (false, None, undo(), None),
            (true, Some(true), undo(), None),
            (false, Some(true), undo(), None),
        ] {
            let key = MemberKey::new("801", "PJSIP/101");
            let phone = || RingingPhone { interface: "PJSIP/101".to_owned(), profile: MemberProfile::default() };
            let with_session = has_session.then(|| (key.clone(), phone())).into_iter().collect();
            // Asterisk ignores case.
            let member = |is_dynamic| Member { interface: "pjsip/101".to_owned(), is_dynamic, ..Member::default() };
            let members: Vec<Member> = member_is_dynamic.map(member).into_iter().collect();
            let found = differences("801", &members, &with_session, |_| pending.clone());
            let found: Vec<Correction> = found.into_iter().map(|(correction, _, _)| correction).collect();
            assert_eq!(found, Vec::from_iter(expected), "{has_session} {member_is_dynamic:?} {pending:?}");
        }
    }
}
