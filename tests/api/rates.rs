//! RateService over gRPC: estimates from rates that the caller gives, cost models, and what is refused.

use std::time::{Duration, Instant};

use rowcount::proto::v1::{
    self, estimate_rates_request::Source as Wire, rate_service_client::RateServiceClient,
    row_count_service_client::RowCountServiceClient,
};
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;

use crate::fleet::{Fleet, Instance, span};

/// A client that takes answers of any size.
async fn client(instance: &Instance) -> RateServiceClient<Channel> {
    RateServiceClient::new(instance.channel().await).max_decoding_message_size(usize::MAX)
}

/// Rates of these methods, handlers and codes.
fn given(rates: &[(&str, &str, &str, f64)]) -> v1::EstimateRatesRequest {
    let rate = |(method, handler, code, requests_per_second): &(&str, &str, &str, f64)| v1::RequestRate {
        handler: (*handler).to_owned(),
        method: (*method).to_owned(),
        code: (*code).to_owned(),
        requests_per_second: *requests_per_second,
        ..Default::default()
    };
    of(rates.iter().map(rate).collect())
}

fn of(rates: Vec<v1::RequestRate>) -> v1::EstimateRatesRequest {
    let source = Some(Wire::RequestRates(v1::RequestRates { rates }));
    v1::EstimateRatesRequest { source, ..Default::default() }
}

/// A second of SELECT, INSERT, UPDATE and DELETE.
fn per_second(totals: &[v1::OperationRate]) -> Vec<f64> {
    totals.iter().map(|total| (total.per_second * 1e6).round() / 1e6).collect()
}

/// Code, reason and the field of what is wrong.
fn refused(status: &Status) -> (Code, String, String) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("an ErrorInfo: {status}"));
    assert_eq!(info.domain, "rowcount.v1");
    let field = details.bad_request().and_then(|bad| bad.field_violations.first()).map(|one| one.field.clone());
    (status.code(), info.reason.clone(), field.unwrap_or_default())
}

#[tokio::test]
async fn given_rates_become_the_operations_that_a_hand_computes() {
    let fleet = Fleet::start().await;
    let instance = fleet.instance("a").await;
    let mut client = client(&instance).await;
    let share = v1::KindShare {
        kind: "new image by tag".to_owned(),
        share: 1.0,
        handler: "manifest".to_owned(),
        method: "put".to_owned(),
        code: "201".to_owned(),
    };
    let request = v1::EstimateRatesRequest {
        cost_parameters: Some(v1::CostParameters { layer_count: 5.0, kind_shares: vec![share], ..Default::default() }),
        ceiling_per_second: 1_000.0,
        monthly_growth_rate: 0.1,
        ..given(&[("GET", "Manifest", "200", 10.0), ("put", "manifest", "201", 0.5), ("get", "search", "", 1.5)])
    };
    let answer = client.estimate_rates(request).await.unwrap().into_inner();
    // GET: 2 SELECT. PUT with 5 layers: 9+4*5 SELECT, 2+5 INSERT, 1 UPDATE; nested 10+5*5 SELECT, 3+5 INSERT.
    assert_eq!(per_second(&answer.totals), [20.0 + 0.5 * 29.0, 3.5, 0.5, 0.0]);
    assert_eq!(per_second(&answer.nested_totals)[..2], [17.5, 4.0]);
    assert_eq!(answer.totals[0].per_month, 34.5 * 2_592_000.0);
    assert_eq!((answer.unmapped.len(), answer.unmapped_share), (1, 1.5 / 12.0));
    let months: Vec<_> = answer.projections.iter().map(|one| one.months).collect();
    assert_eq!(months, [12, 24, 36]);
    assert!(answer.ceiling_time.is_some());

    let echo = answer.effective_request.unwrap();
    assert_eq!((echo.growth_factor, &*echo.cost_model, &*echo.unit_factors), (1.0, "registry-4.32", "calendar"));
    let parameters = echo.cost_parameters.unwrap();
    assert_eq!((parameters.layer_count, parameters.child_count, parameters.tag_count), (5.0, 2.0, 1.0));
    assert!(parameters.kind_shares.iter().any(|share| share.kind == "new blob" && share.share == 0.9));
    let Some(Wire::RequestRates(rates)) = echo.source else { panic!("the rates are echoed") };
    assert_eq!(rates.rates.len(), 3);

    let page = instance.metrics().await;
    let called = r#"rpc_server_call_duration_seconds_count{rpc_method="rowcount.v1.RateService/EstimateRates""#;
    assert!(page.contains(called), "{page}");
    let service = "rowcount.v1.RateService".to_owned();
    let health = HealthClient::new(instance.channel().await).check(HealthCheckRequest { service }).await;
    assert_eq!(health.unwrap().into_inner().status(), ServingStatus::Serving);
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_the_name_of_its_field() {
    let fleet = Fleet::start().await;
    let instance = fleet.instance("a").await;
    let mut client = client(&instance).await;
    let good = given(&[("GET", "manifest", "200", 1.0)]);
    let cases: [(v1::EstimateRatesRequest, &str); 12] = [
        (given(&[]), "request_rates.rates"),
        (given(&[("GET", "manifest", "", -1.0)]), "request_rates.rates[0].requests_per_second"),
        (given(&[("GET", "manifest", "", f64::NAN)]), "request_rates.rates[0].requests_per_second"),
        (given(&[("", "manifest", "", 1.0)]), "request_rates.rates[0].method"),
        (given(&[("GET", "manifest", "ok", 1.0)]), "request_rates.rates[0].code"),
        (given(&[("GET", "manifest", "200", 1.0), ("get", "Manifest", "200", 1.0)]), "request_rates.rates[1].handler"),
        (v1::EstimateRatesRequest { cost_model: "registry-5".to_owned(), ..good.clone() }, "cost_model"),
        (v1::EstimateRatesRequest { unit_factors: "moon".to_owned(), ..good.clone() }, "unit_factors"),
        (v1::EstimateRatesRequest { growth_factor: -1.0, ..good.clone() }, "growth_factor"),
        (v1::EstimateRatesRequest { horizon_months: vec![12, 0], ..good.clone() }, "horizon_months[1]"),
        (v1::EstimateRatesRequest { horizon_months: vec![1; 1_001], ..good.clone() }, "horizon_months"),
        (of(vec![v1::RequestRate::default(); 100_001]), "request_rates.rates"),
    ];
    for (request, field) in cases {
        let status = client.estimate_rates(request).await.unwrap_err();
        assert_eq!(refused(&status), (Code::InvalidArgument, "INVALID_FIELD".into(), field.into()), "{status}");
        assert!(status.message().starts_with(field), "{status}");
    }

    // Nothing is asked of a Prometheus that is not there; no source means it too.
    for source in [None, Some(Wire::Prometheus(v1::PrometheusSource::default()))] {
        let status =
            client.estimate_rates(v1::EstimateRatesRequest { source, ..Default::default() }).await.unwrap_err();
        assert_eq!(refused(&status).0, Code::FailedPrecondition);
        assert_eq!(refused(&status).1, "PROMETHEUS_NOT_CONFIGURED");
    }
}

#[tokio::test]
async fn a_hundred_thousand_rates_are_answered_beside_other_calls_and_a_larger_message_is_refused() {
    let fleet = Fleet::start().await;
    let instance = fleet.instance("a").await;
    let mut client = client(&instance).await;
    let rate = |n: usize| v1::RequestRate {
        handler: if n == 0 { "manifest".to_owned() } else { format!("/v2/{{name}}/something/else/{n:06}") },
        method: "get".to_owned(),
        requests_per_second: 1.0,
        code: "200".to_owned(),
        ..Default::default()
    };
    let large = of((0..100_000).map(rate).collect());
    let began = Instant::now();
    let estimate = tokio::spawn({
        let mut client = client.clone();
        async move { client.estimate_rates(large).await.map(tonic::Response::into_inner) }
    });
    let mut other = RowCountServiceClient::new(instance.channel().await);
    let mut slowest = Duration::ZERO;
    let mut calls = 0;
    while !estimate.is_finished() {
        let asked = Instant::now();
        other.list_queries(v1::ListQueriesRequest {}).await.unwrap();
        slowest = slowest.max(asked.elapsed());
        calls += 1;
    }
    let answer = estimate.await.unwrap().unwrap();
    println!("100,000 rates: {:?}; meanwhile {calls} other calls, the slowest {slowest:?}", began.elapsed());
    assert_eq!((answer.unmapped.len(), per_second(&answer.totals)[0]), (99_999, 2.0));

    let huge = of(vec![v1::RequestRate { handler: "x".repeat(9 * 1024 * 1024), ..Default::default() }]);
    let status = client.estimate_rates(huge).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    assert!(status.message().contains("8388608"), "{status}");
}

#[tokio::test]
async fn costs_of_the_configuration_come_before_those_of_a_call_and_only_where_they_mean_something() {
    let fleet = Fleet::start().await;
    let costs = r#"[{"method": "put", "handler": "manifest", "code": "201", "kind": "new image by tag", "select": "L"},
                    {"method": "get", "handler": "/v2/{name}/referrers/{digest}", "select": 3}]"#;
    let instance = fleet.instance_with("a", &[("ROWCOUNT_RATES_COSTS", costs)]).await;
    let mut client = client(&instance).await;
    let model = client.get_cost_model(v1::GetCostModelRequest::default()).await.unwrap().into_inner();
    assert_eq!(model.cost_model_version, "registry-4.32.0-1+overrides");
    let cost = |kind: &str| model.costs.iter().find(|cost| cost.kind == kind).unwrap();
    assert_eq!(
        (cost("new image by tag").select_count, &*cost("new image by tag").note),
        (10.0, "configuration; L SELECT")
    );
    assert_eq!(cost("same image and tag again").select_count, 17.0);
    assert_eq!(model.default_parameters.unwrap().layer_count, 10.0);

    // A model that does not know the kind takes the rest.
    let request = v1::GetCostModelRequest { cost_model: "published-2020".to_owned() };
    let published = client.get_cost_model(request).await.unwrap().into_inner();
    assert!(published.costs.iter().any(|cost| cost.handler.contains("referrers") && cost.select_count == 3.0));

    let referrers = ("get", "/v2/{name}/referrers/{digest}", "", 2.0);
    let change = v1::RequestCost {
        handler: referrers.1.to_owned(),
        method: "get".to_owned(),
        select_count: 5.0,
        ..Default::default()
    };
    for (overrides, selects) in [(Vec::new(), 6.0), (vec![change], 10.0)] {
        let request = v1::EstimateRatesRequest { cost_overrides: overrides, ..given(&[referrers]) };
        let answer = client.estimate_rates(request).await.unwrap().into_inner();
        assert_eq!(per_second(&answer.totals)[0], selects);
    }
}

#[tokio::test]
async fn a_validation_that_cannot_be_is_refused_before_anything_is_counted() {
    let fleet = Fleet::start().await;
    let instance = fleet.instance("a").await;
    let mut client = client(&instance).await;
    let good = v1::ValidateRatesRequest {
        estimate: Some(given(&[("GET", "manifest", "200", 1.0)])),
        observe_duration: Some(span(Duration::from_secs(600))),
        source: v1::ObservationSource::TableStatistics.into(),
    };
    let long = |seconds, nanos| v1::ValidateRatesRequest {
        observe_duration: Some(prost_types::Duration { seconds, nanos }),
        ..good.clone()
    };
    let estimate = |estimate| v1::ValidateRatesRequest { estimate: Some(estimate), ..good.clone() };
    for (request, code, reason, field) in [
        (long(0, 999_999_999), Code::InvalidArgument, "INVALID_FIELD", "observe_duration"),
        (long(600, 1), Code::InvalidArgument, "INVALID_FIELD", "observe_duration"),
        (long(-1, 0), Code::InvalidArgument, "INVALID_FIELD", "observe_duration"),
        (v1::ValidateRatesRequest { source: 9, ..good.clone() }, Code::InvalidArgument, "INVALID_FIELD", "source"),
        (estimate(given(&[])), Code::InvalidArgument, "INVALID_FIELD", "estimate.request_rates.rates"),
        (estimate(Default::default()), Code::FailedPrecondition, "PROMETHEUS_NOT_CONFIGURED", ""),
        (
            v1::ValidateRatesRequest { source: v1::ObservationSource::RegistryQueries.into(), ..good.clone() },
            Code::FailedPrecondition,
            "PROMETHEUS_NOT_CONFIGURED",
            "",
        ),
    ] {
        let began = Instant::now();
        let status = client.validate_rates(request).await.unwrap_err();
        assert_eq!(refused(&status), (code, reason.to_owned(), field.to_owned()), "{status}");
        assert!(began.elapsed() < Duration::from_secs(10), "it was refused at once");
    }

    let mut short = tonic::Request::new(good.clone());
    short.set_timeout(Duration::from_secs(60));
    let status = client.validate_rates(short).await.unwrap_err();
    assert_eq!(
        refused(&status),
        (Code::InvalidArgument, "INVALID_FIELD".into(), "observe_duration".into()),
        "{status}"
    );
    assert!(status.message().contains("10m do not fit into the deadline of the call"), "{status}");

    let without = [("ROWCOUNT_DATABASE_URL", ""), ("ROWCOUNT_DATABASE_METRICS_ENABLED", "false")];
    let observer = fleet.instance_with("b", &without).await;
    let mut client = RateServiceClient::new(observer.channel().await);
    for source in [v1::ObservationSource::TableStatistics, v1::ObservationSource::Unspecified] {
        let request = v1::ValidateRatesRequest { source: source.into(), ..good.clone() };
        let status = client.validate_rates(request).await.unwrap_err();
        assert_eq!(refused(&status).1, "DATABASE_NOT_CONFIGURED", "{status}");
        assert_eq!(status.code(), Code::FailedPrecondition);
    }
}
