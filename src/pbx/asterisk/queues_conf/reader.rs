//! Sections, templates and included files, read as Asterisk reads them. PURE.
//!
//! Asterisk refuses a file with a malformed section, an unknown template or a missing file. An included file with such a
//! fault is read up to the fault.

use std::sync::Arc;

use super::{
    comments::OpenComments,
    encoding::{OtherEncoding, decode},
    place::{LeftOut, Place},
    section::{Member, Section, stripped},
};
use crate::domain::ids::shortened;

/// The number of included files that may be open at a time. Asterisk includes no more.
const MAX_LEVELS: usize = 10;

/// The number of included files. It ends files that include each other over and over.
const MAX_FILES: usize = 1000;

/// The length of a line, in bytes. Asterisk skips longer lines.
const MAX_LINE_BYTES: usize = 8189;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The files that can be included.
pub trait Files {
    /// Return the files that a name or a pattern stands for, in order. A missing file is no error.
    fn matching(&self, pattern: &str) -> Result<Vec<Found>, String>;
}

/// The members of a file, and the lines that Asterisk leaves out or that can't be read here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The static members, as Asterisk reads them.
    pub members: Vec<Member>,
    /// The lines that aren't read.
    pub left_out: Vec<LeftOut>,
}

/// A file that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It isn't text in a supported encoding.
    #[error("{0}")]
    Encoding(#[from] OtherEncoding),
    /// Asterisk refuses the file for a line.
    #[error("{}: {}\n    {}; Asterisk refuses the whole file", .0.place, .0.text, .0.why)]
    Line(LeftOut),
}

/// Read a file, and the files that it includes.
pub fn read(file: Found, files: &dyn Files) -> Result<Reading, Refused> {
    decode(&file.bytes)?;
    let mut reader =
        Reader { files, sections: Vec::new(), current: None, open: Vec::new(), count: 0, left_out: Vec::new() };
    reader.read_files(vec![file]).map_err(Refused::Line)?;
    Ok(reader.reading())
}

struct Reader<'f> {
    files: &'f dyn Files,
    sections: Vec<Section>,
    /// The section that an included file continues.
    current: Option<usize>,
    /// The files that are being read, each included by the one before it.
    open: Vec<String>,
    count: usize,
    left_out: Vec<LeftOut>,
}

impl Reader<'_> {
    /// Read the files of one directive. Comments and sections continue from one to the next.
    fn read_files(&mut self, files: Vec<Found>) -> Result<(), LeftOut> {
        let mut comments = OpenComments::default();
        let mut section = self.current;
        for Found { name, bytes } in files {
            let file: Option<Arc<str>> = (!self.open.is_empty()).then(|| name.as_str().into());
            let fault = |line, text: &str, why: String| {
                let place = Place { file: file.clone(), line };
                LeftOut { place, text: shortened(text), why }
            };
            let text = decode(&bytes).map_err(|error| fault(1, "the file", error.to_string()))?;
            self.open.push(name);
            for (line, index) in text.lines().zip(1..) {
                if line.len() > MAX_LINE_BYTES {
                    self.left_out.push(fault(index, line, "it is too long; Asterisk skips it".to_owned()));
                    continue;
                }
                let text = comments.remove(line);
                let text = stripped(&text);
                let place = Place { file: file.clone(), line: index };
                let read = self.read_line(&place, text, &mut section);
                read.map_err(|why| fault(index, text, why)).inspect_err(|_| drop(self.open.pop()))?;
            }
            self.open.pop();
        }
        Ok(())
    }

    /// Read a line. After an error Asterisk reads no further in its file.
    fn read_line(&mut self, place: &Place, text: &str, section: &mut Option<usize>) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        if let Some(header) = text.strip_prefix('[') {
            let index = self.begin_section(place, header)?;
            (self.current, *section) = (Some(index), Some(index));
            return Ok(());
        }
        if let Some(directive) = text.strip_prefix('#') {
            return self.follow(place, text, directive);
        }
        let section = section.and_then(|index| self.sections.get_mut(index)).ok_or("it is in no section")?;
        section.add(place.clone(), text);
        Ok(())
    }

    /// Begin or continue a section with the header `NAME]` or `NAME](OPTIONS)`, and return its index.
    fn begin_section(&mut self, place: &Place, header: &str) -> Result<usize, String> {
        let (name, rest) = header.split_once(']').ok_or("the section has no `]`")?;
        let mut section =
            Section { place: place.clone(), name: name.to_owned(), is_template: false, lines: Vec::new() };
        let mut continued = None;
        if let Some(options) = rest.strip_prefix('(') {
            let (options, _) = options.split_once(')').ok_or("the section's options have no `)`")?;
            for option in options.split(',') {
                if option == "!" {
                    continued.and_then(|index| self.sections.get_mut(index)).unwrap_or(&mut section).is_template = true;
                } else if let Some(filter) = option.strip_prefix('+') {
                    let is_wanted = match filter {
                        "" => |section: &Section| !section.is_template,
                        "TEMPLATES=include" => |_: &Section| true,
                        "TEMPLATES=restrict" => |section: &Section| section.is_template,
                        _ => return Err("sections aren't searched by their lines here".to_owned()),
                    };
                    let index = self.find(name, is_wanted).ok_or("there is no such section before it")?;
                    if let Some(known) = self.sections.get_mut(index) {
                        known.is_template |= section.is_template;
                        known.lines.append(&mut section.lines);
                    }
                    continued = Some(index);
                } else {
                    let template = self.find(option, |_| true).and_then(|index| self.sections.get(index));
                    let lines = template.ok_or("its template is not defined before it")?.lines.clone();
                    let section = continued.and_then(|index| self.sections.get_mut(index)).unwrap_or(&mut section);
                    section.lines.extend(lines);
                }
            }
        }
        Ok(continued.unwrap_or_else(|| {
            self.sections.push(section);
            self.sections.len() - 1
        }))
    }

    fn find(&self, name: &str, is_wanted: impl Fn(&Section) -> bool) -> Option<usize> {
        self.sections.iter().position(|section| section.name.eq_ignore_ascii_case(name) && is_wanted(section))
    }

    /// Follow a directive such as `#include FILE`.
    fn follow(&mut self, place: &Place, text: &str, directive: &str) -> Result<(), String> {
        let (name, argument) = directive.split_at(directive.find(|letter| letter <= ' ').unwrap_or(directive.len()));
        let mut leave_out =
            |why: String| self.left_out.push(LeftOut { place: place.clone(), text: shortened(text), why });
        let is_required = match name.to_ascii_lowercase().as_str() {
            "include" => true,
            "tryinclude" => false,
            "exec" => {
                leave_out("no program is run; import its output".to_owned());
                return Ok(());
            }
            _ => {
                leave_out("`#` begins no comment, and the directive is unknown; Asterisk skips the line".to_owned());
                return Ok(());
            }
        };
        let pattern = unquoted(stripped(argument));
        if pattern.is_empty() {
            leave_out("it names no file; Asterisk skips the line".to_owned());
            return Ok(());
        }
        let is_deep = self.open.len() > MAX_LEVELS;
        let mut found = if is_deep { Vec::new() } else { self.files.matching(pattern)? };
        if found.is_empty() && is_deep {
            return Err(format!("Asterisk includes at most {MAX_LEVELS} files in each other"));
        }
        if found.is_empty() && is_required {
            return Err(format!("there is no file `{}`", shortened(pattern)));
        }
        if found.iter().any(|file| self.open.contains(&file.name)) {
            leave_out("a file includes itself in this way; it is read once".to_owned());
            found.retain(|file| !self.open.contains(&file.name));
        }
        self.count += found.len();
        if self.count > MAX_FILES {
            return Err(format!("more than {MAX_FILES} files are included"));
        }
        if let Err(mut fault) = self.read_files(found) {
            fault.why.push_str("; Asterisk reads no further in this file");
            self.left_out.push(fault);
        }
        Ok(())
    }

    fn reading(self) -> Reading {
        let Self { sections, mut left_out, .. } = self;
        let mut known: Vec<&Section> = Vec::new();
        let mut members = Vec::new();
        let is_queue = |section: &&Section| !section.is_template && !section.name.eq_ignore_ascii_case("general");
        for section in sections.iter().filter(is_queue) {
            if known.iter().any(|known| known.name.eq_ignore_ascii_case(&section.name)) {
                if section.members().next().is_some() {
                    let text = shortened(&format!("[{}]", section.name));
                    let why = "Asterisk has read a section with this name before, and skips its members".to_owned();
                    left_out.push(LeftOut { place: section.place.clone(), text, why });
                }
                continue;
            }
            known.push(section);
            members.extend(section.members());
        }
        Reading { members, left_out }
    }
}

/// Remove the quotes `"…"` or `<…>` around a file's name.
fn unquoted(name: &str) -> &str {
    let inner = [('"', '"'), ('<', '>')];
    let mut inner = inner.iter().filter_map(|(open, close)| name.strip_prefix(*open)?.strip_suffix(*close));
    inner.next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Files by their names, and no patterns.
    struct Texts(BTreeMap<&'static str, &'static str>);

    impl Files for Texts {
        fn matching(&self, pattern: &str) -> Result<Vec<Found>, String> {
            let found = self.0.iter().filter(|(name, _)| *name == &pattern);
            Ok(found.map(|(name, text)| file(name, text)).collect())
        }
    }

    fn file(name: &str, text: &str) -> Found {
        Found { name: name.to_owned(), bytes: text.into() }
    }

    fn read_with(text: &str, files: &[(&'static str, &'static str)]) -> Result<Reading, Refused> {
        read(file("queues.conf", text), &Texts(files.iter().copied().collect()))
    }

    /// The members as `queue:interface`, and the places that are left out.
    fn shown(reading: &Reading) -> (Vec<String>, Vec<String>) {
        let members = reading.members.iter().map(|member| format!("{}:{}", member.queue, member.interface));
        (members.collect(), reading.left_out.iter().map(|left_out| left_out.place.to_string()).collect())
    }

    #[test]
    fn static_members_are_read_as_asterisk_reads_them() {
        let text = "\
[general]
member => PJSIP/999
[agents](!)            ; a template
member => PJSIP/101
[801](agents)
strategy = rrmemory
member => PJSIP/102,1,Bo Lindqvist,hint:102@ext-local
member=\"Local/103@from-queue/n\",0,Cleo
;member => PJSIP/104
;-- member => PJSIP/105
member => PJSIP/106 --;
member => PJSIP/(1,2),3
member =>
[sales]
MEMBER = SIP/0107 ; desk
\\member += SIP/10
member+=8
[801](+)
member => IAX2/110
[Sales]
member => PJSIP/111
[802] (agents)
#exec /bin/members
#musicclass=default
#include
";
        let (members, left_out) = shown(&read_with(text, &[]).unwrap());
        let expected = [
            "801:PJSIP/101",
            "801:PJSIP/102",
            "801:Local/103@from-queue/n",
            "801:PJSIP/(1,2)",
            "801:IAX2/110",
            "sales:SIP/0107",
            "sales:SIP/108",
        ];
        assert_eq!(members, expected);
        assert_eq!(left_out, ["line 23", "line 24", "line 25", "line 20"]);
    }

    #[test]
    fn a_fault_for_which_asterisk_refuses_the_file_is_reported_with_its_line() {
        for (text, fault) in [
            ("[801]\n[802](nowhere)", "line 2: [802](nowhere)\n    its template"),
            ("[801]\n[802](a, b)", "line 2"),
            ("[801](+)", "line 1: [801](+)\n    there is no such section"),
            ("[801", "line 1: [801\n    the section has no `]`"),
            ("[801](!", "have no `)`"),
            ("member => PJSIP/101", "line 1: member => PJSIP/101\n    it is in no section"),
            ("[801]\n\n#include missing.conf", "line 3: #include missing.conf\n    there is no file `missing.conf`"),
        ] {
            let said = read_with(text, &[]).unwrap_err().to_string();
            assert!(said.contains(fault) && said.ends_with("Asterisk refuses the whole file"), "{text}: {said}");
        }
    }

    #[test]
    fn included_files_continue_the_section_and_their_faults_end_only_them() {
        let text = "[801]\n#include \"a.conf\"\nmember => PJSIP/101\n#tryinclude missing.conf\n";
        let files = [
            ("a.conf", "member => PJSIP/102\n[802]\n#include <b.conf>\nmember => PJSIP/103\n"),
            ("b.conf", "member => PJSIP/104\n#include missing.conf\nmember => PJSIP/105\n"),
        ];
        let (members, left_out) = shown(&read_with(text, &files).unwrap());
        assert_eq!(members, ["801:PJSIP/102", "801:PJSIP/101", "802:PJSIP/104", "802:PJSIP/103"]);
        assert_eq!(left_out, ["b.conf line 2"]);
    }

    #[test]
    fn files_that_include_each_other_are_read_once() {
        let files = [("a.conf", "[802]\nmember => PJSIP/102\n#include queues.conf\n"), ("queues.conf", "[803]\n")];
        let reading = read_with("[801]\nmember => PJSIP/101\n#include a.conf\n", &files).unwrap();
        let (members, left_out) = shown(&reading);
        assert_eq!((members.len(), &left_out[..]), (2, &["a.conf line 3".to_owned()][..]));
        assert!(reading.left_out[0].why.contains("includes itself"), "{reading:?}");
    }

    #[test]
    fn any_text_can_be_read() {
        for text in
            ["", "[", "]", "[]", "member", "member => ", "= = =", ";--", "[a](", "[a](!,", "\\;", "#", "+=", "\\"]
        {
            drop(read_with(text, &[]));
            drop(read_with(&format!("[801]\n{text}\n"), &[]));
        }
    }
}
