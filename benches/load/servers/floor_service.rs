//! The gRPC service of the floors.

use std::{fs, path::Path, pin::Pin};

use prost::Message;
use queuegate::rpc::proto::{queue_access_service_server::QueueAccessService, *};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::{
    harness::request::{BATCH_CHECK, CHECK, EncodedRequest, SIGN_IN, SIGN_OUT},
    servers::storing::ChangeStore,
};

/// Answers each method with a response that queuegate gave.
#[derive(Debug, Clone, Default)]
pub struct FloorService {
    /// Stores changes, or `None` for a floor that does nothing.
    pub store: Option<ChangeStore>,
    check: CheckQueueAccessResponse,
    batch: BatchCheckQueueAccessResponse,
    sign_in: SignInResponse,
    sign_out: SignOutResponse,
}

/// Save queuegate's response to a request for the floors.
pub fn save_answer(folder: &Path, request: &EncodedRequest, response: &[u8]) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    Ok(fs::write(folder.join(method_name(request.path)), response)?)
}

impl FloorService {
    /// Read the responses in a folder.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        // A scenario saves only the responses of the methods that it calls.
        let read = |path| fs::read(folder.join(method_name(path))).unwrap_or_default();
        Ok(Self {
            store: None,
            check: CheckQueueAccessResponse::decode(&*read(CHECK))?,
            batch: BatchCheckQueueAccessResponse::decode(&*read(BATCH_CHECK))?,
            sign_in: SignInResponse::decode(&*read(SIGN_IN))?,
            sign_out: SignOutResponse::decode(&*read(SIGN_OUT))?,
        })
    }

    async fn store_change(&self) -> Result<(), Status> {
        match &self.store {
            Some(store) => store.change().await,
            None => unimplemented().map(|_: Response<()>| ()),
        }
    }
}

/// Return the file name of a method's response: the method's own name.
fn method_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Answer a method that no scenario calls on a floor.
fn unimplemented<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("a floor does not answer this method"))
}

#[tonic::async_trait]
impl QueueAccessService for FloorService {
    type WatchSessionsStream = Pin<Box<dyn Stream<Item = Result<WatchSessionsResponse, Status>> + Send>>;

    async fn check_queue_access(
        &self,
        _: Request<CheckQueueAccessRequest>,
    ) -> Result<Response<CheckQueueAccessResponse>, Status> {
        Ok(Response::new(self.check.clone()))
    }

    async fn batch_check_queue_access(
        &self,
        _: Request<BatchCheckQueueAccessRequest>,
    ) -> Result<Response<BatchCheckQueueAccessResponse>, Status> {
        Ok(Response::new(self.batch.clone()))
    }

    async fn list_accessible_queues(
        &self,
        _: Request<ListAccessibleQueuesRequest>,
    ) -> Result<Response<ListAccessibleQueuesResponse>, Status> {
        unimplemented()
    }

    async fn list_eligible_agents(
        &self,
        _: Request<ListEligibleAgentsRequest>,
    ) -> Result<Response<ListEligibleAgentsResponse>, Status> {
        unimplemented()
    }

    async fn sign_in(&self, _: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        self.store_change().await?;
        Ok(Response::new(self.sign_in.clone()))
    }

    async fn sign_out(&self, _: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        self.store_change().await?;
        Ok(Response::new(self.sign_out.clone()))
    }

    async fn verify_pin(&self, _: Request<VerifyPinRequest>) -> Result<Response<VerifyPinResponse>, Status> {
        unimplemented()
    }

    async fn supervisor_sign_in(
        &self,
        _: Request<SupervisorSignInRequest>,
    ) -> Result<Response<SupervisorSignInResponse>, Status> {
        unimplemented()
    }

    async fn supervisor_sign_out(
        &self,
        _: Request<SupervisorSignOutRequest>,
    ) -> Result<Response<SupervisorSignOutResponse>, Status> {
        unimplemented()
    }

    async fn get_session(&self, _: Request<GetSessionRequest>) -> Result<Response<GetSessionResponse>, Status> {
        unimplemented()
    }

    async fn list_sessions(&self, _: Request<ListSessionsRequest>) -> Result<Response<ListSessionsResponse>, Status> {
        unimplemented()
    }

    async fn watch_sessions(
        &self,
        _: Request<WatchSessionsRequest>,
    ) -> Result<Response<Self::WatchSessionsStream>, Status> {
        unimplemented()
    }
}
