//! Hidden characters: those that control a terminal or a line, and those that are invisible.

/// The characters of Unicode's category Cf (format): they are invisible, or change how others are shown.
const FORMAT: [(u32, u32); 21] = [
    (0x00AD, 0x00AD),
    (0x0600, 0x0605),
    (0x061C, 0x061C),
    (0x06DD, 0x06DD),
    (0x070F, 0x070F),
    (0x0890, 0x0891),
    (0x08E2, 0x08E2),
    (0x180E, 0x180E),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x2064),
    (0x2066, 0x206F),
    (0xFEFF, 0xFEFF),
    (0xFFF9, 0xFFFB),
    (0x1_10BD, 0x1_10BD),
    (0x1_10CD, 0x1_10CD),
    (0x1_3430, 0x1_343F),
    (0x1_BCA0, 0x1_BCA3),
    (0x1_D173, 0x1_D17A),
    (0xE_0001, 0xE_0001),
    (0xE_0020, 0xE_007F),
];

/// Characters that join or separate letters in some scripts and emoji, and are allowed.
const JOINERS: [char; 2] = ['\u{200C}', '\u{200D}'];

/// Characters that end lines and paragraphs, as a line feed does.
const SEPARATORS: [char; 2] = ['\u{2028}', '\u{2029}'];

/// Return whether names may not have this character: a control character, one of category Cf except joiners, or a line
/// separator.
pub fn is_hidden(letter: char) -> bool {
    if letter.is_ascii() {
        return letter.is_ascii_control();
    }
    let number = u32::from(letter);
    let is_format = FORMAT.iter().any(|(first, last)| (*first..=*last).contains(&number));
    letter.is_control() || SEPARATORS.contains(&letter) || is_format && !JOINERS.contains(&letter)
}

/// Escape a hidden character, as in `\n` and `\u{202e}`, and return any other as it is.
pub fn shown(letter: char) -> impl Iterator<Item = char> {
    let (plain, control, hidden) = match letter {
        letter if !is_hidden(letter) => (Some(letter), None, None),
        letter if letter.is_control() => (None, Some(letter.escape_debug()), None),
        letter => (None, None, Some(letter.escape_unicode())),
    };
    plain.into_iter().chain(control.into_iter().flatten()).chain(hidden.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_format_and_separator_characters_are_hidden_and_joiners_are_not() {
        for letter in
            ['\0', '\n', '\u{1b}', '\u{7f}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{2028}', '\u{feff}', '\u{e0041}']
        {
            assert!(is_hidden(letter), "{letter:?}");
        }
        for letter in ['a', ' ', '"', '\\', 'Å', 'ש', '😀', '\u{200c}', '\u{200d}'] {
            assert!(!is_hidden(letter), "{letter:?}");
        }
    }

    #[test]
    fn hidden_characters_are_escaped_and_quotes_are_not() {
        let text: String = "a\"\\b\n\u{202e}\u{2028}".chars().flat_map(shown).collect();
        assert_eq!(text, "a\"\\b\\n\\u{202e}\\u{2028}");
    }
}
