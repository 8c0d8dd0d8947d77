//! The way of a call: read, verify, carry out, report.

use tokio::{net::TcpStream, time::Instant};
use tracing::{Instrument, Span, debug, field::Empty, info, warn};

use super::{
    action::carry_out,
    identify::identify,
    report::{prompting, report},
    result::{CallResult, NOT_DIALED},
};
use crate::pbx::{
    connection::{CallConnection, CallStart, ChannelOrigin},
    context::HandlerContext,
    request::{self, Request},
};

/// The action of an invalid request, in the log and the metrics.
const INVALID: &str = "invalid";

/// Handle a call.
pub(crate) async fn handle(context: &HandlerContext, stream: TcpStream) {
    let started = Instant::now();
    let mut connection = CallConnection::new(stream, &context.config);
    let start = match connection.start().await {
        Ok(start) => start,
        Err(error) => return warn!(%error, "a connection did not begin as a call of the PBX"),
    };
    // Each line of the log has the channel and its unique id, as in the PBX's own log. The queue may be dialed later.
    let (channel, uniqueid) = (start.channel.as_str(), start.unique_id.as_str());
    let span = tracing::info_span!("call", channel, uniqueid, organization = Empty, user = Empty, queue = Empty);
    handle_request(context, connection, &start, started).instrument(span).await;
}

async fn handle_request(context: &HandlerContext, mut connection: CallConnection, start: &CallStart, started: Instant) {
    let request = request::parse(start, context.config.organization.as_ref(), &context.config.endpoints);
    let (result, prompting) = match &request {
        Ok(request) => {
            let span = Span::current();
            span.record("organization", request.organization.as_str());
            (verify_and_carry_out(context, &mut connection, &start.channel, request).await, prompting(context, request))
        }
        Err(error) => {
            warn!(%error, "the request of a call is invalid");
            (CallResult::failed(error.reason()), context.config.prompting)
        }
    };
    let took = started.elapsed();
    let action = request.as_ref().map_or(INVALID, |request| request.action.as_str());
    let (status, reason) = (result.status.as_str(), &result.reason);
    context.metrics.call_ended(action, status, reason, took);
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    info!(action, status, reason, took_ms, "a call was handled");
    if let Err(error) = report(context, &mut connection, &result, prompting).await {
        debug!(%error, "the result of a call can't be reported");
    }
}

/// Carry out the request if the caller's own phone dialed.
async fn verify_and_carry_out(
    context: &HandlerContext,
    connection: &mut CallConnection,
    channel: &str,
    request: &Request,
) -> CallResult {
    match connection.channel_origin(channel).await {
        Ok(ChannelOrigin::Dialed) => match identify(context, connection, request).await {
            Ok(request) => carry_out(context, connection, &request).await,
            Err(result) => result,
        },
        Ok(ChannelOrigin::Transferred) => {
            warn!("a call was refused, because it was transferred or forwarded");
            CallResult::denied(NOT_DIALED.to_owned())
        }
        Ok(ChannelOrigin::Unverified) => {
            unverified("BAD_REQUEST", "the environment names another channel than the call's")
        }
        Err(error) => unverified("PBX_FAILED", &error.to_string()),
    }
}

fn unverified(reason: &str, error: &str) -> CallResult {
    warn!(reason, error, "a call was refused, because the PBX did not confirm its channel");
    CallResult::failed(reason)
}
