//! The commands `pin set`, `clear` and `verify`. A PIN is never an argument, because other users of the machine see
//! those.

use std::io::{BufRead, IsTerminal};

use clap::{Args, Subcommand};
use crossterm::{
    event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read},
    terminal::{disable_raw_mode, enable_raw_mode},
};

use super::{
    args::{Acting, Common, Name, Retry, Wrong, one_of},
    exit::Outcome,
    print,
};
use crate::rpc::proto;

/// Subcommands of `pin`.
#[derive(Subcommand)]
pub(super) enum Pin {
    /// Set a user's PIN: 4 to 10 digits, asked for on a terminal, or the first line of standard input.
    Set(Set),
    /// Clear a user's PIN.
    Clear(Clear),
    /// Compare a PIN with a user's. A wrong one counts: the fifth in a row locks the PIN for five minutes.
    Verify(Verify),
}

/// Arguments of `pin set`.
#[derive(Args)]
pub(super) struct Set {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    #[command(flatten)]
    acting: Acting,
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `pin clear`.
#[derive(Args)]
pub(super) struct Clear {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    #[command(flatten)]
    acting: Acting,
    #[command(flatten)]
    retry: Retry,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `pin verify`.
#[derive(Args)]
pub(super) struct Verify {
    /// The user: an id, or ext:NUMBER.
    user: Name,
    #[command(flatten)]
    common: Common,
}

impl Pin {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::Set(set) => set.run().await,
            Self::Clear(clear) => clear.run().await,
            Self::Verify(verify) => verify.run().await,
        }
    }
}

impl Set {
    async fn run(self) -> anyhow::Result<Outcome> {
        let user = self.user.to_string();
        let pin = ask("PIN: ")?;
        if std::io::stdin().is_terminal() && ask("Again: ")? != pin {
            return Err(Wrong("the two PINs differ; nothing was changed".to_owned()).into());
        }
        let request = proto::SetPinRequest {
            organization_id: self.common.organization.clone(),
            user: Some(one_of!(self.user, set_pin_request::User)),
            pin,
            request_id: self.retry.request_id,
            actor_user_id: self.acting.actor,
        };
        let mut client = self.acting.explanations.of(self.common.connect().await?);
        let response = client.directory.set_pin(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            print::line(&format!("the PIN of {user} is set"))?;
        }
        Ok(Outcome::Done)
    }
}

impl Clear {
    async fn run(self) -> anyhow::Result<Outcome> {
        let user = self.user.to_string();
        let request = proto::ClearPinRequest {
            organization_id: self.common.organization.clone(),
            user: Some(one_of!(self.user, clear_pin_request::User)),
            request_id: self.retry.request_id,
            actor_user_id: self.acting.actor,
        };
        let mut client = self.acting.explanations.of(self.common.connect().await?);
        let response = client.directory.clear_pin(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            print::line(&format!("the PIN of {user} is cleared"))?;
        }
        Ok(Outcome::Done)
    }
}

impl Verify {
    async fn run(self) -> anyhow::Result<Outcome> {
        let user = self.user.to_string();
        let request = proto::VerifyPinRequest {
            organization_id: self.common.organization.clone(),
            user: Some(one_of!(self.user, verify_pin_request::User)),
            pin: ask("PIN: ")?,
        };
        let mut client = self.common.connect().await?;
        let response = client.queue_access.verify_pin(request).await?.into_inner();
        if self.common.server.json {
            print::json(&response)?;
        } else {
            let reason = print::short(response.reason().as_str_name(), "PIN_REASON_");
            let explanation = match response.reason() {
                proto::PinReason::Verified => format!("it is the PIN of {user}"),
                proto::PinReason::Wrong => match &response.locked_until {
                    Some(until) => {
                        format!("it is not the PIN of {user}, which is now locked until {}", print::time(Some(until)))
                    }
                    None => format!("it is not the PIN of {user}"),
                },
                proto::PinReason::Locked => {
                    format!("the PIN of {user} is locked until {}", print::time(response.locked_until.as_ref()))
                }
                proto::PinReason::NotSet => format!("{user} has no PIN"),
                proto::PinReason::UnknownUser => format!("there is no user {user}"),
                proto::PinReason::UserDisabled => format!("{user} is disabled"),
                proto::PinReason::Unspecified => String::new(),
            };
            print::answer(response.verified, &reason, &explanation)?;
        }
        Ok(if response.verified { Outcome::Done } else { Outcome::Denied })
    }
}

/// Read a PIN: unseen from a terminal, or else a line of standard input.
fn ask(prompt: &str) -> anyhow::Result<String> {
    let mut pin = String::new();
    if std::io::stdin().is_terminal() {
        print::prompt(prompt)?;
        enable_raw_mode()?;
        let typed = type_unseen(&mut pin);
        disable_raw_mode()?;
        print::error_line("");
        typed?;
    } else {
        std::io::stdin().lock().read_line(&mut pin)?;
    }
    Ok(pin.trim_end_matches(['\r', '\n']).to_owned())
}

fn type_unseen(pin: &mut String) -> anyhow::Result<()> {
    loop {
        let Event::Key(KeyEvent { code, modifiers, kind, .. }) = read()? else { continue };
        match code {
            _ if kind == KeyEventKind::Release => {}
            KeyCode::Char('c' | 'd') if modifiers.contains(KeyModifiers::CONTROL) => {
                return Err(Wrong("no PIN was given".to_owned()).into());
            }
            KeyCode::Enter => return Ok(()),
            KeyCode::Backspace => _ = pin.pop(),
            KeyCode::Char(typed) => pin.push(typed),
            _ => {}
        }
    }
}
