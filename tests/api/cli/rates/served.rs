//! Through a server: one whose costs are its own, and whose observation is always the same.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use rowcount::{
    estimator::Estimator,
    grpc::{self, rates::estimates::Estimates},
    proto::v1::{
        EstimateRatesRequest, EstimateRatesResponse, GetCostModelRequest, GetCostModelResponse, ObservationSource,
        RateComparison, SqlOperation, ValidateRatesRequest, ValidateRatesResponse,
        rate_service_server::{RateService, RateServiceServer},
    },
    rates::{costs::CostOverride, operation::PerOperation},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, metadata::MetadataMap, transport::Server};

use super::{NOBODY, PUBLISHED, lines, run};

#[derive(Clone, Default)]
struct Served {
    estimator: Estimator,
    /// The last comparison that was asked for, and what came with it.
    validated: Arc<Mutex<Option<(ValidateRatesRequest, MetadataMap)>>>,
}

#[tonic::async_trait]
impl RateService for Served {
    async fn estimate_rates(
        &self,
        request: Request<EstimateRatesRequest>,
    ) -> Result<Response<EstimateRatesResponse>, Status> {
        Estimates::new(self.estimator.clone()).estimate(request.into_inner()).await.map(Response::new)
    }

    async fn get_cost_model(
        &self,
        request: Request<GetCostModelRequest>,
    ) -> Result<Response<GetCostModelResponse>, Status> {
        grpc::rates::cost_model(&self.estimator, request.get_ref()).map(Response::new)
    }

    async fn validate_rates(
        &self,
        request: Request<ValidateRatesRequest>,
    ) -> Result<Response<ValidateRatesResponse>, Status> {
        let metadata = request.metadata().clone();
        *self.validated.lock().unwrap() = Some((request.into_inner(), metadata));
        let select = RateComparison {
            operation: SqlOperation::Select.into(),
            estimated_per_second: 100.0,
            low_per_second: 90.0,
            high_per_second: 120.0,
            observed_per_second: 101.0,
            ratio: Some(1.01),
        };
        Ok(Response::new(ValidateRatesResponse {
            comparisons: vec![select],
            source: ObservationSource::Statements.into(),
            ..ValidateRatesResponse::default()
        }))
    }
}

/// A server for which a manifest GET costs 100 SELECTs.
async fn served() -> (String, Served) {
    let mut operations = PerOperation::default();
    operations[rowcount::rates::operation::Operation::Select] = "100".parse().unwrap();
    let change = CostOverride {
        field: "rates.costs[0]".to_owned(),
        handler: "manifest".to_owned(),
        method: "GET".to_owned(),
        code: String::new(),
        kind: String::new(),
        operations,
        note: String::new(),
    };
    let estimator = Estimator { prometheus: None, overrides: vec![change] };
    let served = Served { estimator, ..Served::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    let router = Server::builder().add_service(RateServiceServer::new(served.clone()));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    (format!("http://{addr}"), served)
}

#[tokio::test]
async fn a_server_that_is_named_estimates_the_rates_of_a_file_with_its_costs() {
    let (url, _) = served().await;
    let file = ["rates", "--from", PUBLISHED];
    let (code, stdout, stderr) = run("", &[&file[..], &["--server", &url]].concat()).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("cost model  registry-4.32 (registry-4.32.0-1+overrides)\n"), "{stdout}");
    assert!(stdout.contains(&format!("source      {PUBLISHED}, estimated by {url}\n")), "{stdout}");
    assert!(stdout.lines().any(|line| line.starts_with("Manifest     GET            141    14,114 ")), "{stdout}");

    // The environment names a server for those commands that need one.
    let (code, stdout, _) = run(&url, &file).await;
    assert_eq!(code, 0);
    assert!(stdout.contains("cost model  registry-4.32 (registry-4.32.0-1)\n"), "{stdout}");
}

#[tokio::test]
async fn the_costs_of_a_document_are_those_of_the_server() {
    let (url, _) = served().await;
    let file = ["rates", "--from", PUBLISHED, "--server", &url, "-o", "markdown"];
    let (code, stdout, stderr) = run("", &file).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("\n| Manifest | GET | 100 | 0 | 0 | 0 |\n"), "{stdout}");
    assert!(stdout.contains("\n| Catalog | GET | 2 | 0 | 0 | 0 |\n"), "{stdout}");
}

#[tokio::test]
async fn without_rates_the_server_asks_its_own_prometheus() {
    let (url, _) = served().await;
    let told = "no Prometheus is configured: set rates.prometheus.url, or give the request rates \
                (PROMETHEUS_NOT_CONFIGURED)";
    let error = format!("error: FAILED_PRECONDITION from {url}: {told}\n");
    for args in [&["rates"][..], &["rates", "--window", "1h"]] {
        assert_eq!(run(&url, args).await, (1, String::new(), error.clone()));
    }
    let (code, stdout, stderr) = run(NOBODY, &["rates"]).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with("error: cannot reach http://127.0.0.1:1: "), "{stderr}");
}

#[tokio::test]
async fn a_model_with_overrides_is_told_by_the_server_that_has_them() {
    let (url, _) = served().await;
    let (code, stdout, stderr) = run("", &["rates", "model", "--server", &url]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("cost model  registry-4.32 (registry-4.32.0-1+overrides)\n"), "{stdout}");
    let (_, stdout, _) = run(&url, &["rates", "model"]).await;
    assert!(stdout.contains("cost model  registry-4.32 (registry-4.32.0-1)\n"), "{stdout}");
}

#[tokio::test]
async fn a_comparison_may_take_as_long_as_it_observes() {
    let (url, served) = served().await;
    let args =
        ["rates", "validate", "--for", "30s", "--source", "registry-queries", "--from", PUBLISHED, "--layers", "7"];
    let (code, stdout, stderr) = run(&url, &args).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(
        lines(&stdout),
        [
            "OPERATION  LOW  ESTIMATED  HIGH  OBSERVED  RATIO",
            "SELECT      90        100   120       101  1.010",
            "",
            "observed  statements",
        ]
    );
    let (request, metadata) = served.validated.lock().unwrap().take().unwrap();
    assert_eq!(metadata.get("grpc-timeout").unwrap(), "40000000u", "the wait adds to the timeout");
    assert_eq!(request.observe_duration.map(|span| span.seconds), Some(30));
    assert_eq!(request.source(), ObservationSource::RegistryQueries);
    assert_eq!(request.estimate.unwrap().cost_parameters.unwrap().layer_count, 7.0);
}
