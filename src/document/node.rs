//! YAML and JSON text as one tree of nodes that know their lines.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use crate::domain::{directory::Problem, ids::shortened};

/// Maximum nesting of a document; a directory needs four levels.
const DEEPEST: usize = 16;

/// A value and its line.
#[derive(Debug)]
pub(super) struct Node {
    /// The line, from 1; 0 if unknown.
    pub line: u32,
    pub value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// Null, or an empty value in YAML.
    Null,
    /// A single value, as written.
    Scalar(String),
    List(Vec<Node>),
    Mapping(Vec<(String, Node)>),
}

/// Read text that is JSON or YAML.
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    if !text.trim_start().starts_with('{') {
        return parse_yaml(text);
    }
    let not_json = match serde_json::from_str(text) {
        Ok(root) => return Ok(root),
        Err(error) => problem(line_of(error.line()), format!("is malformed JSON: {error}")),
    };
    // YAML can also begin with a brace.
    parse_yaml(text).map_err(|_| not_json)
}

/// A list or a mapping that is still open.
enum Open {
    List(Vec<Node>),
    /// The entries so far, and the key that waits for its value.
    Mapping(Vec<(String, Node)>, Option<String>),
}

fn parse_yaml(text: &str) -> Result<Node, Problem> {
    let mut parser = Parser::new_from_str(text);
    let mut open: Vec<(u32, Open)> = Vec::new();
    let mut root: Option<Node> = None;
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = event
            .map_err(|error| problem(line_of(error.marker().line()), format!("is malformed YAML: {}", error.info())))?;
        let line = line_of(span.start.line());
        if let Event::Scalar(.., Some(tag)) | Event::SequenceStart(_, Some(tag)) | Event::MappingStart(_, Some(tag)) =
            &event
        {
            let name = format!("{}{}", tag.handle, tag.suffix).replace("tag:yaml.org,2002:", "!!");
            return Err(problem(line, format!("has a tag (`{}`); write the plain value instead", shortened(&name))));
        }
        let finished = match event {
            Event::StreamEnd => break,
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => None,
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(problem(line, "must be one document; a second one starts here".to_owned()));
                }
                None
            }
            Event::Alias(_) => {
                return Err(problem(line, "has an alias (`*name`); write the value out instead".to_owned()));
            }
            Event::Scalar(text, style, ..) => {
                let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                Some(Node { line, value: if is_null { Value::Null } else { Value::Scalar(text.into_owned()) } })
            }
            Event::SequenceStart(..) => {
                open.push((line, Open::List(Vec::new())));
                None
            }
            Event::MappingStart(..) => {
                open.push((line, Open::Mapping(Vec::new(), None)));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(|(line, ended)| match ended {
                Open::List(items) => Node { line, value: Value::List(items) },
                Open::Mapping(entries, _) => Node { line, value: Value::Mapping(entries) },
            }),
        };
        if open.len() > DEEPEST {
            return Err(problem(line, format!("is nested too deeply: more than {DEEPEST} levels")));
        }
        let Some(node) = finished else { continue };
        match open.last_mut() {
            None => root = Some(node),
            Some((_, Open::List(items))) => items.push(node),
            Some((_, Open::Mapping(entries, key))) => match (key.take(), node) {
                (Some(key), node) => entries.push((key, node)),
                (None, Node { value: Value::Scalar(text), .. }) => *key = Some(text),
                (None, Node { line, .. }) => {
                    return Err(problem(line, "has a key that is not a plain word".to_owned()));
                }
            },
        }
    }
    root.filter(|root| !matches!(root.value, Value::Null)).ok_or_else(|| problem(1, "is empty".to_owned()))
}

fn line_of(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(0)
}

fn problem(line: u32, description: String) -> Problem {
    Problem { line, path: String::new(), description }
}

/// JSON: the same tree, without lines.
impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(JsonVisitor)?;
        Ok(Self { line: 0, value })
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    /// A fraction, an exponent, or more digits than a number can hold. Printing it would change the text, so the
    /// document is read as YAML, which keeps the text.
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Value, E> {
        Err(E::custom("a number that is not a plain integer; write it in quotes"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Mapping(entries))
    }
}
