//! Messages of the event socket: headers, and an optional body. PURE.

use crate::pbx::percent::decoded;

/// A message, with its headers in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageKind {
    /// The reply to a command.
    Reply,
    /// The answer of the API to a command.
    Answer,
    /// An event.
    Event,
    /// The channel of the call is gone.
    Disconnect,
    /// The peer asks for the password.
    PasswordRequest,
    /// Any other, such as the refusal of a peer by its address.
    Other,
}

impl Message {
    /// Add a header's line.
    pub(super) fn add_line(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        self.headers.push((name.to_owned(), value.strip_prefix(' ').unwrap_or(value).to_owned()));
    }

    /// Return a header's value, or an empty text if it is absent.
    pub(super) fn get(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// Return the kind.
    pub(super) fn kind(&self) -> MessageKind {
        match self.get("Content-Type") {
            "command/reply" => MessageKind::Reply,
            "api/response" => MessageKind::Answer,
            "text/event-plain" => MessageKind::Event,
            "text/disconnect-notice" => MessageKind::Disconnect,
            "auth/request" => MessageKind::PasswordRequest,
            _ => MessageKind::Other,
        }
    }

    /// Return the message with its values decoded, as FreeSWITCH encodes the headers of events and of channels. An invalid
    /// value stays as it is.
    pub(super) fn decoded(&self) -> Self {
        let headers = self.headers.iter().map(|(name, value)| {
            let value = decoded(value).unwrap_or_else(|| value.clone());
            (name.clone(), value)
        });
        Self { headers: headers.collect(), body: self.body.clone() }
    }

    /// Return the event in the body.
    pub(super) fn event(&self) -> Self {
        let mut event = Self::default();
        for line in self.body.lines().take_while(|line| !line.is_empty()) {
            event.add_line(line);
        }
        event.decoded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_decoded() {
        let mut message = Message::default();
        message.add_line("Content-Type: text/event-plain");
        message.body =
            "Event-Name: API\nAPI-Command-Argument: tier%20add%20801%40default%20a%0Ab\n\nbody: x\n".to_owned();
        assert_eq!(message.kind(), MessageKind::Event);
        let event = message.event();
        assert_eq!((event.get("event-name"), event.get("body")), ("API", ""));
        assert_eq!(event.get("API-Command-Argument"), "tier add 801@default a\nb");
    }
}
