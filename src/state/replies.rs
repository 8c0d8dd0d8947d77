//! Brings the writer's answers to the runtimes on which they are waited for, to each all of a batch at once.
//!
//! To wake a runtime from another thread is a system call, and one that is woken for each answer sends each by itself.

use tokio::sync::{mpsc, oneshot};

use super::error::Error;
use crate::domain::{command::Outcome, ids::Revision};

/// A command that was carried out.
#[derive(Debug, Clone)]
pub struct Done {
    /// What came of it.
    pub outcome: Outcome,
    /// The revision at which it is part of the state.
    pub revision: Revision,
}

/// Where answers for one runtime arrive.
#[derive(Debug, Clone)]
pub struct ReplyBatches(mpsc::UnboundedSender<Vec<Reply>>);

/// Who waits for an answer, and where.
#[derive(Debug)]
pub(super) struct ReplyTo {
    replies: ReplyBatches,
    waiting: oneshot::Sender<Result<Done, Error>>,
}

/// An answer, and to whom.
#[derive(Debug)]
pub(super) struct Reply {
    pub reply_to: ReplyTo,
    pub answer: Result<Done, Error>,
}

impl ReplyBatches {
    /// One for the runtime on which this is called.
    pub fn open() -> Self {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Vec<Reply>>();
        tokio::spawn(async move {
            while let Some(replies) = receiver.recv().await {
                for Reply { reply_to, answer } in replies {
                    // Whoever asked may have gone away; what was done is done.
                    let _ = reply_to.waiting.send(answer);
                }
            }
        });
        Self(sender)
    }

    /// Somebody who asks, and what they wait for.
    pub(super) fn reply_to(&self) -> (ReplyTo, oneshot::Receiver<Result<Done, Error>>) {
        let (waiting, answer) = oneshot::channel();
        (ReplyTo { replies: self.clone(), waiting }, answer)
    }
}

impl ReplyTo {
    /// Whether they have given up, at their deadline or by hanging up.
    pub(super) fn has_given_up(&self) -> bool {
        self.waiting.is_closed()
    }
}

/// Sends answers to those who asked.
pub(super) fn send(replies: impl IntoIterator<Item = Reply>) {
    let mut by_mailbox: Vec<(ReplyBatches, Vec<Reply>)> = Vec::new();
    for reply in replies {
        let ReplyBatches(of) = &reply.reply_to.replies;
        match by_mailbox.iter_mut().find(|(ReplyBatches(known), _)| known.same_channel(of)) {
            Some((_, replies)) => replies.push(reply),
            None => by_mailbox.push((reply.reply_to.replies.clone(), vec![reply])),
        }
    }
    for (ReplyBatches(runtime), replies) in by_mailbox {
        // On a runtime that has ended nobody waits.
        let _ = runtime.send(replies);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_woken_once_for_all_of_its_answers() {
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
    async fn everybody_gets_their_own_answer_and_whoever_gave_up_is_known() {
        let replies = ReplyBatches::open();
        let ((first, told_first), (second, told_second)) = (replies.reply_to(), replies.reply_to());
        let (third, gone) = replies.reply_to();
        drop(gone);
        assert_eq!([&first, &second, &third].map(ReplyTo::has_given_up), [false, false, true]);
        let answers = [(third, Error::Stopped), (first, Error::Overloaded), (second, Error::Stopped)];
        send(answers.map(|(reply_to, error)| Reply { reply_to, answer: Err(error) }));
        assert!(matches!(told_first.await, Ok(Err(Error::Overloaded))));
        assert!(matches!(told_second.await, Ok(Err(Error::Stopped))));
    }
}
