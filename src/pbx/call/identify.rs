//! The person of a call: the user of the phone, or, at any phone, the user whose number and PIN the caller enters.

use tracing::{Span, debug, field::display, warn};

use super::result::CallResult;
use crate::{
    domain::{ids::Extension, pin::Pin},
    pbx::{
        config::Identify,
        connection::CallConnection,
        context::HandlerContext,
        request::{Action, Request},
    },
    rpc::proto::PinReason,
};

/// The number of times that a caller can enter a number and a PIN.
const MAX_ENTRIES: u32 = 3;

/// The number of digits of a user's extension.
const MAX_EXTENSION_DIGITS: u32 = 15;

/// The number of digits of a PIN.
const MAX_PIN_DIGITS: u32 = 10;

/// The reason for a caller whose number and PIN don't fit.
const WRONG_PIN: &str = "WRONG_PIN";

/// The reason for a caller whose PIN is locked.
const PIN_LOCKED: &str = "PIN_LOCKED";

/// Return the request as that of its person.
pub(super) async fn identify(
    context: &HandlerContext,
    connection: &mut CallConnection,
    request: &Request,
) -> Result<Request, CallResult> {
    // A pause is about the phone, and not about a person.
    let is_about_phone = matches!(request.action, Action::Pause | Action::Unpause);
    let extension = match context.config.identify {
        Identify::ByPin { .. } if !is_about_phone => by_pin(context, connection, request).await?,
        Identify::ByPin { .. } | Identify::ByEndpoint => request.extension,
    };
    Span::current().record("user", display(extension));
    Ok(Request { extension, ..request.clone() })
}

/// Ask the caller for a number and a PIN until they fit.
async fn by_pin(
    context: &HandlerContext,
    connection: &mut CallConnection,
    request: &Request,
) -> Result<Extension, CallResult> {
    let organization = &request.organization;
    for entry in 1..=MAX_ENTRIES {
        let prompt = if entry == 1 { "ask-agent" } else { "ask-agent-again" };
        let number = ask(context, connection, prompt, MAX_EXTENSION_DIGITS).await?;
        let pin = ask(context, connection, "ask-pin", MAX_PIN_DIGITS).await?;
        // Wrong digits are as wrong as another user's. The log doesn't have the digits of a PIN.
        let (Ok(extension), Ok(_)) = (number.parse::<Extension>(), pin.parse::<Pin>()) else { continue };
        let answer = context.api.verify_pin(organization, &extension, pin, connection.request_deadline()).await;
        let answer = answer.map_err(|failure| CallResult::of_failure(&failure))?;
        if answer.verified {
            return Ok(extension);
        }
        let reason = answer.reason().as_str_name();
        warn!(user = %extension, reason, "a PIN was refused");
        if answer.reason() == PinReason::Locked {
            return Err(CallResult::denied(PIN_LOCKED.to_owned()));
        }
    }
    Err(CallResult::denied(WRONG_PIN.to_owned()))
}

async fn ask(
    context: &HandlerContext,
    connection: &mut CallConnection,
    prompt: &str,
    max_digits: u32,
) -> Result<String, CallResult> {
    let sound = context.config.prompts.sound(prompt, "");
    match connection.digits(sound, context.config.digit_pause, max_digits).await {
        Ok(Some(digits)) => Ok(digits),
        Ok(None) => Err(CallResult::failed("HANGUP")),
        Err(error) => {
            debug!(%error, "the caller can't be asked for a number");
            Err(CallResult::failed("HANGUP"))
        }
    }
}
