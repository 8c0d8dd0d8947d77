//! The users who hold each role. With them, the cost of a list by role depends only on its length.

use std::ops::Bound;

use imbl::OrdSet;

use super::named::in_either;
use crate::domain::{
    ids::UserId,
    model::{Role, RoleSet},
};

/// The users of an organization who hold each role, for the organization or by a queue assignment.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct RoleHolders {
    contact_admins: OrdSet<UserId>,
    supervisors: OrdSet<UserId>,
    agents: OrdSet<UserId>,
}

impl RoleHolders {
    /// Collect the holders of each role from `holders`.
    pub(super) fn new(holders: impl Fn(Role) -> OrdSet<UserId>) -> Self {
        Self {
            contact_admins: holders(Role::ContactAdmin),
            supervisors: holders(Role::Supervisor),
            agents: holders(Role::Agent),
        }
    }

    /// Iterate over the holders of a role, in order of their ids.
    pub(super) fn of(&self, role: Role, from: Bound<&str>) -> impl Iterator<Item = &UserId> {
        self.set(role).range::<_, str>((from, Bound::Unbounded))
    }

    /// Iterate over the holders of any role, in order of their ids.
    pub(super) fn of_any(&self, from: Bound<&str>) -> impl Iterator<Item = &UserId> {
        let [admins, supervisors, agents] =
            [Role::ContactAdmin, Role::Supervisor, Role::Agent].map(|role| self.of(role, from));
        in_either(in_either(admins, supervisors), agents)
    }

    /// Record that a user holds these roles and no others.
    pub(super) fn note(&mut self, user_id: &UserId, roles: RoleSet) {
        for role in Role::ALL {
            let set = match role {
                Role::ContactAdmin => &mut self.contact_admins,
                Role::Supervisor => &mut self.supervisors,
                Role::Agent => &mut self.agents,
            };
            keep(set, user_id, roles.contains(*role));
        }
    }

    fn set(&self, role: Role) -> &OrdSet<UserId> {
        match role {
            Role::ContactAdmin => &self.contact_admins,
            Role::Supervisor => &self.supervisors,
            Role::Agent => &self.agents,
        }
    }
}

/// Add an id to a set, or remove it.
pub(super) fn keep(ids: &mut OrdSet<UserId>, id: &UserId, wanted: bool) {
    if !wanted {
        ids.remove(id);
    } else if !ids.contains(id) {
        ids.insert(id.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_lists_its_holders_and_any_role_lists_each_holder_once() {
        let id = |text: &str| text.parse::<UserId>().unwrap();
        let roles = |roles: &[Role]| roles.iter().fold(RoleSet::default(), |set, role| set.with(*role));
        let mut holders = RoleHolders::default();
        holders.note(&id("ann"), roles(&[Role::Agent, Role::Supervisor]));
        holders.note(&id("bob"), roles(&[Role::ContactAdmin]));
        holders.note(&id("cle"), roles(&[Role::Agent]));
        holders.note(&id("cle"), roles(&[]));
        holders.note(&id("dan"), roles(&[Role::Agent]));
        let of = |role, from| holders.of(role, from).map(UserId::as_str).collect::<Vec<_>>();
        assert_eq!(of(Role::Agent, Bound::Unbounded), ["ann", "dan"]);
        assert_eq!(of(Role::Supervisor, Bound::Unbounded), ["ann"]);
        assert_eq!(of(Role::Agent, Bound::Excluded("ann")), ["dan"]);
        let any = |from| holders.of_any(from).map(UserId::as_str).collect::<Vec<_>>();
        assert_eq!(any(Bound::Unbounded), ["ann", "bob", "dan"]);
        assert_eq!(any(Bound::Included("bob")), ["bob", "dan"]);
    }
}
