//! A server of fixed answers.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use prost_types::Timestamp;
use rowcount::proto::v1::{
    Collection, GetCollectionRequest, GetCollectionResponse, GetLeaseStatusRequest, GetLeaseStatusResponse,
    GetRowCountsRequest, GetRowCountsResponse, Instance, Lease, ListCollectionsRequest, ListCollectionsResponse,
    ListQueriesRequest, ListQueriesResponse, Method, Query, ResignLeaseRequest, ResignLeaseResponse, RowCount,
    TriggerCollectionRequest, TriggerCollectionResponse, WatchLeaseRequest, WatchLeaseResponse, WatchRowCountsRequest,
    WatchRowCountsResponse,
    collection::{State, Trigger},
    instance, lease,
    row_count_service_server::{RowCountService, RowCountServiceServer},
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::{
    Code, Request, Response, Status,
    metadata::MetadataMap,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};
use tonic_types::{ErrorDetails, StatusExt, pb};

/// Id of its one collection.
pub const ID: &str = "0197a000-0000-7000-8000-000000000001";

/// Answers the same every time; a query's name asks for something else.
#[derive(Clone, Default)]
struct Fixed {
    /// What came with the last call.
    metadata: Arc<Mutex<MetadataMap>>,
}

/// Half a minute past the full minute, so that the age in minutes holds while a test runs.
fn minutes_ago(minutes: u64) -> Option<Timestamp> {
    Some((SystemTime::now() - Duration::from_secs(minutes * 60 + 30)).into())
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn refusal(code: Code, message: &str, reason: &str) -> Status {
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, "rowcount.v1", HashMap::new()))
}

fn rpc_status(status: &Status) -> pb::Status {
    prost::Message::decode(status.details()).unwrap()
}

fn blobs(rows: i64) -> RowCount {
    RowCount {
        query_name: "blobs".into(),
        row_count: Some(rows),
        method: Method::Exact.into(),
        observe_time: minutes_ago(2),
        epoch: 3,
        ..RowCount::default()
    }
}

fn tags() -> RowCount {
    RowCount {
        query_name: "tags".into(),
        row_count: Some(7),
        method: Method::Followed.into(),
        lower_bound: Some(6),
        upper_bound: Some(8),
        observe_time: minutes_ago(5),
        error: Some(rpc_status(&refusal(Code::DeadlineExceeded, "not done in 10s", "TIMEOUT"))),
        ..RowCount::default()
    }
}

fn collection(state: State) -> Collection {
    Collection {
        collection_id: ID.into(),
        state: state.into(),
        trigger: Trigger::Request.into(),
        create_time: minutes_ago(2),
        query_names: vec!["blobs".into(), "tags".into()],
        instance_id: "alice".into(),
        epoch: 3,
        ..Collection::default()
    }
}

fn held(state: lease::State) -> Lease {
    Lease {
        lease_name: "default".into(),
        state: state.into(),
        holder_id: "alice".into(),
        holder_address: "10.0.0.1:50051".into(),
        epoch: 3,
        acquire_time: minutes_ago(2),
        remaining_duration: seconds(26),
        ..Lease::default()
    }
}

type Messages<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl RowCountService for Fixed {
    type WatchRowCountsStream = Messages<WatchRowCountsResponse>;
    type WatchLeaseStream = Messages<WatchLeaseResponse>;

    async fn get_row_counts(
        &self,
        request: Request<GetRowCountsRequest>,
    ) -> Result<Response<GetRowCountsResponse>, Status> {
        *self.metadata.lock().unwrap() = request.metadata().clone();
        let request = request.into_inner();
        match request.query_names.first().map(String::as_str) {
            Some("silence") => return std::future::pending().await,
            Some("nosuch") => return Err(refusal(Code::NotFound, "no query is named nosuch", "UNKNOWN_QUERY")),
            _ => {}
        }
        if request.max_age == seconds(1) {
            return Err(refusal(Code::FailedPrecondition, "blobs is 150s old", "DATA_TOO_OLD"));
        }
        Ok(Response::new(GetRowCountsResponse {
            row_counts: vec![blobs(12_345), tags()],
            last_collection: Some(Collection { end_time: minutes_ago(2), ..collection(State::Succeeded) }),
            revision: 7,
            read_time: minutes_ago(1),
        }))
    }

    async fn watch_row_counts(
        &self,
        request: Request<WatchRowCountsRequest>,
    ) -> Result<Response<Self::WatchRowCountsStream>, Status> {
        let message =
            |rows, revision| WatchRowCountsResponse { row_counts: vec![blobs(rows)], revision, ..Default::default() };
        let request = request.into_inner();
        if request.query_names == ["endless"] {
            let every = tokio::time::interval(Duration::from_millis(10));
            let ticks = tokio_stream::wrappers::IntervalStream::new(every);
            let mut rows = 0;
            let messages = ticks.map(move |_| {
                rows += 1;
                Ok(message(rows, rows))
            });
            return Ok(Response::new(Box::pin(messages)));
        }
        let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(10)));
        let end = Status::with_error_details(Code::Unavailable, "the server is stopping", details);
        let heartbeat = WatchRowCountsResponse { revision: 1, ..Default::default() };
        let messages = match request.start_revision {
            0 => vec![Ok(message(1_000, 1)), Ok(heartbeat), Ok(message(1_200, 2)), Err(end)],
            2 => vec![Ok(message(1_300, 3)), Err(end)],
            _ => vec![Err(end)],
        };
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }

    async fn list_queries(
        &self,
        _request: Request<ListQueriesRequest>,
    ) -> Result<Response<ListQueriesResponse>, Status> {
        let queries = vec![Query {
            query_name: "blobs".into(),
            description: "Blobs".into(),
            method: Method::Auto.into(),
            chosen_method: Method::Followed.into(),
            table: "public.blobs".into(),
            interval: seconds(90),
            statement_timeout: seconds(10),
        }];
        Ok(Response::new(ListQueriesResponse { queries }))
    }

    async fn trigger_collection(
        &self,
        request: Request<TriggerCollectionRequest>,
    ) -> Result<Response<TriggerCollectionResponse>, Status> {
        *self.metadata.lock().unwrap() = request.metadata().clone();
        let state = match request.into_inner().query_names.first().map(String::as_str) {
            Some("broken") => State::Failed,
            _ => State::Running,
        };
        Ok(Response::new(TriggerCollectionResponse { collection: Some(collection(state)), joined: false }))
    }

    async fn get_collection(
        &self,
        request: Request<GetCollectionRequest>,
    ) -> Result<Response<GetCollectionResponse>, Status> {
        let request = request.into_inner();
        if request.collection_id != ID {
            return Err(refusal(Code::NotFound, "no collection has this id", "COLLECTION_NOT_FOUND"));
        }
        // Who waits long enough sees it end.
        let state = match request.wait_timeout {
            Some(wait) if wait.seconds > 5 => State::Succeeded,
            _ => State::Running,
        };
        Ok(Response::new(GetCollectionResponse { collection: Some(collection(state)) }))
    }

    async fn list_collections(
        &self,
        _request: Request<ListCollectionsRequest>,
    ) -> Result<Response<ListCollectionsResponse>, Status> {
        let collections = vec![collection(State::Running)];
        Ok(Response::new(ListCollectionsResponse { collections, next_page_token: String::new() }))
    }

    async fn get_lease_status(
        &self,
        _request: Request<GetLeaseStatusRequest>,
    ) -> Result<Response<GetLeaseStatusResponse>, Status> {
        let instance = Instance {
            instance_id: "bob".into(),
            role: instance::Role::Standby.into(),
            version: "0.1.0".into(),
            start_time: minutes_ago(10),
            ..Instance::default()
        };
        Ok(Response::new(GetLeaseStatusResponse { lease: Some(held(lease::State::Held)), instance: Some(instance) }))
    }

    async fn watch_lease(
        &self,
        _request: Request<WatchLeaseRequest>,
    ) -> Result<Response<Self::WatchLeaseStream>, Status> {
        let message = |state| Ok(WatchLeaseResponse { lease: Some(held(state)) });
        let messages = [message(lease::State::Held), message(lease::State::Free)];
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }

    async fn resign_lease(
        &self,
        request: Request<ResignLeaseRequest>,
    ) -> Result<Response<ResignLeaseResponse>, Status> {
        match request.into_inner().hold_off_duration {
            Some(_) => Ok(Response::new(ResignLeaseResponse { lease: Some(held(lease::State::Free)) })),
            None => Err(refusal(Code::Unavailable, "nobody holds the lease", "NO_LEADER")),
        }
    }
}

/// A server of fixed answers, its URL, and what came with the last call.
pub async fn server() -> (String, Arc<Mutex<MetadataMap>>) {
    let (addr, metadata) = serve(Server::builder()).await;
    (format!("http://{addr}"), metadata)
}

/// The same over TLS, to clients that a certificate authority vouches for; its port.
pub async fn tls_server(identity: Identity, client_ca: Certificate) -> (u16, Arc<Mutex<MetadataMap>>) {
    let tls = ServerTlsConfig::new().identity(identity).client_ca_root(client_ca);
    let (addr, metadata) = serve(Server::builder().tls_config(tls).unwrap()).await;
    (addr.port(), metadata)
}

async fn serve(mut builder: Server) -> (SocketAddr, Arc<Mutex<MetadataMap>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let fixed = Fixed::default();
    let metadata = fixed.metadata.clone();
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("rowcount.v1.RowCountService", tonic_health::ServingStatus::NotServing).await;
    let router = builder.add_service(health).add_service(RowCountServiceServer::new(fixed));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    (addr, metadata)
}
