//! What a call asks for: the address's path and query, or arguments, and the channel. PURE.
//!
//! `AGI(agi://127.0.0.1/sign-in?queue=801)` and `AGI(agi://127.0.0.1/sign-in,queue=801)` are the same. INVARIANT: the queue comes
//! last. It is what somebody dialed, and a phone can dial `801&endpoint=102`; what stands behind it would be theirs to choose.

use super::{names::Endpoints, protocol::Environment};
use crate::domain::ids::{Extension, OrganizationId, QueueRef, shortened};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To sign in.
    SignIn,
    /// To sign out.
    SignOut,
    /// To sign out, or in if they aren't signed in.
    Toggle,
    /// Whether they could sign in. Changes nothing.
    Check,
}

impl Action {
    /// As it stands in the address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::SignOut => "sign-out",
            Self::Toggle => "toggle",
            Self::Check => "check",
        }
    }
}

/// What one call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is to be done.
    pub action: Action,
    /// Whose queue and whose user it is.
    pub organization: OrganizationId,
    /// The queue, as it was dialed; none if the caller is to be asked for it.
    pub queue: Option<QueueRef>,
    /// The endpoint at which the caller sits.
    pub endpoint: String,
    /// The caller's extension.
    pub extension: Extension,
    /// Whether this program adds and removes the queue's member, or leaves it to the dialplan; none: as it is configured.
    pub members: Option<bool>,
    /// Whether this program plays the prompt, or leaves it to the dialplan; none: as it is configured.
    pub prompts: Option<bool>,
}

/// Why a call makes no sense. The text goes to the log, the name to the dialplan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The address has another path.
    #[error("there is no `{0}`; the paths are /sign-in, /sign-out, /toggle and /check")]
    UnknownPath(String),
    /// There is such an argument not, or twice, or with no such value.
    #[error("the argument `{0}` {1}")]
    Argument(String, &'static str),
    /// No organization is named, and none is configured.
    #[error("no organization is named; give organization=ID, or configure one")]
    NoOrganization,
    /// The channel is none whose name says who calls.
    #[error("`{0}` is no channel of an endpoint; give endpoint=${{CHANNEL(endpoint)}}, or another --technology")]
    NoEndpoint(String),
    /// The endpoint is no extension's.
    #[error("the endpoint `{0}` has no extension; give --endpoint {0}=EXTENSION")]
    NoExtension(String),
}

impl Problem {
    /// What the dialplan is told.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownPath(_) | Self::Argument(..) | Self::NoOrganization => "BAD_REQUEST",
            Self::NoEndpoint(_) | Self::NoExtension(_) => "NO_ENDPOINT",
        }
    }
}

/// What may be given.
const NAMES: [&str; 5] = ["organization", "queue", "endpoint", "member", "prompt"];

/// Reads what a call asks for.
pub fn read(
    environment: &Environment,
    organization: Option<&OrganizationId>,
    endpoints: &Endpoints,
) -> Result<Request, Problem> {
    let script = environment.get("agi_network_script");
    let (path, query) = script.split_once('?').unwrap_or((script, ""));
    let action = match path.trim_matches('/') {
        "sign-in" => Action::SignIn,
        "sign-out" => Action::SignOut,
        "toggle" => Action::Toggle,
        "check" => Action::Check,
        other => return Err(Problem::UnknownPath(shortened(other))),
    };
    let mut given: [Option<String>; NAMES.len()] = Default::default();
    let from_query = query.split('&').filter(|pair| !pair.is_empty()).map(decoded);
    let from_arguments = environment.arguments().filter(|pair| !pair.is_empty()).map(|pair| Some(pair.to_owned()));
    let mut has_queue = false;
    for pair in from_query.chain(from_arguments) {
        let pair = pair.ok_or_else(|| Problem::Argument(shortened(query), "is not well-formed"))?;
        let (name, value) = pair.split_once('=').unwrap_or((&pair, ""));
        let known = NAMES.iter().zip(&mut given).find(|(known, _)| **known == name);
        let (known, place) = known.ok_or_else(|| Problem::Argument(shortened(name), "is not known"))?;
        if place.is_some() {
            return Err(Problem::Argument(shortened(name), "is given twice"));
        }
        if has_queue {
            return Err(Problem::Argument(shortened(name), "stands behind the queue, which must come last"));
        }
        has_queue = *known == "queue";
        *place = Some(value.trim().to_owned());
    }
    let [named_organization, queue, endpoint, member, prompt] =
        given.map(|value| value.filter(|value| !value.is_empty()));
    let organization = match named_organization {
        Some(name) => {
            name.parse().map_err(|_| Problem::Argument("organization".to_owned(), "is no organization's id"))?
        }
        None => organization.cloned().ok_or(Problem::NoOrganization)?,
    };
    let queue =
        queue.map(|queue| queue_ref(&queue).ok_or_else(|| Problem::Argument("queue".to_owned(), "is no queue's")));
    let endpoint = match endpoint {
        Some(endpoint) => endpoint,
        None => {
            let channel = environment.get("agi_channel");
            endpoints.of_channel(channel).ok_or_else(|| Problem::NoEndpoint(shortened(channel)))?.to_owned()
        }
    };
    let extension =
        endpoints.extension(&organization, &endpoint).ok_or_else(|| Problem::NoExtension(shortened(&endpoint)))?;
    Ok(Request {
        action,
        organization,
        queue: queue.transpose()?,
        endpoint,
        extension,
        members: yes_or_no("member", member)?,
        prompts: yes_or_no("prompt", prompt)?,
    })
}

/// A queue as it is dialed, or by its id: digits are an extension.
pub fn queue_ref(text: &str) -> Option<QueueRef> {
    match text.parse() {
        Ok(extension) => Some(QueueRef::Extension(extension)),
        Err(_) => text.parse().ok().map(QueueRef::Id),
    }
}

fn yes_or_no(name: &str, value: Option<String>) -> Result<Option<bool>, Problem> {
    match value.as_deref() {
        None => Ok(None),
        Some("yes") => Ok(Some(true)),
        Some("no") => Ok(Some(false)),
        Some(_) => Err(Problem::Argument(name.to_owned(), "is yes or no")),
    }
}

/// A piece of a query, decoded; none if it is malformed.
fn decoded(piece: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(piece.len());
    let mut rest = piece.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            b'+' => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(script: &str, channel: &str, arguments: &[&str]) -> Result<Request, Problem> {
        let mut environment = Environment::default();
        environment.take(&format!("agi_network_script: {script}")).unwrap();
        environment.take(&format!("agi_channel: {channel}")).unwrap();
        // Whatever the caller says of themselves must not matter.
        for line in ["agi_callerid: 999", "agi_calleridname: 999", "agi_extension: s", "agi_dnid: *13801"] {
            environment.take(line).unwrap();
        }
        for (number, argument) in arguments.iter().enumerate() {
            environment.take(&format!("agi_arg_{}: {argument}", number + 1)).unwrap();
        }
        let endpoints = Endpoints { technologies: vec!["PJSIP".to_owned()], ..Endpoints::default() };
        read(&environment, Some(&"acme".parse().unwrap()), &endpoints)
    }

    #[test]
    fn address_and_arguments_say_the_same() {
        let expected = Request {
            action: Action::SignIn,
            organization: "globex".parse().unwrap(),
            queue: Some(QueueRef::Extension("801".parse().unwrap())),
            endpoint: "101".to_owned(),
            extension: "101".parse().unwrap(),
            members: Some(false),
            prompts: Some(true),
        };
        let channel = "PJSIP/101-00000001";
        let query = "sign-in?organization=globex&member=no&prompt=yes&queue=801";
        let arguments = ["organization=globex", "member=no", "prompt=yes", "queue=801"];
        for asked in [
            asked(query, channel, &[]),
            asked("sign-in", channel, &arguments),
            asked("/sign-in/?organization=glob%65x&prompt=yes&member=no&queue=%38%301", channel, &[]),
            asked("sign-in?organization=globex", channel, &arguments[1..]),
            asked("sign-in?endpoint=101", "Local/1@x-0;1", &arguments),
        ] {
            assert_eq!(asked.as_ref(), Ok(&expected));
        }
    }

    #[test]
    fn what_is_left_out_is_configured_or_asked_for() {
        let request = asked("toggle?queue=", "PJSIP/101-00000001", &[]).unwrap();
        assert_eq!((request.action, request.queue), (Action::Toggle, None));
        assert_eq!((request.organization.as_str(), request.members), ("acme", None));
        let request = asked("check?queue=sales", "PJSIP/101-00000001", &[]).unwrap();
        assert_eq!(request.queue, Some(QueueRef::Id("sales".parse().unwrap())));
    }

    /// The caller id was 999 in all of them.
    #[test]
    fn nobody_is_who_their_caller_id_says() {
        assert_eq!(asked("sign-in", "PJSIP/101-00000001", &[]).unwrap().extension.to_string(), "101");
        for (channel, reason) in [
            ("Local/999@agents-00000001;1", "NO_ENDPOINT"),
            ("PJSIP/anonymous-00000001", "NO_ENDPOINT"),
            ("", "NO_ENDPOINT"),
        ] {
            assert_eq!(asked("sign-in", channel, &[]).unwrap_err().reason(), reason, "{channel}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_problem() {
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
        ] {
            assert_eq!(asked(script, "PJSIP/101-00000001", &[]).unwrap_err().reason(), "BAD_REQUEST", "{script}");
        }
    }
}
