//! The language and the colours of a page, by the person's choice or by the browser's.

use http::{HeaderMap, header};

use super::text::{Text, text};
use crate::domain::language::Language;

/// The cookies of a person's choices.
pub const LANGUAGE_COOKIE: &str = "queuegate_language";
pub const THEME_COOKIE: &str = "queuegate_theme";

/// The language and the colours of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub language: Language,
    pub theme: Theme,
    /// Whether the person chose the language.
    pub is_chosen: bool,
}

/// The colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// As the browser prefers.
    System,
    Light,
    Dark,
}

impl Theme {
    pub const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.as_str() == text)
    }
}

impl Look {
    /// Read the look of a request.
    pub fn of(headers: &HeaderMap) -> Self {
        let chosen = cookie(headers, LANGUAGE_COOKIE).and_then(language);
        let accepted = headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
        Self {
            language: chosen.unwrap_or_else(|| Language::negotiate(accepted)),
            theme: cookie(headers, THEME_COOKIE).and_then(Theme::of).unwrap_or(Theme::System),
            is_chosen: chosen.is_some(),
        }
    }

    /// Return the console's words.
    pub fn text(self) -> &'static Text {
        text(self.language)
    }
}

/// Return the language of this code.
pub fn language(code: &str) -> Option<Language> {
    Language::ALL.iter().copied().find(|language| language.code() == code)
}

/// Return the value of a request's cookie.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}
