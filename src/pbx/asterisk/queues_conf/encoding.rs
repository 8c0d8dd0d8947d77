//! The encoding of a file. PURE.

/// A file that isn't text in a supported encoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is not text in UTF-8 or another encoding that contains ASCII, but {0}; convert it to UTF-8")]
pub struct OtherEncoding(&'static str);

/// Decode a file. Comments may be in any encoding that contains ASCII. The names of users and queues are ASCII.
pub(super) fn decode(bytes: &[u8]) -> Result<String, OtherEncoding> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(OtherEncoding("UTF-16"));
    }
    if bytes.contains(&0) {
        return Err(OtherEncoding("UTF-16 without a byte-order mark, or binary"));
    }
    // Asterisk skips a byte-order mark of UTF-8 too.
    Ok(String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_hides_no_section_and_other_encodings_are_refused() {
        let file = "[801]\nmember => PJSIP/101\n";
        let marked = [b"\xef\xbb\xbf", file.as_bytes()].concat();
        assert_eq!(decode(&marked).unwrap(), file);
        // A comment may be in Latin-1.
        assert!(decode(&[b"; M\xfcller\n", file.as_bytes()].concat()).unwrap().ends_with(file));
        let utf16: Vec<u8> = file.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(decode(&[b"\xff\xfe", &utf16[..]].concat()).unwrap_err().to_string().contains("UTF-16"));
        assert!(decode(&utf16).is_err() && decode(b"\x7fELF\0").is_err());
    }
}
