//! The problems of an imported document as a whole. The reader of the document found those of single values.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    command::Missing,
    directory::{Directory, Problem},
    ids::{QueueId, UserId},
    snapshot::OrganizationState,
};

/// List the problems of the document as a whole. The reader of the document found those of single values.
pub fn problems(
    directory: &Directory,
    organization: Option<&OrganizationState>,
    organization_id: &str,
    missing: Missing,
) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Some(named) = directory.organization_id.as_ref().filter(|named| named.as_str() != organization_id) {
        found.push(Problem {
            line: 0,
            path: "organization.organization_id".to_owned(),
            description: format!("is `{named}`, but the import is for organization `{organization_id}`"),
        });
    }
    let queues: BTreeSet<&QueueId> = directory.queues.iter().map(|queue| &queue.queue_id).collect();
    let users: BTreeSet<&UserId> = directory.users.iter().map(|user| &user.user_id).collect();
    if missing == Missing::Delete {
        found.extend(directory.left_out.iter().map(|section| {
            Problem {
                line: 0,
                path: (*section).to_owned(),
                description:
                    "must be there with delete_missing, if only as an empty list `[]`: without it, all of them would \
                          be deleted"
                        .to_owned(),
            }
        }));
    }
    // Users and queues that the document doesn't name stay, and conflicts with them are possible, unless they are
    // deleted.
    let staying = organization.filter(|_| missing == Missing::Keep);

    let ids = directory.queues.iter().map(|queue| (queue.line, Some(&queue.queue_id)));
    found.extend(repeated("queues", "queue_id", ids));
    let extensions = directory.queues.iter().map(|queue| (queue.line, queue.extension.as_ref()));
    found.extend(repeated("queues", "extension", extensions));
    let ids = directory.users.iter().map(|user| (user.line, Some(&user.user_id)));
    found.extend(repeated("users", "user_id", ids));
    let extensions = directory.users.iter().map(|user| (user.line, user.extension.as_ref()));
    found.extend(repeated("users", "extension", extensions));
    let logins = directory.users.iter().map(|user| (user.line, user.login.as_ref()));
    found.extend(repeated("users", "login", logins));

    for (index, queue) in directory.queues.iter().enumerate() {
        let owner = staying.zip(queue.extension.as_ref()).and_then(|(t, extension)| t.queue_with_extension(extension));
        if let Some(owner) = owner.filter(|owner| !queues.contains(owner)) {
            found.push(taken(queue.line, format!("queues[{index}].extension"), "queue", owner.as_str()));
        }
    }
    for (index, user) in directory.users.iter().enumerate() {
        let at = |field: &str, description: String| Problem {
            line: user.line,
            path: format!("users[{index}].{field}"),
            description,
        };
        let owner = staying.zip(user.extension.as_ref()).and_then(|(t, extension)| t.user_with_extension(extension));
        if let Some(owner) = owner.filter(|owner| !users.contains(owner)) {
            found.push(taken(user.line, format!("users[{index}].extension"), "user", owner.as_str()));
        }
        let owner = staying.zip(user.login.as_ref()).and_then(|(t, login)| t.user_with_login(login));
        if let Some(owner) = owner.filter(|owner| !users.contains(owner)) {
            found.push(taken(user.line, format!("users[{index}].login"), "user", owner.as_str()));
        }
        let has_roles = !(user.roles.is_empty() && user.agent_of.is_empty() && user.supervisor_of.is_empty());
        let keeps_roles =
            staying.is_some_and(|organization| !organization.roles_held(user.user_id.as_str()).is_empty());
        if !user.contact_center_license && has_roles {
            let description = "must be true for a user with a role".to_owned();
            found.push(at("contact_center_license", description));
        } else if !user.contact_center_license && keeps_roles {
            let description = format!(
                "must be true, because user `{}` holds a role that the document doesn't name; take the role first, or \
                 import with delete_missing",
                user.user_id
            );
            found.push(at("contact_center_license", description));
        }
        for (field, queue_ids) in [("agent_of", &user.agent_of), ("supervisor_of", &user.supervisor_of)] {
            for (position, queue_id) in queue_ids.iter().enumerate() {
                let stays = staying.is_some_and(|organization| organization.queue_by_id(queue_id.as_str()).is_some());
                if !queues.contains(queue_id) && !stays {
                    found.push(at(&format!("{field}[{position}]"), format!("there is no queue `{queue_id}`")));
                }
            }
        }
        for (queue_id, _) in user.penalties.iter().filter(|(queue_id, _)| !user.agent_of.contains(queue_id)) {
            let description = format!("must name a queue of agent_of, which has no `{queue_id}`");
            found.push(at(&format!("penalties.{queue_id}"), description));
        }
    }
    found
}

/// List a problem for every value that the list has already.
fn repeated<'d, T: Ord + std::fmt::Display + 'd>(
    list: &'static str,
    field: &'static str,
    values: impl Iterator<Item = (u32, Option<&'d T>)>,
) -> Vec<Problem> {
    let mut first: BTreeMap<&T, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for (index, (line, value)) in values.enumerate() {
        let Some(value) = value else { continue };
        if let Some(first) = first.get(value) {
            found.push(Problem {
                line,
                path: format!("{list}[{index}].{field}"),
                description: format!("`{value}` is at {list}[{first}] already, and must be unique"),
            });
        } else {
            first.insert(value, index);
        }
    }
    found
}

fn taken(line: u32, path: String, kind: &str, owner: &str) -> Problem {
    let description = format!("is in use by {kind} `{owner}`, which the document doesn't name");
    Problem { line, path, description }
}
