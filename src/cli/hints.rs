//! Hints for an unknown name: existing names that are similar. They cost calls only after the server has answered that
//! it doesn't know the name. A failure to get them is silent, because the answer is complete without them.

use std::time::Duration;

use clap::{ArgMatches, FromArgMatches};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{
    args::{Name, Server, all_pages},
    print,
};
use crate::{client::Client, rpc::proto};

/// The number of pages to search, of 1,000 names each.
const MAX_PAGES: usize = 5;

/// Time limit of a search.
const PATIENCE: Duration = Duration::from_secs(2);

/// The number of similar names in a hint.
const MAX_SHOWN: usize = 3;

/// The kind of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Organization,
    User,
    Queue,
}

/// An existing name.
struct Known {
    name: String,
    is_extension: bool,
}

/// Return a hint with the names that are most similar to an unknown id or extension, or `None`.
async fn similar(client: &mut Client, organization: &str, kind: Kind, unknown: &str) -> Option<String> {
    let known = tokio::time::timeout(PATIENCE, known_names(client, organization, kind)).await.ok()?.ok()?;
    let near = nearest(unknown, known);
    (!near.is_empty()).then(|| format!("did you mean {}?", near.join(" or ")))
}

/// Print a hint for an unknown name.
pub(super) async fn print(client: &mut Client, organization: &str, kind: Kind, unknown: &Name) -> anyhow::Result<()> {
    let (Name::Id(name) | Name::Extension(name)) = unknown;
    let hint = similar(client, organization, kind, name).await.or_else(|| unknown.hint());
    hint.map_or(Ok(()), |hint| print::line(&hint))
}

/// Return a hint for a command that failed because of an unknown name, or `None`.
pub(super) async fn for_error(error: &anyhow::Error, mut matches: &ArgMatches) -> Option<String> {
    let status = error.chain().find_map(|cause| cause.downcast_ref::<Status>())?;
    let unknown = status.get_details_resource_info().filter(|_| status.code() == Code::NotFound)?;
    let kind = match unknown.resource_type.as_str() {
        "queuegate.v1.Organization" => Kind::Organization,
        "queuegate.v1.User" => Kind::User,
        "queuegate.v1.Queue" => Kind::Queue,
        _ => return None,
    };
    while let Some((_, inner)) = matches.subcommand() {
        matches = inner;
    }
    // Commands without a server have no such argument.
    matches.try_contains_id("addresses").ok()?;
    let server = Server::from_arg_matches(matches).ok()?;
    let organization = matches.try_get_one::<String>("organization").ok().flatten().cloned().unwrap_or_default();
    similar(&mut server.connect().await.ok()?, &organization, kind, &unknown.resource_name).await
}

async fn known_names(client: &mut Client, organization: &str, kind: Kind) -> Result<Vec<Known>, Status> {
    let organization_id = organization.to_owned();
    let (mut ids, mut extensions) = (Vec::new(), Vec::new());
    match kind {
        Kind::Organization => {
            let request = proto::ListOrganizationsRequest::default();
            let all = all_pages!(client.directory.list_organizations(request), organizations, MAX_PAGES);
            ids.extend(all.organizations.into_iter().map(|organization| organization.organization_id));
        }
        Kind::User => {
            let request = proto::ListUsersRequest { organization_id, ..Default::default() };
            for user in all_pages!(client.directory.list_users(request), users, MAX_PAGES).users {
                ids.push(user.user_id);
                extensions.extend(user.extension);
            }
        }
        Kind::Queue => {
            let request = proto::ListQueuesRequest { organization_id, ..Default::default() };
            for queue in all_pages!(client.directory.list_queues(request), queues, MAX_PAGES).queues {
                ids.push(queue.queue_id);
                extensions.extend(queue.extension);
            }
        }
    }
    let ids = ids.into_iter().map(|name| Known { name, is_extension: false });
    Ok(ids.chain(extensions.into_iter().map(|name| Known { name, is_extension: true })).collect())
}

/// The names at the smallest edit distance, in the form in which commands take them.
fn nearest(unknown: &str, known: Vec<Known>) -> Vec<String> {
    let length = unknown.chars().count();
    let is_number = unknown.bytes().all(|byte| byte.is_ascii_digit());
    let farthest = (length / 3).max(1).min(length.saturating_sub(1));
    let near = known.into_iter().filter(|known| is_number || !known.is_extension).filter_map(|known| {
        let distance = strsim::damerau_levenshtein(unknown, &known.name);
        let prefix = if known.is_extension { "ext:" } else { "" };
        (distance <= farthest).then(|| (distance, format!("`{prefix}{}`", known.name)))
    });
    let mut near: Vec<(usize, String)> = near.collect();
    near.sort_unstable();
    let smallest = near.first().map(|(distance, _)| *distance);
    near.into_iter()
        .take_while(|(distance, _)| Some(*distance) == smallest)
        .take(MAX_SHOWN)
        .map(|(_, name)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_are_the_hint() {
        let near = |unknown: &str| {
            let ids = ["sales", "sale", "support", "801"].map(|name| Known { name: name.into(), is_extension: false });
            let extensions = ["801", "802", "91234"].map(|name| Known { name: name.into(), is_extension: true });
            nearest(unknown, ids.into_iter().chain(extensions).collect()).join(" ")
        };
        assert_eq!(near("slaes"), "`sales`");
        assert_eq!(near("salez"), "`sale` `sales`");
        assert_eq!(near("suport"), "`support`");
        assert_eq!(near("9123"), "`ext:91234`");
        // A number may be an extension without its prefix.
        assert_eq!(near("802"), "`ext:802`");
        assert_eq!(near("80x"), "`801`");
        for far in ["", "x", "chat", "555"] {
            assert_eq!(near(far), "", "{far}");
        }
    }
}
