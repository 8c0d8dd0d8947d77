//! Commands that back up, restore and verify a database file. They work on files, without a server.

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;

use super::{args::ServerDatabase, exit::Outcome, print};
use crate::{
    state::clock::{Clock, SystemClock},
    store::{self, Examination, postgres},
};

/// Arguments of `backup`.
#[derive(Args)]
pub(super) struct Backup {
    /// The file to create. An existing file is never overwritten.
    file: PathBuf,
    /// The database, which a server may be using.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_DATABASE", default_value = "queuegate.db",
          value_parser = super::args::database)]
    database: PathBuf,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

/// Arguments of `restore`.
#[derive(Args)]
pub(super) struct Restore {
    /// The backup, which stays unchanged.
    file: PathBuf,
    /// The database to create. An existing file is never overwritten.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_DATABASE", default_value = "queuegate.db",
          value_parser = super::args::database)]
    database: PathBuf,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

/// Arguments of `verify`.
#[derive(Args)]
pub(super) struct Verify {
    /// A backup, or a database, which servers may be using: a file or a PostgreSQL database.
    #[arg(value_name = "DATABASE", value_parser = super::args::server_database)]
    database: ServerDatabase,
    /// File with the password for PostgreSQL.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_DATABASE_PASSWORD_FILE")]
    database_password_file: Option<PathBuf>,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let Self { file, database, json } = self;
        let examination = with_progress(|progress| store::back_up(&database, &file, progress))?;
        if json {
            print::json_value(&found(&examination))?;
        } else {
            print::line(&format!("{} is a backup of {}", file.display(), database.display()))?;
            print_whole(&examination)?;
        }
        Ok(Outcome::Done)
    }
}

impl Restore {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let Self { file, database, json } = self;
        let now = SystemClock::start().now();
        let restored = with_progress(|progress| store::restore(&file, &database, now, progress))?;
        if json {
            let mut found = found(&restored.examination);
            if let (Some(found), Some(now)) = (found.as_object_mut(), restored.now) {
                found.insert("restored_revision".to_owned(), now.to_string().into());
            }
            print::json_value(&found)?;
            return Ok(Outcome::Done);
        }
        print::line(&format!("{} was restored from {}", database.display(), file.display()))?;
        print_whole(&restored.examination)?;
        if let Some(now) = restored.now {
            print::line(&format!("it continues at {now}; earlier revisions and page tokens are refused"))?;
        }
        Ok(Outcome::Done)
    }
}

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let Self { database, database_password_file, json } = self;
        let examination = with_progress(|progress| match database {
            ServerDatabase::File(file) => store::examine(&file, progress),
            ServerDatabase::Shared(target) => {
                postgres::examine(&target.with_password_file(database_password_file), progress)
            }
        })?;
        if json {
            print::json_value(&found(&examination))?;
        } else if examination.is_whole() {
            print_whole(&examination)?;
        } else {
            let red = print::RED;
            let mut word = format!("{red}broken{red:#}");
            for problem in &examination.problems {
                print::line(&format!("{word}  {problem}"))?;
                word = "      ".to_owned();
            }
        }
        Ok(if examination.is_whole() { Outcome::Done } else { Outcome::Denied })
    }
}

/// Run a long task, with a progress bar on a terminal.
pub(super) fn with_progress<T>(work: impl FnOnce(&dyn Fn(u64, u64)) -> T) -> T {
    let bar = ProgressBar::new(0);
    bar.set_style(print::bar_style("{wide_bar} {human_pos}/{human_len}, {eta} left"));
    let done = work(&|done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    done
}

pub(super) fn print_whole(examination: &Examination) -> anyhow::Result<()> {
    let green = print::GREEN;
    let Examination { revision, events, heads, replayed, problems: _ } = examination;
    let (logs, events) = (count(heads.len(), "audit log"), count(usize::try_from(*events)?, "event"));
    let revision = revision.map(|revision| format!(" at {revision}")).unwrap_or_default();
    print::line(&format!("{green}whole{green:#}  {logs} with {events}{revision}"))?;
    if *replayed < heads.len() {
        let cut = heads.len() - replayed;
        print::line(&format!("       {} cut; the state of the others matches their log", was(cut, "log")))?;
    }
    for (organization_id, head) in heads {
        print::line(&format!("{organization_id} ends with event {}, {}", head.sequence.0, head.hash))?;
    }
    Ok(())
}

fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn was(number: usize, thing: &str) -> String {
    format!("{} {}", count(number, thing), if number == 1 { "was" } else { "were" })
}

pub(super) fn found(examination: &Examination) -> serde_json::Value {
    let Examination { revision, events, heads, replayed, problems } = examination;
    let heads: Vec<_> = heads
        .iter()
        .map(|(organization_id, head)| {
            serde_json::json!({
                "organization_id": organization_id.as_str(),
                "sequence": head.sequence.0,
                "hash": head.hash.to_string(),
            })
        })
        .collect();
    serde_json::json!({
        "whole": problems.is_empty(),
        "revision": revision.map(|revision| revision.to_string()),
        "events": events,
        "heads": heads,
        "replayed_organizations": replayed,
        "problems": problems,
    })
}
