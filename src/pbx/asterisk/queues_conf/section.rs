//! Sections, and the lines in them that make phones members. PURE.

use super::place::Place;
use crate::domain::model::Penalty;

/// A line that makes a phone a member of a queue, as Asterisk reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The place of the line.
    pub place: Place,
    /// The queue's name.
    pub queue: String,
    /// The phone.
    pub interface: String,
    /// The penalty, if the line gives one.
    pub penalty: Option<Penalty>,
}

/// A line of a section.
#[derive(Debug, Clone)]
pub(super) struct Line {
    place: Place,
    key: String,
    pub(super) value: String,
}

/// A section.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) is_template: bool,
    pub(super) lines: Vec<Line>,
}

impl Section {
    /// Add a line such as `member => PJSIP/101`, if it is about members.
    pub(super) fn add(&mut self, place: Place, text: &str) {
        // The first letter may be escaped.
        let Some((key, value)) = text.strip_prefix('\\').unwrap_or(text).split_once('=') else { return };
        let (key, is_continued) = key.strip_suffix('+').map_or((key, false), |key| (key, true));
        let key = stripped(key);
        if !key.eq_ignore_ascii_case("member") {
            return;
        }
        if is_continued && let Some(line) = self.lines.iter_mut().rfind(|line| line.key == key) {
            line.value.push_str(value);
            line.value = stripped(&line.value).to_owned();
            return;
        }
        let value = if is_continued { value } else { value.strip_prefix('>').unwrap_or(value) };
        self.lines.push(Line { place, key: key.to_owned(), value: stripped(value).to_owned() });
    }

    /// Return the members of the queue that the section describes. Asterisk skips empty lines.
    pub(super) fn members(&self) -> impl Iterator<Item = Member> {
        let lines = self.lines.iter().filter(|line| !line.value.is_empty());
        lines.map(|Line { place, key: _, value }| {
            let [interface, penalty] = first_arguments(value);
            Member {
                place: place.clone(),
                queue: stripped(&self.name).to_owned(),
                interface: stripped(&interface).to_owned(),
                penalty: Some(stripped(&penalty)).filter(|penalty| !penalty.is_empty()).map(penalty_of),
            }
        })
    }
}

/// Remove spaces and control characters around a text, as Asterisk does.
pub(super) fn stripped(text: &str) -> &str {
    text.trim_matches(|letter| letter <= ' ')
}

/// Return a penalty as Asterisk reads it: the digits at the start, or 0. queuegate's largest one is 999.
fn penalty_of(text: &str) -> Penalty {
    let digits = text.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
    let number = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(Penalty::MAX) };
    Penalty::new(number.min(Penalty::MAX).into()).unwrap_or_default()
}

/// Return the texts before the first and the second comma, without quotes. A comma in quotes or brackets doesn't count.
fn first_arguments(value: &str) -> [String; 2] {
    let (mut parentheses, mut brackets, mut is_quoted) = (0_u32, 0_u32, false);
    let mut arguments = [String::new(), String::new()];
    let [interface, penalty] = &mut arguments;
    let (mut argument, mut is_first) = (interface, true);
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '(' => parentheses += 1,
            ')' => parentheses = parentheses.saturating_sub(1),
            '[' => brackets += 1,
            ']' => brackets = brackets.saturating_sub(1),
            '"' => {
                is_quoted = !is_quoted;
                continue;
            }
            '\\' => {
                argument.extend(letters.next());
                continue;
            }
            ',' if parentheses == 0 && brackets == 0 && !is_quoted && is_first => {
                (argument, is_first) = (&mut *penalty, false);
                continue;
            }
            ',' if parentheses == 0 && brackets == 0 && !is_quoted => break,
            _ => {}
        }
        argument.push(letter);
    }
    arguments
}
