//! Mutates valid inputs, slightly or completely. The same seed gives the same inputs.

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// Total number of inputs of all fuzz tests without a campaign.
const INPUTS: usize = 25_000;

/// Maximum length of an input after repetitions, in bytes.
const LONGEST: usize = 64 * 1024;

/// Texts that are difficult for every kind of decoder.
const TROUBLE: &[&[u8]] = &[
    b"",
    b"\0",
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xef\xbb\xbf",
    "\u{85}".as_bytes(),
    "\u{2028}".as_bytes(),
    "\u{202e}".as_bytes(),
    "\u{fffe}".as_bytes(),
    "\u{10ffff}".as_bytes(),
    "٣".as_bytes(),
    b"\r",
    b"\r\n",
    b"\t",
    b"-1",
    b"-0",
    b"1.0",
    b"1e400",
    b"0x10",
    b"18446744073709551616",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"99999999999999999999999999999999999999",
    b"null",
    b"~",
    b"true",
    b"&a [*a, *a]",
    b"*a",
    b"<<: *a",
    b"!!binary ",
    b"? ",
    b"|\n",
    b">-\n",
    b"--- \n",
    b"...\n",
    b"%YAML 9.9\n",
    b"# ",
    b"\\ud800",
    b"\\u0000",
    b"\"",
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b": ",
    b"- ",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
];

/// Texts that open a level of nesting.
const OPENERS: &[&[u8]] =
    &[b"[", b"{", b"{\"a\":", b"- ", b"? ", b"a: {", b"[{", b"\x0a\x7e", b"\x0b", b"\n  - ", b"!a ", b"&a "];

/// The number of inputs of a test that has `percent` of them.
pub fn share(percent: usize) -> usize {
    let all = std::env::var("QUEUEGATE_FUZZ").ok().map_or(INPUTS, |text| text.parse().expect("a number"));
    (all * percent).div_ceil(100)
}

/// Generates inputs from a corpus.
pub struct Mutator {
    pub rng: StdRng,
    corpus: Vec<Vec<u8>>,
    /// The parts of the corpus: names, numbers, punctuation.
    words: Vec<Vec<u8>>,
}

impl Mutator {
    pub fn new<T: Into<Vec<u8>>>(seed: u64, corpus: impl IntoIterator<Item = T>) -> Self {
        let corpus: Vec<Vec<u8>> = corpus.into_iter().map(Into::into).collect();
        let same_kind = |a: &u8, b: &u8| a.is_ascii_alphanumeric() == b.is_ascii_alphanumeric();
        let mut words: Vec<Vec<u8>> =
            corpus.iter().flat_map(|entry| entry.chunk_by(same_kind)).map(<[u8]>::to_vec).collect();
        words.sort();
        words.dedup();
        Self { rng: StdRng::seed_from_u64(seed), corpus, words }
    }

    /// Returns the next input: one from the corpus with up to six mutations, sometimes none.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = self.corpus.choose(&mut self.rng).unwrap().clone();
        for _ in 0..self.rng.random_range(0..=6) {
            self.change(&mut input);
        }
        input
    }

    /// Returns the next input as text. Replaces invalid UTF-8.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(&self.input()).into_owned()
    }

    /// Mutates an input in one place.
    pub fn change(&mut self, input: &mut Vec<u8>) {
        let range = self.range(input.len());
        match self.rng.random_range(0..12) {
            0 if !range.is_empty() => input[range.start] ^= 1 << self.rng.random_range(0..8),
            1 if !range.is_empty() => input[range.start] = self.rng.random(),
            2 => drop(input.drain(range)),
            3 => input.truncate(range.start),
            4 => {
                let copy = input[range.clone()].to_vec();
                input.splice(range.start..range.start, copy);
            }
            5 => {
                let other = self.corpus.choose(&mut self.rng).unwrap();
                let from = self.rng.random_range(0..=other.len());
                input.splice(range.start.., other[from..].iter().copied());
            }
            6 | 7 => {
                let word = self.words.choose(&mut self.rng).cloned().unwrap_or_default();
                input.splice(range, word);
            }
            8 | 9 => {
                let trouble = TROUBLE.choose(&mut self.rng).unwrap();
                let end = if self.rng.random() { range.end } else { range.start };
                input.splice(range.start..end, trouble.iter().copied());
            }
            10 => {
                let random: Vec<u8> = (0..self.rng.random_range(1..16)).map(|_| self.rng.random()).collect();
                input.splice(range, random);
            }
            // Rarely, because it makes inputs large.
            11 if self.rng.random_ratio(1, 8) => {
                let piece = if self.rng.random() {
                    OPENERS.choose(&mut self.rng).unwrap().to_vec()
                } else {
                    input[range.clone()].to_vec()
                };
                let most = LONGEST.saturating_sub(input.len()) / piece.len().max(1);
                let times = 1usize << self.rng.random_range(0..16);
                input.splice(range.start..range.start, piece.repeat(times.min(most)));
            }
            _ => {}
        }
    }

    /// A short range in an input of this length.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.rng.random_range(0..=length);
        let longest = if self.rng.random_ratio(1, 10) { length } else { 8 };
        start..(start + self.rng.random_range(0..=longest)).min(length)
    }
}

/// Prints the current input if its test fails.
pub struct Shown<'i>(pub &'i [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input was \"{}\"", self.0.escape_ascii());
        }
    }
}
