//! Import and export of whole directories, in pieces.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_stream::StreamExt;
use tonic::{Status, Streaming};

use super::{
    Desk, blocking, from_proto, proto,
    status::{Error, mended},
    to_proto, try_out, unexpected,
};
use crate::{
    auth::Scope,
    document,
    domain::{
        command::{Action, Command, ImportReport, Missing, Outcome, Rejection},
        directory::{Directory, describe},
        ids::{OrganizationId, RequestId, Revision, UserId},
        plan::{found_tenant, import_problems},
    },
    state::{self, Progress},
};

/// The largest document, in bytes.
const LARGEST_DOCUMENT: usize = 512 * 1024 * 1024;

/// How large a piece of an export is, in bytes.
const PIECE: usize = 256 * 1024;

/// How many problems go into one message.
const PROBLEMS_IN_MESSAGE: usize = 500;

/// How long a document may take to arrive.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// How long the next piece of a document may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many documents may be on their way in at once.
const MOST_UPLOADS: usize = 8;

/// How often an import tells how far it is.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// How many bytes come in between two tellings.
const TELL_EVERY_BYTES: usize = 1024 * 1024;

/// The answers of an import.
#[derive(Debug)]
pub struct ImportMessages(mpsc::Receiver<Result<proto::ImportDirectoryResponse, Status>>);

impl tokio_stream::Stream for ImportMessages {
    type Item = Result<proto::ImportDirectoryResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

/// The pieces of an export.
#[derive(Debug)]
pub struct ExportMessages {
    document: String,
    /// Where the next piece begins.
    next: usize,
    revision: String,
}

impl tokio_stream::Stream for ExportMessages {
    type Item = Result<proto::ExportDirectoryResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let rest = self.document.get(self.next..).unwrap_or_default();
        if rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = rest.get(..rest.floor_char_boundary(PIECE)).unwrap_or_default().as_bytes().to_vec();
        self.next += piece.len();
        let message = proto::ExportDirectoryResponse { document: piece, revision: self.revision.clone() };
        Poll::Ready(Some(Ok(message)))
    }
}

/// Writes an organization as a document.
pub(super) async fn export(desk: &Desk, request: proto::ExportDirectoryRequest) -> Result<ExportMessages, Error> {
    let proto::ExportDirectoryRequest { organization_id, format, at_least_revision } = request;
    let organization_id = from_proto::organization_id(&desk.caller, &organization_id)?;
    let format = match proto::DocumentFormat::try_from(format) {
        Ok(proto::DocumentFormat::Unspecified | proto::DocumentFormat::Yaml) => document::Format::Yaml,
        Ok(proto::DocumentFormat::Json) => document::Format::Json,
        Err(_) => {
            let problem = format_args!("must be DOCUMENT_FORMAT_YAML or DOCUMENT_FORMAT_JSON, but is {format}");
            return Err(Error::invalid("format", &problem));
        }
    };
    let snapshot = desk.snapshot(&at_least_revision).await?;
    found_tenant(&snapshot, &organization_id)?;
    let revision = snapshot.revision().to_string();
    let writing = move || {
        let (directory, settings) = describe(found_tenant(&snapshot, &organization_id)?);
        Ok::<_, Error>(document::write(&directory, &settings, format))
    };
    let document = blocking(writing).await??;
    Ok(ExportMessages { document, next: 0, revision })
}

/// Carries out an import, and tells how far it is.
pub(super) fn import(desk: &Desk, pieces: Streaming<proto::ImportDirectoryRequest>) -> ImportMessages {
    let (answers, messages) = mpsc::channel(16);
    let import = Import { desk: desk.clone(), answers };
    tokio::spawn(async move {
        if let Err(status) = import.run(pieces).await {
            // Whoever asked may be gone.
            let _ = import.answers.send(Err(status)).await;
        }
    });
    ImportMessages(messages)
}

/// Bounds the memory that imports take.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Documents that are on their way in.
    uploads: Arc<Semaphore>,
    /// Documents that are being read and planned.
    plans: Arc<Semaphore>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { uploads: Arc::new(Semaphore::new(MOST_UPLOADS)), plans: Arc::new(Semaphore::new(1)) }
    }
}

struct Import {
    desk: Desk,
    answers: mpsc::Sender<Result<proto::ImportDirectoryResponse, Status>>,
}

/// What the first message of an import says.
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

impl Import {
    async fn run(&self, pieces: Streaming<proto::ImportDirectoryRequest>) -> Result<(), Status> {
        let upload = self.desk.imports.uploads.try_acquire().map_err(|_| Error::TooManyImports)?;
        let mut draining = self.desk.draining.clone();
        let (options, bytes) = tokio::select! {
            received = timeout(UPLOAD_DEADLINE, self.receive(pieces)) => {
                received.map_err(|_| Error::invalid("document", &"must arrive within 10 minutes"))??
            }
            _ = draining.wait_for(|draining| *draining) => return Err(Error::Stopping.into()),
        };
        self.tell(proto::ImportStage::Planning, 0, 0).await?;
        let plan = self.desk.imports.plans.acquire().await.map_err(|error| Error::Internal(error.to_string()))?;
        let outcome = self.carry_out(options, bytes).await;
        drop((plan, upload));
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
            Err(error) => Err(error.into()),
        }
    }

    async fn receive(
        &self,
        mut pieces: Streaming<proto::ImportDirectoryRequest>,
    ) -> Result<(Options, Vec<u8>), Status> {
        let mut options: Option<Options> = None;
        let mut bytes = Vec::new();
        let mut told = 0;
        loop {
            let piece = timeout(PATIENCE, pieces.next()).await;
            let piece = piece.map_err(|_| Error::invalid("document", &"stopped coming for 30 seconds"))?;
            let Some(piece) = piece.transpose().map_err(mended)? else { break };
            let proto::ImportDirectoryRequest {
                organization_id,
                document,
                validate_only,
                delete_missing,
                request_id,
                actor_user_id,
            } = piece;
            if let Some(options) = &options {
                let repeats = organization_id.is_empty() || organization_id == options.organization_id.as_str();
                if !repeats || validate_only || delete_missing || !request_id.is_empty() || !actor_user_id.is_empty() {
                    let problem = "the first message has the options; a later one may have only `document`";
                    return Err(Error::invalid("document", &problem).into());
                }
            } else {
                options = Some(Options {
                    organization_id: from_proto::organization_id(&self.desk.caller, &organization_id)?,
                    mode: if validate_only { Mode::ValidateOnly } else { Mode::Apply },
                    missing: if delete_missing { Missing::Delete } else { Missing::Keep },
                    request_id: from_proto::optional("request_id", &request_id)?,
                    actor: from_proto::optional("actor_user_id", &actor_user_id)?,
                });
                if actor_user_id.is_empty() && !self.desk.caller.holds(Scope::Admin) {
                    return Err(Error::ActorRequired.into());
                }
            }
            bytes.extend_from_slice(&document);
            if bytes.len() > LARGEST_DOCUMENT {
                return Err(Error::invalid("document", &"must be at most 512 MiB in all").into());
            }
            if bytes.len() - told >= TELL_EVERY_BYTES {
                told = bytes.len();
                self.tell(proto::ImportStage::Receiving, to_proto::count(told), 0).await?;
            }
        }
        let options = options.ok_or_else(|| Error::invalid("organization_id", &"is required: no message came"))?;
        Ok((options, bytes))
    }

    async fn carry_out(&self, options: Options, bytes: Vec<u8>) -> Result<(ImportReport, Revision), Error> {
        if options.actor.is_some() {
            // No user may import, whatever the document says, and what is in its way is none of their business. So nothing is
            // imported, on their behalf, to be refused and recorded.
            let options = Options { missing: Missing::Keep, ..options };
            return match options.mode {
                Mode::ValidateOnly => self.validate(options, Directory::default()).await,
                Mode::Apply => self.apply(options, Directory::default()).await,
            };
        }
        let document = String::from_utf8(bytes).map_err(|_| Error::invalid("document", &"must be UTF-8 text"))?;
        let document::Reading { directory, mut problems } = blocking(move || document::read(&document)).await?;
        if !problems.is_empty() {
            // What the plan would find is told too, so that nobody mends one fault only to be shown the next.
            let snapshot = self.desk.state()?.snapshot();
            let tenant = snapshot.tenant(options.organization_id.as_str());
            problems.extend(import_problems(&directory, tenant, options.organization_id.as_str(), options.missing));
            problems.sort_by_key(|problem| problem.line);
            return Err(Rejection::FaultyDocument(problems).into());
        }
        if self.answers.is_closed() {
            // Whoever asked went away before anything was begun.
            return Err(Error::Stopping);
        }
        match options.mode {
            Mode::ValidateOnly => self.validate(options, directory).await,
            Mode::Apply => self.apply(options, directory).await,
        }
    }

    /// Says what an import would do, by the same plan, and does nothing.
    async fn validate(&self, options: Options, directory: Directory) -> Result<(ImportReport, Revision), Error> {
        let Options { organization_id, mode: _, missing, request_id: _, actor } = options;
        let state = self.desk.state()?;
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
        let done = self.desk.state()?.execute_with_progress(
            self.desk.mailbox(),
            command,
            self.desk.caller.caller().clone(),
            request_id,
            Arc::clone(&progress),
        );
        tokio::pin!(done);
        let mut interval = tokio::time::interval(TELL_EVERY);
        let done = loop {
            tokio::select! {
                done = &mut done => break done?,
                _ = interval.tick() => {
                    let (done, total) = progress.get();
                    let stage = if total > 0 { proto::ImportStage::Storing } else { proto::ImportStage::Planning };
                    // The import goes on even if nobody listens any more.
                    let _ = self.tell(stage, to_proto::count(done), to_proto::count(total)).await;
                }
            }
        };
        match done.outcome {
            Outcome::Imported { report } => Ok((report, done.revision)),
            outcome => Err(unexpected(&outcome)),
        }
    }

    async fn tell(&self, stage: proto::ImportStage, done: i64, total: i64) -> Result<(), Status> {
        self.send(message(stage, done, total)).await
    }

    async fn send(&self, message: proto::ImportDirectoryResponse) -> Result<(), Status> {
        self.answers.send(Ok(message)).await.map_err(|_| Status::cancelled("the caller is gone"))
    }
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
