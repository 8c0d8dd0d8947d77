//! The health service (`grpc.health.v1`): whether to send calls here. A watch of an unknown service goes on, as the
//! protocol requires: the service may appear.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt, wrappers::WatchStream};
pub use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_server::{Health as Service, HealthServer},
};

use tonic::{Request, Response, Status, codec::CompressionEncoding};

/// The status of each service.
#[derive(Debug, Clone)]
pub struct Health(Arc<watch::Sender<BTreeMap<String, ServingStatus>>>);

impl Health {
    /// Create the health service with all of `services` at NOT_SERVING.
    pub fn of<'s>(services: impl IntoIterator<Item = &'s str>) -> Self {
        let statuses = services.into_iter().map(|service| (service.to_owned(), ServingStatus::NotServing));
        Self(Arc::new(watch::Sender::new(statuses.collect())))
    }

    /// Set the status of a service, and send it to the watches.
    pub fn set(&self, service: &str, status: ServingStatus) {
        self.0.send_if_modified(|statuses| statuses.insert(service.to_owned(), status) != Some(status));
    }

    /// Return the gRPC service.
    pub fn service(&self) -> HealthServer<Self> {
        HealthServer::new(self.clone()).accept_compressed(CompressionEncoding::Gzip)
    }
}

#[tonic::async_trait]
impl Service for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let HealthCheckRequest { service } = request.into_inner();
        let status = self.0.borrow().get(&service).copied();
        status.map(answer).ok_or_else(|| Status::not_found("there is no service of this name")).map(Response::new)
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let HealthCheckRequest { service } = request.into_inner();
        let mut last = None;
        let changes = WatchStream::new(self.0.subscribe()).filter_map(move |statuses| {
            let status = statuses.get(&service).copied().unwrap_or(ServingStatus::ServiceUnknown);
            (last.replace(status) != Some(status)).then(|| Ok(answer(status)))
        });
        Ok(Response::new(Box::pin(changes)))
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_of_an_unknown_service_goes_on_until_it_appears() {
        let health = Health::of(["there"]);
        let watch = async |service: &str| {
            let request = HealthCheckRequest { service: service.to_owned() };
            health.watch(Request::new(request)).await.unwrap().into_inner()
        };
        let (mut there, mut new) = (watch("there").await, watch("new").await);
        let next = async |stream: &mut <Health as Service>::WatchStream| stream.next().await.unwrap().unwrap().status();
        assert_eq!(next(&mut there).await, ServingStatus::NotServing);
        assert_eq!(next(&mut new).await, ServingStatus::ServiceUnknown);
        health.set("there", ServingStatus::Serving);
        assert_eq!(next(&mut there).await, ServingStatus::Serving);
        health.set("new", ServingStatus::Serving);
        assert_eq!(next(&mut new).await, ServingStatus::Serving);
    }
}
