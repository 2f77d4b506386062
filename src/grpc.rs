//! The gRPC edge: RowCountService, RateService, health and reflection on one port. Domain values become messages here and nowhere
//! else but in cli/.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures_util::stream;
use tokio_util::sync::CancellationToken;
use tonic::{service::RoutesBuilder, transport::Server};

use crate::{
    access::Access,
    incoming::Incoming,
    metrics::rpc::RpcMetrics,
    proto::{
        self,
        v1::{rate_service_server::RateServiceServer, row_count_service_server::RowCountServiceServer},
    },
};

use guard::GuardLayer;
use health::Health;
use layer::CallLayer;
use method::Methods;
use rate_service::RateService;
use row_count_service::Service;

pub mod collections;
mod convert;
pub mod counts;
mod guard;
pub mod health;
mod kept;
mod layer;
pub mod lease;
mod method;
pub mod rate_service;
pub mod rates;
pub mod row_count_service;
mod status;
pub mod streams;

/// A request is names, ids and times; larger ones are refused.
const MAX_REQUEST_BYTES: usize = 256 * 1024;

/// A request of RateService may hold `rates::estimates::MAX_RATES` rates, of some 60 bytes each.
const MAX_RATE_REQUEST_BYTES: usize = 8 * 1024 * 1024;

/// Calls at once on one connection.
const MAX_CONCURRENT_STREAMS: u32 = 256;

/// A silent client is asked this often whether it lives, and given this long to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// A connection takes no new calls after this long, so that clients spread over the instances again. Calls that are
/// open go on: closing it would cut them off without a status.
const CONNECTION_AGE: Duration = Duration::from_secs(3600);

/// Who comes, what is asked of them, and whether reflection is served.
pub struct Door {
    /// The clients.
    pub incoming: Incoming,
    /// What they are asked for.
    pub access: Access,
    /// `grpc.reflection`.
    pub reflection: bool,
}

/// Serves whoever comes until `drain`, and then until the open calls are done; the caller bounds that.
pub async fn serve(
    door: Door,
    service: Service,
    rates: RateService,
    health: Health,
    metrics: Arc<RpcMetrics>,
    drain: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let Door { incoming, access, reflection } = door;
    let methods = Methods::served();
    let calls = CallLayer::new(metrics, methods.clone(), service.streams.stop.clone());
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(RowCountServiceServer::new(service).max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(RateServiceServer::new(rates).max_decoding_message_size(MAX_RATE_REQUEST_BYTES))
        .add_service(health.server());
    if reflection {
        let builder = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        routes
            .add_service(builder().build_v1().expect("the descriptors are compiled in, and a test lists them"))
            .add_service(builder().build_v1alpha().expect("the descriptors are compiled in, and a test lists them"));
    }
    let clients = stream::unfold(incoming, async |mut incoming| {
        let client = incoming.accept().await;
        Some((Ok::<_, Infallible>(client), incoming))
    });
    Server::builder()
        // Around the guard, so that a call that is denied is counted too.
        .layer(calls)
        .layer(GuardLayer::new(access, methods))
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .max_connection_age(CONNECTION_AGE)
        .add_routes(routes.routes())
        .serve_with_incoming_shutdown(clients, drain.cancelled_owned())
        .await
}
