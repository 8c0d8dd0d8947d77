//! Names of things, as types. INVARIANT: a value of one of these types is well-formed, because parsing is the only way
//! to make one (`docs/semantics.md` section 1).

use std::{borrow::Borrow, fmt, num::NonZeroU64, ops::Deref, str::FromStr};

use arcstr::ArcStr;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::text::{is_hidden, shown};

/// The error of a malformed value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {expected}, but is `{given}`")]
pub struct Malformed {
    /// The expected form.
    pub expected: &'static str,
    /// The value, shortened so that an error is never much larger than a sensible value.
    pub given: String,
}

impl Malformed {
    /// Make the error of the value `given`, which is not `expected`.
    pub fn new(expected: &'static str, given: &str) -> Self {
        Self { expected, given: shortened(given) }
    }
}

/// Shorten a caller's text to 80 characters, and escape hidden characters, for an error message or a log line.
pub fn shortened(given: &str) -> String {
    const LONGEST: usize = 80;
    let mut short: String = given.chars().take(LONGEST).flat_map(shown).collect();
    if given.chars().nth(LONGEST).is_some() {
        short.push_str("...");
    }
    short
}

/// Check free text: at most `most` characters, and no control characters or other hidden ones.
pub fn free_text(text: &str, most: usize, expected: &'static str) -> Result<String, Malformed> {
    let fits = text.chars().nth(most).is_none();
    if fits && !text.chars().any(is_hidden) { Ok(text.to_owned()) } else { Err(Malformed::new(expected, text)) }
}

/// Check a name that people see.
pub fn display_name(text: &str) -> Result<String, Malformed> {
    free_text(text, 200, "at most 200 characters without control characters")
}

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $is_valid:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(ArcStr);

        impl $name {
            /// Return the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                if $is_valid(text) { Ok(Self(text.into())) } else { Err(Malformed::new($expected, text)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Malformed;

            fn try_from(text: String) -> Result<Self, Malformed> {
                text.parse()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    };
}

text_newtype!(
    /// The id of an organization.
    OrganizationId, "1 to 64 of `a-z 0-9 . _ -`, starting with a letter or digit", is_id
);
text_newtype!(
    /// The id of a user within an organization.
    UserId, "1 to 64 of `a-z 0-9 . _ -`, starting with a letter or digit", is_id
);
text_newtype!(
    /// The id of a queue within an organization.
    QueueId, "1 to 64 of `a-z 0-9 . _ -`, starting with a letter or digit", is_id
);
text_newtype!(
    /// The id of a session, which is never used again.
    SessionId, "1 to 64 of `a-z 0-9 . _ -`, starting with a letter or digit", is_id
);
text_newtype!(
    /// A user's name at an identity provider, such as an e-mail address or a subject. It is compared as it is.
    Login, "1 to 255 characters without control characters", is_login
);
/// A number on the PBX, of 1 to 15 digits. A leading zero counts. The number is stored in place, because lookups
/// compare it, and in 8 bytes, because each of millions of users has one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Extension(
    /// The digits in four bits each, from the highest, and their number in the lowest four. So extensions order as
    /// their texts do.
    NonZeroU64,
);

/// The digits of an extension, as text.
#[derive(Debug, Clone, Copy)]
pub struct Digits {
    digits: [u8; Extension::LONGEST],
    length: usize,
}

impl Extension {
    const LONGEST: usize = 15;

    /// Return the digits as text.
    pub fn digits(self) -> Digits {
        let packed = self.0.get().to_be_bytes();
        let mut digits = [b'0'; Self::LONGEST];
        for (two, both) in digits.chunks_mut(2).zip(packed) {
            for (digit, value) in two.iter_mut().zip([both >> 4, both & 0xF]) {
                *digit += value;
            }
        }
        Digits { digits, length: usize::from(packed[7] & 0xF) }
    }
}

impl Deref for Digits {
    type Target = str;

    fn deref(&self) -> &str {
        self.digits.get(..self.length).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default()
    }
}

impl FromStr for Extension {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed::new("1 to 15 digits", text);
        if text.len() > Self::LONGEST || !text.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(malformed());
        }
        let digits = text.bytes().zip((4..u64::BITS).step_by(4).rev());
        let packed = digits.fold(0, |packed, (digit, place)| packed | u64::from(digit - b'0') << place);
        let packed = packed | u64::try_from(text.len()).map_err(|_| malformed())?;
        // Only the empty text packs to zero.
        NonZeroU64::new(packed).map(Self).ok_or_else(malformed)
    }
}

impl TryFrom<String> for Extension {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Extension> for String {
    fn from(extension: Extension) -> Self {
        extension.to_string()
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digits())
    }
}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.digits())
    }
}

text_newtype!(
    /// A caller's name for a request, with which it can safely be repeated.
    RequestId, "1 to 64 characters without control characters", is_request_id
);

text_newtype!(
    /// The operator's name for a caller.
    CallerName, "1 to 64 of `a-z 0-9 . _ -`, starting with a letter or digit", is_id
);

text_newtype!(
    /// The caller of a request, as far as it is known.
    Caller, "1 to 200 characters without control characters", is_caller
);

impl Caller {
    /// Return the server itself, which ends expired sessions.
    pub fn server() -> Self {
        Self("queuegate".into())
    }

    /// Return an unauthenticated caller at a network address.
    pub fn at_address(address: impl fmt::Display) -> Self {
        Self(format!("ip:{address}").into())
    }

    /// Return the console, which reads for its pages.
    pub fn console() -> Self {
        Self("console".into())
    }

    /// Return a person in the console.
    pub fn in_console(user_id: &UserId) -> Self {
        Self(format!("console:{user_id}").into())
    }

    /// Return a caller that a token or a certificate authenticated.
    pub fn named(name: &CallerName) -> Self {
        Self(format!("token:{name}").into())
    }
}

impl SessionId {
    /// Make a session id of 128 bits, which must never be the same twice.
    pub fn from_bits(bits: u128) -> Self {
        Self(HEXLOWER.encode(&bits.to_be_bytes()).into())
    }
}

fn is_id(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= 64
        && text.bytes().next().is_some_and(allowed)
        && text.bytes().all(|b| allowed(b) || matches!(b, b'.' | b'_' | b'-'))
}

fn is_request_id(text: &str) -> bool {
    (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn is_login(text: &str) -> bool {
    (1..=255).contains(&text.chars().count()) && !text.chars().any(is_hidden)
}

fn is_caller(text: &str) -> bool {
    (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// A user, as callers name one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserRef {
    /// By id.
    Id(UserId),
    /// By extension.
    Extension(Extension),
}

/// A queue, as callers name one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueRef {
    /// By id.
    Id(QueueId),
    /// By extension.
    Extension(Extension),
}

macro_rules! ref_display {
    ($name:ident) => {
        impl $name {
            /// Return the name as one word: the id, or `ext:` and the extension.
            pub fn key(&self) -> String {
                match self {
                    Self::Id(id) => id.to_string(),
                    Self::Extension(extension) => format!("ext:{extension}"),
                }
            }

            /// Return the id or the extension.
            pub fn name(&self) -> String {
                match self {
                    Self::Id(id) => id.to_string(),
                    Self::Extension(extension) => extension.to_string(),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Id(id) => write!(f, "`{id}`"),
                    Self::Extension(extension) => write!(f, "with extension {extension}"),
                }
            }
        }
    };
}

ref_display!(UserRef);
ref_display!(QueueRef);

/// The history to which a sequence number belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The random number that the store was created with.
    pub store_id: u64,
    /// 1 in a new store. A restore sets it to the second of the restore, or to the last epoch plus one if that is later.
    pub epoch: u32,
}

/// The number of a change within a lineage: dense, from 1. 0 is the empty state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Return the number of the next change.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A point in a store's history. Its text is opaque to callers, and orders as text as the points do in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    /// The history.
    pub lineage: Lineage,
    /// The last change that it includes.
    pub sequence: Sequence,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every answer has a revision, and formatting three numbers would take longer than a decision.
        let Lineage { store_id, epoch } = self.lineage;
        let numbers = [&store_id.to_be_bytes()[..], &epoch.to_be_bytes(), &self.sequence.0.to_be_bytes()];
        let mut text = *b"0000000000000000-00000000-0000000000000000";
        for (digits, number) in text.split_mut(|byte| *byte == b'-').zip(numbers) {
            HEXLOWER.encode_mut(number, digits);
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl FromStr for Revision {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed::new("a revision from one of this server's answers", text);
        let mut parts = text.split('-');
        let (Some(store), Some(epoch), Some(sequence), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };
        let revision = Self {
            lineage: Lineage {
                store_id: u64::from_str_radix(store, 16).map_err(|_| malformed())?,
                epoch: u32::from_str_radix(epoch, 16).map_err(|_| malformed())?,
            },
            sequence: Sequence(u64::from_str_radix(sequence, 16).map_err(|_| malformed())?),
        };
        // A revision has only one text: no shorter digits, no capitals, no signs.
        if revision.to_string() == text { Ok(revision) } else { Err(malformed()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_their_alphabet_and_length() {
        for good in ["a", "7", "anna.berg_2-x", &"x".repeat(64)] {
            assert!(good.parse::<UserId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "_a", "Anna", "a b", "å", "a/b", &"x".repeat(65)] {
            assert!(bad.parse::<UserId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn extensions_are_1_to_15_digits_and_a_leading_zero_counts() {
        assert_ne!("0801".parse::<Extension>().unwrap(), "801".parse::<Extension>().unwrap());
        for bad in ["", "8o1", "+49", "1234567890123456", "٣"] {
            assert!(bad.parse::<Extension>().is_err(), "{bad}");
        }
        let in_order = ["0", "00", "01", "1", "10", "100", "101", "2", "90", "987654321098765", "99"];
        let extensions = in_order.map(|good| good.parse::<Extension>().unwrap());
        assert!(extensions.is_sorted_by(|one, next| one < next));
        assert_eq!(extensions.map(|extension| extension.to_string()), in_order);
        assert_eq!(size_of::<Option<Extension>>(), 8);
    }

    #[test]
    fn a_display_name_is_kept_as_it_is_or_refused() {
        for good in ["", "Anna Berg", "Ärzte 24/7", &"å".repeat(200)] {
            assert_eq!(display_name(good).as_deref(), Ok(good));
        }
        for bad in ["Anna\nBerg", "\u{7}", &"å".repeat(201)] {
            assert!(display_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn request_ids_and_callers_are_texts_of_limited_length() {
        let fits = |text: &str| (text.parse::<RequestId>().is_ok(), text.parse::<Caller>().is_ok());
        for (text, expected) in [
            ("", (false, false)),
            ("Retry 7/ä", (true, true)),
            ("a\tb", (false, false)),
            (&"ä".repeat(64), (true, true)),
            (&"ä".repeat(65), (false, true)),
            (&"ä".repeat(200), (false, true)),
            (&"ä".repeat(201), (false, false)),
        ] {
            assert_eq!(fits(text), expected, "{text}");
        }
    }

    #[test]
    fn a_revision_has_one_text_and_orders_by_it() {
        let at = |n| Revision { lineage: Lineage { store_id: 7, epoch: 1 }, sequence: Sequence(n) };
        assert_eq!(at(9).to_string().parse::<Revision>().unwrap(), at(9));
        assert!(at(9).to_string() < at(10).to_string());
        assert!(at(255).to_string() < at(4096).to_string());
        assert_eq!(at(0).sequence.next(), Sequence(1));
        assert_eq!(at(9).sequence.next(), Sequence(10));
        for bad in [
            "",
            "7",
            "7-1-9",
            "0000000000000007-00000001-000000000000000A",
            "+000000000000007-00000001-0000000000000009",
        ] {
            assert!(bad.parse::<Revision>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_malformed_value_is_shortened_and_escaped() {
        let error = "\u{7}".repeat(5_000).parse::<UserId>().unwrap_err().to_string();
        assert!(error.len() < 2_000 && error.contains("\\u{7}") && error.contains("..."), "{error}");
    }
}
