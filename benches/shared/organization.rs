//! A generated organization: its users, queues, assignments and sessions, and the changes that create them.

use queuegate::domain::{
    change::{Change, Event},
    ids::{Extension, Malformed, OrganizationId, QueueId, SessionId, UserId},
    model::{Basis, Channel, Organization, Queue, QueueKind, Role, RoleAssignment, Session, User},
    settings::{Etag, PermissionSettings, UnassignedQueueSignIn},
    time::Timestamp,
};

/// The id and the size of an organization.
#[derive(Debug, Clone)]
pub struct Plan {
    pub organization_id: OrganizationId,
    pub users: usize,
    pub queues: usize,
    /// The number of queues to which each user is assigned. It is at most `queues`.
    pub assignments: usize,
    /// The number of users with a session on the first of their queues. They are the first users.
    pub sessions: usize,
}

impl Plan {
    /// Return a queue of a user, by a number below `assignments`.
    ///
    /// The queues of a user are distinct. Users with nearby numbers have the same queues, like a team.
    pub fn queue_of(&self, user: usize, number: usize) -> usize {
        (user / 50 + number * (self.queues / self.assignments).max(1)) % self.queues
    }

    /// Return the changes that create the organization and its content, in a valid order.
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
                let assignment = RoleAssignment {
                    user_id: user_id(user)?,
                    role: Role::Agent,
                    queue_id,
                    penalty: Default::default(),
                };
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

/// Return a user's extension. All names and extensions have the same length, so that all responses have the same size.
pub fn user_extension(number: usize) -> Result<Extension, Malformed> {
    (20_000_000 + number).to_string().parse()
}

/// Return a queue's extension, which is as long as [`user_extension`].
pub fn queue_extension(number: usize) -> Result<Extension, Malformed> {
    (30_000_000 + number).to_string().parse()
}

/// Return a user's id.
pub fn user_id(number: usize) -> Result<UserId, Malformed> {
    format!("u{}", 20_000_000 + number).parse()
}

/// Return a queue's id.
pub fn queue_id(number: usize) -> Result<QueueId, Malformed> {
    format!("q{}", 30_000_000 + number).parse()
}

/// Return a user with a licence.
pub fn user(number: usize) -> Result<User, Malformed> {
    Ok(User {
        user_id: user_id(number)?,
        display_name: format!("User {}", 20_000_000 + number).into(),
        extension: Some(user_extension(number)?),
        contact_center_license: true,
        disabled: false,
        login: None,
    })
}

/// Return a call queue.
pub fn queue(number: usize) -> Result<Queue, Malformed> {
    Ok(Queue {
        queue_id: queue_id(number)?,
        display_name: format!("Queue {}", 30_000_000 + number),
        extension: Some(queue_extension(number)?),
        kind: QueueKind::CallQueue,
    })
}

/// Return a session that doesn't expire.
pub fn session(organization_id: &OrganizationId, user: usize, queue: usize) -> Result<Session, Malformed> {
    // Sessions of all organizations have different ids. The hashes differ, because the names of the organizations have
    // one length and differ in their last digits.
    let organization_hash =
        organization_id.as_str().bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    Ok(Session {
        session_id: SessionId::from_bits(
            ((user as u128) << 64) | (u128::from(organization_hash) << 32) | queue as u128,
        ),
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
