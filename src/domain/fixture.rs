//! A small organization for the tests of the rules. Commands change it, as callers do.

use super::{
    change::Event,
    command::{Action, Command, Outcome, Rejection},
    ids::{Lineage, QueueRef, UserRef},
    model::{Queue, QueueKind, Role, SignInChannel, User},
    plan::{Context, plan},
    settings::{SettingsPatch, Switch, UnassignedQueueSignIn},
    snapshot::{OrganizationState, Snapshot},
    time::Timestamp,
};

/// Return the time of every command and decision.
pub fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_000_000)
}

/// The organization `acme`. ada is a contact admin; sue supervises q1; zoe supervises every queue that supervisors may.
/// ann is an agent of q1, cle of q2, bob of no queue; dan is a disabled agent of q1; eve has no role. q1 and q2 are
/// call queues, q3 is an inbox, q4 a ring group.
pub struct Fixture(pub Snapshot);

impl Fixture {
    pub fn new() -> Self {
        let mut fixture = Self(Snapshot::empty(Lineage { store_id: 1, epoch: 1 }));
        let unassigned_queue_sign_in = UnassignedQueueSignIn::Allowed;
        fixture.ask(Action::CreateOrganization { display_name: "Acme".to_owned(), unassigned_queue_sign_in }).unwrap();
        for (queue_id, extension, kind) in [
            ("q1", Some("801"), QueueKind::CallQueue),
            ("q2", None, QueueKind::CallQueue),
            ("q3", None, QueueKind::Inbox),
            ("q4", None, QueueKind::RingGroup),
        ] {
            fixture.ask(Action::CreateQueue { queue: queue(queue_id, extension, kind) }).unwrap();
        }
        for (user_id, extension) in [
            ("ada", None),
            ("ann", Some("101")),
            ("bob", Some("102")),
            ("cle", None),
            ("dan", None),
            ("eve", None),
            ("sue", None),
            ("zoe", None),
        ] {
            fixture.ask(Action::CreateUser { user: user(user_id, extension) }).unwrap();
        }
        for (user_id, role, queue_id) in [
            ("ada", Role::ContactAdmin, None),
            ("ann", Role::Agent, Some("q1")),
            ("bob", Role::Agent, None),
            ("cle", Role::Agent, Some("q2")),
            ("dan", Role::Agent, Some("q1")),
            ("sue", Role::Supervisor, Some("q1")),
            ("zoe", Role::Supervisor, None),
        ] {
            let queue = queue_id.map(by_queue_id);
            fixture.ask(Action::AssignRole { user: by_user_id(user_id), role, queue, penalty: None }).unwrap();
        }
        let disabled = User { disabled: true, ..user("dan", None) };
        fixture.0.apply(&change(Event::UserUpdated { before: user("dan", None), user: disabled })).unwrap();
        fixture
    }

    /// Carry out an action as its caller.
    pub fn ask(&mut self, action: Action) -> Result<Outcome, Rejection> {
        let command = Command { organization_id: "acme".parse().unwrap(), action, actor: None };
        let new_session = u128::from(self.0.revision().sequence.0);
        let plan = plan(&self.0, &command, &Context { now: now(), new_session })?;
        plan.changes.apply_to(&mut self.0).unwrap();
        Ok(plan.outcome)
    }

    pub fn organization(&self) -> &OrganizationState {
        self.0.organization("acme").unwrap()
    }

    pub fn sign_in(&mut self, user_id: &str, queue_id: &str, channel: SignInChannel) {
        let action =
            Action::SignIn { user: by_user_id(user_id), queue: by_queue_id(queue_id), channel, device: String::new() };
        let outcome = self.ask(action).unwrap();
        assert!(matches!(outcome, Outcome::SignIn { created: true, .. }), "{outcome:?}");
    }

    pub fn set(&mut self, value: UnassignedQueueSignIn, turned: &[(Switch, bool)]) {
        let mut patch = SettingsPatch::default();
        patch.unassigned_queue_sign_in = Some(value);
        turned.iter().try_for_each(|&(switch, on)| patch.turn(switch, on)).unwrap();
        self.ask(Action::UpdateSettings { patch, expected_etag: None }).unwrap();
    }
}

pub fn change(event: Event) -> super::change::Change {
    super::change::Change { organization_id: "acme".parse().unwrap(), event }
}

pub fn user(user_id: &str, extension: Option<&str>) -> User {
    User {
        user_id: user_id.parse().unwrap(),
        display_name: Default::default(),
        extension: extension.map(|extension| extension.parse().unwrap()),
        contact_center_license: true,
        disabled: false,
        login: None,
    }
}

pub fn queue(queue_id: &str, extension: Option<&str>, kind: QueueKind) -> Queue {
    Queue {
        queue_id: queue_id.parse().unwrap(),
        display_name: String::new(),
        extension: extension.map(|extension| extension.parse().unwrap()),
        kind,
    }
}

pub fn by_user_id(user_id: &str) -> UserRef {
    UserRef::Id(user_id.parse().unwrap())
}

pub fn by_queue_id(queue_id: &str) -> QueueRef {
    QueueRef::Id(queue_id.parse().unwrap())
}
