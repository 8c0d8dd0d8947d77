//! Static members in Asterisk's `queues.conf`, which become assignments. PURE.

use std::collections::BTreeMap;

use super::request::queue_ref;
use crate::domain::ids::{Extension, QueueRef, shortened};

/// Channel technologies, old and new, whose channels can be named by extensions.
const PHONES: [&str; 8] = ["PJSIP", "SIP", "IAX2", "IAX", "Local", "SCCP", "Skinny", "MGCP"];

/// A line that makes a phone a member of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticMember {
    /// The line, from 1.
    pub line: usize,
    /// The queue.
    pub queue: QueueRef,
    /// The extension of the phone's user.
    pub user: Extension,
    /// The interface as written in the file.
    pub interface: String,
}

/// A line that isn't imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The line, from 1.
    pub line: usize,
    /// The text of the line.
    pub text: String,
    /// The reason why it is left out.
    pub why: String,
}

/// The members of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Lines with a user and a queue.
    pub members: Vec<StaticMember>,
    /// All other lines about members.
    pub left_out: Vec<LeftOut>,
}

#[derive(Debug, Clone)]
struct Line {
    number: usize,
    value: String,
}

#[derive(Debug, Default)]
struct Section {
    is_template: bool,
    members: Vec<Line>,
}

/// A file that isn't text in a supported encoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is not text in UTF-8 or another encoding that contains ASCII, but {0}; convert it to UTF-8")]
pub struct OtherEncoding(&'static str);

/// Decode a file. Comments may be in any encoding that contains ASCII. The names of users and queues are ASCII.
pub fn decode(bytes: &[u8]) -> Result<String, OtherEncoding> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(OtherEncoding("UTF-16"));
    }
    if bytes.contains(&0) {
        return Err(OtherEncoding("UTF-16 without a byte-order mark, or binary"));
    }
    // Asterisk skips a byte-order mark of UTF-8 too.
    Ok(String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).into_owned())
}

/// Parse a file.
pub fn read(text: &str) -> Reading {
    let mut reading = Reading::default();
    let mut sections: BTreeMap<String, Section> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    let mut comments = 0;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = without_comments(line, &mut comments);
        let line = line.trim();
        let mut leave_out = |why: &str| {
            reading.left_out.push(LeftOut { line: number, text: shortened(line), why: why.to_owned() });
        };
        if let Some(directive) = line.strip_prefix('#') {
            match directive.split_whitespace().next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "include" | "tryinclude" => leave_out("other files aren't read; import them one by one"),
                "exec" => leave_out("no program is run; import its output"),
                // Asterisk logs a warning, and skips the line.
                _ => leave_out("`#` begins no comment, and the directive is unknown; Asterisk skips the line"),
            }
        } else if let Some(rest) = line.strip_prefix('[') {
            let Some((name, options)) = rest.split_once(']') else {
                leave_out("the section has no `]`");
                continue;
            };
            let options = options.trim().trim_start_matches('(').trim_end_matches(')');
            let mut section = Section::default();
            for option in options.split(',').map(str::trim).filter(|option| !option.is_empty()) {
                match (option, sections.get(option)) {
                    ("!", _) => section.is_template = true,
                    ("+", _) => {}
                    (_, Some(template)) => section.members.extend(template.members.iter().cloned()),
                    (_, None) => leave_out("its template is not defined before it"),
                }
            }
            let name = name.trim().to_owned();
            let known = sections.entry(name.clone()).or_default();
            known.is_template |= section.is_template;
            known.members.extend(section.members);
            order.retain(|known| *known != name);
            order.push(name);
        } else if let Some((key, value)) = line.split_once('=')
            && key.trim().eq_ignore_ascii_case("member")
        {
            let value = value.strip_prefix('>').unwrap_or(value).trim().to_owned();
            match order.last().and_then(|name| sections.get_mut(name)) {
                Some(section) => section.members.push(Line { number, value }),
                None => leave_out("it is in no section"),
            }
        }
    }
    for name in order {
        let Some(section) = sections.get(&name).filter(|section| !section.is_template && name != "general") else {
            continue;
        };
        for Line { number, value } in &section.members {
            match member(*number, &name, value) {
                Ok(member) => reading.members.push(member),
                Err(why) => {
                    let text = shortened(&format!("[{name}] member => {value}"));
                    reading.left_out.push(LeftOut { line: *number, text, why });
                }
            }
        }
    }
    reading
}

fn member(line: usize, queue: &str, value: &str) -> Result<StaticMember, String> {
    let interface = value.split(',').next().unwrap_or_default().trim();
    let queue =
        queue_ref(queue).ok_or_else(|| format!("`{}` is not the extension or id of a queue", shortened(queue)))?;
    let (technology, rest) = interface.split_once('/').unwrap_or(("", interface));
    // `Local/101@from-queue/n` dials 101.
    let rest = if technology.eq_ignore_ascii_case("Local") { rest.split('@').next().unwrap_or(rest) } else { rest };
    let user = rest.parse().map_err(|_| format!("`{}` doesn't say which extension it is", shortened(interface)))?;
    if technology.eq_ignore_ascii_case("Agent") {
        return Err("the numbers of app_agent_pool's agents are not extensions".to_owned());
    }
    if ["DAHDI", "Zap"].iter().any(|known| technology.eq_ignore_ascii_case(known)) {
        return Err(format!("the number of a {technology} channel is not an extension"));
    }
    if !PHONES.iter().any(|known| technology.eq_ignore_ascii_case(known)) {
        return Err(format!(
            "the technology of `{}` is unknown, so its name may not be an extension",
            shortened(interface)
        ));
    }
    Ok(StaticMember { line, queue, user, interface: interface.to_owned() })
}

/// Return a line without its comments. Block comments (`;-- --;`) can be nested; `comments` counts the open ones.
fn without_comments(line: &str, comments: &mut usize) -> String {
    let mut text = String::new();
    let mut rest = line;
    loop {
        if *comments > 0 {
            let (open, close) = (opening(rest), rest.find("--;"));
            match (open, close) {
                (Some(open), close) if close.is_none_or(|close| open < close) => {
                    *comments += 1;
                    rest = rest.get(open + 3..).unwrap_or_default();
                }
                (_, Some(close)) => {
                    *comments -= 1;
                    rest = rest.get(close + 3..).unwrap_or_default();
                }
                (_, None) => return text,
            }
            continue;
        }
        let Some(at) = rest.find(';') else { return text + rest };
        let (before, comment) = rest.split_at(at);
        if let Some(escaped) = before.strip_suffix('\\') {
            text.push_str(escaped);
            text.push(';');
            rest = comment.strip_prefix(';').unwrap_or_default();
            continue;
        }
        text.push_str(before);
        if opening(comment) != Some(0) {
            return text;
        }
        *comments += 1;
        rest = comment.get(3..).unwrap_or_default();
    }
}

/// Return the position where a block comment opens: at `;--`, but not at `;---`.
fn opening(text: &str) -> Option<usize> {
    let mut found = text.match_indices(";--").map(|(at, _)| at);
    found.find(|at| !text.get(at + 3..).unwrap_or_default().starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
[general]
persistentmembers = yes
member => PJSIP/999

[agents](!)            ; a template
member => PJSIP/101

[801](agents)
strategy = rrmemory
member => PJSIP/102,1,Bo Lindqvist,hint:102@ext-local
member=Local/103@from-queue/n,0,Cleo
;member => PJSIP/104
;-- member => PJSIP/105
member => PJSIP/106 --;
member => PJSIP/anna-desk
member => Agent/7
member => DAHDI/1

[sales]
MEMBER = SIP/0107 ; desk
[Front Desk]
member => PJSIP/108
#include queues_additional.conf
[802](nowhere)
member => PJSIP/109
[801](+)
member => IAX2/110
";

    #[test]
    fn static_members_are_read_as_asterisk_reads_them() {
        let Reading { members, left_out } = read(FILE);
        let named: Vec<_> = members.iter().map(|member| (member.queue.name(), member.user.to_string())).collect();
        let members = members.iter().zip(&named);
        let members: Vec<_> = members.map(|(member, (queue, user))| (member.line, &**queue, &**user)).collect();
        let expected = [
            (20, "sales", "0107"),
            (25, "802", "109"),
            (6, "801", "101"),
            (10, "801", "102"),
            (11, "801", "103"),
            (27, "801", "110"),
        ];
        assert_eq!(members, expected);
        let mut lines: Vec<usize> = left_out.iter().map(|left_out| left_out.line).collect();
        lines.sort_unstable();
        assert_eq!(lines, [15, 16, 17, 22, 23, 24]);
        assert!(left_out.iter().any(|left_out| left_out.why.contains("`PJSIP/anna-desk` doesn't say")), "{left_out:?}");
    }

    #[test]
    fn any_text_can_be_parsed() {
        for text in ["", "[", "]", "[]", "member", "member => ", "= = =", ";--", "[a](", "[a](!,", "\\;", ";--;--;"] {
            read(text);
            read(&format!("[801]\n{text}\n"));
        }
        assert_eq!(read("member => PJSIP/101").left_out.len(), 1);
    }

    fn assigned(text: &str) -> Vec<String> {
        read(text).members.iter().map(|member| member.user.to_string()).collect()
    }

    #[test]
    fn a_byte_order_mark_hides_no_section_and_other_encodings_are_refused() {
        let file = "[801]\nmember => PJSIP/101\n";
        let marked = [b"\xef\xbb\xbf", file.as_bytes()].concat();
        assert_eq!(assigned(&decode(&marked).unwrap()), ["101"]);
        // A comment may be in Latin-1.
        assert_eq!(assigned(&decode(&[b"; M\xfcller\n", file.as_bytes()].concat()).unwrap()), ["101"]);
        let utf16: Vec<u8> = file.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(decode(&[b"\xff\xfe", &utf16[..]].concat()).unwrap_err().to_string().contains("UTF-16"));
        assert!(decode(&utf16).is_err() && decode(b"\x7fELF\0").is_err());
    }

    #[test]
    fn comments_are_nested_as_asterisk_nests_them() {
        let nested = "[801]\n;-- gone\n;-- since last year --;\nmember => PJSIP/102\n--;\nmember => PJSIP/101\n";
        assert_eq!(assigned(nested), ["101"]);
        assert_eq!(assigned("[801]\n;-- a ;-- b --; c --; member => PJSIP/101\n"), ["101"]);
        assert_eq!(assigned("[801]\n;--- a line\nmember => PJSIP/101\n"), ["101"]);
    }

    #[test]
    fn unknown_directives_and_old_channels_are_reported() {
        let read = read(
            "[801]\n#musicclass=default\n#exec /bin/true\n#include a.conf\nmember => PJSIP/101\nmember => Zap/3\nmember => Console/102\nmember => IAX/103\n",
        );
        let why: Vec<&str> = read.left_out.iter().map(|left_out| left_out.why.split(';').next().unwrap()).collect();
        let expected = [
            "`#` begins no comment, and the directive is unknown",
            "no program is run",
            "other files aren't read",
            "the number of a Zap channel is not an extension",
            "the technology of `Console/102` is unknown, so its name may not be an extension",
        ];
        assert_eq!(why, expected);
        assert_eq!(read.members.len(), 2);
    }
}
