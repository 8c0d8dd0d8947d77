//! Bearer tokens: their generation and their fingerprints.

use std::{fmt, str::FromStr};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::domain::ids::Malformed;

/// The prefix of every token, so that people and secret scanners recognize one.
pub const PREFIX: &str = "qgt_";

/// The number of random bytes in a token.
const RANDOM_BYTES: usize = 32;

/// A bearer token in plain text. It is shown once and never stored; `Debug` doesn't show it.
pub struct Secret(String);

impl Secret {
    /// Generate a token from 256 random bits of the operating system.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; RANDOM_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))))
    }

    /// The token's fingerprint, which may be stored.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.0.as_bytes())
    }

    /// The token itself, to show it once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The SHA-256 of a token. A token has 256 random bits, so its hash can be neither guessed nor reversed, and needs no salt.
#[derive(Debug, Clone, Copy, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a presented token.
    pub fn of(presented: &[u8]) -> Self {
        Self(Sha256::digest(presented).into())
    }
}

/// Compares in constant time.
impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl FromStr for Fingerprint {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        // The faulty text may be the token itself, so the error must not contain it.
        let malformed = || Malformed::new("the SHA-256 of a token, 64 hexadecimal digits", "something else");
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| malformed())?;
        bytes.try_into().map(Self).map_err(|_| malformed())
    }
}

/// Redacts everything in a text that looks like a token.
pub fn without_secrets(text: &str) -> String {
    let mut parts = text.split(PREFIX);
    let mut safe = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        safe.push_str(PREFIX);
        safe.push_str("...");
        safe.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter)));
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_a_prefix_and_256_bits_and_is_never_the_same_twice() {
        let tokens: Vec<Secret> = (0..100).map(|_| Secret::generate().unwrap()).collect();
        for (index, token) in tokens.iter().enumerate() {
            let random = token.reveal().strip_prefix(PREFIX).unwrap();
            assert_eq!(BASE64URL_NOPAD.decode(random.as_bytes()).unwrap().len(), 32);
            assert!(tokens.iter().skip(index + 1).all(|other| other.fingerprint() != token.fingerprint()));
            assert_eq!(format!("{token:?}"), "Secret(..)");
        }
    }

    #[test]
    fn a_fingerprint_is_the_sha_256_in_hexadecimal() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Fingerprint::of(b"abc").to_string(), text);
        assert_eq!(text.parse::<Fingerprint>().unwrap(), Fingerprint::of(b"abc"));
        assert_eq!(text.to_uppercase().parse::<Fingerprint>().unwrap(), Fingerprint::of(b"abc"));
        for wrong in [&text[1..], "", &text.replace('b', "g"), &text.replace("ba", "+a"), &format!("{text}0")] {
            let error = wrong.parse::<Fingerprint>().unwrap_err().to_string();
            assert_eq!(error, "must be the SHA-256 of a token, 64 hexadecimal digits, but is `something else`");
        }
    }

    #[test]
    fn what_looks_like_a_token_is_taken_out() {
        assert_eq!(without_secrets("a qgt_aB3-_x, b qgt_"), "a qgt_..., b qgt_...");
        assert_eq!(without_secrets("nothing here"), "nothing here");
    }
}
