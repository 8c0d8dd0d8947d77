//! The request of a call: the path and query of the address, the arguments after it, and the channel. PURE.
//!
//! `AGI(agi://127.0.0.1/sign-in?queue=801)` and `AGI(agi://127.0.0.1/sign-in,queue=801)` are the same request.
//!
//! INVARIANT: no argument follows the queue. A phone can dial `801&endpoint=102`, and then the text after the queue
//! would be the phone's choice.

use super::{
    config::DoneBy,
    connection::CallStart,
    names::{Endpoints, is_plain},
    percent::decoded,
};
use crate::domain::ids::{Extension, OrganizationId, QueueRef, shortened};

/// The action of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Sign in.
    SignIn,
    /// Sign out.
    SignOut,
    /// Sign out a signed-in user, and sign in any other.
    Toggle,
    /// Check whether the user could sign in, without a change.
    Check,
    /// Pause the caller's phone in the PBX's queues.
    Pause,
    /// End the pause.
    Unpause,
}

impl Action {
    /// Return the path of the action in the address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::SignOut => "sign-out",
            Self::Toggle => "toggle",
            Self::Check => "check",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
        }
    }
}

/// The queue of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueChoice {
    /// This one, as it was dialed.
    One(QueueRef),
    /// The one that the caller enters.
    Asked,
    /// All: to sign in, those assigned to the caller; to sign out, those with a session of the caller.
    All,
}

/// The value of the argument `queue` that stands for all queues. A queue with this id can be named by its extension.
const ALL_QUEUES: &str = "all";

/// The request of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The action.
    pub action: Action,
    /// The organization of the queue and the user.
    pub organization: OrganizationId,
    /// The queue.
    pub queue: QueueChoice,
    /// The caller's endpoint.
    pub endpoint: String,
    /// The caller's extension: that of the phone, or of the person with the PIN.
    pub extension: Extension,
    /// The phone's own extension.
    pub phone_extension: Extension,
    /// The party that adds and removes the member. `None`: as configured.
    pub members: Option<DoneBy>,
    /// The party that plays the prompt. `None`: as configured.
    pub prompting: Option<DoneBy>,
    /// The reason code of a pause, or an empty text.
    pub pause_reason: String,
}

/// An invalid request. Its text is for the log, its reason for the dialplan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// The address has an unknown path.
    #[error("there is no `{0}`; the paths are /sign-in, /sign-out, /toggle, /check, /pause and /unpause")]
    UnknownPath(String),
    /// An argument is unknown, repeated, out of order or has an invalid value.
    #[error("the argument `{0}` {1}")]
    Argument(String, &'static str),
    /// The call names no organization, and none is configured.
    #[error("no organization is named; give organization=ID, or configure one")]
    NoOrganization,
    /// The channel has no authenticated endpoint.
    #[error(
        "`{0}` is not the channel of an authenticated phone; give endpoint=NAME in the dialplan, or see --technology of `agi` and --domain of `esl`"
    )]
    NoEndpoint(String),
    /// The endpoint has no extension.
    #[error("the endpoint `{0}` has no extension; give --endpoint {0}=EXTENSION")]
    NoExtension(String),
}

impl InvalidRequest {
    /// Return the reason for the dialplan.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownPath(_) | Self::Argument(..) | Self::NoOrganization => "BAD_REQUEST",
            Self::NoEndpoint(_) | Self::NoExtension(_) => "NO_ENDPOINT",
        }
    }
}

/// The names of arguments.
const NAMES: [&str; 6] = ["organization", "queue", "endpoint", "member", "prompt", "reason"];

/// Parse the request of a call.
pub fn parse(
    start: &CallStart,
    organization: Option<&OrganizationId>,
    endpoints: &Endpoints,
) -> Result<Request, InvalidRequest> {
    let script = &start.script;
    let (path, query) = script.split_once('?').unwrap_or((script, ""));
    let action = match path.trim_matches('/') {
        "sign-in" => Action::SignIn,
        "sign-out" => Action::SignOut,
        "toggle" => Action::Toggle,
        "check" => Action::Check,
        "pause" => Action::Pause,
        "unpause" => Action::Unpause,
        other => return Err(InvalidRequest::UnknownPath(shortened(other))),
    };
    let mut values: [Option<String>; NAMES.len()] = Default::default();
    let from_query = query.split('&').filter(|pair| !pair.is_empty()).map(decoded);
    let from_arguments = start.arguments.iter().filter(|pair| !pair.is_empty()).cloned().map(Some);
    let mut has_queue = false;
    for pair in from_query.chain(from_arguments) {
        let pair = pair.ok_or_else(|| InvalidRequest::Argument(shortened(query), "is malformed"))?;
        let (name, value) = pair.split_once('=').unwrap_or((&pair, ""));
        let known = NAMES.iter().zip(&mut values).find(|(known, _)| **known == name);
        let (known, slot) = known.ok_or_else(|| InvalidRequest::Argument(shortened(name), "is unknown"))?;
        if slot.is_some() {
            return Err(InvalidRequest::Argument(shortened(name), "is given twice"));
        }
        if has_queue {
            return Err(InvalidRequest::Argument(shortened(name), "follows the queue, which must be the last"));
        }
        has_queue = *known == "queue";
        *slot = Some(value.trim().to_owned());
    }
    let [named_organization, queue, endpoint, member, prompt, reason] =
        values.map(|value| value.filter(|value| !value.is_empty()));
    let organization = match named_organization {
        Some(name) => name
            .parse()
            .map_err(|_| InvalidRequest::Argument("organization".to_owned(), "is not the id of an organization"))?,
        None => organization.cloned().ok_or(InvalidRequest::NoOrganization)?,
    };
    let queue = match queue.as_deref() {
        None => QueueChoice::Asked,
        Some(ALL_QUEUES) => QueueChoice::All,
        Some(queue) => QueueChoice::One(
            queue_ref(queue)
                .ok_or_else(|| InvalidRequest::Argument("queue".to_owned(), "is not an extension, an id or `all`"))?,
        ),
    };
    let endpoint = match endpoint {
        Some(endpoint) => endpoint,
        None => {
            let own = match &start.user {
                Some(user) => endpoints.of_user(&organization, &user.name, &user.domain),
                None => endpoints.of_channel(&start.channel),
            };
            own.ok_or_else(|| InvalidRequest::NoEndpoint(shortened(&start.channel)))?.to_owned()
        }
    };
    let extension = endpoints
        .extension(&organization, &endpoint)
        .ok_or_else(|| InvalidRequest::NoExtension(shortened(&endpoint)))?;
    match &reason {
        Some(_) if action != Action::Pause => {
            return Err(InvalidRequest::Argument("reason".to_owned(), "is only for /pause"));
        }
        Some(reason) if !is_plain(reason) => {
            return Err(InvalidRequest::Argument(
                "reason".to_owned(),
                "has other characters than letters, digits and ._-@:/+*#",
            ));
        }
        Some(_) | None => {}
    }
    Ok(Request {
        action,
        organization,
        queue,
        endpoint,
        extension,
        phone_extension: extension,
        members: done_by("member", member)?,
        prompting: done_by("prompt", prompt)?,
        pause_reason: reason.unwrap_or_default(),
    })
}

/// Parse a queue: digits are an extension, and other text is an id.
pub fn queue_ref(text: &str) -> Option<QueueRef> {
    match text.parse() {
        Ok(extension) => Some(QueueRef::Extension(extension)),
        Err(_) => text.parse().ok().map(QueueRef::Id),
    }
}

/// Parse `yes` for the handler and `no` for the dialplan.
fn done_by(name: &str, value: Option<String>) -> Result<Option<DoneBy>, InvalidRequest> {
    match value.as_deref() {
        None => Ok(None),
        Some("yes") => Ok(Some(DoneBy::Handler)),
        Some("no") => Ok(Some(DoneBy::Dialplan)),
        Some(_) => Err(InvalidRequest::Argument(name.to_owned(), "must be yes or no")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(script: &str, channel: &str, arguments: &[&str]) -> Result<Request, InvalidRequest> {
        let start = CallStart {
            channel: channel.to_owned(),
            script: script.to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            ..CallStart::default()
        };
        let endpoints = Endpoints { technologies: vec!["PJSIP".to_owned()], ..Endpoints::default() };
        parse(&start, Some(&"acme".parse().unwrap()), &endpoints)
    }

    #[test]
    fn the_query_and_the_arguments_are_equivalent() {
        let expected = Request {
            action: Action::SignIn,
            organization: "globex".parse().unwrap(),
            queue: QueueChoice::One(QueueRef::Extension("801".parse().unwrap())),
            endpoint: "101".to_owned(),
            extension: "101".parse().unwrap(),
            phone_extension: "101".parse().unwrap(),
            members: Some(DoneBy::Dialplan),
            prompting: Some(DoneBy::Handler),
            pause_reason: String::new(),
        };
        let channel = "PJSIP/101-00000001";
        let query = "sign-in?organization=globex&member=no&prompt=yes&queue=801";
        let arguments = ["organization=globex", "member=no", "prompt=yes", "queue=801"];
        for request in [
            parsed(query, channel, &[]),
            parsed("sign-in", channel, &arguments),
            parsed("/sign-in/?organization=glob%65x&prompt=yes&member=no&queue=%38%301", channel, &[]),
            parsed("sign-in?organization=globex", channel, &arguments[1..]),
            parsed("sign-in?endpoint=101", "Local/1@x-0;1", &arguments),
        ] {
            assert_eq!(request.as_ref(), Ok(&expected));
        }
    }

    #[test]
    fn an_absent_argument_is_configured_or_asked_for() {
        let request = parsed("toggle?queue=", "PJSIP/101-00000001", &[]).unwrap();
        assert_eq!((request.action, request.queue), (Action::Toggle, QueueChoice::Asked));
        assert_eq!((request.organization.as_str(), request.members), ("acme", None));
        let request = parsed("check?queue=sales", "PJSIP/101-00000001", &[]).unwrap();
        assert_eq!(request.queue, QueueChoice::One(QueueRef::Id("sales".parse().unwrap())));
        let request = parsed("sign-out?queue=all", "PJSIP/101-00000001", &[]).unwrap();
        assert_eq!(request.queue, QueueChoice::All);
    }

    #[test]
    fn a_channel_without_an_authenticated_endpoint_is_nobodys() {
        assert_eq!(parsed("sign-in", "PJSIP/101-00000001", &[]).unwrap().extension.to_string(), "101");
        for (channel, reason) in [
            ("Local/999@agents-00000001;1", "NO_ENDPOINT"),
            ("PJSIP/anonymous-00000001", "NO_ENDPOINT"),
            ("", "NO_ENDPOINT"),
        ] {
            assert_eq!(parsed("sign-in", channel, &[]).unwrap_err().reason(), reason, "{channel}");
        }
    }

    #[test]
    fn an_invalid_request_is_refused() {
        for script in [
            "",
            "sign-up",
            "sign-in?que=801",
            "sign-in?queue=801&queue=802",
            "sign-in?queue=801&endpoint=102",
            "sign-in?queue=801&member=no",
            "sign-in?queue=801,802",
            "sign-in?queue=80%2c1",
            "sign-in?queue=${SHELL(reboot)}",
            "sign-in?queue=%zz",
            "sign-in?queue=%ff",
            "sign-in?organization=Acme!",
            "sign-in?member=1",
            "sign-in?reason=lunch",
            "pause?reason=a%2cb",
        ] {
            assert_eq!(parsed(script, "PJSIP/101-00000001", &[]).unwrap_err().reason(), "BAD_REQUEST", "{script}");
        }
    }
}
