//! Sends the writer's replies to the callers' runtimes: each runtime gets all of a batch at once.
//!
//! To wake a runtime from another thread is a system call. A runtime woken for each reply would also send each in a
//! packet of its own.

use tokio::sync::{mpsc, oneshot};

use super::error::Error;
use crate::domain::{command::Outcome, ids::Revision};

/// An executed command.
#[derive(Debug, Clone)]
pub struct Done {
    /// Its outcome.
    pub outcome: Outcome,
    /// The revision from which it is part of the state.
    pub revision: Revision,
}

/// The channel for replies to one runtime.
#[derive(Debug, Clone)]
pub struct ReplyBatches(mpsc::UnboundedSender<Vec<Reply>>);

/// The address of a reply: the waiting call and its runtime.
#[derive(Debug)]
pub(super) struct ReplyTo {
    replies: ReplyBatches,
    waiting: oneshot::Sender<Result<Done, Error>>,
}

/// A reply with its address.
#[derive(Debug)]
pub(super) struct Reply {
    pub reply_to: ReplyTo,
    pub answer: Result<Done, Error>,
}

impl ReplyBatches {
    /// Open the channel for the runtime on which this is called.
    pub fn open() -> Self {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Vec<Reply>>();
        tokio::spawn(async move {
            while let Some(replies) = receiver.recv().await {
                for Reply { reply_to, answer } in replies {
                    // The call may have ended already; the change stays.
                    let _ = reply_to.waiting.send(answer);
                }
            }
        });
        Self(sender)
    }

    /// Create the address of a reply, and the receiver on which the call waits.
    pub(super) fn reply_to(&self) -> (ReplyTo, oneshot::Receiver<Result<Done, Error>>) {
        let (waiting, answer) = oneshot::channel();
        (ReplyTo { replies: self.clone(), waiting }, answer)
    }
}

impl ReplyTo {
    /// Return whether the call has ended, at its deadline or by cancellation.
    pub(super) fn has_given_up(&self) -> bool {
        self.waiting.is_closed()
    }
}

/// Send replies to their calls.
pub(super) fn send(replies: impl IntoIterator<Item = Reply>) {
    let mut by_runtime: Vec<(ReplyBatches, Vec<Reply>)> = Vec::new();
    for reply in replies {
        let ReplyBatches(of) = &reply.reply_to.replies;
        match by_runtime.iter_mut().find(|(ReplyBatches(known), _)| known.same_channel(of)) {
            Some((_, replies)) => replies.push(reply),
            None => by_runtime.push((reply.reply_to.replies.clone(), vec![reply])),
        }
    }
    for (ReplyBatches(runtime), replies) in by_runtime {
        // No call waits on a runtime that has ended.
        let _ = runtime.send(replies);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_woken_once_for_all_of_its_replies() {
        let (one, mut at_one) = mpsc::unbounded_channel();
        let (other, mut at_other) = mpsc::unbounded_channel();
        let (one, other) = (ReplyBatches(one), ReplyBatches(other));
        let (reply_tos, _waiting): (Vec<ReplyTo>, Vec<_>) =
            [&one, &other, &one].map(ReplyBatches::reply_to).into_iter().unzip();
        send(reply_tos.into_iter().map(|reply_to| Reply { reply_to, answer: Err(Error::Overloaded) }));
        let arrived = |at: &mut mpsc::UnboundedReceiver<Vec<Reply>>| {
            std::iter::from_fn(|| at.try_recv().ok()).map(|replies| replies.len()).collect::<Vec<_>>()
        };
        assert_eq!((arrived(&mut at_one), arrived(&mut at_other)), (vec![2], vec![1]));
    }

    #[tokio::test]
    async fn each_call_gets_its_own_reply_and_an_ended_call_is_known() {
        let replies = ReplyBatches::open();
        let ((first, first_reply), (second, second_reply)) = (replies.reply_to(), replies.reply_to());
        let (third, gone) = replies.reply_to();
        drop(gone);
        assert_eq!([&first, &second, &third].map(ReplyTo::has_given_up), [false, false, true]);
        let answers = [(third, Error::Stopped), (first, Error::Overloaded), (second, Error::Stopped)];
        send(answers.map(|(reply_to, error)| Reply { reply_to, answer: Err(error) }));
        assert!(matches!(first_reply.await, Ok(Err(Error::Overloaded))));
        assert!(matches!(second_reply.await, Ok(Err(Error::Stopped))));
    }
}
