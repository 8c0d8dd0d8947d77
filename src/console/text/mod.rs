//! The console's own words, whole sentences in each language. A missing one doesn't compile.
//!
//! Explanations of decisions come from the API in the same language. Names are put in whole, and never declined.

mod words;
mod de;
mod en;
mod es;
mod fr;
mod it;
mod nl;
mod pt;

pub use self::words::Text;
use crate::domain::language::Language;

/// Return the words of a language.
pub fn text(language: Language) -> &'static Text {
    match language {
        Language::English => &en::TEXT,
        Language::German => &de::TEXT,
        Language::Italian => &it::TEXT,
        Language::French => &fr::TEXT,
        Language::Spanish => &es::TEXT,
        Language::Portuguese => &pt::TEXT,
        Language::Dutch => &nl::TEXT,
    }
}
