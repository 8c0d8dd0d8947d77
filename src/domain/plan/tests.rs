//! The outcomes of commands. `import_tests` has those of imports.

use std::time::Duration;

use super::{Changes, Context, plan, planner::Planner};
use crate::domain::{
    change::Event,
    command::{Action, Command, IfMissing, Outcome, QueuePatch, Rejection, Resource, UserPatch},
    fixture::{Fixture, by_queue_id, by_user_id, change, now, queue, user},
    ids::{Sequence, SessionId, UserId},
    model::{EndReason, QueueKind, SessionEnd, SignInChannel, User},
    settings::{Etag, SettingsPatch, Switch},
    vocabulary::Reason,
};

fn not_found(fixture: &mut Fixture, action: Action) -> bool {
    let before = fixture.0.clone();
    let rejected = matches!(fixture.ask(action), Err(Rejection::NotFound { .. }));
    rejected && fixture.0 == before
}

#[test]
fn deleting_a_missing_thing_succeeds_only_if_the_command_accepts_that() {
    for (if_missing, fails) in [(IfMissing::Fail, true), (IfMissing::Accept, false)] {
        let mut fixture = Fixture::new();
        let no_user = Action::DeleteUser { user_id: "new".parse().unwrap(), if_missing, expected_etag: None };
        let no_queue = Action::DeleteQueue { queue_id: "new".parse().unwrap(), if_missing, expected_etag: None };
        assert_eq!((not_found(&mut fixture, no_user), not_found(&mut fixture, no_queue)), (fails, fails));
        fixture.ask(Action::DeleteUser { user_id: "ann".parse().unwrap(), if_missing, expected_etag: None }).unwrap();
        fixture.ask(Action::DeleteQueue { queue_id: "q1".parse().unwrap(), if_missing, expected_etag: None }).unwrap();
        assert!(
            fixture.organization().user_by_id("ann").is_none() && fixture.organization().queue_by_id("q1").is_none()
        );
        fixture.ask(Action::DeleteOrganization { if_missing }).unwrap();
        assert!(fixture.0.organization("acme").is_none());
        assert_eq!(not_found(&mut fixture, Action::DeleteOrganization { if_missing }), fails);
    }
}

#[test]
fn deleting_a_user_or_queue_ends_its_sessions() {
    let mut fixture = Fixture::new();
    for (user_id, queue_id) in [("ann", "q1"), ("bob", "q1"), ("bob", "q2"), ("eve", "q2")] {
        fixture.sign_in(user_id, queue_id, SignInChannel::FeatureCode);
    }
    fixture
        .ask(Action::DeleteQueue { queue_id: "q1".parse().unwrap(), if_missing: IfMissing::Fail, expected_etag: None })
        .unwrap();
    assert_eq!(fixture.organization().session_count(), 2);
    fixture
        .ask(Action::DeleteUser { user_id: "bob".parse().unwrap(), if_missing: IfMissing::Fail, expected_etag: None })
        .unwrap();
    assert_eq!(fixture.organization().session_count(), 1);
    fixture.ask(Action::DeleteOrganization { if_missing: IfMissing::Fail }).unwrap();
    assert_eq!(fixture.0.organizations_after(None).count(), 0);
}

#[test]
fn an_extension_in_use_is_free_only_after_its_owner_changes_it() {
    let mut fixture = Fixture::new();
    let mut update_queue = |queue_id: &str, extension: &str, display_name: &str| {
        let extension = Some(Some(extension.parse().unwrap()));
        let patch = QueuePatch { display_name: Some(display_name.to_owned()), extension, kind: None };
        fixture.ask(Action::UpdateQueue { queue_id: queue_id.parse().unwrap(), patch, expected_etag: None }).is_ok()
    };
    assert!(update_queue("q1", "801", "Sales") && !update_queue("q2", "801", "") && update_queue("q2", "802", ""));
    let mut update_user = |user_id: &str, extension: &str, display_name: &str| {
        let extension = Some(Some(extension.parse().unwrap()));
        let display_name = Some(display_name.to_owned());
        let patch = UserPatch { display_name, extension, ..UserPatch::default() };
        fixture.ask(Action::UpdateUser { user_id: user_id.parse().unwrap(), patch, expected_etag: None }).is_ok()
    };
    assert!(update_user("ann", "101", "Ann") && !update_user("eve", "101", "") && update_user("eve", "109", ""));
    let taken = Action::CreateQueue { queue: queue("q9", Some("802"), QueueKind::CallQueue) };
    assert!(matches!(fixture.ask(taken), Err(Rejection::AlreadyExists { resource: Resource::Queue, .. })));
    let taken = Action::CreateUser { user: user("new", Some("109")) };
    assert!(matches!(fixture.ask(taken), Err(Rejection::AlreadyExists { resource: Resource::User, .. })));
}

#[test]
fn a_login_in_use_is_free_only_after_its_owner_changes_it() {
    let mut fixture = Fixture::new();
    let mut update = |user_id: &str, login: Option<&str>| {
        let login = Some(login.map(|login| login.parse().unwrap()));
        let patch = UserPatch { login, ..UserPatch::default() };
        fixture.ask(Action::UpdateUser { user_id: user_id.parse().unwrap(), patch, expected_etag: None }).is_ok()
    };
    assert!(update("ann", Some("Ann@x")) && update("ann", Some("Ann@x")) && !update("eve", Some("Ann@x")));
    assert!(update("eve", Some("ann@x")), "logins are compared as they are");
    assert!(update("ann", None) && !update("zoe", Some("ann@x")) && update("zoe", Some("Ann@x")));
    let new = User { login: Some("Ann@x".parse().unwrap()), ..user("new", None) };
    let refused = fixture.ask(Action::CreateUser { user: new.clone() });
    assert!(matches!(refused, Err(Rejection::AlreadyExists { resource: Resource::User, name, .. }) if name == "zoe"));
    let delete = |user_id: &str| Action::DeleteUser {
        user_id: user_id.parse().unwrap(),
        if_missing: IfMissing::Fail,
        expected_etag: None,
    };
    fixture.ask(delete("zoe")).unwrap();
    fixture.ask(Action::CreateUser { user: new }).unwrap();
    let owner = |login: &str| fixture.organization().user_with_login(&login.parse().unwrap()).map(UserId::as_str);
    assert_eq!((owner("Ann@x"), owner("ann@x"), owner("zoe@x")), (Some("new"), Some("eve"), None));
}

#[test]
fn an_etag_names_the_change_that_made_the_settings() {
    let mut fixture = Fixture::new();
    let mut patch = SettingsPatch::default();
    patch.turn(Switch::ViewSkills, true).unwrap();
    let expected = Etag(fixture.0.revision().sequence.0 + 1);
    for _ in 0..2 {
        let outcome = fixture.ask(Action::UpdateSettings { patch: patch.clone(), expected_etag: None }).unwrap();
        assert!(matches!(outcome, Outcome::Settings { etag, .. } if etag == expected), "{outcome:?}");
    }
    let stale = Action::UpdateSettings { patch, expected_etag: Some("1".to_owned()) };
    assert_eq!(fixture.ask(stale), Err(Rejection::StaleEtag { thing: "the settings".to_owned() }));
}

#[test]
fn a_session_is_shown_only_with_already_signed_in() {
    let mut fixture = Fixture::new();
    let sign_in = |user: &str| Action::SignIn {
        user: by_user_id(user),
        queue: by_queue_id("q1"),
        channel: SignInChannel::FeatureCode,
        device: String::new(),
    };
    let mut shown = |action| match fixture.ask(action).unwrap() {
        Outcome::SignIn { decision, .. } => (decision.reason, decision.session.is_some()),
        Outcome::SupervisorSignOut { decision, ended } => {
            (decision.reason, decision.session.is_some() != ended.is_empty())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(shown(sign_in("ann")), (Reason::Assigned, false));
    assert_eq!(shown(sign_in("ann")), (Reason::AlreadySignedIn, true));
    let sign_out = |supervisor: &str| Action::SupervisorSignOut {
        supervisor: by_user_id(supervisor),
        user: by_user_id("ann"),
        queue: by_queue_id("q1"),
        justification: String::new(),
    };
    // A session that has ended isn't shown as live. A user who may not end a session doesn't see it.
    assert_eq!(shown(sign_out("bob")), (Reason::SupervisorRoleRequired, true));
    assert_eq!(shown(sign_out("sue")), (Reason::SupervisorSignOut, false));
    assert_eq!(shown(sign_out("sue")), (Reason::SupervisorSignOut, true));
    assert_eq!(fixture.organization().session_count(), 0);
}

/// The writer may not have ended the expired session yet, because it ends a limited number at a time.
#[test]
fn an_expired_session_ends_before_another_starts() {
    const MINUTE: Duration = Duration::from_secs(60);
    let mut fixture = Fixture::new();
    let (user, queue) = (by_user_id("eve"), by_queue_id("q1"));
    fixture
        .ask(Action::SupervisorSignIn {
            supervisor: by_user_id("ada"),
            user: user.clone(),
            queue: queue.clone(),
            ttl: Some(MINUTE),
            justification: String::new(),
        })
        .unwrap();
    let action = Action::SignIn { user, queue, channel: SignInChannel::FeatureCode, device: String::new() };
    let command = Command { organization_id: "acme".parse().unwrap(), action, actor: None };
    let context = Context { now: now().plus(MINUTE), new_session: 9 };
    let planned = plan(&fixture.0, &command, &context).unwrap();
    let changes = planned.changes.apply_to(&mut fixture.0).unwrap();
    let events: Vec<Event> = changes.into_iter().map(|change| change.event).collect();
    let [Event::SessionEnded { session: old, .. }, Event::SessionStarted { session: new, .. }] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert_eq!(old.end, Some(SessionEnd { time: context.now, reason: EndReason::Expired }));
    assert_eq!(
        (&new.session_id, fixture.organization().session_count()),
        (&SessionId::from_bits(context.new_session), 1)
    );
}

#[test]
fn concluding_changes_come_after_those_that_they_depend_on() {
    let fixture = Fixture::new();
    let organization_id = "acme".parse().unwrap();
    let mut planner = Planner::new(&fixture.0, &organization_id, now());
    planner.push(Event::UserCreated { user: user("new", None) }).unwrap();
    planner.push_last([Event::UserDeleted { user: user("new", None) }]);
    let mut after = fixture.0.clone();
    planner.changes().apply_to(&mut after).unwrap();
    assert_eq!(after, fixture.0.clone().at(Sequence(fixture.0.revision().sequence.0 + 2)));
}

/// Otherwise a mistake in the rules would leave half of a command in the published state.
#[test]
fn changes_of_which_one_does_not_fit_leave_the_state_as_it_was() {
    let fixture = Fixture::new();
    let fits = change(Event::UserCreated { user: user("new", None) });
    let doubled = Changes::from(vec![fits.clone(), fits.clone()]);
    let mut state = fixture.0.clone();
    assert_eq!(doubled.apply_to(&mut state).unwrap_err().problem, "the user exists already");
    assert_eq!(state, fixture.0);
    assert_eq!(Changes::from(vec![fits]).apply_to(&mut state).unwrap().len(), 1);
    assert_ne!(state, fixture.0);
}
