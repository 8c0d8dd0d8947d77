//! Patterns in the names of included files: `*`, `?`, `[a-z]`, `[!a-z]` and `{a,b}`. PURE.

/// Return the patterns without braces that a pattern with braces stands for, in order.
pub(super) fn alternatives(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let mut depth = 1;
    let mut choices = vec![String::new()];
    let mut letters = rest.chars();
    for letter in letters.by_ref() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if letter == ',' && depth == 1 {
            choices.push(String::new());
        } else if let Some(choice) = choices.last_mut() {
            choice.push(letter);
        }
    }
    if depth > 0 {
        // Braces without an end are letters.
        return vec![pattern.to_owned()];
    }
    let after = letters.as_str();
    choices.iter().flat_map(|choice| alternatives(&format!("{before}{choice}{after}"))).collect()
}

/// Return whether a part of a path has wildcards.
pub(super) fn has_wildcards(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

/// Return whether a file's name fits a pattern. A wildcard doesn't stand for the dot of a hidden file.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    // The names that the pattern could have up to each place.
    let mut letters = pattern.chars();
    let mut places = vec![true];
    places.resize(name.chars().count() + 1, false);
    while let Some(letter) = letters.next() {
        let class = if letter == '[' { Class::parse(&mut letters) } else { None };
        let mut next = vec![false; places.len()];
        let mut was_reached = false;
        let names = name.chars().map(Some).chain([None]);
        for ((reached, name), index) in places.iter().zip(names).zip(0..) {
            was_reached |= reached;
            let (is_here, is_after) = match (letter, name) {
                ('*', _) => (was_reached, false),
                (_, None) => (false, false),
                ('?', Some(_)) => (false, *reached),
                (_, Some(name)) => {
                    (false, *reached && class.as_ref().map_or(letter == name, |class| class.contains(name)))
                }
            };
            if let Some(here) = next.get_mut(index) {
                *here |= is_here;
            }
            if let Some(after) = next.get_mut(index + 1) {
                *after |= is_after;
            }
        }
        places = next;
    }
    places.last().copied().unwrap_or_default()
}

/// Letters of which a name has one.
struct Class {
    is_negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    /// Parse the text after `[`, or consume nothing if it has no end.
    fn parse(letters: &mut std::str::Chars<'_>) -> Option<Self> {
        let text = letters.as_str();
        let inner = text.strip_prefix(['!', '^']).unwrap_or(text);
        // A bracket at the beginning is a letter.
        let (at, _) = inner.char_indices().skip(1).find(|(_, letter)| *letter == ']')?;
        let (inside, after) = inner.split_at_checked(at)?;
        let mut ranges = Vec::new();
        let mut inside_letters = inside.chars();
        while let Some(first) = inside_letters.next() {
            let rest = inside_letters.as_str();
            let last = rest.strip_prefix('-').and_then(|rest| rest.chars().next());
            if last.is_some() {
                inside_letters.by_ref().take(2).for_each(drop);
            }
            ranges.push((first, last.unwrap_or(first)));
        }
        *letters = after.strip_prefix(']')?.chars();
        Some(Self { is_negated: inner.len() < text.len(), ranges })
    }

    fn contains(&self, letter: char) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&letter)) != self.is_negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_the_names_that_the_shell_would_find() {
        for (pattern, name, is_fit) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            (".*", ".conf", true),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("?.conf", "a.conf", true),
            ("?.conf", "ab.conf", false),
            ("[ab]?", "b1", true),
            ("[ab]?", "c1", false),
            ("[!ab]", "c", true),
            ("[a-c0-9]", "7", true),
            ("[]x]", "]", true),
            ("[a", "[a", true),
            ("[a-]", "-", true),
        ] {
            assert_eq!(fits(pattern, name), is_fit, "{pattern} {name}");
        }
    }

    #[test]
    fn braces_stand_for_each_of_their_parts() {
        assert_eq!(alternatives("a{b,c{d,e}}f"), ["abf", "acdf", "acef"]);
        assert_eq!(alternatives("a{b"), ["a{b"]);
        assert_eq!(alternatives("a"), ["a"]);
    }
}
