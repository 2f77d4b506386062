//! RowCountService: each method hands its request to the part that answers it.

use tonic::{Request, Response, Status};

use crate::proto::v1::{self, row_count_service_server::RowCountService};

use super::{
    collections::Collections,
    counts::Counts,
    layer::deadline,
    lease::Leases,
    streams::{BoxStream, Streams},
};

/// The service, made of what answers it.
pub struct Service {
    /// Counts and queries.
    pub counts: Counts,
    /// Collections.
    pub collections: Collections,
    /// The lease.
    pub leases: Leases,
    /// Streams of both.
    pub streams: Streams,
}

#[tonic::async_trait]
impl RowCountService for Service {
    type WatchRowCountsStream = BoxStream<v1::WatchRowCountsResponse>;
    type WatchLeaseStream = BoxStream<v1::WatchLeaseResponse>;

    async fn get_row_counts(
        &self,
        request: Request<v1::GetRowCountsRequest>,
    ) -> Result<Response<v1::GetRowCountsResponse>, Status> {
        self.counts.get(request.get_ref()).map(Response::new)
    }

    async fn watch_row_counts(
        &self,
        request: Request<v1::WatchRowCountsRequest>,
    ) -> Result<Response<Self::WatchRowCountsStream>, Status> {
        let source = self.counts.watch(request.get_ref())?;
        self.streams.open(source, self.counts.view.subscribe(), deadline(&request)).map(Response::new)
    }

    async fn list_queries(
        &self,
        _request: Request<v1::ListQueriesRequest>,
    ) -> Result<Response<v1::ListQueriesResponse>, Status> {
        Ok(Response::new(self.counts.list()))
    }

    async fn trigger_collection(
        &self,
        request: Request<v1::TriggerCollectionRequest>,
    ) -> Result<Response<v1::TriggerCollectionResponse>, Status> {
        let deadline = deadline(&request);
        self.collections.trigger(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn get_collection(
        &self,
        request: Request<v1::GetCollectionRequest>,
    ) -> Result<Response<v1::GetCollectionResponse>, Status> {
        let deadline = deadline(&request);
        self.collections.get(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn list_collections(
        &self,
        request: Request<v1::ListCollectionsRequest>,
    ) -> Result<Response<v1::ListCollectionsResponse>, Status> {
        self.collections.list(request.get_ref()).map(Response::new)
    }

    async fn get_lease_status(
        &self,
        request: Request<v1::GetLeaseStatusRequest>,
    ) -> Result<Response<v1::GetLeaseStatusResponse>, Status> {
        self.leases.get(request.get_ref()).await.map(Response::new)
    }

    async fn watch_lease(
        &self,
        request: Request<v1::WatchLeaseRequest>,
    ) -> Result<Response<Self::WatchLeaseStream>, Status> {
        let observation = self.leases.lease.observation();
        self.streams.open(self.leases.watch(), observation, deadline(&request)).map(Response::new)
    }

    async fn resign_lease(
        &self,
        request: Request<v1::ResignLeaseRequest>,
    ) -> Result<Response<v1::ResignLeaseResponse>, Status> {
        self.leases.resign(request.get_ref()).await.map(Response::new)
    }
}
