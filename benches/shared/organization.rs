//! A large organization, made up: the changes that lead to it, and who is where in it.

use queuegate::domain::{
    change::{Change, Event},
    ids::{Extension, Malformed, OrganizationId, QueueId, SessionId, UserId},
    model::{Basis, Channel, Organization, Queue, QueueKind, Role, RoleAssignment, Session, User},
    settings::{Etag, PermissionSettings, UnassignedQueueSignIn},
    time::Timestamp,
};

/// How large an organization is, and what it is called.
#[derive(Debug, Clone)]
pub struct Plan {
    pub organization_id: OrganizationId,
    pub users: usize,
    pub queues: usize,
    /// How many queues each user is an agent of; no more than there are.
    pub assignments: usize,
    /// How many users, from the first on, are signed in to the first of their queues.
    pub sessions: usize,
}

impl Plan {
    /// A queue of a user, by a number below `assignments`; no user has one twice. Neighbours share some, as teams do.
    pub fn queue_of(&self, user: usize, number: usize) -> usize {
        (user / 50 + number * (self.queues / self.assignments).max(1)) % self.queues
    }

    /// The organization and then, in an order in which each fits, everything in it.
    pub fn changes(&self) -> impl Iterator<Item = Result<Change, Malformed>> + '_ {
        let mut settings = PermissionSettings::default();
        settings.unassigned_queue_sign_in = UnassignedQueueSignIn::Restricted;
        let organization = Organization {
            organization_id: self.organization_id.clone(),
            display_name: format!("Organization {}", self.organization_id),
        };
        let created = Event::OrganizationCreated { organization, settings, etag: Etag(1) };
        let queues = (0..self.queues).map(|number| Ok(Event::QueueCreated { queue: queue(number)? }));
        let users = (0..self.users).map(|number| Ok(Event::UserCreated { user: user(number)? }));
        let assignments = (0..self.users).flat_map(move |user| {
            (0..self.assignments).map(move |number| {
                let queue_id = Some(queue_id(self.queue_of(user, number))?);
                let assignment = RoleAssignment { user_id: user_id(user)?, role: Role::Agent, queue_id };
                Ok(Event::RoleAssigned { assignment })
            })
        });
        let sessions = (0..self.sessions).map(|user| {
            let session = session(&self.organization_id, user, self.queue_of(user, 0))?;
            Ok(Event::SessionStarted { session, justification: String::new() })
        });
        let events = std::iter::once(Ok(created)).chain(queues).chain(users).chain(assignments).chain(sessions);
        events.map(|event| Ok(Change { organization_id: self.organization_id.clone(), event: event? }))
    }
}

/// Names and extensions are of one length, so that answers are of one size.
pub fn user_extension(number: usize) -> Result<Extension, Malformed> {
    (20_000_000 + number).to_string().parse()
}

/// See [`user_extension`].
pub fn queue_extension(number: usize) -> Result<Extension, Malformed> {
    (30_000_000 + number).to_string().parse()
}

/// A user's id.
pub fn user_id(number: usize) -> Result<UserId, Malformed> {
    format!("u{}", 20_000_000 + number).parse()
}

/// A queue's id.
pub fn queue_id(number: usize) -> Result<QueueId, Malformed> {
    format!("q{}", 30_000_000 + number).parse()
}

/// A user, licensed.
pub fn user(number: usize) -> Result<User, Malformed> {
    Ok(User {
        user_id: user_id(number)?,
        display_name: format!("User {}", 20_000_000 + number).into(),
        extension: Some(user_extension(number)?),
        contact_center_license: true,
        disabled: false,
    })
}

/// A call queue.
pub fn queue(number: usize) -> Result<Queue, Malformed> {
    Ok(Queue {
        queue_id: queue_id(number)?,
        display_name: format!("Queue {}", 30_000_000 + number),
        extension: Some(queue_extension(number)?),
        kind: QueueKind::CallQueue,
    })
}

/// A session that began long ago and doesn't end by itself.
pub fn session(organization_id: &OrganizationId, user: usize, queue: usize) -> Result<Session, Malformed> {
    // Users of all organizations sign in at the same time; names of one length that end in a number differ in this.
    let of = organization_id.as_str().bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    Ok(Session {
        session_id: SessionId::from_bits(((user as u128) << 64) | (u128::from(of) << 32) | queue as u128),
        user_id: user_id(user)?,
        queue_id: queue_id(queue)?,
        channel: Channel::FeatureCode,
        basis: Basis::Assigned,
        signed_in_by: user_id(user)?,
        sign_in_time: Timestamp::from_unix_ms(1_800_000_000_000),
        expire_time: None,
        device: String::new(),
        end: None,
    })
}
