//! Confirmations, for commands that delete or end sessions.

use std::io::IsTerminal;

use clap::Args;

use super::{args::Wrong, print};

/// The argument of commands that ask for a confirmation.
#[derive(Args)]
pub(super) struct Confirmation {
    /// Don't ask for a confirmation.
    #[arg(long)]
    yes: bool,
}

impl Confirmation {
    /// Describe the effect on the terminal, ask for a confirmation, and return whether it is given. The effect completes
    /// a sentence that begins with "this".
    pub(super) fn ask(&self, effect: &str) -> anyhow::Result<bool> {
        if self.yes {
            return Ok(true);
        }
        if !std::io::stdin().is_terminal() {
            return Err(Wrong(format!("this {effect}; add `--yes` to confirm it without a terminal")).into());
        }
        print::prompt(&format!("This {effect}. Continue? [y/N] "))?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        let is_yes = ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str());
        if !is_yes {
            print::line("nothing was changed")?;
        }
        Ok(is_yes)
    }
}
