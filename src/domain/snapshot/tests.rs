//! Changes that fit, changes that don't, and the state after changes and their reversals.

use imbl::{OrdMap, OrdSet};

use super::{OrganizationState, QueueState, role_holders::RoleHolders};
use crate::domain::{
    chain::Digest,
    change::Event,
    fixture::{Fixture, change, now, queue, user},
    ids::{Sequence, SessionId},
    model::{Basis, Channel, Organization, Penalty, Queue, QueueKind, Role, RoleAssignment, Session, User},
    settings::Etag,
    time::Timestamp,
};

fn assignment(user_id: &str, role: Role, queue_id: Option<&str>) -> RoleAssignment {
    let queue_id = queue_id.map(|queue_id| queue_id.parse().unwrap());
    RoleAssignment { user_id: user_id.parse().unwrap(), role, queue_id, penalty: Penalty::default() }
}

fn session(user_id: &str, queue_id: &str, expire_time: Option<i64>) -> Session {
    Session {
        session_id: format!("{user_id}-{queue_id}").parse().unwrap(),
        user_id: user_id.parse().unwrap(),
        queue_id: queue_id.parse().unwrap(),
        channel: Channel::FeatureCode,
        basis: Basis::UnassignedAllowed,
        signed_in_by: user_id.parse().unwrap(),
        sign_in_time: now(),
        expire_time: expire_time.map(Timestamp::from_unix_ms),
        device: String::new(),
        end: None,
    }
}

fn started(session: Session) -> Event {
    Event::SessionStarted { session, justification: String::new() }
}

fn ended(session: Session) -> Event {
    Event::SessionEnded { session, supervisor_id: None, justification: String::new() }
}

#[test]
fn a_change_that_does_not_fit_leaves_everything_as_it_was() {
    let mut fixture = Fixture::new();
    fixture.0.apply(&change(started(session("eve", "q1", None)))).unwrap();
    let organization = fixture.organization().attributes().clone();
    let settings = *fixture.organization().settings();
    let created = |user| Event::UserCreated { user };
    let updated = |user: User| Event::UserUpdated { before: user.clone(), user };
    let queue_of = |queue_id, extension| queue(queue_id, extension, QueueKind::CallQueue);
    let queue_updated = |queue: Queue| Event::QueueUpdated { before: queue.clone(), queue };
    let assigned = |user_id, role, queue_id| Event::RoleAssigned { assignment: assignment(user_id, role, queue_id) };
    let taken = |user_id, role, queue_id| Event::RoleUnassigned { assignment: assignment(user_id, role, queue_id) };
    let no_license = |user_id| User { contact_center_license: false, ..user(user_id, None) };
    let other_session = || Session { session_id: SessionId::from_bits(7), ..session("eve", "q1", None) };
    for (event, problem) in [
        (
            Event::OrganizationCreated { organization: organization.clone(), settings, etag: Etag(1) },
            "the organization exists already",
        ),
        (Event::OrganizationDeleted { organization, settings }, "the organization still has sessions"),
        (created(user("ann", None)), "the user exists already"),
        (created(user("new", Some("101"))), "the extension is in use"),
        (updated(user("new", None)), "no such user"),
        (updated(no_license("sue")), "a user who holds a role needs a licence"),
        (updated(user("eve", Some("101"))), "the extension is in use"),
        (Event::UserDeleted { user: user("eve", None) }, "the user still has sessions"),
        (Event::UserDeleted { user: user("bob", None) }, "the user still has roles"),
        (Event::UserDeleted { user: user("new", None) }, "no such user"),
        (Event::QueueCreated { queue: queue_of("q1", None) }, "the queue exists already"),
        (Event::QueueCreated { queue: queue_of("new", Some("801")) }, "the extension is in use"),
        (queue_updated(queue_of("new", None)), "no such queue"),
        (queue_updated(queue_of("q2", Some("801"))), "the extension is in use"),
        (Event::QueueDeleted { queue: queue_of("q1", None) }, "the queue still has sessions"),
        (Event::QueueDeleted { queue: queue_of("q2", None) }, "the queue still has roles"),
        (Event::QueueDeleted { queue: queue_of("new", None) }, "no such queue"),
        (assigned("new", Role::Agent, None), "no such user"),
        (assigned("eve", Role::Agent, Some("nowhere")), "no such queue"),
        (assigned("eve", Role::ContactAdmin, Some("q1")), "CONTACT_ADMIN is never given for a queue"),
        (assigned("bob", Role::Agent, None), "the role is assigned already"),
        (assigned("ann", Role::Agent, Some("q1")), "the role is assigned already"),
        (taken("bob", Role::Supervisor, None), "no such role assignment"),
        (taken("ann", Role::Agent, None), "no such role assignment"),
        (taken("ann", Role::Agent, Some("q2")), "no such role assignment"),
        (started(session("eve", "nowhere", None)), "no such user or queue"),
        (started(session("new", "q1", None)), "no such user or queue"),
        (started(session("eve", "q1", None)), "the user has a session on the queue already"),
        (ended(session("eve", "q2", None)), "no such session"),
        (ended(other_session()), "no such session"),
        (Event::AuditLogCut { through: Sequence(0), hash: Digest::GENESIS }, "the audit log was cut there before"),
    ] {
        let mut after = fixture.0.clone();
        let inapplicable = after.apply(&change(event.clone())).unwrap_err();
        assert_eq!((inapplicable.problem, after == fixture.0), (problem, true), "{event:?}");
    }
    let unlicensed = no_license("eve");
    fixture.0.apply(&change(updated(unlicensed))).unwrap();
    let refused = fixture.0.apply(&change(assigned("eve", Role::Agent, None))).unwrap_err();
    assert_eq!(refused.problem, "a user who holds a role needs a licence");
}

#[test]
fn changes_and_their_reversals_leave_the_same_state() {
    let fixture = Fixture::new();
    let steps = [
        (Event::UserCreated { user: user("new", Some("109")) }, Event::UserDeleted { user: user("new", Some("109")) }),
        (
            Event::QueueCreated { queue: queue("q9", Some("809"), QueueKind::CallQueue) },
            Event::QueueDeleted { queue: queue("q9", Some("809"), QueueKind::CallQueue) },
        ),
    ]
    .into_iter()
    .chain(
        [
            ("new", Role::Agent, None),
            ("new", Role::Supervisor, Some("q9")),
            ("new", Role::Agent, Some("q9")),
            ("new", Role::Agent, Some("q1")),
        ]
        .map(|(user_id, role, queue_id)| {
            let assignment = assignment(user_id, role, queue_id);
            (Event::RoleAssigned { assignment: assignment.clone() }, Event::RoleUnassigned { assignment })
        }),
    )
    .chain(
        [("new", "q9", Some(5)), ("new", "q1", None), ("eve", "q9", Some(3))]
            .map(|(user_id, queue_id, expire_time)| session(user_id, queue_id, expire_time))
            .map(|session| (started(session.clone()), ended(session))),
    );
    let mut snapshot = fixture.0.clone();
    let mut states = Vec::new();
    let mut back = Vec::new();
    for (done, undone) in steps {
        states.push(snapshot.clone());
        snapshot.apply(&change(done)).unwrap();
        back.push(undone);
    }
    let organization = snapshot.organization("acme").unwrap();
    assert_eq!((organization.session_count(), organization.user_count(), organization.queue_count()), (3, 9, 5));
    assert_eq!((organization.supervised_queues("new"), organization.supervised_queues("eve")), (1, 0));
    let roles: Vec<_> = organization.assignments_of_user(&"new".parse().unwrap()).collect();
    let expected = [
        ("new", Role::Agent, None),
        ("new", Role::Agent, Some("q1")),
        ("new", Role::Supervisor, Some("q9")),
        ("new", Role::Agent, Some("q9")),
    ];
    assert_eq!(roles, expected.map(|(user_id, role, queue_id)| assignment(user_id, role, queue_id)));
    let on_queue: Vec<_> = organization.assignments_on_queue(&"q9".parse().unwrap()).collect();
    assert_eq!(on_queue, roles.iter().skip(2).cloned().collect::<Vec<_>>());
    for undone in back.into_iter().rev() {
        snapshot.apply(&change(undone)).unwrap();
        let before = states.pop().unwrap();
        assert_eq!(snapshot.clone().at(before.revision().sequence), before);
    }
    assert_eq!(snapshot.clone().at(fixture.0.revision().sequence), fixture.0);
}

#[test]
fn a_role_is_held_as_long_as_an_assignment_confers_it() {
    let mut fixture = Fixture::new();
    let mut apply = |event| {
        fixture.0.apply(&change(event)).unwrap();
        fixture.organization().roles_held("eve")
    };
    for role in [Role::Agent, Role::Supervisor] {
        let given = |queue_id| Event::RoleAssigned { assignment: assignment("eve", role, queue_id) };
        let taken = |queue_id| Event::RoleUnassigned { assignment: assignment("eve", role, queue_id) };
        for (event, held) in [
            (given(Some("q1")), true),
            (given(Some("q2")), true),
            (given(None), true),
            (taken(Some("q1")), true),
            (taken(None), true),
            (taken(Some("q2")), false),
        ] {
            assert_eq!(apply(event.clone()).contains(role), held, "{event:?}");
        }
    }
}

#[test]
fn an_extension_is_free_after_its_owner_changes_it() {
    let mut fixture = Fixture::new();
    let mut apply = |user_id: &str, before, extension| {
        let event = Event::UserUpdated { before: user(user_id, before), user: user(user_id, extension) };
        fixture.0.apply(&change(event)).unwrap();
        let whose = |extension: &str| {
            let owner = fixture.organization().user_with_extension(&extension.parse().unwrap());
            owner.map(|owner| owner.to_string())
        };
        (whose("101"), whose("109"))
    };
    assert_eq!(apply("ann", Some("101"), Some("101")), (Some("ann".to_owned()), None));
    assert_eq!(apply("ann", Some("101"), Some("109")), (None, Some("ann".to_owned())));
    assert_eq!(apply("eve", None, Some("101")), (Some("eve".to_owned()), Some("ann".to_owned())));
    assert_eq!(apply("ann", Some("109"), None), (Some("eve".to_owned()), None));
}

#[test]
fn lists_continue_after_the_last_entry_seen() {
    let mut fixture = Fixture::new();
    for (user_id, queue_id, expire_time) in [("eve", "q1", Some(3)), ("eve", "q2", None), ("sue", "q1", Some(2))] {
        fixture.0.apply(&change(started(session(user_id, queue_id, expire_time)))).unwrap();
    }
    let organization = fixture.organization();
    let all =
        |after| organization.sessions_after(after).map(|session| session.session_id.to_string()).collect::<Vec<_>>();
    assert_eq!(all(None), ["eve-q1", "eve-q2", "sue-q1"]);
    assert_eq!(all(Some(("eve", "q1"))), ["eve-q2", "sue-q1"]);
    assert_eq!(all(Some(("eve", "q3"))), ["sue-q1"]);
    assert_eq!(all(Some(("ann", "q9"))), ["eve-q1", "eve-q2", "sue-q1"]);
    let users = |after| organization.users_after(after).map(|user| user.user_id.to_string()).collect::<Vec<_>>();
    assert_eq!((users(Some("eve")), users(None).len()), (vec!["sue".to_owned(), "zoe".to_owned()], 8));
    let on_queue = organization.sessions_on_queue("q1", Some("eve")).map(|session| session.user_id.to_string());
    assert_eq!(on_queue.collect::<Vec<_>>(), ["sue"]);
    assert_eq!(fixture.0.organizations_after(None).count() + fixture.0.organizations_after(Some("acme")).count(), 1);

    let expired = |ms| {
        let expired = fixture.0.expired(Timestamp::from_unix_ms(ms));
        expired
            .map(|(organization_id, session)| format!("{organization_id} {}", session.session_id))
            .collect::<Vec<_>>()
    };
    assert_eq!((expired(1), expired(2)), (vec![], vec!["acme sue-q1".to_owned()]));
    assert_eq!(expired(3), ["acme sue-q1", "acme eve-q1"]);
    assert_eq!(fixture.0.next_expiration(), Some(Timestamp::from_unix_ms(2)));
    assert_eq!(organization.live_session("sue", "q1", Timestamp::from_unix_ms(2)), None);
    assert!(organization.live_session("sue", "q1", Timestamp::from_unix_ms(1)).is_some());
}

/// Loaded states are compared with replayed ones, so the comparison must find every difference.
#[test]
fn organizations_are_equal_if_their_content_is() {
    let with = |queues: [&str; 2], then: &[Event]| {
        let mut fixture = Fixture::new();
        let created = queues.map(|queue_id| Event::QueueCreated { queue: queue(queue_id, None, QueueKind::CallQueue) });
        for event in created.iter().chain(then) {
            fixture.0.apply(&change(event.clone())).unwrap();
        }
        fixture
    };
    let assigned = |role, queue_id| Event::RoleAssigned { assignment: assignment("eve", role, queue_id) };
    let usual = [
        assigned(Role::Agent, Some("x")),
        assigned(Role::Supervisor, Some("y")),
        started(session("eve", "x", None)),
        started(session("eve", "y", None)),
    ];
    let fixture = with(["x", "y"], &usual);
    assert_eq!(fixture.organization(), with(["y", "x"], &usual).organization());
    let [agent, supervisor, on_x, on_y] = usual;
    let named =
        |display_name: &str| Queue { display_name: display_name.to_owned(), ..queue("x", None, QueueKind::CallQueue) };
    let renamed = User { display_name: "Eve".into(), ..user("eve", None) };
    let other_session = Session { device: "SIP/7".to_owned(), ..session("eve", "y", None) };
    let organization = Organization { display_name: "Other".to_owned(), ..fixture.organization().attributes().clone() };
    let settings = *fixture.organization().settings();
    for different in [
        vec![supervisor.clone(), on_x.clone(), on_y.clone()],
        vec![agent.clone(), supervisor.clone(), on_x.clone()],
        vec![assigned(Role::Agent, Some("y")), assigned(Role::Supervisor, Some("x")), on_x.clone(), on_y.clone()],
        vec![agent.clone(), supervisor.clone(), on_x.clone(), started(other_session)],
    ]
    .into_iter()
    .chain(
        [
            assigned(Role::Agent, Some("y")),
            assigned(Role::Agent, None),
            Event::UserUpdated { before: user("eve", None), user: renamed },
            Event::QueueUpdated { before: named(""), queue: named("X") },
            Event::OrganizationUpdated { before: organization.clone(), organization },
            Event::SettingsUpdated { before: settings, settings, etag: Etag(77) },
        ]
        .map(|more| vec![agent.clone(), supervisor.clone(), on_x.clone(), on_y.clone(), more]),
    ) {
        assert_ne!(fixture.organization(), with(["y", "x"], &different).organization(), "{different:?}");
    }
}

/// Assembly computes the indexes of a loaded state anew, so the comparison must include them.
#[test]
fn organizations_differ_if_their_indexes_do() {
    let mut fixture = Fixture::new();
    for event in [
        Event::QueueCreated { queue: queue("x", None, QueueKind::CallQueue) },
        Event::RoleAssigned { assignment: assignment("eve", Role::Agent, Some("x")) },
        started(session("eve", "x", None)),
    ] {
        fixture.0.apply(&change(event)).unwrap();
    }
    let mistakes: [fn(&mut OrganizationState); 7] = [
        |organization| organization.role_holders = RoleHolders::default(),
        |organization| organization.session_holders = OrdSet::new(),
        |organization| organization.sessions += 1,
        |organization| {
            let place = organization.queues.get("x").unwrap().clone();
            organization.queues.replace(QueueState { role_holders: OrdSet::new(), ..place }).unwrap();
        },
        |organization| organization.session_holders_on = OrdMap::new(),
        |organization| {
            let slot = organization.queues.get("x").unwrap().slot;
            organization.session_holders_on.insert(slot, OrdSet::new());
        },
        |organization| {
            let slot_of_none = organization.slots.next().unwrap();
            organization.session_holders_on.insert(slot_of_none, OrdSet::new());
        },
    ];
    for (number, mistake) in mistakes.into_iter().enumerate() {
        let mut mistaken = fixture.organization().clone();
        assert_eq!(*fixture.organization(), mistaken);
        mistake(&mut mistaken);
        assert_ne!(*fixture.organization(), mistaken, "mistake {number}");
    }
}

/// User states store slots, and a slot may have belonged to another queue before.
#[test]
fn a_queue_in_the_slot_of_a_deleted_one_has_no_roles_or_sessions() {
    let mut fixture = Fixture::new();
    let slot = |fixture: &Fixture, queue_id: &str| fixture.organization().queues.get(queue_id).unwrap().slot;
    fixture.0.apply(&change(Event::QueueCreated { queue: queue("old", None, QueueKind::CallQueue) })).unwrap();
    let of_old = slot(&fixture, "old");
    for event in [
        Event::RoleAssigned { assignment: assignment("eve", Role::Agent, Some("old")) },
        started(session("eve", "old", None)),
        ended(session("eve", "old", None)),
        Event::RoleUnassigned { assignment: assignment("eve", Role::Agent, Some("old")) },
        Event::QueueDeleted { queue: queue("old", None, QueueKind::CallQueue) },
        Event::QueueCreated { queue: queue("new", None, QueueKind::CallQueue) },
        Event::RoleAssigned { assignment: assignment("bob", Role::Supervisor, Some("new")) },
    ] {
        fixture.0.apply(&change(event)).unwrap();
    }
    assert_eq!(slot(&fixture, "new"), of_old);
    let organization = fixture.organization();
    let roles =
        |user_id| organization.queue_roles_of_user(user_id).map(|(queue_id, _)| queue_id.as_str()).collect::<Vec<_>>();
    assert_eq!((roles("eve"), roles("bob"), roles("ann")), (vec![], vec!["new"], vec!["q1"]));
    assert!(
        organization.roles_on_queue("eve", "new").is_empty()
            && organization.live_session("eve", "new", now()).is_none()
    );
}
