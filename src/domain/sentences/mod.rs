//! The sentences of explanations: one file per language, one method per sentence, so that a missing sentence doesn't
//! compile.
//!
//! Each language says a sentence as a whole. These slots are filled, and no grammar depends on their content:
//!
//! - A name of a user or a queue stands as it is. It is never declined. In languages that would contract a preposition
//!   with it, or agree with its gender, a noun such as "the user" stands before it.
//! - A permission is its description: an infinitive after "may" in English, and in quotation marks elsewhere. So a
//!   reader finds the same words in the list of permissions.
//! - A role is its name, and a setting its identifier.
//!
//! A name may run from right to left, though every language here runs from left to right. Between two names there are
//! always words of the sentence, so their letters never mix. There are no invisible characters around a name, because
//! terminals would show them.

mod name;
mod catalogue;
mod english;
mod german;
mod italian;
mod french;
mod spanish;
mod portuguese;
mod dutch;
#[cfg(test)]
mod tests;

pub use self::{catalogue::Sentences, name::Name};
use super::language::Language;

/// Return the sentences of a language.
pub fn sentences(language: Language) -> &'static dyn Sentences {
    match language {
        Language::English => &english::English,
        Language::German => &german::German,
        Language::Italian => &italian::Italian,
        Language::French => &french::French,
        Language::Spanish => &spanish::Spanish,
        Language::Portuguese => &portuguese::Portuguese,
        Language::Dutch => &dutch::Dutch,
    }
}
