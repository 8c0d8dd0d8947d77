//! Converts nodes to a [`Directory`], and reports every problem with its place.

use std::{collections::BTreeSet, fmt, str::FromStr};

use super::node::{Node, Value, parse};
use crate::domain::{
    directory::{Directory, Problem, QueueEntry, UserEntry},
    ids::{Malformed, QueueId, display_name, shortened},
    model::{Penalty, QueueKind},
    settings::{SettingsPatch, Switch, UNASSIGNED_QUEUE_SIGN_IN},
};

/// Maximum number of problems that are reported.
const MAX_PROBLEMS: usize = 10_000;

/// A document after reading.
#[derive(Debug)]
pub struct Reading {
    /// The valid part of the content. Must not be applied if there are problems.
    pub directory: Directory,
    /// The problems of single values. The import's plan checks the consistency of the whole document.
    pub problems: Vec<Problem>,
}

/// Read a document, and reports every problem.
pub fn read(text: &str) -> Reading {
    let mut reader = Reader { problems: Vec::new() };
    let directory = match parse(text) {
        Ok(root) => reader.directory(&root),
        Err(problem) => {
            reader.problems.push(problem);
            Directory::default()
        }
    };
    Reading { directory, problems: reader.problems }
}

struct Reader {
    problems: Vec<Problem>,
}

/// The path of a node, formatted only for a problem.
#[derive(Clone, Copy)]
enum Path<'p> {
    Root,
    Field(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl Reader {
    fn directory(&mut self, root: &Node) -> Directory {
        let at = Path::Root;
        let [organization, settings, queues, users] =
            self.fields(root, at, ["organization", "settings", "queues", "users"]);
        let mut directory = Directory::default();
        if let Some(node) = organization {
            let at = Path::Field(&at, "organization");
            let [id, name] = self.fields(node, at, ["organization_id", "display_name"]);
            directory.organization_id = self.optional(id, Path::Field(&at, "organization_id"));
            directory.display_name = self.optional_with(name, Path::Field(&at, "display_name"), display_name);
        }
        if let Some(node) = settings {
            directory.settings = self.settings(node, Path::Field(&at, "settings"));
        }
        let lists = [("queues", queues.is_some()), ("users", users.is_some())];
        directory.left_out = lists.into_iter().filter(|(_, is_there)| !is_there).map(|(name, _)| name).collect();
        let queues_at = Path::Field(&at, "queues");
        for (index, node) in self.items(queues, queues_at).iter().enumerate() {
            let queue = self.queue(node, Path::Item(&queues_at, index));
            directory.queues.extend(queue);
        }
        let users_at = Path::Field(&at, "users");
        for (index, node) in self.items(users, users_at).iter().enumerate() {
            let user = self.user(node, Path::Item(&users_at, index));
            directory.users.extend(user);
        }
        directory
    }

    fn settings(&mut self, node: &Node, at: Path<'_>) -> SettingsPatch {
        let mut patch = SettingsPatch::default();
        let groups = ["organization", "supervisor", "agent"];
        for (group, node) in groups.iter().zip(self.fields(node, at, groups)) {
            let Some(node) = node else { continue };
            let at = Path::Field(&at, group);
            let Value::Mapping(entries) = &node.value else {
                self.report(node.line, at, "must be a mapping of settings".to_owned());
                continue;
            };
            let mut seen = BTreeSet::new();
            for (name, node) in entries {
                let name = &shortened(name);
                let at = Path::Field(&at, name);
                let path = format!("{group}.{name}");
                if !seen.insert(name.clone()) {
                    self.report(node.line, at, "appears twice".to_owned());
                    continue;
                }
                if matches!(node.value, Value::Null) {
                    continue;
                }
                if path == UNASSIGNED_QUEUE_SIGN_IN {
                    patch.unassigned_queue_sign_in = self.optional(Some(node), at);
                } else if let Ok(switch) = path.parse::<Switch>() {
                    if let Some(on) = self.optional_with(Some(node), at, boolean) {
                        patch.turn(switch, on).unwrap_or_else(|error| self.report(node.line, at, error.to_string()));
                    }
                } else {
                    self.report(node.line, at, "is not a setting".to_owned());
                }
            }
        }
        patch
    }

    fn queue(&mut self, node: &Node, at: Path<'_>) -> Option<QueueEntry> {
        let names = ["queue_id", "display_name", "extension", "kind"];
        let [id, name, extension, kind] = self.fields(node, at, names);
        let queue_id = self.required(id, node, Path::Field(&at, "queue_id"));
        let display_name = self.optional_with(name, Path::Field(&at, "display_name"), display_name);
        let extension = self.optional(extension, Path::Field(&at, "extension"));
        let kind = self.required(kind, node, Path::Field(&at, "kind"));
        Some(QueueEntry {
            line: node.line,
            queue_id: queue_id?,
            display_name: display_name.unwrap_or_default(),
            extension,
            // Kept in spite of a faulty kind, so that references to the queue aren't reported too.
            kind: kind.unwrap_or(QueueKind::CallQueue),
        })
    }

    fn user(&mut self, node: &Node, at: Path<'_>) -> Option<UserEntry> {
        let names = [
            "user_id",
            "display_name",
            "extension",
            "login",
            "contact_center_license",
            "disabled",
            "roles",
            "agent_of",
            "penalties",
            "supervisor_of",
        ];
        let [id, name, extension, login, license, disabled, roles, agent_of, penalties, supervisor_of] =
            self.fields(node, at, names);
        let user_id = self.required(id, node, Path::Field(&at, "user_id"));
        let display_name = self.optional_with(name, Path::Field(&at, "display_name"), display_name);
        let extension = self.optional(extension, Path::Field(&at, "extension"));
        let login = self.optional(login, Path::Field(&at, "login"));
        let license = self.optional_with(license, Path::Field(&at, "contact_center_license"), boolean);
        let disabled = self.optional_with(disabled, Path::Field(&at, "disabled"), boolean);
        let roles = self.list(roles, Path::Field(&at, "roles"));
        let agent_of = self.list(agent_of, Path::Field(&at, "agent_of"));
        let penalties = self.penalties(penalties, Path::Field(&at, "penalties"));
        let supervisor_of = self.list(supervisor_of, Path::Field(&at, "supervisor_of"));
        Some(UserEntry {
            line: node.line,
            user_id: user_id?,
            display_name: display_name.unwrap_or_default(),
            extension,
            login,
            contact_center_license: license.unwrap_or(false),
            disabled: disabled.unwrap_or(false),
            roles,
            agent_of,
            penalties,
            supervisor_of,
        })
    }

    /// Read the penalties of a user: a mapping from queues to numbers.
    fn penalties(&mut self, node: Option<&Node>, at: Path<'_>) -> Vec<(QueueId, Penalty)> {
        let Some(node) = node else { return Vec::new() };
        let Value::Mapping(entries) = &node.value else {
            self.report(node.line, at, "must be a mapping from queues to penalties, such as {sales: 3}".to_owned());
            return Vec::new();
        };
        let mut penalties: Vec<(QueueId, Penalty)> = Vec::new();
        for (name, node) in entries {
            let at = Path::Field(&at, &shortened(name));
            match name.parse() {
                Ok(queue_id) if penalties.iter().any(|(known, _)| *known == queue_id) => {
                    self.report(node.line, at, "appears twice".to_owned());
                }
                Ok(queue_id) => {
                    penalties.extend(self.value(node, at, Penalty::from_str).map(|penalty| (queue_id, penalty)));
                }
                Err(malformed) => self.report(node.line, at, malformed.to_string()),
            }
        }
        penalties
    }

    /// The values of a mapping's fields, in the order of `names`. Unknown and duplicate fields are problems.
    fn fields<'n, const N: usize>(
        &mut self,
        node: &'n Node,
        at: Path<'_>,
        names: [&'static str; N],
    ) -> [Option<&'n Node>; N] {
        let mut found = [None; N];
        let Value::Mapping(entries) = &node.value else {
            self.report(node.line, at, format!("must be a mapping with {}", in_words(&names)));
            return found;
        };
        for (key, value) in entries {
            let slot = names.iter().position(|name| name == key).and_then(|index| found.get_mut(index));
            match slot {
                Some(slot) if slot.is_none() => *slot = Some(value),
                Some(_) => self.report(value.line, Path::Field(&at, key), "appears twice".to_owned()),
                None => {
                    let problem = format!("is not a field here; the fields are {}", in_words(&names));
                    self.report(value.line, Path::Field(&at, &shortened(key)), problem);
                }
            }
        }
        found.map(|node| node.filter(|node| !matches!(node.value, Value::Null)))
    }

    fn items<'n>(&mut self, node: Option<&'n Node>, at: Path<'_>) -> &'n [Node] {
        match node.map(|node| (node.line, &node.value)) {
            None => &[],
            Some((_, Value::List(items))) => items,
            Some((line, Value::Null | Value::Scalar(_) | Value::Mapping(_))) => {
                self.report(line, at, "must be a list".to_owned());
                &[]
            }
        }
    }

    fn list<T: FromStr<Err = Malformed>>(&mut self, node: Option<&Node>, at: Path<'_>) -> Vec<T> {
        let items = self.items(node, at).iter().enumerate();
        items.filter_map(|(index, item)| self.value(item, Path::Item(&at, index), T::from_str)).collect()
    }

    fn required<T: FromStr<Err = Malformed>>(&mut self, node: Option<&Node>, of: &Node, at: Path<'_>) -> Option<T> {
        match node {
            Some(node) => self.value(node, at, T::from_str),
            None => {
                if matches!(of.value, Value::Mapping(_)) {
                    self.report(of.line, at, "is required".to_owned());
                }
                None
            }
        }
    }

    fn optional<T: FromStr<Err = Malformed>>(&mut self, node: Option<&Node>, at: Path<'_>) -> Option<T> {
        self.optional_with(node, at, T::from_str)
    }

    fn optional_with<T>(
        &mut self,
        node: Option<&Node>,
        at: Path<'_>,
        parse: impl Fn(&str) -> Result<T, Malformed>,
    ) -> Option<T> {
        self.value(node?, at, parse)
    }

    fn value<T>(&mut self, node: &Node, at: Path<'_>, parse: impl Fn(&str) -> Result<T, Malformed>) -> Option<T> {
        match &node.value {
            Value::Scalar(text) => match parse(text) {
                Ok(value) => return Some(value),
                Err(malformed) => self.report(node.line, at, malformed.to_string()),
            },
            Value::Null | Value::List(_) | Value::Mapping(_) => {
                self.report(node.line, at, "must be a single value".to_owned());
            }
        }
        None
    }

    fn report(&mut self, line: u32, at: Path<'_>, description: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { line, path: at.to_string(), description });
        } else if self.problems.len() == MAX_PROBLEMS {
            let description = format!("has more than {MAX_PROBLEMS} problems; fix these to see the rest");
            self.problems.push(Problem { line: u32::MAX, path: String::new(), description });
        }
    }
}

fn boolean(text: &str) -> Result<bool, Malformed> {
    // The booleans of YAML 1.2's core schema.
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        _ => Err(Malformed::new("true or false", text)),
    }
}

fn in_words(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Path::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
