//! The words that people read are plain: a noun for each subject and object, and short sentences.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Files and folders with words for people.
const READ: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs",
    "proto",
    "src",
    "tests",
    "benches",
    "examples",
];

/// The number of words that a sentence of a document, of a help text or of the API may have.
const LONGEST_SENTENCE: usize = 35;

/// Phrases with a plain word in their place.
const RIDDLES: &[&str] = &[
    "is told of",
    "heard out",
    "let go of",
    "lets go of",
    "made good",
    "comes to rest",
    "if there is none",
    "on a supervisor's word",
    "would go by",
    "at once at most",
];

/// Words that no noun follows when `who` comes next.
const NO_NOUN: &[&str] = &[
    "of", "to", "by", "from", "for", "with", "on", "in", "at", "than", "as", "and", "or", "but", "is", "are", "was",
    "be", "not", "know", "knows", "known", "say", "says", "said", "tell", "tells", "see", "sees", "ask", "asks",
    "decide", "decides", "whether", "about", "show", "shows", "find", "finds", "all", "also", "only", "that",
];

/// A passage of a file: the line where it begins, and its text in one line.
type Passage = (usize, String);

/// The comments of a Rust or proto file, without the code in them.
fn comments(text: &str) -> Vec<Passage> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let comment = line.strip_prefix("//").map(|rest| rest.trim_start_matches(['/', '!']).trim().to_owned());
        lines.push((index + 1, comment.unwrap_or_default()));
    }
    paragraphs(lines.into_iter())
}

/// The paragraphs, list items and table cells of a Markdown file, without fenced code.
fn markdown(text: &str) -> Vec<Passage> {
    paragraphs(text.lines().enumerate().map(|(index, line)| (index + 1, line.trim().to_owned())))
}

/// Join lines to paragraphs. An empty line, a heading, a list item, a table row and a fence each begin a new one.
fn paragraphs(lines: impl Iterator<Item = (usize, String)>) -> Vec<Passage> {
    let mut found: Vec<Passage> = Vec::new();
    let (mut joins, mut fenced) = (false, false);
    for (number, line) in lines {
        if line.starts_with("```") {
            fenced = !fenced;
            joins = false;
        } else if fenced || line.is_empty() {
            joins = false;
        } else if line.starts_with('|') {
            found.extend(line.split('|').map(|cell| (number, cell.trim().to_owned())));
            joins = false;
        } else if joins && !["#", "- ", "* ", "1. "].iter().any(|mark| line.starts_with(mark)) {
            if let Some((_, passage)) = found.last_mut() {
                passage.push(' ');
                passage.push_str(&line);
            }
        } else {
            joins = !line.starts_with('#');
            found.push((number, line));
        }
    }
    found
}

/// The string literals of a Rust file that read like words: help, errors, log messages.
fn literals(text: &str) -> Vec<Passage> {
    let mut found = Vec::new();
    let mut number = 1;
    let mut letters = text.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        match letter {
            '\n' => number += 1,
            '/' if before == '/' => {
                for _ in letters.by_ref().take_while(|letter| *letter != '\n') {}
                number += 1;
            }
            // A character of its own, as '"' is.
            '\'' if letters.peek() == Some(&'"') => {
                letters.next();
            }
            '"' => {
                let start = number;
                let mut literal = String::new();
                while let Some(letter) = letters.next() {
                    match letter {
                        '"' => break,
                        '\\' => match letters.next() {
                            Some('\n') => {
                                number += 1;
                                while letters.peek().is_some_and(|letter| *letter == ' ') {
                                    letters.next();
                                }
                            }
                            Some('n') => literal.push('\n'),
                            _ => literal.push('_'),
                        },
                        '\n' => {
                            number += 1;
                            literal.push('\n');
                        }
                        letter => literal.push(letter),
                    }
                }
                if literal.contains(' ') {
                    found.extend(literal.split('\n').map(|line| (start, line.trim().to_owned())));
                }
            }
            _ => {}
        }
        before = letter;
    }
    found
}

/// The sentences of a passage. Code in backticks counts as one word.
fn sentences(passage: &str) -> Vec<String> {
    let plain: String =
        passage.split('`').enumerate().map(|(index, part)| if index % 2 == 0 { part } else { "code" }).collect();
    let mut found = vec![String::new()];
    for word in plain.split_whitespace() {
        if let Some(sentence) = found.last_mut() {
            sentence.push_str(word);
            sentence.push(' ');
        }
        if word.trim_end_matches(['*', ')', '"', '\'']).ends_with(['.', '?', '!', ':', ';']) {
            found.push(String::new());
        }
    }
    found.retain(|sentence| !sentence.is_empty());
    found
}

/// The reason why a sentence isn't plain, or `None`.
fn fault(sentence: &str, longest: usize) -> Option<String> {
    let lower = sentence.to_lowercase();
    if let Some(riddle) = RIDDLES.iter().find(|riddle| lower.contains(**riddle)) {
        return Some(format!("`{riddle}`"));
    }
    let asks = lower.trim_end().trim_end_matches(['*', ')', '"', '\'']).ends_with('?');
    let bare = |word: &str| word.trim_matches(|letter: char| !letter.is_alphanumeric()).to_owned();
    let words: Vec<String> = lower.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect();
    if words.len() > longest {
        return Some(format!("{} words", words.len()));
    }
    for (index, word) in words.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| words.get(index)).map_or("", String::as_str);
        let after = words.get(index + 1).map_or("", String::as_str);
        let riddle = match word.as_str() {
            "whoever" | "whatever" | "whomever" | "whom" => true,
            "what" => !asks && after != "to",
            "who" => !asks && (before.is_empty() || NO_NOUN.contains(&before)),
            _ => false,
        };
        if riddle {
            return Some(format!("`{word}` as a subject or an object"));
        }
    }
    None
}

/// The path itself, or the files below it.
fn files_below(path: &Path) -> Vec<PathBuf> {
    match fs::read_dir(path) {
        Ok(entries) => entries.flat_map(|entry| files_below(&entry.unwrap().path())).collect(),
        Err(_) => vec![path.to_owned()],
    }
}

#[test]
fn words_for_people_are_plain() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut faults = Vec::new();
    let mut read = 0;
    for path in READ.iter().flat_map(|name| files_below(&root.join(name))) {
        let inside = path.strip_prefix(root).unwrap();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let help = inside.starts_with("src/cli");
        let (passages, longest) = match inside.extension().and_then(|ending| ending.to_str()) {
            Some("md") => (markdown(&text), LONGEST_SENTENCE),
            Some("proto") => (comments(&text), LONGEST_SENTENCE),
            Some("rs") => {
                let mut passages = comments(&text);
                if inside.starts_with("src") {
                    passages.extend(literals(&text));
                }
                (passages, if help { LONGEST_SENTENCE } else { usize::MAX })
            }
            _ => continue,
        };
        read += 1;
        for (line, passage) in passages {
            for sentence in sentences(&passage) {
                if let Some(fault) = fault(&sentence, longest) {
                    faults.push(format!("{}:{line}: {fault}: {sentence}", inside.display()));
                }
            }
        }
    }
    assert!(read > 150, "{read} files");
    assert!(faults.is_empty(), "{} sentences:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_check_of_words_finds_riddles_and_long_sentences() {
    let faults = |text: &str| sentences(text).iter().filter(|sentence| fault(sentence, 10).is_some()).count();
    for riddle in ["Whoever calls is told.", "It says what was changed.", "Who asks goes along.", "Of whom it is."] {
        assert_eq!(faults(riddle), 1, "{riddle}");
    }
    for plain in ["The caller who holds it.", "What is this?", "Say what to do.", "Code is one word: `what it is`."] {
        assert_eq!(faults(plain), 0, "{plain}");
    }
    assert_eq!(faults("one two three four five six seven eight nine ten eleven. But this is short."), 1);
    assert_eq!(literals("let x = \"a b\\\n   c\"; // \"no no\"\n'\"' \"d e\"").len(), 2);
    assert_eq!(
        markdown("a\nb\n\n- c\n- d\n```\nno\n```\n| e | f |").iter().filter(|(_, text)| !text.is_empty()).count(),
        5
    );
}
