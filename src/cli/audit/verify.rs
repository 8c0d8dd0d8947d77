//! `audit verify` and `audit head`.

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;

use super::super::{
    archive::{self, Archive},
    args::{Common, Wrong},
    exit::Outcome,
    print,
};
use crate::{client::Client, rpc::proto};

/// Arguments of `audit verify`.
#[derive(Args)]
pub(crate) struct Verify {
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
pub(crate) struct Head {
    #[command(flatten)]
    common: Common,
}

impl Verify {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
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
        bar.set_style(print::bar_style("{wide_bar} {human_pos}/{human_len} events, {eta} left"));
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
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
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
