//! The languages of explanations, and the choice among them: by a tag, by a locale variable, or by an
//! `accept-language` header.

use std::{fmt, str::FromStr};

use super::ids::Malformed;

/// The most parts of a header that are read. Callers list a few languages.
const MOST_RANGES: usize = 32;

/// A language of explanations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Language {
    /// English, the default.
    #[default]
    English,
    /// German.
    German,
    /// Italian.
    Italian,
    /// French.
    French,
    /// Spanish.
    Spanish,
    /// Portuguese.
    Portuguese,
    /// Dutch.
    Dutch,
}

impl Language {
    /// Every language, the default first.
    pub const ALL: &[Self] =
        &[Self::English, Self::German, Self::Italian, Self::French, Self::Spanish, Self::Portuguese, Self::Dutch];

    /// Return the BCP 47 tag, two lower-case letters.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::Italian => "it",
            Self::French => "fr",
            Self::Spanish => "es",
            Self::Portuguese => "pt",
            Self::Dutch => "nl",
        }
    }

    /// Return the language's own name, for a menu.
    pub fn own_name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
            Self::Italian => "Italiano",
            Self::French => "Français",
            Self::Spanish => "Español",
            Self::Portuguese => "Português",
            Self::Dutch => "Nederlands",
        }
    }

    /// Return the language of a POSIX locale such as `de_CH.UTF-8`, or `None` if it isn't one of ours. `C` and `POSIX`
    /// mean English.
    pub fn of_locale(locale: &str) -> Option<Self> {
        let (name, _) = locale.split_once(['.', '@']).unwrap_or((locale, ""));
        if matches!(name, "C" | "POSIX") {
            return Some(Self::English);
        }
        let (language, _) = name.split_once('_').unwrap_or((name, ""));
        Self::of_primary_subtag(language)
    }

    /// Choose by the values of a call's `accept-language` headers (RFC 9110 section 12.5.4, RFC 4647): the language
    /// with the highest weight, the first of equals. Without an acceptable one, English.
    ///
    /// A range of ours that is narrower, such as `de-CH`, means the language too. `q=0` excludes a language, and `*`
    /// means those that no other part names. Malformed parts, and those after the 32nd, are ignored.
    pub fn negotiate<'h>(headers: impl IntoIterator<Item = &'h str>) -> Self {
        let mut weights = [Weight::Unnamed; Self::ALL.len()];
        let mut others = 0;
        let parts = headers.into_iter().flat_map(|header| header.split(',')).take(MOST_RANGES);
        for (place, (range, weight)) in parts.filter_map(weighted_range).enumerate() {
            if range == "*" {
                others = weight;
                continue;
            }
            let (language, narrower) = range.split_once('-').unwrap_or((range, ""));
            let Some(language) = Self::of_primary_subtag(language) else { continue };
            // `de-CH;q=0` leaves the rest of German.
            if weight == 0 && !narrower.is_empty() {
                continue;
            }
            if let Some(known) = weights.get_mut(language as usize) {
                *known = known.with(weight, place);
            }
        }
        let acceptable = Self::ALL.iter().zip(weights).filter_map(|(&language, weight)| match weight {
            Weight::Unnamed if others > 0 => Some((language, others, usize::MAX)),
            Weight::Named { weight, place } if weight > 0 => Some((language, weight, place)),
            Weight::Unnamed | Weight::Named { .. } => None,
        });
        // Of equals, `min_by_key` returns the first.
        let best = acceptable.min_by_key(|&(_, weight, place)| (std::cmp::Reverse(weight), place));
        best.map_or(Self::default(), |(language, _, _)| language)
    }

    fn of_primary_subtag(subtag: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|language| language.code().eq_ignore_ascii_case(subtag))
    }
}

impl FromStr for Language {
    type Err = Malformed;

    /// Read a BCP 47 tag such as `de` or `de-CH`, in any case. Its region and all else after the language is ignored.
    fn from_str(tag: &str) -> Result<Self, Malformed> {
        let mut subtags = tag.split('-');
        let language = subtags.next().and_then(Self::of_primary_subtag);
        let is_well_formed = subtags.all(is_subtag);
        language
            .filter(|_| is_well_formed)
            .ok_or_else(|| Malformed::new("one of the languages en, de, it, fr, es, pt and nl", tag))
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// The weight of a language in a header, in thousandths.
#[derive(Clone, Copy)]
enum Weight {
    /// No part names it.
    Unnamed,
    /// A part names it, at this place.
    Named { weight: u16, place: usize },
}

impl Weight {
    /// Add a part that names the language. An exclusion holds, and otherwise the highest weight.
    fn with(self, weight: u16, place: usize) -> Self {
        match self {
            Self::Named { weight: known, .. } if known == 0 || (weight > 0 && known >= weight) => self,
            Self::Named { .. } | Self::Unnamed => Self::Named { weight, place },
        }
    }
}

/// Read a part of a header: a range such as `de-CH` or `*`, and its weight in thousandths. `None` if it is malformed.
fn weighted_range(part: &str) -> Option<(&str, u16)> {
    let (range, weight) = match part.split_once(';') {
        Some((range, weight)) => (range, weight_in_thousandths(weight.trim_matches(OPTIONAL_WHITESPACE))?),
        None => (part, 1_000),
    };
    let range = range.trim_matches(OPTIONAL_WHITESPACE);
    (range == "*" || range.split('-').all(is_subtag)).then_some((range, weight))
}

const OPTIONAL_WHITESPACE: [char; 2] = [' ', '\t'];

/// Read a weight such as `q=0.8`. `None` if it is malformed: it has at most three decimals, and is at most 1.
fn weight_in_thousandths(text: &str) -> Option<u16> {
    let value = text.strip_prefix(['q', 'Q'])?.strip_prefix('=')?;
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths = thousandths_of(decimals);
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1_000),
        _ => None,
    }
}

/// Return at most three decimals as thousandths.
fn thousandths_of(decimals: &str) -> u16 {
    let digits = decimals.bytes().map(|digit| u16::from(digit.saturating_sub(b'0')));
    digits.zip([100, 10, 1]).map(|(digit, worth)| digit * worth).sum()
}

/// Return whether it is a subtag of a language range: 1 to 8 letters or digits.
fn is_subtag(text: &str) -> bool {
    (1..=8).contains(&text.len()) && text.bytes().all(|letter| letter.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::{Language::*, *};

    #[test]
    fn a_tag_names_its_language_in_any_case_and_with_any_region() {
        for (tag, expected) in [
            ("en", Some(English)),
            ("de", Some(German)),
            ("de-CH", Some(German)),
            ("DE-ch", Some(German)),
            ("it-IT", Some(Italian)),
            ("fr-CA", Some(French)),
            ("es-419", Some(Spanish)),
            ("pt-BR-x-private", Some(Portuguese)),
            ("nl-Latn-BE", Some(Dutch)),
            ("", None),
            ("d", None),
            ("deu", None),
            ("ja", None),
            ("de_CH", None),
            ("de-", None),
            ("de--CH", None),
            ("de-muchtoolong", None),
            ("*", None),
            (" de", None),
        ] {
            assert_eq!(tag.parse::<Language>().ok(), expected, "{tag}");
        }
    }

    #[test]
    fn a_locale_names_its_language_and_c_and_posix_mean_english() {
        for (locale, expected) in [
            ("C", Some(English)),
            ("C.UTF-8", Some(English)),
            ("POSIX", Some(English)),
            ("en_GB.UTF-8", Some(English)),
            ("de_CH.UTF-8", Some(German)),
            ("de_DE@euro", Some(German)),
            ("de", Some(German)),
            ("nl_BE.ISO-8859-15@euro", Some(Dutch)),
            ("", None),
            ("ja_JP.UTF-8", None),
            (".UTF-8", None),
        ] {
            assert_eq!(Language::of_locale(locale), expected, "{locale}");
        }
    }

    #[test]
    fn every_language_is_read_from_its_code() {
        for (at, &language) in Language::ALL.iter().enumerate() {
            assert_eq!(language as usize, at);
            assert_eq!(language.code().parse(), Ok(language));
            assert_eq!(language.to_string(), language.code());
            assert!(!language.own_name().is_empty());
        }
        assert_eq!(Language::ALL.first(), Some(&Language::default()));
    }

    #[test]
    fn a_header_chooses_the_acceptable_language_of_the_highest_weight() {
        for (header, expected) in [
            // No preference, or none that can be met.
            ("", English),
            ("ja", English),
            ("*", English),
            ("*;q=0", English),
            // Ranges, in any case.
            ("de", German),
            ("de-CH", German),
            ("DE-CH, en", German),
            ("ja, fr-CA;q=0.3", French),
            // Weights, and the order of equals.
            ("en;q=0.8, it;q=0.9", Italian),
            ("en;q=0.899, it;q=0.9", Italian),
            ("es, pt", Spanish),
            ("pt, es", Portuguese),
            ("nl;q=1.000, de;q=0.999", Dutch),
            ("de;q=0.2, en;q=0.5, de-AT;q=0.7", German),
            (" de ;\tQ=0.5 ,\ten ; q=0.4", German),
            // Exclusions.
            ("de;q=0", English),
            ("de;q=0.000, de-CH, fr;q=0.1", French),
            ("de-CH, de;q=0, fr;q=0.1", French),
            ("de-CH;q=0, de;q=0.5, en;q=0.1", German),
            ("en;q=0, ja", English),
            // A star means all languages that aren't named.
            ("en;q=0, *", German),
            ("en;q=0.1, de;q=0, *;q=0.5", Italian),
            ("de, *;q=0.5", German),
            ("de;q=0.5, *", English),
            ("*, de", German),
            // Malformed parts are ignored.
            (",, ,de", German),
            ("de;q=1.1, fr;q=0.1", French),
            ("de;q=.5, fr;q=0.1", French),
            ("de;q=0.5555, fr;q=0.1", French),
            ("de;q=-1, fr;q=0.1", French),
            ("de;q=, fr;q=0.1", French),
            ("de;level=1, fr;q=0.1", French),
            ("de;q=1;q=1, fr;q=0.1", French),
            ("de-, fr;q=0.1", French),
            ("de CH, fr;q=0.1", French),
            ("dé, fr;q=0.1", French),
            ("de;q=0.1.1, fr;q=0.01", French),
            ("de;q=1.0", German),
            ("de;q=0.", English),
        ] {
            assert_eq!(Language::negotiate([header]), expected, "{header}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        assert_eq!(Language::negotiate(["ja, en;q=0.5", "de;q=0.7"]), German);
        assert_eq!(Language::negotiate([]), English);
    }

    #[test]
    fn a_long_header_is_read_to_its_32nd_part_only() {
        let ending_in_german = |parts: usize| format!("{}de", "ja,".repeat(parts - 1));
        assert_eq!(Language::negotiate([&*ending_in_german(32)]), German);
        assert_eq!(Language::negotiate([&*ending_in_german(33)]), English);
    }
}
