//! The command line, a client of the same API as everybody else.

mod access;
mod agi;
mod archive;
mod args;
mod asterisk;
mod audit;
mod backup;
mod config;
mod demo;
mod exit;
#[cfg(test)]
mod fuzz;
mod permissions;
mod print;
mod serve;
mod sessions;
mod settings;
mod token;
mod transfer;
mod when;

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::exit::Outcome;

/// May this agent sign in to this queue? Decides, records who is signed in, and says why.
#[derive(Parser)]
#[command(name = "queuegate", version, propagate_version = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Users and queues are named by id (`anna`, `sales`) or by extension (`ext:101`, `ext:801`).

Exit codes: 0 allowed or done; 1 denied, or the audit log or a database is broken; 2 the command or request is wrong; 3 the server can't be reached or can't \
answer now; 4 anything else that failed.";

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Serve),
    /// Run the server that an Asterisk dialplan asks (FastAGI).
    Agi(Box<agi::Agi>),
    /// Print what a server would go by, and where each setting comes from.
    Config(config::Config),
    /// Say who may call a server.
    #[command(subcommand)]
    Token(token::Token),
    /// Run a server with a ready-made contact center, and play a day in it.
    Demo(demo::Demo),
    /// May this user sign in to this queue? Changes nothing.
    Check(access::Check),
    /// Sign a user in to a queue, if they may.
    SignIn(access::SignIn),
    /// Sign a user out of a queue, or of all.
    SignOut(access::SignOut),
    /// Sign a user in on a supervisor's word.
    SupervisorSignIn(access::SupervisorSignIn),
    /// Sign a user out on a supervisor's word.
    SupervisorSignOut(access::SupervisorSignOut),
    /// Who is signed in where?
    Sessions(sessions::Sessions),
    /// Follow sessions as they begin and end.
    Watch(sessions::Watch),
    /// Where may this user sign in?
    Queues(access::Queues),
    /// Who may sign in to this queue?
    Agents(access::Agents),
    /// Make an organization what a document (YAML or JSON) says.
    Import(transfer::Import),
    /// Write an organization as a document.
    Export(transfer::Export),
    /// Who may do what, and why.
    #[command(subcommand)]
    Permissions(permissions::Permissions),
    /// Read, change or preview an organization's permission settings.
    #[command(subcommand)]
    Settings(settings::Settings),
    /// What was done and refused, by whom and why.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Copy the database to a file, while it is served or not.
    Backup(backup::Backup),
    /// Make a database of a backup.
    Restore(backup::Restore),
    /// Is a backup, or a database, whole?
    Verify(backup::Verify),
    /// Print a script that completes commands in your shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the program.
pub fn main() -> ExitCode {
    let asked = match config::parse(Cli::command(), std::env::args_os().collect()) {
        Ok(asked) => asked,
        Err(error) => return exit::failed(&error),
    };
    let cli = match Cli::from_arg_matches(&asked.matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    // What serves calls has threads of its own; for everything else one is enough.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::failed(&anyhow::Error::new(error)),
    };
    let code = match runtime.block_on(run(cli.command, &asked)) {
        Ok(outcome) => outcome.into(),
        Err(error) => exit::failed(&error),
    };
    // Whatever still runs is of no use to anybody any more, such as the loading of a database for a server that was stopped.
    runtime.shutdown_background();
    code
}

async fn run(command: Command, asked: &config::Asked) -> anyhow::Result<Outcome> {
    match command {
        Command::Serve(serve) => serve.run().await,
        Command::Agi(agi) => agi.run().await,
        Command::Config(config) => config.run(&Cli::command(), asked),
        Command::Token(token) => token.run(),
        Command::Demo(demo) => demo.run().await,
        Command::Check(check) => check.run().await,
        Command::SignIn(sign_in) => sign_in.run().await,
        Command::SignOut(sign_out) => sign_out.run().await,
        Command::SupervisorSignIn(sign_in) => sign_in.run().await,
        Command::SupervisorSignOut(sign_out) => sign_out.run().await,
        Command::Sessions(sessions) => sessions.run().await,
        Command::Watch(watch) => watch.run().await,
        Command::Queues(queues) => queues.run().await,
        Command::Agents(agents) => agents.run().await,
        Command::Import(import) => import.run().await,
        Command::Export(export) => export.run().await,
        Command::Permissions(permissions) => permissions.run().await,
        Command::Settings(settings) => settings.run().await,
        Command::Audit(audit) => audit.run().await,
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
        Command::Verify(verify) => verify.run(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "queuegate", &mut script);
            std::io::stdout().write_all(&script)?;
            Ok(Outcome::Done)
        }
    }
}
