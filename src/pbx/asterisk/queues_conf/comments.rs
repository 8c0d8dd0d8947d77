//! Comments: `;` to the end of the line, and nested blocks `;-- --;`. PURE.

/// The block comments that are open at a line's end.
///
/// It is negative after an end without a beginning. Asterisk then reads nothing until the next beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OpenComments(i32);

impl OpenComments {
    /// Return a line without its comments.
    pub(super) fn remove(&mut self, line: &str) -> String {
        let mut text = String::new();
        let mut is_text = self.0 == 0;
        let mut rest = line;
        while let Some((before, after)) = rest.split_once(';') {
            let is_opening = after.starts_with("--") && !after.starts_with("---");
            let mut keep = |part: &str, separator: &str| {
                if is_text {
                    text.push_str(part);
                    text.push_str(separator);
                }
            };
            rest = after;
            if let Some(before) = before.strip_suffix('\\') {
                keep(before, ";");
            } else if is_opening {
                keep(before, "");
                self.0 = self.0.saturating_add(1);
                is_text = false;
                rest = after.trim_start_matches('-');
            } else if before.ends_with("--") {
                keep(before, ";");
                self.0 = self.0.saturating_sub(1);
                is_text |= self.0 == 0;
            } else if self.0 == 0 {
                keep(before, "");
                return text;
            } else {
                keep(before, ";");
            }
        }
        if is_text {
            text.push_str(rest);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_nested_as_asterisk_nests_them() {
        for (lines, texts) in [
            (&["a ; b", "c"][..], &["a ", "c"][..]),
            (&[r"a\;b ; c"], &["a;b "]),
            (&["a ;-- b ;-- c --; d --; e"], &["a  e"]),
            (&[";-- a", ";-- b --;", "c", "--;d", "e"], &["", "", "", "d", "e"]),
            (&[";--- a", "b"], &["", "b"]),
            (&[r";-- \;-- a --; b"], &[" b"]),
            // An end without a beginning: the line is text, and the following lines aren't.
            (&["a --; b", "c", ";--", "d"], &["a --; b", "", "", "d"]),
            (&[";--;--;"], &[""]),
        ] {
            let mut open = OpenComments::default();
            let read: Vec<String> = lines.iter().map(|line| open.remove(line)).collect();
            assert_eq!(read, texts, "{lines:?}");
        }
    }
}
