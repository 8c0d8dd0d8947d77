//! An admitted call, until its answer begins.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Response;
use tokio::time::Sleep;
use tonic::body::Body;

use super::{
    admission::QueuedCall,
    answer::{Answer, Call, Revoked, revoked},
    services::Answering,
};
use crate::{
    auth::Identity,
    rpc::{
        error::Error,
        methods::Work,
        status::{self},
    },
};

/// An admitted call.
pub struct AdmittedCall {
    /// `None` once there is an answer.
    pub call: Option<Call>,
    /// `None` once the call began.
    pub queued: Option<QueuedCall>,
    pub work: Work,
    /// The longest time that the call may take.
    pub longest: Option<Duration>,
    pub answering: Answering,
    /// The identity whose credentials must stay valid; `None` if no credentials are needed.
    pub identity: Option<Arc<Identity>>,
    /// Armed when the call first waits: most calls are answered at once and need no timer.
    pub deadline: Option<Pin<Box<Sleep>>>,
    pub revoked: Option<Revoked>,
}

impl AdmittedCall {
    /// Return the answer, or `None` if an earlier poll returned it.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Response<Answer>>> {
        if let Some(Err(error)) = self.queued.take().map(QueuedCall::begin) {
            return Poll::Ready(self.call.take().map(|call| call.refused(error)));
        }
        let answering = self.answering.as_mut();
        let polled = match self.call.as_ref().and_then(|call| call.span.as_ref()) {
            Some(span) => span.in_scope(|| answering.poll(context)),
            None => answering.poll(context),
        };
        match polled {
            Poll::Ready(Ok(answer)) => {
                let answer = status::add_missing_reason(answer);
                if !self.work.is_unary() {
                    self.guard();
                }
                let (deadline, revoked) = (self.deadline.take(), self.revoked.take());
                Poll::Ready(self.call.take().map(|call| {
                    if self.work.is_unary() {
                        call.unary(answer, context)
                    } else {
                        call.stream(answer, deadline, revoked)
                    }
                }))
            }
            Poll::Pending => {
                self.guard();
                let cut_off = ready!(self.poll_guards(context));
                Poll::Ready(self.call.take().map(|call| call.answered(cut_off)))
            }
        }
    }

    /// Arm the deadline, and the watch of the caller's credentials.
    fn guard(&mut self) {
        let Self { call, longest, work, identity, deadline, revoked: credentials_end, .. } = self;
        if deadline.is_none() {
            *deadline = call.as_ref().zip(*longest).map(|(call, longest)| call.deadline_timer(longest));
        }
        // A change that has begun is executed, and its outcome is returned. An import checks the credentials itself.
        if credentials_end.is_none() && !work.may_change() {
            *credentials_end = identity.as_ref().map(revoked);
        }
    }

    /// Return the answer to a call whose deadline has passed or whose credentials have ended.
    fn poll_guards(&mut self, context: &mut Context<'_>) -> Poll<Response<Body>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            let outcome = if self.work.may_change() { status::Outcome::Unknown } else { status::Outcome::Certain };
            return Poll::Ready(status::deadline_exceeded(outcome));
        }
        match &mut self.revoked {
            Some(revoked) => revoked.as_mut().poll(context).map(|()| status::answer(Error::CredentialsEnded)),
            None => Poll::Pending,
        }
    }
}
