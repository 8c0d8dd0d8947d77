//! Commands that import and export an organization's document.

use std::{
    io::{Read, Write},
    path::PathBuf,
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use tokio_stream::StreamExt;
use tonic::Status;

use super::{
    args::{Common, Retry, Wrong},
    asterisk::{Names, Validation},
    exit::Outcome,
    print,
};
use crate::{
    client::{Client, may_help_to_repeat},
    rpc::proto,
};

/// The size of a document's pieces, in bytes.
const PIECE: usize = 256 * 1024;

/// The number of times that a document is sent if there are several servers.
const MAX_ATTEMPTS: u32 = 3;

/// Arguments of `import`.
#[derive(Args)]
pub(super) struct Import {
    /// The document, in YAML or JSON; `-` reads standard input.
    file: PathBuf,
    /// The format of a file that is not a queuegate document.
    #[arg(long, value_enum, conflicts_with_all = ["delete_missing", "request_id"])]
    from: Option<Foreign>,
    /// Print the changes, but don't apply them.
    #[arg(long)]
    validate_only: bool,
    /// Also delete the users, queues and assignments that the document doesn't name.
    #[arg(long)]
    delete_missing: bool,
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    common: Common,
}

/// A foreign format that can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Foreign {
    /// Asterisk's queues.conf: its static members become assignments.
    AsteriskQueues,
}

impl Import {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        if let Some(Foreign::AsteriskQueues) = self.from {
            let validation = if self.validate_only { Validation::Only } else { Validation::AndAssignment };
            return super::asterisk::import_queues(&self.file, self.names, &self.common, validation).await;
        }
        let mut document = Vec::new();
        if self.file.as_os_str() == "-" {
            std::io::stdin().read_to_end(&mut document).context("can't read standard input")?;
        } else {
            let read = std::fs::read(&self.file);
            document = read.map_err(|error| Wrong(format!("can't read `{}`: {error}", self.file.display())))?;
        }
        let mut client = self.common.connect().await?;
        // One id for all attempts.
        let own = || uuid::Uuid::now_v7().to_string();
        let request_id = Some(self.retry.request_id.clone()).filter(|id| !id.is_empty()).unwrap_or_else(own);
        let may_repeat = client.has_several_servers();
        let mut attempts = 1;
        loop {
            let mut problems = Vec::new();
            match self.send(&mut client, &document, &request_id, &mut problems).await {
                Ok(answer) => {
                    self.print(&answer)?;
                    return Ok(Outcome::Done);
                }
                Err(status) if may_repeat && may_help_to_repeat(&status) && attempts < MAX_ATTEMPTS => {}
                Err(status) if self.common.server.json && !problems.is_empty() => {
                    let stage = proto::ImportStage::Refused.into();
                    print::json(&proto::ImportDirectoryResponse { stage, problems, ..Default::default() })?;
                    return Err(status.into());
                }
                Err(status) => return Err(refused(status, &problems)),
            }
            attempts += 1;
        }
    }

    /// Send the document once, and return the last answer. `problems` gets those that the server found.
    async fn send(
        &self,
        client: &mut Client,
        document: &[u8],
        request_id: &str,
        problems: &mut Vec<proto::ImportProblem>,
    ) -> Result<proto::ImportDirectoryResponse, Status> {
        let first = proto::ImportDirectoryRequest {
            organization_id: self.common.organization.clone(),
            document: Vec::new(),
            validate_only: self.validate_only,
            delete_missing: self.delete_missing,
            request_id: request_id.to_owned(),
            actor_user_id: String::new(),
        };
        let pieces: Vec<Vec<u8>> = document.chunks(PIECE).map(<[u8]>::to_vec).collect();
        let pieces =
            pieces.into_iter().map(|document| proto::ImportDirectoryRequest { document, ..Default::default() });
        let requests = tokio_stream::iter(std::iter::once(first).chain(pieces));
        let mut answers = client.directory.import_directory(requests).await?.into_inner();
        let bar = ProgressBar::new(0);
        let total = u64::try_from(document.len()).unwrap_or(0);
        let mut last = proto::ImportDirectoryResponse::default();
        while let Some(mut answer) = answers.message().await? {
            show(&bar, &answer, total);
            problems.append(&mut answer.problems);
            last = answer;
        }
        Ok(last)
    }

    fn print(&self, answer: &proto::ImportDirectoryResponse) -> anyhow::Result<()> {
        if self.common.server.json {
            return print::json(answer);
        }
        let report = answer.report.clone().unwrap_or_default();
        if self.validate_only {
            for change in &report.changes {
                print::line(&format!("  {change}"))?;
            }
            let shown = i64::try_from(report.changes.len()).unwrap_or(i64::MAX);
            if count(&report) > shown {
                print::line(&format!("  ... and {} more", count(&report) - shown))?;
            }
        }
        let would = if self.validate_only && count(&report) > 0 { "would have: " } else { "" };
        print::line(&format!("{would}{}", summary(&report)))
    }
}

/// The number of changes in an import.
fn count(report: &proto::ImportReport) -> i64 {
    let organization = [report.organization_created, report.organization_updated, report.settings_updated];
    report.users_created
        + report.users_updated
        + report.users_deleted
        + report.queues_created
        + report.queues_updated
        + report.queues_deleted
        + report.assignments_created
        + report.assignments_updated
        + report.assignments_deleted
        + organization.map(i64::from).iter().sum::<i64>()
}

/// A summary of an import in one sentence.
pub(super) fn summary(report: &proto::ImportReport) -> String {
    let listed = |verb: &str, counts: [(i64, &str); 3]| {
        let things = counts.iter().filter(|(number, _)| *number > 0);
        let things: Vec<String> =
            things.map(|(number, thing)| format!("{number} {thing}{}", if *number == 1 { "" } else { "s" })).collect();
        (!things.is_empty()).then(|| format!("{verb} {}", things.join(", ")))
    };
    let assignment = "role assignment";
    let parts = [
        report.organization_created.then(|| "created the organization".to_owned()),
        report.organization_updated.then(|| "renamed the organization".to_owned()),
        report.settings_updated.then(|| "changed settings".to_owned()),
        listed(
            "created",
            [
                (report.users_created, "user"),
                (report.queues_created, "queue"),
                (report.assignments_created, assignment),
            ],
        ),
        listed(
            "updated",
            [
                (report.users_updated, "user"),
                (report.queues_updated, "queue"),
                (report.assignments_updated, assignment),
            ],
        ),
        listed(
            "deleted",
            [
                (report.users_deleted, "user"),
                (report.queues_deleted, "queue"),
                (report.assignments_deleted, assignment),
            ],
        ),
        listed("ended", [(report.sessions_ended, "session"), (0, ""), (0, "")]),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "nothing to change".to_owned() } else { parts.join("; ") }
}

fn show(bar: &ProgressBar, answer: &proto::ImportDirectoryResponse, bytes: u64) {
    let (name, total, template) = match answer.stage() {
        proto::ImportStage::Receiving => ("sending", bytes, "{msg:10} {wide_bar} {bytes}/{total_bytes}"),
        proto::ImportStage::Planning => ("planning", 0, "{msg:10} {spinner} {elapsed}"),
        proto::ImportStage::Storing => {
            let total = u64::try_from(answer.total).unwrap_or(0);
            ("storing", total, "{msg:10} {wide_bar} {human_pos}/{human_len} changes, {eta} left")
        }
        proto::ImportStage::Done | proto::ImportStage::Refused | proto::ImportStage::Unspecified => return,
    };
    if bar.message() != name {
        bar.set_style(print::bar_style(template));
        bar.set_length(total);
        bar.set_message(name);
        bar.reset_eta();
    }
    bar.set_position(u64::try_from(answer.done).unwrap_or(0));
    bar.tick();
}

/// Print the problems of a faulty document, one per line, before the error itself.
fn refused(status: Status, problems: &[proto::ImportProblem]) -> anyhow::Error {
    if problems.is_empty() {
        return status.into();
    }
    for problem in problems {
        let line = if problem.line > 0 { format!("line {}: ", problem.line) } else { String::new() };
        let path = if problem.path.is_empty() { "the document" } else { &problem.path };
        print::error_line(&format!("{line}{path} {}", problem.description));
    }
    let text = format!("the document has {} problem(s), and nothing of it was applied", problems.len());
    Status::with_details(status.code(), text, status.details().to_vec().into()).into()
}

/// Arguments of `export`.
#[derive(Args)]
pub(super) struct Export {
    /// The format of the document.
    #[arg(long, value_enum, default_value = "yaml")]
    format: Format,
    /// The file to write. Absent: standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

impl Export {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let format = match self.format {
            Format::Json => proto::DocumentFormat::Json,
            Format::Yaml if self.common.server.json => proto::DocumentFormat::Json,
            Format::Yaml => proto::DocumentFormat::Yaml,
        };
        let request = proto::ExportDirectoryRequest {
            organization_id: self.common.organization.clone(),
            format: format.into(),
            at_least_revision: String::new(),
        };
        let mut client = self.common.connect().await?;
        let mut pieces = client.directory.export_directory(request).await?.into_inner();
        // The file is written after the whole document has arrived, so a failure leaves an old file unchanged.
        let mut document = Vec::new();
        while let Some(piece) = pieces.next().await.transpose()? {
            document.extend(piece.document);
        }
        match &self.output {
            Some(path) => {
                let written = std::fs::write(path, document);
                written.map_err(|error| Wrong(format!("can't write `{}`: {error}", path.display())))?;
            }
            None => std::io::stdout().write_all(&document)?,
        }
        Ok(Outcome::Done)
    }
}
