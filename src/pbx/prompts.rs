//! The prompts that a call plays, and their sounds.

use std::collections::BTreeMap;

/// The names of the prompts, and their stock sounds on Asterisk. A reason can have its own sound too.
pub const PROMPTS: [(&str, &str); 12] = [
    ("signed-in", "agent-loginok"),
    ("signed-out", "agent-loggedoff"),
    // The stock set has no "denied". This sound says that the feature is not available on this line.
    ("denied", "feature-not-avail-line"),
    ("UNKNOWN_QUEUE", "invalid"),
    ("failed", "sorry-youre-having-problems"),
    ("paused", "dictate/paused"),
    ("unpaused", "activated"),
    ("ask-queue", "vm-enter-num-to-call"),
    ("ask-agent", "agent-user"),
    ("ask-pin", "agent-pass"),
    ("ask-agent-again", "agent-incorrect"),
    ("WRONG_PIN", "vm-incorrect"),
];

/// The sounds of FreeSWITCH's stock set for the same prompts.
const FREESWITCH: [(&str, &str); 12] = [
    ("signed-in", "ivr/ivr-you_are_now_logged_in.wav"),
    ("signed-out", "ivr/ivr-you_are_now_logged_out.wav"),
    ("denied", "ivr/ivr-access_denied.wav"),
    ("UNKNOWN_QUEUE", "ivr/ivr-that_was_an_invalid_entry.wav"),
    ("failed", "ivr/ivr-im_sorry.wav"),
    ("paused", "ivr/ivr-dnd_activated.wav"),
    ("unpaused", "ivr/ivr-dnd_cancelled.wav"),
    ("ask-queue", "ivr/ivr-enter_queue_number.wav"),
    ("ask-agent", "ivr/ivr-please_enter_extension_followed_by_pound.wav"),
    ("ask-pin", "ivr/ivr-please_enter_pin_followed_by_pound.wav"),
    ("ask-agent-again", "ivr/ivr-please_enter_extension_followed_by_pound.wav"),
    ("WRONG_PIN", "ivr/ivr-that_was_an_invalid_entry.wav"),
];

/// The sounds of prompts, by the name of a prompt or by a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts(BTreeMap<String, String>);

impl Default for Prompts {
    fn default() -> Self {
        Self(PROMPTS.map(|(name, sound)| (name.to_owned(), sound.to_owned())).into())
    }
}

impl Prompts {
    /// Return Asterisk's stock sounds with some of them replaced.
    pub fn with(changes: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut prompts = Self::default();
        prompts.0.extend(changes);
        prompts
    }

    /// Return FreeSWITCH's stock sounds with some of them replaced.
    pub fn with_freeswitch(changes: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut prompts = Self(FREESWITCH.map(|(name, sound)| (name.to_owned(), sound.to_owned())).into());
        prompts.0.extend(changes);
        prompts
    }

    /// Return the sound for a reason if it has one, and otherwise the prompt's.
    pub(super) fn sound(&self, prompt: &str, reason: &str) -> &str {
        self.0.get(reason).or_else(|| self.0.get(prompt)).map(String::as_str).unwrap_or_default()
    }
}

/// Parse `NAME=SOUND`: the name of a prompt or a reason, and its sound.
pub fn prompt(text: &str) -> Result<(String, String), String> {
    let (name, sound) = text.split_once('=').ok_or("write it as NAME=SOUND")?;
    let is_prompt = PROMPTS.iter().any(|(prompt, _)| *prompt == name);
    let is_reason = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if !is_prompt && !is_reason {
        let prompts: Vec<&str> = PROMPTS.iter().map(|(prompt, _)| *prompt).collect();
        return Err(format!("`{name}` must be one of {}, or a reason such as USER_DISABLED", prompts.join(", ")));
    }
    if !super::names::is_plain(sound) {
        return Err(format!("`{sound}` is no sound's name, such as agent-loginok or custom/welcome"));
    }
    Ok((name.to_owned(), sound.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_can_have_its_own_sound() {
        let prompts = Prompts::with([prompt("USER_DISABLED=custom/no").unwrap(), prompt("failed=beeperr").unwrap()]);
        assert_eq!(prompts.sound("denied", "USER_DISABLED"), "custom/no");
        assert_eq!(prompts.sound("denied", "UNASSIGNED_RESTRICTED"), "feature-not-avail-line");
        assert_eq!(prompts.sound("denied", "UNKNOWN_QUEUE"), "invalid");
        assert_eq!(prompts.sound("failed", "UNAVAILABLE"), "beeperr");
        for text in ["signed-in", "signedin=beep", "=beep", "denied=a,b", "denied=", "denied=${X}"] {
            assert!(prompt(text).is_err(), "{text}");
        }
    }
}
