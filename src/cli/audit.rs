//! Commands on the audit log: reading, verifying, exporting and cutting it.

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    archive::{self, Archive},
    args::{Common, Name, Wrong, one_of},
    exit::Outcome,
    print,
    resume::Resume,
    when::{self, When},
};
use crate::{client::Client, rpc::proto};

/// Subcommands of `audit`.
#[derive(Subcommand)]
pub(super) enum Audit {
    /// Print changes and refusals, newest first.
    List(Box<List>),
    /// Follow changes and refusals as they happen.
    Watch(Watch),
    /// Check the integrity of the log: whether events were altered, removed or swapped.
    Verify(Verify),
    /// Print the head of the log, as REVISION:HASH. Save it somewhere else, and give it to `verify` later.
    Head(Head),
    /// Export the log as lines of JSON, oldest first, and optionally cut off the exported events.
    Export(Export),
}

/// Arguments of `audit list`.
#[derive(Args)]
pub(super) struct List {
    /// Only events that affect this user: an id, or ext:NUMBER.
    #[arg(long)]
    user: Option<Name>,
    /// Only events on this queue: an id, or ext:NUMBER.
    #[arg(long)]
    queue: Option<Name>,
    /// Only actions and attempts of this user.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "USER_ID")]
    actor: String,
    /// Only this action, such as sign-in or ASSIGN_ROLE.
    #[arg(long)]
    action: Option<String>,
    /// Only actions that were done.
    #[arg(long, conflicts_with = "denied")]
    allowed: bool,
    /// Only refusals.
    #[arg(long)]
    denied: bool,
    /// Only in this minute, second or day: 9:03, 2026-11-22 9:03, 2026-11-22T09:03:00Z, 2026-11-22.
    #[arg(long, value_name = "TIME", value_parser = when::past, conflicts_with_all = ["since", "until"])]
    at: Option<When>,
    /// Only at this time or later, such as 9:00 or 2026-11-22, or a time span before now, such as 90m.
    #[arg(long, value_name = "TIME", value_parser = when::when)]
    since: Option<When>,
    /// Only before this time, such as 17:00 or 2026-11-22, or a time span before now, such as 90m.
    #[arg(long, value_name = "TIME", value_parser = when::when)]
    until: Option<When>,
    /// Maximum number of events; 0 for all.
    #[arg(long, default_value = "100", value_name = "NUMBER")]
    limit: usize,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `audit watch`.
#[derive(Args)]
pub(super) struct Watch {
    /// Resume after this revision instead of starting now.
    #[arg(long, value_name = "REVISION", default_value = "", hide_default_value = true)]
    from: String,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `audit verify`.
#[derive(Args)]
pub(super) struct Verify {
    /// A head that you saved before, as `audit head` printed it.
    #[arg(long, value_name = "REVISION:HASH")]
    expected_head: Option<String>,
    /// A file that `audit export` wrote; repeat it for more, oldest first. The log must continue where the last one
    /// ends.
    #[arg(long, value_name = "FILE")]
    archive: Vec<PathBuf>,
    /// The hash that the first archive continues from, if earlier archives are lost.
    #[arg(long, value_name = "HASH", requires = "archive")]
    after: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `audit head`.
#[derive(Args)]
pub(super) struct Head {
    #[command(flatten)]
    common: Common,
}

/// Arguments of `audit export`.
#[derive(Args)]
pub(super) struct Export {
    /// The file to write, which must not exist. Absent: standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Stop at the first event that is not before this time, such as 2026-11-22, or a time span before now, such as
    /// 90days.
    #[arg(long, value_name = "TIME", value_parser = when::when)]
    before: Option<When>,
    /// Cut the exported events off the log once the file is written, verified and on disk.
    #[arg(long, requires = "output")]
    cut: bool,
    #[command(flatten)]
    common: Common,
}

impl Audit {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::List(list) => list.run().await,
            Self::Watch(watch) => watch.run().await,
            Self::Verify(verify) => verify.run().await,
            Self::Head(head) => head.run().await,
            Self::Export(export) => export.run().await,
        }
    }
}

impl List {
    async fn run(self) -> anyhow::Result<Outcome> {
        let action = match &self.action {
            Some(text) => action(text)?,
            None => proto::AuditAction::Unspecified,
        };
        let start = self.at.or(self.since);
        let end = self.at.map(When::end).or(self.until.map(When::start));
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        let mut request = proto::ListAuditEventsRequest {
            organization_id: self.common.organization.clone(),
            user: self.user.map(|user| one_of!(user, list_audit_events_request::User)),
            queue: self.queue.clone().map(|queue| one_of!(queue, list_audit_events_request::Queue)),
            actor_user_id: self.actor,
            action: action.into(),
            allowed: (self.allowed || self.denied).then_some(self.allowed),
            start_time: start.map(When::start),
            end_time: end,
            page_size: 0,
            page_token: String::new(),
            at_least_revision: String::new(),
        };
        let mut client = self.common.connect().await?;
        let mut all = proto::ListAuditEventsResponse::default();
        loop {
            request.page_size = i32::try_from((limit - all.events.len()).min(1_000)).unwrap_or(1_000);
            let page = client.audit.list_audit_events(request.clone()).await?.into_inner();
            all.events.extend(page.events);
            (all.revision, all.next_page_token) = (page.revision, page.next_page_token);
            if all.next_page_token.is_empty() || all.events.len() >= limit {
                break;
            }
            request.page_token.clone_from(&all.next_page_token);
        }
        if self.common.server.json {
            print::json(&all)?;
            return Ok(Outcome::Done);
        }
        if all.events.is_empty() {
            print_nothing(start.map(|when| when.start), request.end_time.as_ref(), self.queue.as_ref())?;
        }
        all.events.iter().try_for_each(print_event)?;
        if !all.next_page_token.is_empty() {
            print::line(&format!("there are more; these are the newest {limit} (--limit 0 prints all)"))?;
        }
        Ok(Outcome::Done)
    }
}

/// Print the times of an empty search, so that the user notices a wrong day.
fn print_nothing(
    start: Option<jiff::Timestamp>,
    end: Option<&prost_types::Timestamp>,
    queue: Option<&Name>,
) -> anyhow::Result<()> {
    let since = start.map_or_else(String::new, |start| format!(" from {start}"));
    let until = end.map_or_else(String::new, |end| format!(" before {end}"));
    print::line(&format!("no matching events{since}{until}"))?;
    match queue {
        Some(_) => print::line("a number without a queue is recorded as dialed; try without --queue"),
        None => Ok(()),
    }
}

impl Watch {
    async fn run(self) -> anyhow::Result<Outcome> {
        let mut request = proto::WatchAuditEventsRequest {
            organization_id: self.common.organization.clone(),
            start_revision: self.from.clone(),
        };
        let mut client = self.common.connect().await?;
        let mut resume = Resume::new(&client);
        loop {
            let begun = client.audit.watch_audit_events(request.clone()).await.inspect_err(|_| resume.print());
            let mut messages = begun?.into_inner();
            loop {
                let message = match messages.message().await {
                    Ok(Some(message)) => message,
                    Ok(None) => return Ok(Outcome::Done),
                    Err(status) => {
                        request.start_revision = resume.after(status)?;
                        break;
                    }
                };
                if message.event.is_some() || self.from.is_empty() {
                    resume.reached(&message.revision);
                }
                if self.common.server.json {
                    print::json_line(&message)?;
                } else if let Some(event) = &message.event {
                    print_event(event)?;
                }
            }
        }
    }
}

impl Verify {
    async fn run(self) -> anyhow::Result<Outcome> {
        let noted = self.expected_head.as_deref().map(noted).transpose()?;
        let archives = self.archive.iter().map(|path| archive::read(path, noted.as_ref()));
        let archives = archives.collect::<Result<Vec<_>, _>>()?;
        let mut faults = archive::faults(&archives, self.after.as_deref());
        let mut client = self.common.connect().await?;
        let mut last = None;
        // The log must continue where the archives end,
        if let Some(end) = archives.last().and_then(Archive::last) {
            match self.walk(&mut client, end, &mut faults).await {
                Err(error) if is_compacted(&error) => {
                    faults.push(
                        "the log begins after the end of the last archive: the events between are missing".into(),
                    );
                }
                walked => last = Some(walked?),
            }
        }
        // and contain the saved head, unless that is in the archives.
        let noted = noted.filter(|_| !archives.iter().any(|archive| archive.has_noted));
        let mut last = match (last, noted) {
            (Some(last), None) => last,
            (_, noted) => self.walk(&mut client, noted.unwrap_or_default(), &mut faults).await?,
        };
        faults.dedup();
        let found = last.verification.get_or_insert_default();
        if let Some(fault) = faults.first().filter(|_| found.valid()) {
            found.valid = Some(false);
            found.fault = Some(proto::AuditLogFault { revision: String::new(), description: fault.clone() });
        }
        if self.common.server.json {
            print::json(&last)?;
        } else {
            print_verification(&last, &archives, &faults)?;
        }
        Ok(if faults.is_empty() { Outcome::Done } else { Outcome::Denied })
    }

    /// Has the server verify the log, and shows the progress.
    async fn walk(
        &self,
        client: &mut Client,
        expected: proto::AuditLogPosition,
        faults: &mut Vec<String>,
    ) -> anyhow::Result<proto::VerifyAuditLogResponse> {
        let request = proto::VerifyAuditLogRequest {
            organization_id: self.common.organization.clone(),
            expected_revision: expected.revision,
            expected_hash: expected.hash,
        };
        let mut answers = client.audit.verify_audit_log(request).await?.into_inner();
        let bar = ProgressBar::new(0);
        bar.set_style(style("{wide_bar} {human_pos}/{human_len} events, {eta} left"));
        let mut last = proto::VerifyAuditLogResponse::default();
        while let Some(answer) = answers.message().await? {
            bar.set_length(u64::try_from(answer.total_events).unwrap_or(0));
            bar.set_position(u64::try_from(answer.verified_events).unwrap_or(0));
            last = answer;
        }
        bar.finish_and_clear();
        let fault = last.verification.as_ref().and_then(|found| found.fault.clone());
        faults.extend(fault.map(|fault| {
            let place = if fault.revision.is_empty() { "at the beginning" } else { &fault.revision };
            format!("{place}: {}", fault.description)
        }));
        Ok(last)
    }
}

/// Whether the requested events were archived and cut off.
fn is_compacted(error: &anyhow::Error) -> bool {
    error.downcast_ref::<tonic::Status>().is_some_and(|status| status.code() == tonic::Code::OutOfRange)
}

/// Read a head as `audit head` prints it.
fn noted(text: &str) -> Result<proto::AuditLogPosition, Wrong> {
    let parts = text.trim().split_once(':');
    let (revision, hash) = parts.ok_or_else(|| Wrong("--expected-head: write it as REVISION:HASH".to_owned()))?;
    Ok(proto::AuditLogPosition { revision: revision.to_owned(), hash: hash.to_owned() })
}

fn print_verification(
    last: &proto::VerifyAuditLogResponse,
    archives: &[Archive],
    faults: &[String],
) -> anyhow::Result<()> {
    if let Some(first) = faults.first() {
        let red = print::RED;
        print::line(&format!("{red}broken{red:#}  {first}"))?;
        faults.iter().skip(1).try_for_each(|fault| print::line(&format!("        {fault}")))?;
        return print::line(&format!("the first {} events of the log itself are intact", last.verified_events));
    }
    let green = print::GREEN;
    let (events, are) = match last.verified_events {
        1 => ("1 event".to_owned(), "is intact"),
        events => (format!("{events} events"), "are intact"),
    };
    let archived: u64 = archives.iter().map(|archive| archive.events).sum();
    let (archived, are) = match archived {
        0 => (String::new(), are),
        archived => (format!(" and {archived} archived ones"), "are intact"),
    };
    print::line(&format!("{green}whole{green:#}  {events}{archived} {are}"))?;
    let found = last.verification.clone().unwrap_or_default();
    if let Some(cut) = found.cut_through.as_ref().filter(|cut| !cut.revision.is_empty()) {
        print::line(&format!("begins after {}:{}", cut.revision, cut.hash))?;
    }
    found.head.as_ref().map_or(Ok(()), |head| print::line(&format!("ends with {}:{}", head.revision, head.hash)))
}

impl Head {
    async fn run(self) -> anyhow::Result<Outcome> {
        let request = proto::GetAuditLogHeadRequest {
            organization_id: self.common.organization.clone(),
            at_least_revision: String::new(),
        };
        let mut client = self.common.connect().await?;
        let response = client.audit.get_audit_log_head(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            let head = response.head.unwrap_or_default();
            print::line(&format!("{}:{}", head.revision, head.hash))?;
        }
        Ok(Outcome::Done)
    }
}

impl Export {
    async fn run(self) -> anyhow::Result<Outcome> {
        let mut client = self.common.connect().await?;
        let request = proto::ExportAuditLogRequest {
            organization_id: self.common.organization.clone(),
            before_time: self.before.map(When::start),
        };
        let mut pieces = client.audit.export_audit_log(request).await?.into_inner();
        let Some(path) = &self.output else {
            let mut out = std::io::stdout().lock();
            while let Some(piece) = pieces.message().await? {
                out.write_all(&piece.lines)?;
            }
            return Ok(Outcome::Done);
        };
        let refused = |error: std::io::Error| Wrong(format!("can't write `{}`: {error}", path.display()));
        // Another archive must not be overwritten.
        let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(refused)?;
        let bar = ProgressBar::new_spinner();
        bar.set_style(style("{spinner} {human_pos} events"));
        let mut last = proto::ExportAuditLogResponse::default();
        let receiving = async {
            while let Some(piece) = pieces.message().await? {
                file.write_all(&piece.lines).map_err(refused)?;
                bar.set_position(u64::try_from(piece.events).unwrap_or(0));
                last = piece;
            }
            file.sync_all().map_err(refused)?;
            anyhow::Ok(())
        };
        let received = receiving.await;
        bar.finish_and_clear();
        if received.is_err() {
            // An incomplete archive is useless.
            std::fs::remove_file(path).map_err(refused)?;
        }
        received?;
        let Some(through) = last.through.clone() else {
            std::fs::remove_file(path).map_err(refused)?;
            print::line("there is nothing to export")?;
            return Ok(Outcome::Done);
        };
        if self.cut {
            self.cut(&mut client, path, &through).await?;
        }
        if self.common.server.json {
            last.lines = Vec::new();
            print::json(&last)?;
        } else {
            let cut = if self.cut { ", and cut off the log" } else { "" };
            print::line(&format!("{} events written to {}{cut}", last.events, path.display()))?;
            print::line(&format!("ends with {}:{}", through.revision, through.hash))?;
        }
        Ok(Outcome::Done)
    }

    /// Cut the events in the file off the log, after verifying the file.
    async fn cut(&self, client: &mut Client, path: &Path, through: &proto::AuditLogPosition) -> anyhow::Result<()> {
        let written = archive::read(path, None)?;
        let whole = written.fault.is_none() && written.last_hash == through.hash;
        if !whole {
            let why = written.fault.unwrap_or_else(|| "it doesn't end with the last exported event".to_owned());
            return Err(Wrong(format!("nothing was cut, because `{}` can't be verified: {why}", path.display())).into());
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        std::fs::File::open(folder.unwrap_or(std::path::Path::new("."))).and_then(|folder| folder.sync_all())?;
        let request = proto::CutAuditLogRequest {
            organization_id: self.common.organization.clone(),
            through_revision: through.revision.clone(),
            through_hash: through.hash.clone(),
            // Repeating the cut after a lost response succeeds.
            request_id: through.hash.clone(),
        };
        client.audit.cut_audit_log(request).await?;
        Ok(())
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants and valid.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn action(text: &str) -> Result<proto::AuditAction, Wrong> {
    let name = text.to_ascii_uppercase().replace('-', "_");
    let name = if name.starts_with("AUDIT_ACTION_") { name } else { format!("AUDIT_ACTION_{name}") };
    let known = proto::AuditAction::from_str_name(&name).filter(|known| *known != proto::AuditAction::Unspecified);
    known.ok_or_else(|| {
        let all = (1..).map_while(|number| proto::AuditAction::try_from(number).ok());
        let all: Vec<String> = all.map(|action| action_name(action).to_ascii_lowercase().replace('_', "-")).collect();
        Wrong(format!("--action: there is no action `{text}`; the actions are {}", all.join(", ")))
    })
}

fn action_name(action: proto::AuditAction) -> String {
    print::short(action.as_str_name(), "AUDIT_ACTION_")
}

/// Print an event: time, outcome, action, user and queue; then the actor and the explanation.
pub(super) fn print_event(event: &proto::AuditEvent) -> anyhow::Result<()> {
    let (style, word) = if event.allowed() { (print::GREEN, "done  ") } else { (print::RED, "denied") };
    let dim = print::DIM;
    let either = |id: &str, extension: &str| {
        if extension.is_empty() { id.to_owned() } else { format!("ext:{extension}") }
    };
    let subject = [either(&event.user_id, &event.user_extension), either(&event.queue_id, &event.queue_extension)];
    let subject = subject.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" ");
    let time = print::time(event.time.as_ref());
    let action = action_name(event.action());
    let why = why(event)?;
    print::line(format!("{time}  {style}{word}{style:#}  {action:<19} {subject:<20} {why}").trim_end())?;
    let actor = either(&event.actor_user_id, &event.actor_extension);
    let by = if actor.is_empty() { event.caller.clone() } else { format!("{actor} through {}", event.caller) };
    print::line(&format!("{dim}    by {by}  {}{dim:#}", event.revision))?;
    if !event.explanation.is_empty() {
        print::line(&format!("    {}", event.explanation))?;
    }
    if !event.justification.is_empty() {
        print::line(&format!("    \"{}\"", event.justification))?;
    }
    Ok(())
}

/// The reason of a decision, the role, the end of a session, or the changed values.
fn why(event: &proto::AuditEvent) -> anyhow::Result<String> {
    let mut parts = Vec::new();
    if event.role() != proto::Role::Unspecified {
        parts.push(print::short(event.role().as_str_name(), "ROLE_"));
    }
    if event.reason() != proto::Reason::Unspecified {
        parts.push(print::reason(event.reason));
    }
    if !event.allowed() && event.reason() == proto::Reason::Unspecified {
        parts.push("ACTOR_NOT_PERMITTED".to_owned());
    }
    if let Some(cut) = &event.cut_through {
        parts.push(format!("through {}", cut.revision));
    }
    match (&event.before, event.after.as_ref().or(event.attempted.as_ref())) {
        (Some(_), Some(proto::AuditState { session: Some(session), .. })) => {
            if event.reason() == proto::Reason::Unspecified {
                parts.push(print::end_reason(session.end_reason));
            }
        }
        (Some(before), Some(after)) => parts.extend(print::differences(before, after)?),
        (_, None) | (None, _) => {}
    }
    Ok(parts.join(", "))
}
