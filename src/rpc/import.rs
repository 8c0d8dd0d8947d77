//! The import of a directory, in pieces.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::{Instant, timeout},
};
use tokio_stream::StreamExt;
use tonic::{Status, Streaming};

use super::{
    background::blocking,
    error::Error,
    from_proto::{self, all},
    permits::Permit,
    proto,
    services::{CallerServices, require_actor, try_out, unexpected},
    status::with_reason,
    to_proto,
};
use crate::{
    document,
    domain::{
        command::{Action, Command, ImportReport, Missing, Outcome, Rejection},
        directory::Directory,
        ids::{OrganizationId, RequestId, Revision, UserId},
        language::Language,
        plan::import_problems,
    },
    state::{self, Progress, RequestKey},
};

/// The largest document, in bytes.
const LARGEST_DOCUMENT: usize = 512 * 1024 * 1024;

/// The most problems in one message.
const PROBLEMS_IN_MESSAGE: usize = 500;

/// The longest upload of a document.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// The longest wait for the next piece of a document.
const PATIENCE: Duration = Duration::from_secs(30);

/// The slowest upload, in bytes a second on average after [`HEAD_START`].
const SLOWEST: usize = 16 * 1024;

/// The time at the start of an upload that doesn't count towards its average speed.
const HEAD_START: Duration = Duration::from_secs(10);

/// The interval between progress messages.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// The number of received bytes between progress messages.
const PROGRESS_BYTES: usize = 1024 * 1024;

/// The messages of an import.
#[derive(Debug)]
pub struct ImportMessages(mpsc::Receiver<Result<proto::ImportDirectoryResponse, Status>>);

impl tokio_stream::Stream for ImportMessages {
    type Item = Result<proto::ImportDirectoryResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

/// Execute an import, and send its progress.
pub(super) fn import(
    services: &CallerServices,
    language: Language,
    pieces: Streaming<proto::ImportDirectoryRequest>,
) -> ImportMessages {
    let (answers, messages) = mpsc::channel(16);
    let import = Import { services: services.clone(), language, answers };
    tokio::spawn(async move {
        if let Err(status) = import.run(pieces).await {
            // The caller may have disconnected, or be a slow reader.
            let _ = timeout(import.services.times.patience, import.answers.send(Err(status))).await;
        }
    });
    ImportMessages(messages)
}

struct Import {
    services: CallerServices,
    /// The language of a refusal.
    language: Language,
    answers: mpsc::Sender<Result<proto::ImportDirectoryResponse, Status>>,
}

/// The options in the first message of an import.
struct Options {
    organization_id: OrganizationId,
    mode: Mode,
    missing: Missing,
    request_id: Option<RequestId>,
    actor: Option<UserId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Apply,
    ValidateOnly,
}

/// A received document.
struct Arrived {
    options: Options,
    bytes: Vec<u8>,
    permit: Permit,
}

impl Import {
    async fn run(&self, pieces: Streaming<proto::ImportDirectoryRequest>) -> Result<(), Status> {
        let mut draining = self.services.draining.clone();
        let Arrived { options, bytes, permit } = tokio::select! {
            arrived = timeout(UPLOAD_DEADLINE, self.receive(pieces)) => {
                arrived.map_err(|_| Error::invalid("document", &"must arrive within 10 minutes"))??
            }
            () = self.services.caller.ended() => return Err(Error::CredentialsEnded.into()),
            _ = draining.wait_for(|draining| *draining) => return Err(Error::Stopping.into()),
        };
        self.report_progress(proto::ImportStage::Planning, 0, 0)?;
        // Nothing has begun yet, so the import ends here if the caller's credentials end.
        let plan = tokio::select! {
            plan = self.services.imports.plans.acquire() => plan.map_err(|error| Error::Internal(error.to_string()))?,
            () = self.services.caller.ended() => return Err(Error::CredentialsEnded.into()),
        };
        let outcome = self.carry_out(options, bytes).await;
        drop((plan, permit));
        match outcome {
            Ok((report, revision)) => {
                let mut done = message(proto::ImportStage::Done, 0, 0);
                done.report = Some(to_proto::import_report(report));
                done.revision = revision.to_string();
                self.send(done).await
            }
            Err(Error::State(state::Error::Rejected(Rejection::FaultyDocument(problems)))) => {
                for problems in problems.chunks(PROBLEMS_IN_MESSAGE) {
                    let mut refused = message(proto::ImportStage::Refused, 0, 0);
                    refused.problems = problems.iter().map(to_proto::import_problem).collect();
                    self.send(refused).await?;
                }
                Err(Error::from(Rejection::FaultyDocument(problems)).into())
            }
            Err(error) => Err(error.in_language(self.language).into()),
        }
    }

    /// Receive the document. Errors in the options are found at the first message.
    async fn receive(&self, mut pieces: Streaming<proto::ImportDirectoryRequest>) -> Result<Arrived, Status> {
        let first = next(&mut pieces).await?;
        let first = first.ok_or_else(|| Error::invalid("organization_id", &"is required: no message came"))?;
        let proto::ImportDirectoryRequest {
            organization_id,
            document: mut bytes,
            validate_only,
            delete_missing,
            request_id,
            actor_user_id,
        } = first;
        let (organization_id, request_id, actor) = all((
            from_proto::organization_id(&self.services.caller, &organization_id),
            from_proto::optional("request_id", &request_id),
            from_proto::optional("actor_user_id", &actor_user_id),
        ))?;
        let options = Options {
            organization_id,
            mode: if validate_only { Mode::ValidateOnly } else { Mode::Apply },
            missing: if delete_missing { Missing::Delete } else { Missing::Keep },
            request_id,
            actor,
        };
        require_actor(&self.services.caller, options.actor.as_ref())?;
        let permit = self.services.imports.permit(&self.services.caller, &options.organization_id)?;
        if options.actor.is_some() {
            // No user may import, so don't wait for the rest of the document.
            return Ok(Arrived { options, bytes: Vec::new(), permit });
        }
        let (began, mut reported) = (Instant::now(), 0);
        loop {
            if bytes.len() > LARGEST_DOCUMENT {
                return Err(Error::invalid("document", &"must be at most 512 MiB in all").into());
            }
            if bytes.len() - reported >= PROGRESS_BYTES {
                reported = bytes.len();
                self.report_progress(proto::ImportStage::Receiving, to_proto::count(reported), 0)?;
            }
            let Some(piece) = next(&mut pieces).await? else { return Ok(Arrived { options, bytes, permit }) };
            let proto::ImportDirectoryRequest {
                organization_id,
                document,
                validate_only,
                delete_missing,
                request_id,
                actor_user_id,
            } = piece;
            let repeats = organization_id.is_empty() || organization_id == options.organization_id.as_str();
            if !repeats || validate_only || delete_missing || !request_id.is_empty() || !actor_user_id.is_empty() {
                let problem = "the first message has the options; a later one may have only `document`";
                return Err(Error::invalid("document", &problem).into());
            }
            bytes.extend_from_slice(&document);
            if is_too_slow(bytes.len(), began.elapsed()) {
                let problem = format_args!("must arrive at {} KiB a second or faster", SLOWEST / 1024);
                return Err(Error::invalid("document", &problem).into());
            }
        }
    }

    async fn carry_out(&self, options: Options, bytes: Vec<u8>) -> Result<(ImportReport, Revision), Error> {
        if options.actor.is_some() {
            // No user may import any document, and an acting user must not learn its problems. So the command imports
            // an empty directory on the user's behalf: the writer refuses and records it.
            let options = Options { missing: Missing::Keep, ..options };
            return match options.mode {
                Mode::ValidateOnly => self.validate(options, Directory::default()).await,
                Mode::Apply => self.apply(options, Directory::default()).await,
            };
        }
        let (snapshot, organization_id) = (self.services.state()?.snapshot(), options.organization_id.clone());
        let missing = options.missing;
        let read = blocking(move || {
            let document = String::from_utf8(bytes).map_err(|_| Error::invalid("document", &"must be UTF-8 text"))?;
            let document::Reading { directory, mut problems } = document::read(&document);
            if problems.is_empty() {
                return Ok::<_, Error>(directory);
            }
            // Add the problems that the plan would find, so that the caller gets all problems at once.
            let organization = snapshot.organization(organization_id.as_str());
            problems.extend(import_problems(&directory, organization, organization_id.as_str(), missing));
            problems.sort_by_key(|problem| problem.line);
            Err(Rejection::FaultyDocument(problems).into())
        });
        let directory = read.await??;
        if self.answers.is_closed() {
            // The caller disconnected before the import began.
            return Err(Error::Stopping);
        }
        match options.mode {
            Mode::ValidateOnly => self.validate(options, directory).await,
            Mode::Apply => self.apply(options, directory).await,
        }
    }

    /// Validate an import: return its report, by the same plan, without any change.
    async fn validate(&self, options: Options, directory: Directory) -> Result<(ImportReport, Revision), Error> {
        let Options { organization_id, mode: _, missing, request_id: _, actor } = options;
        let state = self.services.state()?;
        let snapshot = state.snapshot();
        let revision = snapshot.revision();
        let now = state.now();
        let command = Command { organization_id, action: Action::Import { directory, missing }, actor };
        let planned = blocking(move || try_out(&snapshot, &command, now)).await?;
        match planned?.outcome {
            Outcome::Imported { report } => Ok((report, revision)),
            outcome => Err(unexpected(&outcome)),
        }
    }

    async fn apply(&self, options: Options, directory: Directory) -> Result<(ImportReport, Revision), Error> {
        let Options { organization_id, mode: _, missing, request_id, actor } = options;
        let command = Command { organization_id, action: Action::Import { directory, missing }, actor };
        let progress = Arc::new(Progress::default());
        // The hash of a large document takes a while.
        let hashed = blocking(move || (request_id.map(|id| RequestKey::new(id, &command)), command));
        let (request, command) = hashed.await?;
        let done = self.services.state()?.execute_with_progress(
            self.services.replies(),
            command,
            self.services.caller.caller().clone(),
            request,
            Arc::clone(&progress),
        );
        tokio::pin!(done);
        let mut interval = tokio::time::interval(PROGRESS_INTERVAL);
        let done = loop {
            tokio::select! {
                done = &mut done => break done?,
                _ = interval.tick() => {
                    let (done, total) = progress.get();
                    let stage = if total > 0 { proto::ImportStage::Storing } else { proto::ImportStage::Planning };
                    // The import goes on even if its client has disconnected.
                    let _ = self.report_progress(stage, to_proto::count(done), to_proto::count(total));
                }
            }
        };
        match done.outcome {
            Outcome::Imported { report } => Ok((report, done.revision)),
            outcome => Err(unexpected(&outcome)),
        }
    }

    /// Send the progress if its buffer has room. An import never waits for that.
    fn report_progress(&self, stage: proto::ImportStage, done: i64, total: i64) -> Result<(), Status> {
        match self.answers.try_send(Ok(message(stage, done, total))) {
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(Status::cancelled("the caller disconnected")),
        }
    }

    async fn send(&self, message: proto::ImportDirectoryResponse) -> Result<(), Status> {
        match timeout(self.services.times.patience, self.answers.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Status::cancelled("the caller disconnected, or doesn't read")),
        }
    }
}

/// Receive the next piece of a document, or `None` at its end.
async fn next(
    pieces: &mut Streaming<proto::ImportDirectoryRequest>,
) -> Result<Option<proto::ImportDirectoryRequest>, Status> {
    let piece = timeout(PATIENCE, pieces.next()).await;
    let piece = piece.map_err(|_| Error::invalid("document", &"was interrupted for 30 seconds"))?;
    piece.transpose().map_err(with_reason)
}

/// Return whether an upload is slower than [`SLOWEST`], by the bytes received and the time taken.
fn is_too_slow(bytes: usize, taken: Duration) -> bool {
    let seconds = usize::try_from(taken.saturating_sub(HEAD_START).as_secs()).unwrap_or(usize::MAX);
    bytes < seconds.saturating_mul(SLOWEST)
}

fn message(stage: proto::ImportStage, done: i64, total: i64) -> proto::ImportDirectoryResponse {
    proto::ImportDirectoryResponse {
        stage: stage.into(),
        done,
        total,
        report: None,
        problems: Vec::new(),
        revision: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_below_the_slowest_speed_is_too_slow_and_a_small_document_is_not() {
        let seconds = Duration::from_secs;
        assert!(!is_too_slow(0, seconds(10)) && !is_too_slow(1, seconds(10)));
        assert!(is_too_slow(5, seconds(25)), "a byte every five seconds");
        assert!(!is_too_slow(SLOWEST * 50, seconds(60)) && is_too_slow(SLOWEST * 50 - 1, seconds(60)));
    }
}
