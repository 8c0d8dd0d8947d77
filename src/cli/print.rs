//! Answers on standard output: tables for people, JSON for machines. Colour on a terminal only.

use std::{collections::BTreeMap, io::Write, sync::OnceLock};

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use comfy_table::{Table, presets};
use indicatif::ProgressStyle;
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

use crate::{
    domain::text::{is_hidden, shown},
    rpc::{FILE_DESCRIPTOR_SET, proto},
};

pub(super) const GREEN: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green))).bold();
pub(super) const RED: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red))).bold();
pub(super) const DIM: Style = Style::new().dimmed();

/// Print a message as proto3 JSON with every field, like `grpcurl -emit-defaults`.
pub(super) fn json<M: Message + Name>(message: &M) -> anyhow::Result<()> {
    line(&json_text(&format!("{:#}", to_json(message)?)))
}

/// Print a JSON value that is no message of the API.
pub(super) fn json_value(value: &serde_json::Value) -> anyhow::Result<()> {
    line(&json_text(&format!("{value:#}")))
}

/// Print a message as one line of JSON, for streams.
pub(super) fn json_line<M: Message + Name>(message: &M) -> anyhow::Result<()> {
    line(&json_text(&to_json(message)?.to_string()))
}

/// Print a line and flushes it, for readers of a stream.
pub(super) fn line(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{}", safe(text))?;
    Ok(out.flush()?)
}

/// Print a line on standard error.
pub(super) fn error_line(text: &str) {
    anstream::eprintln!("{}", safe(text));
}

/// Print a question on standard error, without ending the line.
pub(super) fn prompt(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stderr().lock();
    write!(out, "{}", safe(text))?;
    Ok(out.flush()?)
}

/// Escape every character that acts on a terminal, except our own styles and line ends.
fn safe(text: &str) -> String {
    let styles =
        [GREEN, RED, DIM].iter().flat_map(|style| [style.render().to_string(), style.render_reset().to_string()]);
    let styles: Vec<String> = styles.collect();
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if let Some(style) = styles.iter().find(|style| rest.starts_with(style.as_str())) {
            safe.push_str(style);
            rest = rest.get(style.len()..).unwrap_or_default();
            continue;
        }
        match letter {
            '\n' | '\t' => safe.push(letter),
            letter => safe.extend(shown(letter)),
        }
        rest = rest.get(letter.len_utf8()..).unwrap_or_default();
    }
    safe
}

/// Escape hidden characters in JSON the way JSON does, so that it stays the same JSON for machines.
fn json_text(text: &str) -> String {
    let mut units = [0; 2];
    let mut written = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter != '\n' && is_hidden(letter) {
            let units = letter.encode_utf16(&mut units);
            written.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            written.push(letter);
        }
    }
    written
}

/// Convert a message to proto3 JSON with every field.
pub(super) fn to_json<M: Message + Name>(message: &M) -> anyhow::Result<serde_json::Value> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok());
    let descriptor = pool.as_ref().and_then(|pool| pool.get_message_by_name(&M::full_name()));
    let descriptor = descriptor.with_context(|| format!("{} has no descriptor", M::full_name()))?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    let options = SerializeOptions::new().skip_default_fields(false).use_proto_field_name(true);
    Ok(message.serialize_with_options(serde_json::value::Serializer, &options)?)
}

/// Return the style of a progress bar. The templates are constants and valid.
pub(super) fn bar_style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Print a table with a heading, without lines between rows.
pub(super) fn table<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heading);
    for row in rows {
        table.add_row(row.map(|cell| cell.chars().flat_map(shown).collect::<String>()));
    }
    let text: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    line(&text.join("\n"))
}

/// An enumeration's value without the prefix that protobuf asks for.
pub(super) fn short(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_owned()
}

pub(super) fn reason(value: i32) -> String {
    proto::Reason::try_from(value).map_or_else(|_| value.to_string(), |reason| short(reason.as_str_name(), "REASON_"))
}

pub(super) fn channel(value: i32) -> String {
    proto::Channel::try_from(value)
        .map_or_else(|_| value.to_string(), |channel| short(channel.as_str_name(), "CHANNEL_"))
}

pub(super) fn basis(value: i32) -> String {
    proto::Basis::try_from(value).map_or_else(|_| value.to_string(), |basis| short(basis.as_str_name(), "BASIS_"))
}

pub(super) fn end_reason(value: i32) -> String {
    proto::EndReason::try_from(value)
        .map_or_else(|_| value.to_string(), |reason| short(reason.as_str_name(), "END_REASON_"))
}

pub(super) fn time(time: Option<&prost_types::Timestamp>) -> String {
    time.map(ToString::to_string).unwrap_or_default()
}

pub(super) fn role(role: proto::Role) -> String {
    short(role.as_str_name(), "ROLE_")
}

pub(super) fn roles(roles: impl Iterator<Item = proto::Role>) -> String {
    let roles: Vec<String> = roles.map(role).collect();
    if roles.is_empty() { "none".to_owned() } else { roles.join(", ") }
}

pub(super) fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

/// Print a decision about queue access.
pub(super) fn decision(decision: &proto::Decision) -> anyhow::Result<()> {
    answer(decision.allowed(), &reason(decision.reason), &decision.explanation)
}

/// Print an answer: the word, the reason, and the sentence.
pub(super) fn answer(allowed: bool, reason: &str, explanation: &str) -> anyhow::Result<()> {
    let (style, word) = if allowed { (GREEN, "allowed") } else { (RED, "denied") };
    line(&format!("{style}{word}{style:#}  {reason}"))?;
    line(explanation)
}

/// Print a session.
pub(super) fn session(session: &proto::Session) -> anyhow::Result<()> {
    let mut text = format!(
        "session {}: {} on {} since {}",
        session.session_id,
        session.user_id,
        session.queue_id,
        time(session.sign_in_time.as_ref())
    );
    if let Some(expire_time) = &session.expire_time {
        text.push_str(&format!(", until {expire_time}"));
    }
    if session.end_time.is_some() {
        text.push_str(&format!(", ended {} ({})", time(session.end_time.as_ref()), end_reason(session.end_reason)));
    }
    line(&format!("{DIM}{text}{DIM:#}"))
}

/// The differences between two messages of one type, such as `user.disabled: false → true`.
pub(super) fn differences<M: Message + Name>(before: &M, after: &M) -> anyhow::Result<Vec<String>> {
    let (before, after) = (leaves(&to_json(before)?), leaves(&to_json(after)?));
    let changed = after.iter().filter(|(path, value)| before.get(*path) != Some(*value));
    let changed = changed.map(|(path, value)| {
        let old = before.get(path).map_or("", String::as_str);
        format!("{path}: {old} → {value}")
    });
    Ok(changed.collect())
}

/// The values of a JSON document by their paths.
fn leaves(value: &serde_json::Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![(String::new(), value)];
    while let Some((path, value)) = open.pop() {
        match value {
            serde_json::Value::Object(fields) => open.extend(fields.iter().map(|(name, value)| {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                (path, value)
            })),
            serde_json::Value::String(text) => drop(found.insert(path, text.clone())),
            other => drop(found.insert(path, other.to_string())),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_name_holds_acts_on_a_terminal() {
        let line = format!("{GREEN}allowed{GREEN:#} Anna\u{1b}[2J\u{9b}2J\u{202e}x\u{2028}\r\u{1b}[1mB\n");
        let expected =
            format!("{GREEN}allowed{GREEN:#} Anna\\u{{1b}}[2J\\u{{9b}}2J\\u{{202e}}x\\u{{2028}}\\r\\u{{1b}}[1mB\n");
        assert_eq!(safe(&line), expected);
    }

    #[test]
    fn hidden_characters_in_json_are_escaped_and_mean_the_same() {
        let value = serde_json::json!({ "name": "a\u{202e}b\u{2028}c\u{e0041}d\u{9b}" });
        let text = json_text(&format!("{value:#}"));
        assert!(!text.chars().any(|letter| letter != '\n' && is_hidden(letter)), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
