//! The gRPC edge: RowCountService, RateService, health and reflection on one port. Domain values become messages here and nowhere
//! else but in cli/.

use std::{sync::Arc, time::Duration};

use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::RoutesBuilder,
    transport::{Server, server::TcpIncoming},
};

use crate::{
    config::GrpcConfig,
    metrics::rpc::RpcMetrics,
    proto::{
        self,
        v1::{rate_service_server::RateServiceServer, row_count_service_server::RowCountServiceServer},
    },
};

use health::Health;
use layer::CallLayer;
use rate_service::RateService;
use row_count_service::Service;

pub mod collections;
mod convert;
pub mod counts;
pub mod health;
mod kept;
mod layer;
pub mod lease;
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

/// Serves on `listener` until `drain`, and then until the open calls are done; the caller bounds that.
pub async fn serve(
    listener: TcpListener,
    config: GrpcConfig,
    service: Service,
    rates: RateService,
    health: Health,
    metrics: Arc<RpcMetrics>,
    drain: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let layer = CallLayer::new(metrics, methods().into(), service.streams.stop.clone());
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(RowCountServiceServer::new(service).max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(RateServiceServer::new(rates).max_decoding_message_size(MAX_RATE_REQUEST_BYTES))
        .add_service(health.server());
    if config.reflection {
        let builder = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        routes
            .add_service(builder().build_v1().expect("the descriptors are compiled in, and a test lists them"))
            .add_service(builder().build_v1alpha().expect("the descriptors are compiled in, and a test lists them"));
    }
    Server::builder()
        .layer(layer)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .max_connection_age(CONNECTION_AGE)
        .add_routes(routes.routes())
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async move {
            drain.cancelled().await
        })
        .await
}

/// Every method that the port serves, as `package.Service/Method`.
fn methods() -> Vec<Arc<str>> {
    let sets = [proto::DESCRIPTORS, tonic_health::pb::FILE_DESCRIPTOR_SET];
    let files = sets
        .into_iter()
        .flat_map(|set| prost_types::FileDescriptorSet::decode(set).expect("the descriptors are compiled in").file);
    let mut methods = Vec::new();
    for file in files {
        for service in &file.service {
            let path = |method: &str| format!("{}.{}/{method}", file.package(), service.name()).into();
            methods.extend(service.method.iter().map(|method| path(method.name())));
        }
    }
    for version in ["v1", "v1alpha"] {
        methods.push(format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo").into());
    }
    methods
}
