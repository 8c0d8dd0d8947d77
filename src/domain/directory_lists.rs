//! The lists of users, queues and role assignments, by filters. A list by role or queue examines only the holders of
//! the roles.

use std::ops::Bound;

use super::{
    ids::{Extension, QueueRef, UserId, UserRef},
    model::{Queue, QueueKind, Role, RoleAssignment, User},
    snapshot::OrganizationState,
};

/// The beginning of an id, an extension or a display name, in upper or lower case. An empty one fits all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextPrefix {
    folded: String,
}

/// A filter of users. `None` fits all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserFilter {
    /// The beginning of the id, the extension or the name.
    pub text: TextPrefix,
    /// A role that they hold: on `queue`, or anywhere without one.
    pub role: Option<Role>,
    /// A queue on which they hold a role. An unknown one has no users.
    pub queue: Option<QueueRef>,
    /// Whether they have a licence.
    pub licensed: Option<bool>,
    /// Whether they are disabled.
    pub disabled: Option<bool>,
}

/// A filter of queues. `None` fits all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueFilter {
    /// The beginning of the id, the extension or the name.
    pub text: TextPrefix,
    /// The kind.
    pub kind: Option<QueueKind>,
}

/// A filter of role assignments. `None` fits all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AssignmentFilter {
    /// The user. An unknown one has no assignments.
    pub user: Option<UserRef>,
    /// The queue. An unknown one has no assignments.
    pub queue: Option<QueueRef>,
    /// The role.
    pub role: Option<Role>,
    /// The beginning of the user's id, extension or name.
    pub text: TextPrefix,
    /// Whether the user is disabled.
    pub disabled: Option<bool>,
}

impl TextPrefix {
    /// Create the prefix from a text.
    pub fn new(text: &str) -> Self {
        Self { folded: folded(text).collect() }
    }

    fn fits(&self, id: &str, extension: Option<Extension>, display_name: &str) -> bool {
        let begins = |text: &str| {
            let mut letters = folded(text);
            self.folded.chars().all(|letter| letters.next() == Some(letter))
        };
        begins(id) || begins(display_name) || extension.is_some_and(|extension| begins(&extension.digits()))
    }
}

impl UserFilter {
    /// List the users in order of their ids, from the one after `after`.
    pub fn users<'s>(
        &'s self,
        organization: &'s OrganizationState,
        after: Option<&'s str>,
    ) -> impl Iterator<Item = &'s User> {
        let Self { text, role, queue, licensed, disabled } = self;
        let candidates: Box<dyn Iterator<Item = &'s User>> = match (queue, *role) {
            (Some(queue), role) => {
                let queue_id = organization.queue(queue).map(|queue| queue.queue_id.as_str()).into_iter();
                let holders = queue_id.flat_map(move |queue_id| organization.users_with_roles_on(queue_id, after));
                let holders = holders.filter(move |(_, roles)| role.is_none_or(|role| roles.contains(role)));
                Box::new(holders.filter_map(|(user_id, _)| organization.user_by_id(user_id.as_str())))
            }
            (None, Some(role)) => {
                let holders = organization.users_with_role(role, after.map_or(Bound::Unbounded, Bound::Excluded));
                Box::new(holders.filter_map(|user_id| organization.user_by_id(user_id.as_str())))
            }
            (None, None) => Box::new(organization.users_after(after)),
        };
        candidates.filter(|user| {
            licensed.is_none_or(|licensed| user.contact_center_license == licensed)
                && disabled.is_none_or(|disabled| user.disabled == disabled)
                && text.fits(user.user_id.as_str(), user.extension, &user.display_name)
        })
    }
}

impl QueueFilter {
    /// List the queues in order of their ids, from the one after `after`.
    pub fn queues<'s>(
        &'s self,
        organization: &'s OrganizationState,
        after: Option<&'s str>,
    ) -> impl Iterator<Item = &'s Queue> {
        let Self { text, kind } = self;
        organization.queues_after(after).filter(|queue| {
            kind.is_none_or(|kind| queue.kind == kind)
                && text.fits(queue.queue_id.as_str(), queue.extension, &queue.display_name)
        })
    }
}

impl AssignmentFilter {
    /// List the role assignments in order of the users' ids, from those of the user `from`: those for the organization
    /// before those for queues.
    pub fn assignments<'s>(
        &'s self,
        organization: &'s OrganizationState,
        from: Option<&'s str>,
    ) -> impl Iterator<Item = RoleAssignment> {
        let users = self.candidates(organization, from).filter(move |user_id| {
            organization.user_by_id(user_id.as_str()).is_some_and(|user| {
                self.disabled.is_none_or(|disabled| user.disabled == disabled)
                    && self.text.fits(user_id.as_str(), user.extension, &user.display_name)
            })
        });
        let queue_id = self.queue.as_ref().and_then(|queue| organization.queue(queue)).map(|queue| &queue.queue_id);
        let assignments = users.flat_map(|user_id| organization.assignments_of_user(user_id));
        assignments.filter(move |assignment| {
            self.role.is_none_or(|role| assignment.role == role)
                && queue_id.is_none_or(|queue_id| assignment.queue_id.as_ref() == Some(queue_id))
        })
    }

    /// Iterate over the users who may have such assignments, in order of their ids.
    fn candidates<'s>(
        &'s self,
        organization: &'s OrganizationState,
        from: Option<&'s str>,
    ) -> Box<dyn Iterator<Item = &'s UserId> + 's> {
        let user_id = self.user.as_ref().map(|user| organization.user(user).map(|user| &user.user_id));
        let queue_id = self.queue.as_ref().map(|queue| organization.queue(queue).map(|queue| &queue.queue_id));
        match (user_id, queue_id) {
            (Some(None), _) | (_, Some(None)) => Box::new(std::iter::empty()),
            (Some(Some(user_id)), _) => Box::new(std::iter::once(user_id)),
            (None, Some(Some(queue_id))) => {
                let users = organization.users_with_roles_on(queue_id.as_str(), None).map(|(user_id, _)| user_id);
                Box::new(users.skip_while(move |user_id| from.is_some_and(|from| user_id.as_str() < from)))
            }
            (None, None) => {
                let from = from.map_or(Bound::Unbounded, Bound::Included);
                match self.role {
                    Some(role) => Box::new(organization.users_with_role(role, from)),
                    None => Box::new(organization.users_with_roles(from)),
                }
            }
        }
    }
}

/// Remove the distinction of upper and lower case. Upper case comes first, because only so `ß` and `ss` are equal.
fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        change::Event,
        fixture::{Fixture, by_queue_id, by_user_id, change, user},
    };

    const PLACES: [Option<&str>; 5] = [None, Some("a"), Some("ann"), Some("cle"), Some("zoe")];

    fn options<T: Clone>(values: &[T]) -> Vec<Option<T>> {
        std::iter::once(None).chain(values.iter().cloned().map(Some)).collect()
    }

    /// Return the fixture, in which eve has no licence, and cle has the name `Éva Straße`.
    fn fixture() -> Fixture {
        let mut fixture = Fixture::new();
        let unlicensed = User { contact_center_license: false, ..user("eve", None) };
        let named = User { display_name: "Éva Straße".into(), ..user("cle", None) };
        for (before, after) in [(user("eve", None), unlicensed), (user("cle", None), named)] {
            fixture.0.apply(&change(Event::UserUpdated { before, user: after })).unwrap();
        }
        fixture
    }

    #[test]
    fn a_filtered_list_has_from_any_place_the_users_that_fit() {
        let fixture = fixture();
        let organization = fixture.organization();
        let queues: Vec<_> = options(&["q1", "q2", "q3", "nowhere"].map(by_queue_id));
        for role in options(Role::ALL) {
            for queue in &queues {
                for (licensed, disabled) in [(None, None), (Some(true), None), (Some(false), None), (None, Some(true))]
                {
                    let filter = UserFilter { role, queue: queue.clone(), licensed, disabled, ..Default::default() };
                    for after in PLACES {
                        let found: Vec<_> = filter.users(organization, after).map(|user| &user.user_id).collect();
                        let expected = organization.users_after(after).filter(|user| {
                            let id = &user.user_id;
                            let mut held = organization.assignments_of_user(id).filter(|assignment| {
                                role.is_none_or(|role| assignment.role == role)
                                    && queue.as_ref().is_none_or(|queue| {
                                        assignment.queue_id.clone().map(QueueRef::Id).as_ref() == Some(queue)
                                    })
                            });
                            (role.is_none() && queue.is_none() || held.next().is_some())
                                && licensed.is_none_or(|licensed| user.contact_center_license == licensed)
                                && disabled.is_none_or(|disabled| user.disabled == disabled)
                        });
                        let expected: Vec<_> = expected.map(|user| &user.user_id).collect();
                        assert_eq!(found, expected, "{filter:?} {after:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_text_fits_the_beginning_of_id_extension_or_name_in_any_case() {
        let fixture = fixture();
        let organization = fixture.organization();
        for (text, expected) in [
            ("AN", vec!["ann"]),
            ("10", vec!["ann", "bob"]),
            ("102", vec!["bob"]),
            ("éva STRASSE", vec!["cle"]),
            ("ÉVA straß", vec!["cle"]),
            ("straße", vec![]),
            ("1023", vec![]),
        ] {
            let filter = UserFilter { text: TextPrefix::new(text), ..Default::default() };
            let found: Vec<_> = filter.users(organization, None).map(|user| user.user_id.as_str()).collect();
            assert_eq!(found, expected, "{text}");
            let filter = AssignmentFilter { text: TextPrefix::new(text), ..Default::default() };
            let found = filter.assignments(organization, None).map(|assignment| assignment.user_id.to_string());
            assert_eq!(found.collect::<Vec<_>>(), expected, "{text}");
        }
        let filter = QueueFilter { text: TextPrefix::new("Q"), kind: Some(QueueKind::CallQueue) };
        let found: Vec<_> = filter.queues(organization, Some("q1")).map(|queue| queue.queue_id.as_str()).collect();
        assert_eq!(found, ["q2"]);
    }

    #[test]
    fn a_filtered_list_has_the_role_assignments_that_fit() {
        let fixture = fixture();
        let organization = fixture.organization();
        let all: Vec<_> = AssignmentFilter::default().assignments(organization, None).collect();
        assert_eq!(all.len(), 7);
        for role in options(Role::ALL) {
            for user in options(&["ann", "sue", "eve", "nobody"].map(by_user_id)) {
                for queue in options(&["q1", "q3", "nowhere"].map(by_queue_id)) {
                    for disabled in options(&[true, false]) {
                        let filter = AssignmentFilter {
                            user: user.clone(),
                            queue: queue.clone(),
                            role,
                            disabled,
                            ..Default::default()
                        };
                        let fits = |assignment: &&RoleAssignment| {
                            let id = &assignment.user_id;
                            let is_disabled = organization.user_by_id(id.as_str()).unwrap().disabled;
                            let queue_id = assignment.queue_id.clone().map(QueueRef::Id);
                            role.is_none_or(|role| assignment.role == role)
                                && user.as_ref().is_none_or(|user| *user == UserRef::Id(id.clone()))
                                && (queue.is_none() || queue_id == queue)
                                && disabled.is_none_or(|disabled| is_disabled == disabled)
                        };
                        let found: Vec<_> = filter.assignments(organization, None).collect();
                        let expected: Vec<_> = all.iter().filter(fits).cloned().collect();
                        assert_eq!(found, expected, "{filter:?}");
                    }
                }
            }
        }
    }
}
