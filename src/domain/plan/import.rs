//! The import of a document. It makes the organization match the document completely, or changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{document::problems, planner::Planner};
use crate::domain::{
    change::Event,
    command::{ImportReport, Missing, Outcome, Rejection},
    directory::{Directory, QueueEntry, UserEntry},
    ids::{QueueId, UserId},
    model::{Penalty, Queue, Role, RoleAssignment, User},
    settings::UnassignedQueueSignIn,
    snapshot::OrganizationState,
};

/// The number of changes that the report lists.
const MAX_LINES: usize = 100;

impl Planner<'_> {
    pub(super) fn import(&mut self, directory: &Directory, missing: Missing) -> Result<Outcome, Rejection> {
        let organization = self.snapshot().organization(self.organization_id.as_str());
        let problems = problems(directory, organization, self.organization_id.as_str(), missing);
        if !problems.is_empty() {
            return Err(Rejection::FaultyDocument(problems));
        }
        let mut report = ImportReport::default();
        self.import_organization(directory, &mut report)?;
        if missing == Missing::Delete {
            self.delete_unnamed(directory, &mut report)?;
        }
        // Compare with this state. Otherwise a user or queue that only loses its extension would not count as updated.
        let original = self.organization()?.clone();
        self.release_names(directory)?;
        self.import_queues(&directory.queues, &original, &mut report)?;
        self.import_users(&directory.users, &original, &mut report)?;
        self.import_roles(&directory.users, &mut report)?;
        Ok(Outcome::Imported { report })
    }

    fn import_organization(&mut self, directory: &Directory, report: &mut ImportReport) -> Result<(), Rejection> {
        let name = directory.display_name.as_deref();
        if self.snapshot().organization(self.organization_id.as_str()).is_none() {
            self.create_organization(name.unwrap_or_default(), UnassignedQueueSignIn::Allowed)?;
            report.organization_created = true;
            note(report, || format!("create organization {}", self.organization_id));
        } else {
            let before = self.changes.len();
            self.update_organization(name)?;
            if self.changes.len() > before {
                report.organization_updated = true;
                note(report, || format!("rename organization {}", self.organization_id));
            }
        }
        let before = self.changes.len();
        self.update_settings(&directory.settings, None)?;
        if self.changes.len() > before {
            report.settings_updated = true;
            note(report, || "update settings".to_owned());
        }
        Ok(())
    }

    fn delete_unnamed(&mut self, directory: &Directory, report: &mut ImportReport) -> Result<(), Rejection> {
        let named: BTreeMap<&UserId, &UserEntry> = directory.users.iter().map(|user| (&user.user_id, user)).collect();
        let named_queues: BTreeSet<&QueueId> = directory.queues.iter().map(|queue| &queue.queue_id).collect();
        let organization = self.organization()?;
        let users = organization.users_after(None).map(|user| user.user_id.clone());
        let users: Vec<UserId> = users.filter(|user_id| !named.contains_key(user_id)).collect();
        let queues = organization.queues_after(None).map(|queue| queue.queue_id.clone());
        let queues: Vec<QueueId> = queues.filter(|queue_id| !named_queues.contains(queue_id)).collect();
        for user_id in users {
            report.assignments_deleted += count(held_assignments(self.organization()?, &user_id).len());
            report.sessions_ended += count(self.remove_user(&user_id)?.len());
            report.users_deleted += 1;
            note(report, || format!("delete user {user_id}"));
        }
        for queue_id in queues {
            let on_queue = self.organization()?.users_with_roles_on(queue_id.as_str(), None);
            report.assignments_deleted += on_queue.map(|(_, roles)| count(roles.iter().count())).sum::<u64>();
            report.sessions_ended += count(self.remove_queue(&queue_id)?.len());
            report.queues_deleted += 1;
            note(report, || format!("delete queue {queue_id}"));
        }
        for entry in &directory.users {
            let wanted: BTreeSet<_> = assignments(entry).map(|assignment| key(&assignment)).collect();
            let held = held_assignments(self.organization()?, &entry.user_id);
            for assignment in held.into_iter().filter(|assignment| !wanted.contains(&key(assignment))) {
                report.assignments_deleted += 1;
                note(report, || format!("take {}", in_words(&assignment)));
                self.push(Event::RoleUnassigned { assignment })?;
            }
        }
        Ok(())
    }

    /// Remove extensions and logins that pass from one named user or queue to another. So they are free when their new
    /// owner takes them, in any order.
    fn release_names(&mut self, directory: &Directory) -> Result<(), Rejection> {
        let organization = self.organization()?;
        let mut users: BTreeSet<UserId> = BTreeSet::new();
        for entry in &directory.users {
            let owner = entry.extension.as_ref().and_then(|extension| organization.user_with_extension(extension));
            let owner_of_login = entry.login.as_ref().and_then(|login| organization.user_with_login(login));
            for owner in [owner, owner_of_login].into_iter().flatten().filter(|owner| **owner != entry.user_id) {
                users.insert(owner.clone());
            }
        }
        let mut queues: Vec<Queue> = Vec::new();
        for entry in &directory.queues {
            let owner = entry.extension.as_ref().and_then(|extension| organization.queue_with_extension(extension));
            if let Some(owner) = owner.filter(|owner| **owner != entry.queue_id) {
                queues.extend(organization.queue_by_id(owner.as_str()).cloned());
            }
        }
        for user_id in users {
            let Some(before) = self.organization()?.user_by_id(user_id.as_str()).cloned() else { continue };
            let user = User { extension: None, login: None, ..before.clone() };
            self.push(Event::UserUpdated { before, user })?;
        }
        for before in queues {
            let queue = Queue { extension: None, ..before.clone() };
            self.push(Event::QueueUpdated { before, queue })?;
        }
        Ok(())
    }

    fn import_queues(
        &mut self,
        entries: &[QueueEntry],
        original: &OrganizationState,
        report: &mut ImportReport,
    ) -> Result<(), Rejection> {
        for QueueEntry { line: _, queue_id, display_name, extension, kind } in entries {
            let queue = Queue {
                queue_id: queue_id.clone(),
                display_name: display_name.clone(),
                extension: *extension,
                kind: *kind,
            };
            match self.organization()?.queue_by_id(queue_id.as_str()) {
                None => {
                    report.queues_created += 1;
                    note(report, || format!("create queue {queue_id}"));
                    self.push(Event::QueueCreated { queue })?;
                }
                Some(before) => {
                    let before = Queue::clone(before);
                    if original.queue_by_id(queue_id.as_str()).is_some_and(|original| *original != queue) {
                        report.queues_updated += 1;
                        note(report, || format!("update queue {queue_id}"));
                    }
                    if before != queue {
                        self.push(Event::QueueUpdated { before, queue })?;
                    }
                }
            }
        }
        Ok(())
    }

    fn import_users(
        &mut self,
        entries: &[UserEntry],
        original: &OrganizationState,
        report: &mut ImportReport,
    ) -> Result<(), Rejection> {
        for entry in entries {
            let user = User {
                user_id: entry.user_id.clone(),
                display_name: entry.display_name.as_str().into(),
                extension: entry.extension,
                contact_center_license: entry.contact_center_license,
                disabled: entry.disabled,
                login: entry.login.clone(),
            };
            match self.organization()?.user_by_id(user.user_id.as_str()) {
                None => {
                    report.users_created += 1;
                    note(report, || format!("create user {}", user.user_id));
                    self.push(Event::UserCreated { user })?;
                }
                Some(before) => {
                    let before = User::clone(before);
                    if original.user_by_id(user.user_id.as_str()).is_some_and(|original| *original != user) {
                        report.users_updated += 1;
                        note(report, || format!("update user {}", user.user_id));
                    }
                    if before != user {
                        report.sessions_ended += count(self.replace_user(&before, user)?.len());
                    }
                }
            }
        }
        Ok(())
    }

    fn import_roles(&mut self, entries: &[UserEntry], report: &mut ImportReport) -> Result<(), Rejection> {
        for entry in entries {
            let held = held_assignments(self.organization()?, &entry.user_id).into_iter();
            let held: BTreeMap<_, _> = held.map(|assignment| (key(&assignment), assignment)).collect();
            let wanted: BTreeMap<_, _> = assignments(entry).map(|assignment| (key(&assignment), assignment)).collect();
            for (key, assignment) in wanted {
                if let Some(before) = held.get(&key).cloned() {
                    if before != assignment {
                        report.assignments_updated += 1;
                        note(report, || format!("set penalty {} of {}", assignment.penalty, in_words(&assignment)));
                        self.push(Event::RoleAssignmentUpdated { before, assignment })?;
                    }
                    continue;
                }
                report.assignments_created += 1;
                note(report, || format!("give {}", in_words(&assignment)));
                self.push(Event::RoleAssigned { assignment })?;
            }
        }
        Ok(())
    }
}

fn assignments(entry: &UserEntry) -> impl Iterator<Item = RoleAssignment> {
    let assignment = |role, queue_id: Option<&QueueId>| RoleAssignment {
        user_id: entry.user_id.clone(),
        role,
        queue_id: queue_id.cloned(),
        penalty: Penalty::default(),
    };
    let organization = entry.roles.iter().map(move |role| assignment(*role, None));
    let supervisor = entry.supervisor_of.iter().map(move |id| assignment(Role::Supervisor, Some(id)));
    let agent = entry.agent_of.iter().map(move |id| {
        let penalty = entry.penalties.iter().find(|(queue_id, _)| queue_id == id);
        let penalty = penalty.map(|(_, penalty)| *penalty).unwrap_or_default();
        RoleAssignment { penalty, ..assignment(Role::Agent, Some(id)) }
    });
    organization.chain(supervisor).chain(agent)
}

fn held_assignments(organization: &OrganizationState, user_id: &UserId) -> Vec<RoleAssignment> {
    organization.assignments_of_user(user_id).collect()
}

/// Return the key that distinguishes the assignments of one user.
fn key(assignment: &RoleAssignment) -> (Option<QueueId>, Role) {
    (assignment.queue_id.clone(), assignment.role)
}

fn in_words(assignment: &RoleAssignment) -> String {
    let RoleAssignment { user_id, role, queue_id, penalty: _ } = assignment;
    match queue_id {
        Some(queue_id) => format!("user {user_id} role {role} on queue {queue_id}"),
        None => format!("user {user_id} role {role}"),
    }
}

fn note(report: &mut ImportReport, line: impl FnOnce() -> String) {
    if report.changes.len() < MAX_LINES {
        report.changes.push(line());
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
