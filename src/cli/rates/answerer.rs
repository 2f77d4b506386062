//! Who answers: this program, which knows the cost models and the Prometheus that it is given; or a server, which has its
//! own.

use std::time::Duration;

use anyhow::anyhow;
use http::Uri;
use tonic::Status;

use crate::{
    cli::{
        client::{Client, Service},
        connection::ConnectionArgs,
        rates::options,
    },
    config::{PrometheusConfig, PrometheusTls, Secret},
    estimator::Estimator,
    grpc,
    prometheus::Prometheus,
    proto::v1::{
        EstimateRatesRequest, EstimateRatesResponse, GetCostModelRequest, GetCostModelResponse, ValidateRatesRequest,
        ValidateRatesResponse, rate_service_client::RateServiceClient,
    },
};

/// A hundred thousand rates are more than the four MiB that a message has by default.
const LARGEST_ANSWER: usize = 64 << 20;

/// Who answers.
pub enum Answerer {
    /// This program.
    Alone(Box<Estimator>),
    /// A server.
    Server(Client),
}

// === impl Answerer ===

impl Answerer {
    /// This program, which knows no Prometheus.
    pub fn alone() -> Self {
        Self::Alone(Box::default())
    }

    /// This program with the Prometheus at `url`; the options of a connection are meant for that one.
    pub fn with_prometheus(url: &Uri, connection: &ConnectionArgs) -> anyhow::Result<Self> {
        connection.suit("--prometheus", url)?;
        let prometheus = Prometheus::new(PrometheusConfig {
            token: connection.token_file.clone().map(Secret::File),
            timeout: connection.timeout,
            tls: PrometheusTls {
                ca: connection.tls_ca.clone(),
                certificate: connection.tls_cert.clone(),
                key: connection.tls_key.clone(),
                insecure: false,
            },
            ..PrometheusConfig::at(&url.to_string())?
        })?;
        Ok(Self::Alone(Box::new(Estimator { prometheus: Some(prometheus), overrides: Vec::new() })))
    }

    /// The server of `connection`.
    pub async fn connect(connection: &ConnectionArgs) -> anyhow::Result<Self> {
        Ok(Self::Server(Client::connect(connection).await?))
    }

    /// EstimateRates.
    pub async fn estimate(&self, request: EstimateRatesRequest) -> anyhow::Result<EstimateRatesResponse> {
        match self {
            Self::Alone(estimator) => grpc::rates::estimate(estimator, request).await.map_err(options::told),
            Self::Server(client) => {
                let rpc = async |service, request| rates(service).estimate_rates(request).await;
                client.call(request, Duration::ZERO, rpc).await
            }
        }
    }

    /// GetCostModel.
    pub async fn cost_model(&self, request: GetCostModelRequest) -> anyhow::Result<GetCostModelResponse> {
        match self {
            Self::Alone(estimator) => grpc::rates::cost_model(estimator, &request).map_err(|status| own(&status)),
            Self::Server(client) => {
                let rpc = async |service, request| rates(service).get_cost_model(request).await;
                client.call(request, Duration::ZERO, rpc).await
            }
        }
    }
}

/// ValidateRates, which only a server can answer; it takes as long as it observes.
pub async fn validate(
    client: &Client,
    request: ValidateRatesRequest,
    observed: Duration,
) -> anyhow::Result<ValidateRatesResponse> {
    let rpc = async |service, request| rates(service).validate_rates(request).await;
    client.call(request, observed, rpc).await
}

fn rates(service: Service) -> RateServiceClient<Service> {
    RateServiceClient::new(service).max_decoding_message_size(LARGEST_ANSWER)
}

/// There is no server whose code and name would tell anything.
fn own(status: &Status) -> anyhow::Error {
    anyhow!("{}", crate::cli::text::one_line(status.message()))
}
