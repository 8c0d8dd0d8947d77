//! Commands that move a store between a file and PostgreSQL, and that begin a new epoch. They work without a server.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{
    args::{ServerDatabase, Wrong, server_database},
    backup::{found, print_whole, with_progress},
    exit::Outcome,
    print,
};
use crate::{
    domain::ids::Revision,
    state::clock::{Clock, SystemClock},
    store::{
        self,
        postgres::{self, Target},
    },
};

/// Arguments of `migrate`.
#[derive(Args)]
pub(super) struct Migrate {
    /// The source: a file or a PostgreSQL database that no server is using. Afterwards servers refuse it.
    #[arg(long, value_name = "DATABASE", value_parser = server_database, requires = "to",
          required_unless_present_any = ["reopen", "schema_only"])]
    from: Option<ServerDatabase>,
    /// The target: a new file, or an empty PostgreSQL database.
    #[arg(long, value_name = "DATABASE", value_parser = server_database)]
    to: Option<ServerDatabase>,
    /// Take a source back into use that was moved, without the changes that were made in its target.
    #[arg(long, value_name = "DATABASE", value_parser = server_database, conflicts_with_all = ["from", "to"])]
    reopen: Option<ServerDatabase>,
    /// Only create or update the schema of the target, which is a PostgreSQL database.
    #[arg(long, requires = "to", conflicts_with = "from")]
    schema_only: bool,
    /// File with the password for PostgreSQL.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_DATABASE_PASSWORD_FILE")]
    database_password_file: Option<PathBuf>,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

/// Commands of `epoch`.
#[derive(Subcommand)]
pub(super) enum Epoch {
    /// Begin a new epoch of a PostgreSQL database that was restored.
    New(NewEpoch),
}

/// Arguments of `epoch new`.
#[derive(Args)]
pub(super) struct NewEpoch {
    /// The PostgreSQL database.
    #[arg(long, value_name = "DATABASE", env = "QUEUEGATE_DATABASE", hide_env_values = true)]
    database: Target,
    /// File with the password for PostgreSQL.
    #[arg(long, value_name = "FILE", env = "QUEUEGATE_DATABASE_PASSWORD_FILE")]
    database_password_file: Option<PathBuf>,
}

impl Migrate {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let Self { from, to, reopen, schema_only, database_password_file, json } = self;
        let now = SystemClock::start().now();
        let with_password = |target: Target| target.with_password_file(database_password_file.clone());
        if let Some(database) = reopen {
            let revision = match database {
                ServerDatabase::File(file) => store::reopen_file(&file, now)?,
                ServerDatabase::Shared(target) => store::reopen_postgres(&with_password(target))?,
            };
            return continues(revision);
        }
        if schema_only {
            let Some(ServerDatabase::Shared(target)) = to else {
                return Err(Wrong("--schema-only needs a PostgreSQL database in --to".to_owned()).into());
            };
            postgres::make_schema(&with_password(target), now)?;
            return Ok(Outcome::Done);
        }
        let (name, examination) = match (from, to) {
            (Some(ServerDatabase::File(from)), Some(ServerDatabase::Shared(to))) => {
                let to = with_password(to);
                let migrate = |progress: &dyn Fn(u64, u64)| store::migrate_to_postgres(&from, &to, now, progress);
                (format!("{} was moved to {to}", from.display()), with_progress(migrate)?)
            }
            (Some(ServerDatabase::Shared(from)), Some(ServerDatabase::File(to))) => {
                let from = with_password(from);
                let migrate = |progress: &dyn Fn(u64, u64)| store::migrate_to_file(&from, &to, progress);
                (format!("{from} was moved to {}", to.display()), with_progress(migrate)?)
            }
            _ => {
                let problem = "one of --from and --to must be a file, and the other a PostgreSQL database";
                return Err(Wrong(problem.to_owned()).into());
            }
        };
        if json {
            print::json_value(&found(&examination))?;
        } else {
            print::line(&name)?;
            print_whole(&examination)?;
        }
        Ok(Outcome::Done)
    }
}

impl Epoch {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let Self::New(NewEpoch { database, database_password_file }) = self;
        continues(postgres::new_epoch(&database.with_password_file(database_password_file))?)
    }
}

fn continues(revision: Revision) -> anyhow::Result<Outcome> {
    print::line(&format!("it continues at {revision}"))?;
    Ok(Outcome::Done)
}
