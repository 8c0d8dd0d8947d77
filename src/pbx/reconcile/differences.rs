//! The difference between the members and the sessions of a queue. PURE.

use std::collections::{BTreeMap, BTreeSet};

use crate::pbx::{connection::Member, journal::PendingAction, key_locks::MemberKey};

/// A correction of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Correction {
    Add,
    Remove,
}

impl Correction {
    /// Return the name for the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
        }
    }
}

/// Return the corrections after which exactly the interfaces with a session are members. `with_session` has the
/// interfaces by member. A member with a pending operation is corrected only if its session will end.
pub(crate) fn differences(
    pbx_queue: &str,
    members: &[Member],
    with_session: &BTreeMap<MemberKey, String>,
    pending: impl Fn(&MemberKey) -> Option<PendingAction>,
) -> Vec<(Correction, MemberKey, String)> {
    let keyed = |member: &Member| (MemberKey::new(pbx_queue, &member.interface), member.interface.clone());
    let rings = |member: &&Member| !member.is_logged_out;
    let present: BTreeSet<MemberKey> = members.iter().filter(rings).map(|member| keyed(member).0).collect();
    let is_missing = |key: &MemberKey| !present.contains(key) && pending(key).is_none();
    let missing = with_session.iter().filter(|(key, _)| is_missing(key));
    let missing = missing.map(|(key, interface)| (Correction::Add, key.clone(), interface.clone()));
    let is_surplus = |key: &MemberKey| match pending(key) {
        None => !with_session.contains_key(key),
        // The replay will end the session.
        Some(PendingAction::SignOut) => true,
        // The replay will find out whether there is a session to keep.
        Some(PendingAction::UndoSignIn { .. }) => false,
    };
    let surplus = members.iter().filter(|member| member.is_dynamic).map(keyed).filter(|(key, _)| is_surplus(key));
    missing.chain(surplus.map(|(key, interface)| (Correction::Remove, key, interface))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_whose_agent_is_logged_out_is_added_again_if_it_has_a_session() {
        let member =
            Member { interface: "101@pbx".to_owned(), is_dynamic: true, is_logged_out: true, ..Member::default() };
        let with_session = BTreeMap::from([(MemberKey::new("801", "101@pbx"), "101@pbx".to_owned())]);
        let corrections = |with_session| differences("801", &[member.clone()], with_session, |_| None);
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
            let with_session = has_session.then(|| (key.clone(), "PJSIP/101".to_owned())).into_iter().collect();
            // Asterisk ignores case.
            let member = |is_dynamic| Member { interface: "pjsip/101".to_owned(), is_dynamic, ..Member::default() };
            let members: Vec<Member> = member_is_dynamic.map(member).into_iter().collect();
            let found = differences("801", &members, &with_session, |_| pending.clone());
            let found: Vec<Correction> = found.into_iter().map(|(correction, _, _)| correction).collect();
            assert_eq!(found, Vec::from_iter(expected), "{has_session} {member_is_dynamic:?} {pending:?}");
        }
    }
}
