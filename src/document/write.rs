//! Writes a [`Directory`] as YAML or JSON.

use std::convert::Infallible;

use serde_json::{Map, Value, json};

use crate::domain::{
    directory::{Directory, QueueEntry, UserEntry},
    ids::OrganizationId,
    settings::{PermissionSettings, Switch, UNASSIGNED_QUEUE_SIGN_IN},
};

/// The format of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2.
    Yaml,
    /// JSON.
    Json,
}

/// The content of a document apart from queues and users.
#[derive(Debug)]
pub struct Header<'d> {
    /// The organization's id, if the document names it.
    pub organization_id: Option<&'d OrganizationId>,
    /// The display name.
    pub display_name: &'d str,
    /// All the settings.
    pub settings: &'d PermissionSettings,
}

/// Write a document that [`read`](super::read) can read, and passes it to `take` in pieces of about 64 KiB. An error
/// of `take` ends the writing. At most one piece is in memory, for any size of organization.
pub fn write<E>(
    header: &Header<'_>,
    queues: impl Iterator<Item = QueueEntry>,
    users: impl Iterator<Item = UserEntry>,
    format: Format,
    take: impl FnMut(String) -> Result<(), E>,
) -> Result<(), E> {
    let mut writer = Writer { format, text: String::new(), take };
    let header = describe_header(header);
    match format {
        Format::Yaml => write_fields(&mut writer.text, &header, ""),
        Format::Json => {
            for (index, (name, value)) in header.iter().enumerate() {
                let before = if index == 0 { "{" } else { "," };
                writer.text.push_str(&format!("{before}\n  \"{name}\": {}", pretty(value, "  ")));
            }
        }
    }
    writer.list("queues", queues.map(|queue| describe_queue(&queue)))?;
    writer.list("users", users.map(|user| describe_user(&user)))?;
    if format == Format::Json {
        writer.text.push_str("\n}\n");
    }
    (writer.take)(writer.text)
}

/// Write a whole directory, with all its settings.
pub fn write_all(directory: &Directory, settings: &PermissionSettings, format: Format) -> String {
    let display_name = directory.display_name.as_deref().unwrap_or_default();
    let header = Header { organization_id: directory.organization_id.as_ref(), display_name, settings };
    let (queues, users) = (directory.queues.iter().cloned(), directory.users.iter().cloned());
    let mut text = String::new();
    // This `take` never fails.
    let _ = write(&header, queues, users, format, |piece| {
        text.push_str(&piece);
        Ok::<_, Infallible>(())
    });
    text
}

/// Approximate size of a piece, in bytes.
const PIECE: usize = 64 * 1024;

struct Writer<T> {
    format: Format,
    text: String,
    take: T,
}

impl<E, T: FnMut(String) -> Result<(), E>> Writer<T> {
    fn list(&mut self, name: &str, items: impl Iterator<Item = Map<String, Value>>) -> Result<(), E> {
        let mut items = items.peekable();
        let is_empty = items.peek().is_none();
        self.text.push_str(&match (self.format, is_empty) {
            (Format::Yaml, true) => format!("{name}: []\n"),
            (Format::Yaml, false) => format!("{name}:\n"),
            (Format::Json, _) => format!(",\n  \"{name}\": ["),
        });
        let mut before = "";
        for item in items {
            match self.format {
                Format::Yaml => {
                    self.text.push_str("  - ");
                    write_fields(&mut self.text, &item, "    ");
                }
                Format::Json => {
                    self.text.push_str(&format!("{before}\n    {}", pretty(&Value::Object(item), "    ")));
                    before = ",";
                }
            }
            if self.text.len() >= PIECE {
                (self.take)(std::mem::take(&mut self.text))?;
            }
        }
        if self.format == Format::Json {
            self.text.push_str(if is_empty { "]" } else { "\n  ]" });
        }
        Ok(())
    }
}

/// Format a value over several lines, all but the first with this indentation.
fn pretty(value: &Value, indent: &str) -> String {
    // Line breaks in texts are escaped, so all others separate lines.
    format!("{value:#}").replace('\n', &format!("\n{indent}"))
}

fn describe_header(header: &Header<'_>) -> Map<String, Value> {
    let Header { organization_id, display_name, settings } = header;
    let mut organization = Map::new();
    if let Some(organization_id) = organization_id {
        organization.insert("organization_id".to_owned(), json!(organization_id));
    }
    organization.insert("display_name".to_owned(), json!(display_name));
    Map::from_iter([
        ("organization".to_owned(), Value::Object(organization)),
        ("settings".to_owned(), Value::Object(describe_settings(settings))),
    ])
}

fn describe_settings(settings: &PermissionSettings) -> Map<String, Value> {
    let mut groups = Map::new();
    let mut set = |path: &str, value: Value| {
        if let Some((group, name)) = path.split_once('.') {
            let group = groups.entry(group).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(group) = group {
                group.insert(name.to_owned(), value);
            }
        }
    };
    set(UNASSIGNED_QUEUE_SIGN_IN, json!(settings.unassigned_queue_sign_in));
    for switch in Switch::ALL {
        set(switch.as_str(), json!(settings.is_on(*switch)));
    }
    groups
}

fn describe_queue(queue: &QueueEntry) -> Map<String, Value> {
    let QueueEntry { line: _, queue_id, display_name, extension, kind } = queue;
    let mut fields = Map::new();
    fields.insert("queue_id".to_owned(), json!(queue_id));
    fields.insert("display_name".to_owned(), json!(display_name));
    if let Some(extension) = extension {
        fields.insert("extension".to_owned(), json!(extension));
    }
    fields.insert("kind".to_owned(), json!(kind));
    fields
}

fn describe_user(user: &UserEntry) -> Map<String, Value> {
    let UserEntry {
        line: _,
        user_id,
        display_name,
        extension,
        login,
        contact_center_license,
        disabled,
        roles,
        agent_of,
        penalties,
        supervisor_of,
    } = user;
    let mut fields = Map::new();
    fields.insert("user_id".to_owned(), json!(user_id));
    fields.insert("display_name".to_owned(), json!(display_name));
    if let Some(extension) = extension {
        fields.insert("extension".to_owned(), json!(extension));
    }
    if let Some(login) = login {
        fields.insert("login".to_owned(), json!(login.as_str()));
    }
    fields.insert("contact_center_license".to_owned(), json!(contact_center_license));
    if *disabled {
        fields.insert("disabled".to_owned(), json!(true));
    }
    let lists = [("roles", json!(roles)), ("agent_of", json!(agent_of)), ("supervisor_of", json!(supervisor_of))];
    for (name, list) in lists {
        if list.as_array().is_some_and(|list| !list.is_empty()) {
            fields.insert(name.to_owned(), list);
        }
    }
    if !penalties.is_empty() {
        let penalties = penalties.iter().map(|(queue_id, penalty)| (queue_id.to_string(), json!(penalty)));
        fields.insert("penalties".to_owned(), Value::Object(penalties.collect()));
    }
    fields
}

/// Mappings, and lists of mappings, use several lines; everything else is JSON, a subset of YAML.
fn write_fields(text: &mut String, fields: &Map<String, Value>, indent: &str) {
    for (index, (name, value)) in fields.iter().enumerate() {
        // The first field of a list item follows the dash.
        if index > 0 || !text.ends_with("- ") {
            text.push_str(indent);
        }
        text.push_str(name);
        text.push(':');
        let deeper = format!("{indent}  ");
        match value {
            Value::Object(fields) => {
                text.push('\n');
                write_fields(text, fields, &deeper);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                text.push('\n');
                for item in items.iter().filter_map(Value::as_object) {
                    text.push_str(&deeper);
                    text.push_str("- ");
                    write_fields(text, item, &format!("{deeper}  "));
                }
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(Value::to_string).collect();
                text.push_str(&format!(" [{}]\n", items.join(", ")));
            }
            value => text.push_str(&format!(" {value}\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::{Penalty, QueueKind, Role};

    fn queue(number: usize) -> QueueEntry {
        QueueEntry {
            line: 0,
            queue_id: format!("q{number}").parse().unwrap(),
            display_name: format!("Queue \"{number}\"\n"),
            extension: None,
            kind: QueueKind::CallQueue,
        }
    }

    fn user(number: usize) -> UserEntry {
        UserEntry {
            line: 0,
            user_id: format!("u{number}").parse().unwrap(),
            display_name: "x".repeat(200),
            extension: Some(format!("1{number}").parse().unwrap()),
            login: Some(format!("u{number}@example.com").parse().unwrap()),
            contact_center_license: true,
            disabled: number.is_multiple_of(2),
            roles: vec![Role::Agent],
            agent_of: vec!["q0".parse().unwrap(), "q1".parse().unwrap()],
            penalties: vec![("q1".parse().unwrap(), Penalty::new(7).unwrap())],
            supervisor_of: Vec::new(),
        }
    }

    /// The whole document in one text.
    fn whole(header: &Header<'_>, queues: usize, users: usize, format: Format) -> String {
        let mut fields = describe_header(header);
        let queues = (0..queues).map(|number| Value::Object(describe_queue(&queue(number))));
        fields.insert("queues".to_owned(), queues.collect());
        let users = (0..users).map(|number| Value::Object(describe_user(&user(number))));
        fields.insert("users".to_owned(), users.collect());
        match format {
            Format::Json => format!("{:#}\n", Value::Object(fields)),
            Format::Yaml => {
                let mut text = String::new();
                write_fields(&mut text, &fields, "");
                text
            }
        }
    }

    #[test]
    fn a_document_in_pieces_is_the_same_as_one_made_at_once_and_no_piece_is_large() {
        let organization_id = "acme".parse().unwrap();
        let settings = PermissionSettings::default();
        let header = Header { organization_id: Some(&organization_id), display_name: "Acme", settings: &settings };
        for (queues, users) in [(0, 0), (1, 0), (0, 1), (3, 2_000)] {
            for format in [Format::Yaml, Format::Json] {
                let mut pieces = Vec::new();
                let take = |piece| {
                    pieces.push(piece);
                    Ok::<_, ()>(())
                };
                write(&header, (0..queues).map(queue), (0..users).map(user), format, take).unwrap();
                assert!(pieces.iter().all(|piece| piece.len() < PIECE + 1_000));
                assert_eq!(pieces.concat(), whole(&header, queues, users, format));
            }
        }
    }

    #[test]
    fn nothing_more_is_written_for_a_reader_who_is_gone() {
        let settings = PermissionSettings::default();
        let header = Header { organization_id: None, display_name: "", settings: &settings };
        let mut written = 0;
        let users = (0..10_000).map(|number| {
            written = number;
            user(number)
        });
        assert_eq!(write(&header, std::iter::empty(), users, Format::Yaml, |_| Err("gone")), Err("gone"));
        assert!(written < 1_000, "{written}");
    }
}
