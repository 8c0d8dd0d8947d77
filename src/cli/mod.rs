//! The command line, a client of the same API as everybody else.

mod check;
mod why;
mod decision;
mod lists;
mod sign_in;
mod supervisor;
mod organization;
mod user;
mod queue;
mod assignment;
mod handler;
mod agi;
mod esl;
mod archive;
mod args;
mod asterisk;
mod audit;
mod backup;
mod config;
mod confirm;
mod console;
mod demo;
mod exit;
#[cfg(test)]
mod fuzz;
mod hints;
mod migrate;
mod operator_page;
mod permissions;
mod pin;
mod print;
mod resume;
mod serve;
mod sessions;
mod settings;
mod status;
mod token;
mod top;
mod transfer;
mod when;

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::exit::Outcome;

/// Decide whether an agent may sign in to a queue, keep the sessions, and explain every decision.
#[derive(Parser)]
#[command(name = "queuegate", version, propagate_version = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Users and queues are named by id (`anna`, `sales`) or by extension (`ext:101`, `ext:801`).

Exit codes: 0 allowed or done; 1 denied, not confirmed, or a failed integrity check; 2 invalid command or request; 3 server unreachable or \
unavailable; 4 any other failure.";

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Serve),
    /// Run the FastAGI server for an Asterisk dialplan.
    Agi(Box<agi::Agi>),
    /// Run the event-socket server for a FreeSWITCH dialplan.
    Esl(Box<esl::Esl>),
    /// Print the effective configuration of a server, and the source of each setting.
    Config(config::Config),
    /// Manage the callers of a server.
    #[command(subcommand)]
    Token(token::Token),
    /// Let people into the console.
    #[command(subcommand)]
    Console(console::Console),
    /// Run a server with a sample contact center, and play through a day in it.
    Demo(demo::Demo),
    /// Check whether a user may sign in to a queue. Changes nothing.
    Check(check::Check),
    /// Print the rules behind a decision, and the ways to change the outcome. Changes nothing.
    Why(why::Why),
    /// Sign a user in to a queue, if they may.
    SignIn(sign_in::SignIn),
    /// Sign a user out of a queue, or of all queues.
    SignOut(sign_in::SignOut),
    /// Sign a user in on a supervisor's authority.
    SupervisorSignIn(supervisor::SupervisorSignIn),
    /// Sign a user out on a supervisor's authority.
    SupervisorSignOut(supervisor::SupervisorSignOut),
    /// List the live sessions.
    Sessions(sessions::Sessions),
    /// Follow sessions as they begin and end.
    Watch(sessions::Watch),
    /// List the queues that a user may sign in to.
    Queues(lists::Queues),
    /// List the users who may sign in to a queue.
    Agents(lists::Agents),
    /// Add, list, change or remove organizations.
    #[command(subcommand)]
    Organization(organization::Organization),
    /// Add, list, change or remove users.
    #[command(subcommand)]
    User(user::User),
    /// Add, list, change or remove queues.
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Assign a role to a user, for a queue or for the organization.
    Assign(assignment::Assign),
    /// Take a role from a user.
    Unassign(assignment::Unassign),
    /// List the roles that users are assigned.
    Assignments(assignment::Assignments),
    /// Set, clear or verify the PIN that identifies a user at any phone.
    #[command(subcommand)]
    Pin(pin::Pin),
    /// Apply a document (YAML or JSON) to an organization.
    Import(transfer::Import),
    /// Write an organization as a document.
    Export(transfer::Export),
    /// List or check permissions.
    #[command(subcommand)]
    Permissions(permissions::Permissions),
    /// Read, change or preview an organization's permission settings.
    #[command(subcommand)]
    Settings(settings::Settings),
    /// Read, verify or export the audit log.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Show the calls, refusals, sessions and latency of a running server.
    Top(top::Top),
    /// Show whether a server is ready, its database, and the nodes that share it.
    Status(status::StatusOf),
    /// Copy the database to a file, even while a server uses it.
    Backup(backup::Backup),
    /// Restore a backup.
    Restore(backup::Restore),
    /// Check the integrity of a backup or a database.
    Verify(backup::Verify),
    /// Move the database from a file to PostgreSQL, or back.
    Migrate(Box<migrate::Migrate>),
    /// Begin a new epoch of a restored PostgreSQL database.
    #[command(subcommand)]
    Epoch(migrate::Epoch),
    /// Print a completion script for your shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// The whole command line. The settings of `agi` and `esl` can also be given after their commands.
fn command_line() -> clap::Command {
    let is_global = |command: clap::Command| command.mut_args(|argument| argument.global(true));
    Cli::command().mut_subcommand("agi", is_global).mut_subcommand("esl", |esl| handler::for_esl(is_global(esl)))
}

/// Run the program.
pub fn main() -> ExitCode {
    let parsed = match config::parse(command_line(), std::env::args_os().collect()) {
        Ok(parsed) => parsed,
        Err(error) => return exit::failed(&error),
    };
    let cli = match Cli::from_arg_matches(&parsed.matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    // The server has its own threads; one is enough for everything else.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::failed(&anyhow::Error::new(error)),
    };
    let code = match runtime.block_on(run(cli.command, &parsed)) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            let code = exit::failed(&error);
            if let Some(hint) = runtime.block_on(hints::for_error(&error, &parsed.matches)) {
                print::error_line(&format!("  {hint}"));
            }
            code
        }
    };
    // Don't wait for tasks that nobody needs any more, such as loading a database for a server that was stopped.
    runtime.shutdown_background();
    code
}

async fn run(command: Command, parsed: &config::ParsedCommand) -> anyhow::Result<Outcome> {
    match command {
        Command::Serve(serve) => serve.run().await,
        Command::Agi(agi) => agi.run().await,
        Command::Esl(esl) => esl.run().await,
        Command::Config(config) => config.run(&command_line(), parsed),
        Command::Token(token) => token.run(),
        Command::Console(console) => console.run().await,
        Command::Demo(demo) => demo.run().await,
        Command::Check(check) => check.run().await,
        Command::Why(why) => why.run().await,
        Command::SignIn(sign_in) => sign_in.run().await,
        Command::SignOut(sign_out) => sign_out.run().await,
        Command::SupervisorSignIn(sign_in) => sign_in.run().await,
        Command::SupervisorSignOut(sign_out) => sign_out.run().await,
        Command::Sessions(sessions) => sessions.run().await,
        Command::Watch(watch) => watch.run().await,
        Command::Queues(queues) => queues.run().await,
        Command::Agents(agents) => agents.run().await,
        Command::Organization(organization) => organization.run().await,
        Command::User(user) => user.run().await,
        Command::Queue(queue) => queue.run().await,
        Command::Assign(assign) => assign.run().await,
        Command::Unassign(unassign) => unassign.run().await,
        Command::Assignments(assignments) => assignments.run().await,
        Command::Pin(pin) => pin.run().await,
        Command::Import(import) => import.run().await,
        Command::Export(export) => export.run().await,
        Command::Permissions(permissions) => permissions.run().await,
        Command::Settings(settings) => settings.run().await,
        Command::Audit(audit) => audit.run().await,
        Command::Status(status) => status.run().await,
        Command::Top(top) => top.run().await,
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
        Command::Verify(verify) => on_a_thread(|| verify.run()).await,
        Command::Migrate(migrate) => on_a_thread(|| migrate.run()).await,
        Command::Epoch(epoch) => on_a_thread(|| epoch.run()).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command_line(), "queuegate", &mut script);
            std::io::stdout().write_all(&script)?;
            Ok(Outcome::Done)
        }
    }
}

/// Run work that waits for PostgreSQL, which has a runtime of its own.
async fn on_a_thread(work: impl FnOnce() -> anyhow::Result<Outcome> + Send + 'static) -> anyhow::Result<Outcome> {
    tokio::task::spawn_blocking(work).await?
}
