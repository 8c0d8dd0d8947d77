//! The `queuegate` program: server and command line in one.

use std::process::ExitCode;

fn main() -> ExitCode {
    queuegate::cli::main()
}
