//! A [`Directory`] to text: one description, written as YAML or JSON.

use serde_json::{Map, Value, json};

use crate::domain::{
    directory::{Directory, QueueEntry, UserEntry},
    settings::{PermissionSettings, Switch, UNASSIGNED_QUEUE_SIGN_IN},
};

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2.
    Yaml,
    /// JSON.
    Json,
}

/// Writes a directory with all its settings, as [`read`](super::read) reads it.
pub fn write(directory: &Directory, settings: &PermissionSettings, format: Format) -> String {
    let described = describe(directory, settings);
    match format {
        Format::Json => format!("{described:#}\n"),
        Format::Yaml => {
            let mut text = String::new();
            if let Value::Object(fields) = &described {
                write_fields(&mut text, fields, "");
            }
            text
        }
    }
}

fn describe(directory: &Directory, settings: &PermissionSettings) -> Value {
    let mut organization = Map::new();
    if let Some(organization_id) = &directory.organization_id {
        organization.insert("organization_id".to_owned(), json!(organization_id));
    }
    organization.insert("display_name".to_owned(), json!(directory.display_name.as_deref().unwrap_or_default()));
    json!({
        "organization": organization,
        "settings": describe_settings(settings),
        "queues": directory.queues.iter().map(describe_queue).collect::<Vec<_>>(),
        "users": directory.users.iter().map(describe_user).collect::<Vec<_>>(),
    })
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

fn describe_queue(queue: &QueueEntry) -> Value {
    let QueueEntry { line: _, queue_id, display_name, extension, kind } = queue;
    let mut fields = Map::new();
    fields.insert("queue_id".to_owned(), json!(queue_id));
    fields.insert("display_name".to_owned(), json!(display_name));
    if let Some(extension) = extension {
        fields.insert("extension".to_owned(), json!(extension));
    }
    fields.insert("kind".to_owned(), json!(kind));
    Value::Object(fields)
}

fn describe_user(user: &UserEntry) -> Value {
    let UserEntry {
        line: _,
        user_id,
        display_name,
        extension,
        contact_center_license,
        disabled,
        roles,
        agent_of,
        supervisor_of,
    } = user;
    let mut fields = Map::new();
    fields.insert("user_id".to_owned(), json!(user_id));
    fields.insert("display_name".to_owned(), json!(display_name));
    if let Some(extension) = extension {
        fields.insert("extension".to_owned(), json!(extension));
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
    Value::Object(fields)
}

/// Mappings, and lists of mappings, go over several lines; everything else is JSON, which YAML contains.
fn write_fields(text: &mut String, fields: &Map<String, Value>, indent: &str) {
    for (index, (name, value)) in fields.iter().enumerate() {
        // The first field of a list's item stands behind the item's dash.
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
