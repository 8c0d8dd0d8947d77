//! What happens in a call.
//!
//! INVARIANT: whatever becomes of the call, its session and its member end up both there or both not. A session whose member
//! was not added, or perhaps not, is ended; a member whose session can't be ended now is removed, and the end of the session
//! is owed (`debts.rs`). What can't be said to Asterisk any more, the reconciling does (`reconcile.rs`).

use std::time::Duration;

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tracing::{Instrument, debug, info, warn};
use uuid::Uuid;

use super::{
    ask::Failure,
    call::{Call, Lost, MemberStatus, Vouched},
    config::{Members, Playing},
    debts::{Debt, MOST_REQUESTS, What},
    desk::Desk,
    places::Key,
    protocol::{Application, Environment},
    request::{self, Action, Request},
};
use crate::{
    domain::ids::{OrganizationId, QueueRef},
    rpc::proto::{self, Reason},
};

/// How long undoing may take before it is owed. The caller doesn't wait for it.
const UNDOING: Duration = Duration::from_secs(1);

/// How often a caller is asked for a queue that there is.
const TRIES: u32 = 3;

/// The reason where the call's phone did not dial it: somebody transferred or forwarded it here.
const NOT_DIALED: &str = "NOT_DIALED";

/// The reason where a user is signed in, and another phone of theirs rings.
const RINGS_ELSEWHERE: &str = "RINGS_ELSEWHERE";

/// How many digits a queue may have.
const MOST_DIGITS: u32 = 15;

/// What the dialplan is told in `QUEUEGATE_STATUS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Allowed,
    Denied,
    Failed,
}

/// How a call ends.
#[derive(Debug)]
struct Answer {
    status: Status,
    reason: String,
    /// What it is about, as far as prompts are concerned.
    moment: &'static str,
    session_id: String,
}

impl Answer {
    fn failed(reason: &str) -> Self {
        Self { status: Status::Failed, reason: reason.to_owned(), moment: "failed", session_id: String::new() }
    }

    fn denied(reason: String) -> Self {
        Self { status: Status::Denied, reason, moment: "denied", session_id: String::new() }
    }

    fn signed_in(reason: String, session_id: String) -> Self {
        Self { status: Status::Allowed, reason, moment: "signed-in", session_id }
    }

    fn signed_out(reason: &str, session_id: String) -> Self {
        Self { status: Status::Allowed, reason: reason.to_owned(), moment: "signed-out", session_id }
    }
}

/// The phone and the queue that a call is about.
struct Place {
    queue: QueueRef,
    /// The queue's name on the PBX, if anybody knows.
    pbx_queue: Option<String>,
    interface: String,
    key: Key,
    members: Members,
}

/// Answers a call.
pub(super) async fn answer(desk: &Desk, connection: TcpStream) {
    let begun = Instant::now();
    let mut call = Call::new(connection, desk.config.deadline);
    let environment = match call.environment().await {
        Ok(environment) => environment,
        Err(error) => return warn!(%error, "a connection was no call"),
    };
    let (channel, uniqueid) = (environment.get("agi_channel"), environment.get("agi_uniqueid"));
    let span = tracing::info_span!("call", channel, uniqueid);
    answer_call(desk, call, &environment, begun).instrument(span).await;
}

/// Every line of the log that this writes names the channel and its unique id, as Asterisk's own log does.
async fn answer_call(desk: &Desk, mut call: Call, environment: &Environment, begun: Instant) {
    let request = request::read(environment, desk.config.organization.as_ref(), &desk.config.endpoints);
    let (answer, playing) = match &request {
        Ok(request) => {
            let answer = match call.vouched(environment.get("agi_channel")).await {
                Ok(Vouched::Dialed) => take(desk, &mut call, request).await,
                Ok(Vouched::Transferred) => {
                    warn!("a call that was transferred or forwarded is nobody's dial; nothing is done for it");
                    Answer::denied(NOT_DIALED.to_owned())
                }
                Ok(Vouched::Stranger) => distrusted("BAD_REQUEST", "it is not on the channel that it names"),
                Err(error) => distrusted("PBX_FAILED", &error.to_string()),
            };
            (answer, playing(desk, request))
        }
        Err(problem) => {
            warn!(error = %problem, "a call makes no sense");
            (Answer::failed(problem.reason()), desk.config.playing)
        }
    };
    if let Ok(Request { action, organization, extension, .. }) = &request {
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (action, reason) = (action.as_str(), &answer.reason);
        info!(action, %organization, %extension, status = answer.status.as_str(), reason, took_ms, "a call was answered");
    }
    if let Err(error) = tell(desk, &mut call, &answer, playing).await {
        debug!(%error, "the answer could not be told");
    }
}

/// A call whose environment can't be believed, or whose PBX doesn't answer. Nothing was done for it.
fn distrusted(reason: &str, error: &str) -> Answer {
    warn!(reason, error, "nothing is done for a call that Asterisk does not vouch for");
    Answer::failed(reason)
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// Who plays the prompt. A check is a question of the dialplan's, in which nobody expects to hear anything.
fn playing(desk: &Desk, request: &Request) -> Playing {
    match (request.prompts, request.action) {
        (Some(true), _) => Playing::Here,
        (Some(false), _) | (None, Action::Check) => Playing::InDialplan,
        (None, Action::SignIn | Action::SignOut | Action::Toggle) => desk.config.playing,
    }
}

/// Tells Asterisk the answer, and the caller.
async fn tell(desk: &Desk, call: &mut Call, answer: &Answer, playing: Playing) -> Result<(), Lost> {
    let sound = match (answer.status, answer.moment) {
        (_, "") => "",
        (_, moment) => desk.config.prompts.sound(moment, &answer.reason),
    };
    call.set("QUEUEGATE_REASON", &answer.reason).await?;
    call.set("QUEUEGATE_PROMPT", sound).await?;
    call.set("QUEUEGATE_SESSION_ID", &answer.session_id).await?;
    // INVARIANT: the status comes last, so a dialplan that sees `allowed` sees all of it.
    call.set("QUEUEGATE_STATUS", answer.status.as_str()).await?;
    if playing == Playing::Here && !sound.is_empty() { call.play(sound).await } else { Ok(()) }
}

/// Does what a call asks for, asking the caller for the queue if need be.
async fn take(desk: &Desk, call: &mut Call, request: &Request) -> Answer {
    if let Some(queue) = &request.queue {
        return act(desk, call, request, queue).await;
    }
    let mut tries = 0;
    loop {
        tries += 1;
        let sound = desk.config.prompts.sound("ask-queue", "");
        let answer = match call.digits(sound, desk.config.digit_pause, MOST_DIGITS).await {
            Ok(Some(digits)) if digits.is_empty() => Answer::failed("NO_QUEUE"),
            Ok(Some(digits)) => match digits.parse() {
                Ok(extension) => act(desk, call, request, &QueueRef::Extension(extension)).await,
                // A star, most likely. No queue has one.
                Err(_) => Answer::denied(Reason::UnknownQueue.short()),
            },
            Ok(None) => Answer::failed("HANGUP"),
            Err(error) => {
                debug!(%error, "the caller could not be asked");
                Answer::failed("HANGUP")
            }
        };
        if answer.reason != Reason::UnknownQueue.short() || tries >= TRIES || !call.has_caller() {
            return answer;
        }
        if playing(desk, request) == Playing::Here {
            // The next question shows whether anybody is there.
            let _ = call.play(desk.config.prompts.sound(answer.moment, &answer.reason)).await;
        }
    }
}

async fn act(desk: &Desk, call: &mut Call, request: &Request, queue: &QueueRef) -> Answer {
    let by = call.question_deadline();
    if request.action == Action::Check {
        return check(desk, request, queue, by).await;
    }
    let Some(interface) = desk.config.interface.of(&request.organization, &request.endpoint, &request.extension) else {
        return Answer::failed("NO_ENDPOINT");
    };
    let members = match request.members {
        Some(true) if desk.config.members == Members::Here => Members::Here,
        Some(_) => Members::InDialplan,
        None => desk.config.members,
    };
    let pbx_queue = desk.pbx_queue(&request.organization, queue, by).await;
    let key = Key::new(pbx_queue.as_deref().unwrap_or(&queue.name()), &interface);
    // INVARIANT: held until session and member agree, or what is missing is owed.
    let Ok(_held) = timeout_at(by, desk.places.hold(&key)).await else {
        return Answer::failed("DEADLINE_EXCEEDED");
    };
    let place = Place { queue: queue.clone(), pbx_queue, interface, key, members };
    match request.action {
        Action::SignIn => sign_in(desk, call, request, &place).await,
        Action::SignOut => sign_out(desk, call, request, &place).await,
        Action::Toggle | Action::Check => toggle(desk, call, request, &place).await,
    }
}

async fn check(desk: &Desk, request: &Request, queue: &QueueRef, by: Instant) -> Answer {
    match desk.questions.check(&request.organization, &request.extension, queue, by).await {
        Ok(decision) if decision.allowed() => {
            let session_id = decision.session.as_ref().map(|session| session.session_id.clone()).unwrap_or_default();
            Answer { moment: "", ..Answer::signed_in(decision.reason().short(), session_id) }
        }
        Ok(decision) => Answer::denied(decision.reason().short()),
        Err(failure) => failed(&failure),
    }
}

async fn sign_in(desk: &Desk, call: &mut Call, request: &Request, place: &Place) -> Answer {
    let Request { organization, extension, .. } = request;
    let request_id = format!("agi-{}", Uuid::new_v4().simple());
    let before = desk.debts.of(&place.key);
    let undo = match before.as_ref().map(|debt| &debt.what) {
        // That sees to whatever this sign-in may come to as well.
        Some(What::SignOut) => None,
        // Nobody keeps count for ever of those who dial again and again and are told each time that they aren't signed in.
        Some(What::Undo { request_ids }) if request_ids.len() >= MOST_REQUESTS => Some(What::SignOut),
        Some(What::Undo { request_ids }) => {
            Some(What::Undo { request_ids: [&request_ids[..], std::slice::from_ref(&request_id)].concat() })
        }
        None => Some(What::Undo { request_ids: vec![request_id.clone()] }),
    };
    let undo = undo.map(|what| debt(request, place, what));
    // Noted beforehand, so that not even a kill leaves a session without a member. Nobody could bring the member in line
    // without the manager, so without it nothing is noted.
    let noted = undo.clone().filter(|_| desk.config.manager.is_some());
    if let Some(undo) = &noted {
        desk.debts.note(undo.clone()).await;
    }
    let by = call.question_deadline();
    let asked = desk.questions.sign_in(organization, extension, &place.queue, &place.interface, &request_id, by).await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(failure) => {
            match (&failure, undo) {
                // The caller is told that they aren't signed in, so they must not be.
                (Failure::Unknown(why), Some(undo)) => {
                    let (queue, reason) = (place.queue.name(), &why.reason);
                    warn!(
                        %organization, %extension, queue, reason,
                        "it is not known whether a sign-in was carried out; it is undone as soon as queuegate can be asked"
                    );
                    desk.debts.owe(undo).await;
                }
                (Failure::Unknown(_), None) => {}
                (Failure::NotDone(_), _) => take_back(desk, place, noted.and(Some(before))).await,
            }
            return failed(&failure);
        }
    };
    let reason = answer.decision.as_ref().map_or(Reason::Unspecified, proto::Decision::reason).short();
    let Some(session) = answer.session.filter(|_| answer.decision.is_some_and(|decision| decision.allowed())) else {
        take_back(desk, place, noted.and(Some(before))).await;
        if reason != Reason::UnknownQueue.short() {
            cease(call, place).await;
        }
        return Answer::denied(reason);
    };
    // A user who signed in from another phone of theirs is rung there.
    let interface = desk.interface_of(organization, extension, &session).unwrap_or(&place.interface);
    let is_own = answer.created || interface == place.interface;
    let failure = match (place.members, &place.pbx_queue) {
        (Members::InDialplan, _) => None,
        (Members::Here, None) => Some("NO_SUCH_QUEUE"),
        (Members::Here, Some(pbx_queue)) => {
            let added =
                call.change_member(Application::AddQueueMember, &added(desk, organization, pbx_queue, interface)).await;
            match added {
                Ok(MemberStatus::Added) => None,
                Ok(MemberStatus::AlreadyMember) => {
                    // Signing in says that they want calls. A pause, such as Asterisk's Auto-Pause, would keep them away.
                    let named = format!("{pbx_queue},{interface}");
                    if let Err(error) = call.change_member(Application::UnpauseQueueMember, &named).await {
                        debug!(%error, "it is not known whether the member was unpaused");
                    }
                    None
                }
                Ok(MemberStatus::NoSuchQueue) => Some("NO_SUCH_QUEUE"),
                Ok(
                    MemberStatus::Removed
                    | MemberStatus::NotMember
                    | MemberStatus::NotDynamic
                    | MemberStatus::Unpaused
                    | MemberStatus::Other,
                ) => Some("PBX_FAILED"),
                Err(error) => {
                    debug!(%error, "it is not known whether the member was added");
                    Some("PBX_FAILED")
                }
            }
        }
    };
    let Some(failure) = failure else {
        // Whatever was owed for this phone was about the past.
        desk.debts.settle(&place.key).await;
        if let Some(pbx_queue) = &place.pbx_queue {
            desk.queues.know(pbx_queue);
        }
        if !is_own {
            // They are signed in, but it is another of their phones that rings, and no prompt must promise otherwise.
            return Answer { moment: "denied", ..Answer::signed_in(RINGS_ELSEWHERE.to_owned(), session.session_id) };
        }
        return Answer::signed_in(reason, session.session_id);
    };
    if is_own {
        let queue = place.queue.name();
        warn!(%organization, %extension, queue, reason = failure, "a sign-in is undone: the PBX has no such member");
        let undone = desk.questions.sign_out(organization, extension, &place.queue, Instant::now() + UNDOING).await;
        match undone {
            Ok(_) => desk.debts.settle(&place.key).await,
            Err(failure) => {
                let why = failure.why();
                warn!(
                    %organization, %extension, queue, reason = why.reason, error = why.text,
                    "a sign-in is undone as soon as queuegate can be told"
                );
                desk.debts.owe(debt(request, place, What::SignOut)).await;
            }
        }
    } else {
        desk.debts.settle(&place.key).await;
    }
    doubt(desk, place);
    Answer::failed(failure)
}

/// Takes a phone out of a queue on which its user has no session: a member that nobody else would remove, such as one whose
/// session expired while there is no manager interface.
async fn cease(call: &mut Call, place: &Place) {
    if let (Members::Here, Some(pbx_queue)) = (place.members, &place.pbx_queue) {
        let named = format!("{pbx_queue},{}", place.interface);
        if let Ok(MemberStatus::Removed) = call.change_member(Application::RemoveQueueMember, &named).await {
            info!(queue = pbx_queue, interface = place.interface, "a member without a session was removed");
        }
    }
}

/// Owes again what was owed before, if something else was noted instead.
async fn take_back(desk: &Desk, place: &Place, before: Option<Option<Debt>>) {
    match before {
        None => {}
        Some(Some(debt)) => desk.debts.owe(debt).await,
        Some(None) => desk.debts.settle(&place.key).await,
    }
}

async fn sign_out(desk: &Desk, call: &mut Call, request: &Request, place: &Place) -> Answer {
    let Request { organization, extension, .. } = request;
    let asked = desk.questions.sign_out(organization, extension, &place.queue, call.question_deadline()).await;
    match &asked {
        Ok(_) => desk.debts.settle(&place.key).await,
        Err(failure) if failure.is_final() => return failed(failure),
        // INVARIANT: a sign-out is never refused. It is remembered before the member is removed, so no crash loses it.
        Err(failure) => {
            let (why, queue) = (failure.why(), place.queue.name());
            warn!(
                %organization, %extension, queue, reason = why.reason, error = why.text,
                "a sign-out is remembered until queuegate can be told"
            );
            desk.debts.owe(debt(request, place, What::SignOut)).await;
        }
    }
    let ended = asked.as_ref().map_or(&[][..], |answer| &answer.ended_sessions);
    let session_id = ended.first().map(|session| session.session_id.clone()).unwrap_or_default();
    let mut interfaces = vec![place.interface.clone()];
    for other in ended.iter().filter_map(|session| desk.interface_of(organization, extension, session)) {
        if other != place.interface {
            interfaces.push(other.to_owned());
        }
    }
    let mut was_member = false;
    // Without a name there is no such queue on the PBX, and nothing that could ring.
    if let (Members::Here, Some(pbx_queue)) = (place.members, &place.pbx_queue) {
        for interface in &interfaces {
            match call.change_member(Application::RemoveQueueMember, &format!("{pbx_queue},{interface}")).await {
                Ok(MemberStatus::Removed) => was_member = true,
                Ok(MemberStatus::NotMember | MemberStatus::NoSuchQueue) => {}
                // The session is ended all the same; who rings by `queues.conf` rings on.
                Ok(MemberStatus::NotDynamic) => return Answer::failed("MEMBER_IS_STATIC"),
                Ok(
                    MemberStatus::Added | MemberStatus::AlreadyMember | MemberStatus::Unpaused | MemberStatus::Other,
                ) => {
                    doubt(desk, place);
                    return Answer::failed("PBX_FAILED");
                }
                Err(error) => {
                    debug!(%error, "it is not known whether the member was removed");
                    doubt(desk, place);
                    return Answer::failed("PBX_FAILED");
                }
            }
        }
    }
    let reason = match asked {
        Err(_) => "SIGN_OUT_REMEMBERED",
        Ok(_) if session_id.is_empty() && !was_member => "NOT_SIGNED_IN",
        Ok(_) => "SIGNED_OUT",
    };
    Answer::signed_out(reason, session_id)
}

async fn toggle(desk: &Desk, call: &mut Call, request: &Request, place: &Place) -> Answer {
    let Request { organization, extension, .. } = request;
    // Who signed out while queuegate couldn't be told is signed out.
    let is_owed = desk.debts.of(&place.key).is_some_and(|debt| debt.what == What::SignOut);
    match desk.questions.session(organization, extension, &place.queue, call.question_deadline()).await {
        Ok(Some(_)) if !is_owed => sign_out(desk, call, request, place).await,
        Ok(_) => sign_in(desk, call, request, place).await,
        Err(failure) => {
            // Who can be removed was signed in, and wants to go.
            if let (Members::Here, Some(pbx_queue), false) = (place.members, &place.pbx_queue, failure.is_final()) {
                let arguments = format!("{pbx_queue},{}", place.interface);
                let removed = call.change_member(Application::RemoveQueueMember, &arguments).await;
                if let Ok(MemberStatus::Removed) = removed {
                    desk.debts.owe(debt(request, place, What::SignOut)).await;
                    return Answer::signed_out("SIGN_OUT_REMEMBERED", String::new());
                }
            }
            failed(&failure)
        }
    }
}

/// The arguments of AddQueueMember.
fn added(desk: &Desk, organization: &OrganizationId, pbx_queue: &str, interface: &str) -> String {
    match desk.config.state_of(organization, interface) {
        Some(state) => format!("{pbx_queue},{interface},,,,{state}"),
        None => format!("{pbx_queue},{interface}"),
    }
}

fn debt(request: &Request, place: &Place, what: What) -> Debt {
    Debt {
        organization: request.organization.clone(),
        user: request.extension,
        queue: place.queue.clone(),
        pbx_queue: place.pbx_queue.clone().unwrap_or_else(|| place.queue.name()),
        interface: place.interface.clone(),
        what,
    }
}

fn doubt(desk: &Desk, place: &Place) {
    if let Some(pbx_queue) = &place.pbx_queue {
        desk.doubts.about(pbx_queue);
    }
}

fn failed(failure: &Failure) -> Answer {
    let why = failure.why();
    warn!(reason = why.reason, error = why.text, "queuegate did not answer");
    Answer::failed(&why.reason)
}

/// A reason without the prefix that protobuf asks for.
trait Short {
    fn short(&self) -> String;
}

impl Short for Reason {
    fn short(&self) -> String {
        let name = self.as_str_name();
        name.strip_prefix("REASON_").unwrap_or(name).to_owned()
    }
}
