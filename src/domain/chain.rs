//! The hash chain of an organization's audit log, so that no entry can be altered, removed or swapped unseen.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ids::{Malformed, Sequence};

/// A position in the chain of an organization's audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The event.
    pub sequence: Sequence,
    /// Its hash.
    pub hash: Digest,
}

impl Link {
    /// The position before the first event.
    pub const GENESIS: Self = Self { sequence: Sequence(0), hash: Digest::GENESIS };
}

/// A SHA-256 hash. Its text is 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The hash from which the chain of an organization begins.
    pub const GENESIS: Self = Self([0; 32]);

    /// Return the hash of an entry that follows another: of the previous hash's text, a line feed, and the entry.
    pub fn chained(previous: Self, entry: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(previous.digits());
        hash.update("\n");
        hash.update(entry);
        Self(hash.finalize().into())
    }

    fn digits(&self) -> [u8; 64] {
        let mut digits = [0; 64];
        HEXLOWER.encode_mut(&self.0, &mut digits);
        digits
    }

    /// Return the hash's 32 bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Return the hash with these bytes, or `None` if there are not 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed::new("64 lower-case hexadecimal digits", text);
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| malformed())?;
        Self::from_bytes(&bytes).ok_or_else(malformed)
    }
}

impl TryFrom<String> for Digest {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_one_text_of_64_digits_and_32_bytes() {
        let hash = Digest::chained(Digest::GENESIS, "{}");
        // printf '%064d\n{}' 0 | sha256sum
        let text = "5649d09ed68c17156095d175eef152856c5b1a81c117c409c1e00f096aa6838e";
        assert_eq!(
            (hash.to_string(), format!("{hash:?}"), String::from(hash)),
            (text.into(), text.into(), text.into())
        );
        assert_eq!(text.parse::<Digest>(), Ok(hash));
        assert_eq!((Digest::from_bytes(hash.bytes()), hash.bytes().len()), (Some(hash), 32));
        assert_eq!(Digest::from_bytes(&[0; 31]), None);
        assert_ne!(Digest::chained(hash, "{}"), hash);
        for wrong in ["", &text[1..], &format!("{text}0"), &text.to_uppercase(), &text.replace('a', "g")] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }
}
