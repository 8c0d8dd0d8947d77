//! Exit codes and error output.

use std::process::ExitCode;

use tonic::Code;
use tonic_types::StatusExt;

use super::print;
use crate::{auth, client, domain::language::Language, pbx, rpc::code, server, store};

/// The outcome of a command that didn't fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Allowed, or done.
    Done,
    /// The answer is no.
    Denied,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Denied => Self::from(1),
        }
    }
}

/// The command or the request is invalid.
const WRONG: u8 = 2;

/// The server is unreachable or unavailable.
const UNAVAILABLE: u8 = 3;

/// Any other failure.
const FAILED: u8 = 4;

/// Print a failure on standard error, and returns its exit code.
pub(super) fn failed(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
        // The reader of our output closed the pipe.
        return ExitCode::SUCCESS;
    }
    let red = print::RED;
    match error.chain().find_map(|cause| cause.downcast_ref::<tonic::Status>()) {
        Some(failure) => {
            let lost = if failure.code() == Code::Unknown { "the connection to the server was lost: " } else { "" };
            print::error_line(&format!("{red}error:{red:#} {lost}{}", failure.message()));
            let reason = failure.get_details_error_info().map(|info| info.reason);
            let reason = reason.filter(|reason| !reason.is_empty());
            let reason = reason.map(|reason| format!(" / {reason}")).unwrap_or_default();
            print::error_line(&format!("  ({}{reason})", code::name(failure.code())));
            // The message is always in English.
            let localized = failure.get_details_localized_message();
            if let Some(localized) = localized.filter(|localized| localized.locale != Language::English.code()) {
                print::error_line(&format!("  {}", localized.message));
            }
        }
        None => print::error_line(&format!("{red}error:{red:#} {error:#}")),
    }
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(status) = cause.downcast_ref::<tonic::Status>() {
            return match status.code() {
                Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::FailedPrecondition
                | Code::Aborted
                | Code::OutOfRange
                | Code::PermissionDenied
                | Code::Unauthenticated => WRONG,
                // Servers don't send UNKNOWN; a connection that broke, or never spoke gRPC, ends with it.
                Code::Unavailable
                | Code::DeadlineExceeded
                | Code::ResourceExhausted
                | Code::Cancelled
                | Code::Unknown => UNAVAILABLE,
                Code::Ok | Code::Unimplemented | Code::Internal | Code::DataLoss => FAILED,
            };
        }
        match cause.downcast_ref::<client::Error>() {
            Some(
                client::Error::Address(_)
                | client::Error::Scheme(_)
                | client::Error::Exposed(_)
                | client::Error::NoAuthority(_)
                | client::Error::Tls(_)
                | client::Error::Token,
            ) => return WRONG,
            Some(client::Error::Unreachable { .. } | client::Error::NoneReachable(_)) => return UNAVAILABLE,
            None => {}
        }
        match cause.downcast_ref::<server::Error>() {
            Some(
                server::Error::Listen { .. }
                | server::Error::Exposed { .. }
                | server::Error::MetricsExposed { .. }
                | server::Error::ConsoleExposed { .. }
                | server::Error::Tls(_)
                | server::Error::Tokens(_),
            ) => return WRONG,
            Some(server::Error::Store(error)) => return of_store(error),
            Some(server::Error::Threads(_) | server::Error::Broken(_) | server::Error::Stuck) => return FAILED,
            None => {}
        }
        if let Some(error) = cause.downcast_ref::<pbx::Error>() {
            // After FAILED a service manager restarts the program.
            return if error.is_transient() { FAILED } else { WRONG };
        }
        if let Some(error) = cause.downcast_ref::<store::Error>() {
            return of_store(error);
        }
        if cause.downcast_ref::<super::args::Wrong>().is_some() || cause.downcast_ref::<auth::Error>().is_some() {
            return WRONG;
        }
    }
    FAILED
}

fn of_store(error: &store::Error) -> u8 {
    match error {
        store::Error::InUse { .. }
        | store::Error::Unopenable { .. }
        | store::Error::NotOurs { .. }
        | store::Error::NewerSchema { .. }
        | store::Error::OlderSchema { .. }
        | store::Error::Missing { .. }
        | store::Error::Exists { .. }
        | store::Error::Unwritable { .. }
        | store::Error::Broken { .. }
        | store::Error::DamagedFile { .. }
        | store::Error::Unusable { .. } => WRONG,
        store::Error::OldSqlite { .. }
        | store::Error::NoSpace { .. }
        | store::Error::Damaged(_)
        | store::Error::DamagedEvent { .. }
        | store::Error::Full(_)
        | store::Error::Busy(_)
        | store::Error::Sqlite(_)
        | store::Error::Displaced { .. }
        | store::Error::Unsynced { .. }
        | store::Error::Unreachable(_)
        | store::Error::Refused(_)
        | store::Error::Rewritten(_) => FAILED,
    }
}
