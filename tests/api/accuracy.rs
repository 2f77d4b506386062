//! The estimate against what ran: a load of requests as a registry sends them, counted by PostgreSQL, and estimated from
//! no more than the counters of its page.

#![allow(clippy::unwrap_used, reason = "all of it is test code, also what is no test itself")]

use std::collections::BTreeMap;

use rowcount::{
    demo::{
        load::{Kind, Load, LoadOptions, Mix, Sent, counted},
        postgres::{PostgresOptions, PostgresServer},
        prometheus::{PrometheusOptions, PrometheusServer},
        schema,
    },
    estimator::Estimator,
    grpc::rates::estimate,
    proto::v1::{self, estimate_rates_request::Source, rate_service_client::RateServiceClient},
};
use tonic::Code;

use crate::{
    fleet::{Fleet, Instance, eventually},
    tools,
};

/// Of the requests that are left out: they never reach the database.
const EXCLUDED: [&str; 2] = ["401", "500"];

/// Verbs that are sent often enough for a window of seconds.
const FREQUENT: [v1::SqlOperation; 2] = [v1::SqlOperation::Select, v1::SqlOperation::Insert];

/// A server that counts statements, with a registry's rows.
async fn database() -> PostgresServer {
    let config = vec!["shared_preload_libraries = 'pg_stat_statements'".into()];
    let postgres = PostgresServer::start_with(PostgresOptions { config, ..Default::default() }).await.unwrap();
    let url = postgres.create_database("registry").await.unwrap();
    postgres.execute("registry", "CREATE EXTENSION pg_stat_statements").await.unwrap();
    schema::create(&url, 4).await.unwrap();
    schema::generate(&url, 40).await.unwrap();
    postgres
}

/// Requests by their labels, as a page counts them.
fn by_labels(sent: &Sent) -> BTreeMap<(&str, &str, &str), u64> {
    let mut requests = BTreeMap::new();
    for (kind, count) in sent.requests.iter().filter(|(kind, _)| !EXCLUDED.contains(&kind.code)) {
        *requests.entry((kind.handler, kind.method, kind.code)).or_default() += count;
    }
    requests
}

/// What was sent as rates, as though all of it had been in one second.
fn rates(sent: &Sent) -> Source {
    let rate = |((handler, method, code), count): ((&str, &str, &str), u64)| v1::RequestRate {
        handler: handler.to_owned(),
        method: method.to_owned(),
        code: code.to_owned(),
        requests_per_second: count as f64,
        ..Default::default()
    };
    Source::RequestRates(v1::RequestRates { rates: by_labels(sent).into_iter().map(rate).collect() })
}

/// The shares that the kinds of requests really had, where labels have several.
fn shares(sent: &Sent) -> Vec<v1::KindShare> {
    let alike = |kind: &Kind| sent.requests.keys().filter(|other| labels(other) == labels(kind)).count();
    let totals = by_labels(sent);
    let known = sent.requests.iter().filter(|(kind, count)| **count > 0 && alike(kind) > 1);
    let share = known.map(|(kind, count)| v1::KindShare {
        kind: kind.name.to_owned(),
        share: *count as f64 / totals[&labels(kind)] as f64,
        handler: kind.handler.to_owned(),
        method: kind.method.to_owned(),
        code: kind.code.to_owned(),
    });
    share.collect()
}

fn labels(kind: &Kind) -> (&str, &str, &str) {
    (kind.handler, kind.method, kind.code)
}

async fn what_is_estimated_is_what_ran(mix: Mix, model: &str) {
    let postgres = database().await;
    let url = postgres.url("registry");
    let before = counted(&url).await.unwrap();
    // Often enough that every kind of push and every deletion was played.
    let mut load = Load::start(&url, LoadOptions { mix, multiple: 2.0, ..Default::default() }).await.unwrap();
    eventually("2,000 requests", async || (load.sent().total_requests() >= 2_000).then_some(())).await;
    let sent = load.stop().await.unwrap();
    let ran = counted(&url).await.unwrap() - before;

    let request = v1::EstimateRatesRequest {
        source: Some(rates(&sent)),
        cost_model: model.to_owned(),
        cost_parameters: Some(v1::CostParameters { kind_shares: shares(&sent), ..Default::default() }),
        cost_overrides: vec![rename()],
        ..Default::default()
    };
    let answer = estimate(&Estimator::default(), request).await.unwrap();
    let estimated: Vec<_> = answer.totals.iter().map(|total| total.per_second.round() as u64).collect();
    assert_eq!(estimated, [ran.select, ran.insert, ran.update, ran.delete], "{sent:?} {:?}", answer.unmapped);
}

#[tokio::test]
async fn with_the_kinds_known_every_verb_of_the_mix_of_today_is_estimated_to_the_statement() {
    what_is_estimated_is_what_ran(Mix::Registry432, "registry-4.32").await;
}

#[tokio::test]
async fn every_verb_of_the_mix_of_2020_is_estimated_to_the_statement() {
    what_is_estimated_is_what_ran(Mix::Published2020, "published-2020").await;
}

/// The mix of today has requests that no model knows.
fn rename() -> v1::RequestCost {
    v1::RequestCost {
        handler: "/gitlab/v1/repositories/{name}".to_owned(),
        method: "PATCH".to_owned(),
        select_count: 2.0,
        ..Default::default()
    }
}

/// A Prometheus that scrapes the load; `None` without the tool.
async fn scraping(load: &Load) -> Option<PrometheusServer> {
    let targets = vec![load.addr().to_string()];
    let (prometheus, promtool) = (tools::tool("prometheus")?, tools::tool("promtool")?);
    let options = PrometheusOptions { targets, prometheus, promtool, ..Default::default() };
    Some(PrometheusServer::start(options).await.unwrap())
}

async fn validate(instance: &Instance, source: v1::ObservationSource) -> v1::ValidateRatesResponse {
    let mut client = RateServiceClient::new(instance.channel().await);
    let request = v1::ValidateRatesRequest {
        // So long that one scrape more or less is little of it.
        observe_duration: Some(prost_types::Duration { seconds: 12, nanos: 0 }),
        source: source.into(),
        ..Default::default()
    };
    client.validate_rates(request).await.unwrap().into_inner()
}

/// Checks what a Prometheus of one scrape a second allows in 12 s; the benchmark measures how near it comes in a minute.
fn assert_near(answer: &v1::ValidateRatesResponse, operations: &[v1::SqlOperation]) {
    for operation in operations {
        let of = |comparison: &&v1::RateComparison| comparison.operation() == *operation;
        let comparison = answer.comparisons.iter().find(of).unwrap();
        let ratio = comparison.ratio.unwrap();
        assert!((0.8..1.25).contains(&ratio), "{answer:#?}");
        let observed = comparison.observed_per_second;
        assert!(
            comparison.low_per_second * 0.9 < observed && observed < comparison.high_per_second * 1.1,
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_live_estimate_is_near_what_ran_by_statements_and_by_the_registrys_own_counter() {
    let postgres = database().await;
    let mix = Mix::Registry432;
    let load = Load::start(&postgres.url("registry"), LoadOptions { mix, ..Default::default() }).await.unwrap();
    let Some(prometheus) = scraping(&load).await else { return };
    let mut fleet = Fleet::servers().await;
    fleet.set("ROWCOUNT_DATABASE_URL", postgres.url("registry"));
    fleet.set("ROWCOUNT_RATES_PROMETHEUS_URL", prometheus.url());
    let alice = fleet.instance("alice").await;

    let best = validate(&alice, v1::ObservationSource::Unspecified).await;
    assert_eq!(best.source(), v1::ObservationSource::Statements, "{best:#?}");
    assert_near(&best, &FREQUENT);
    assert!(best.warnings.iter().any(|warning| warning.contains("rowcount")), "ours are told apart: {best:#?}");

    let own = validate(&alice, v1::ObservationSource::RegistryQueries).await;
    assert_near(&own, &[v1::SqlOperation::Unspecified]);
    load.finish().await.unwrap();
}

#[tokio::test]
async fn the_holder_exports_the_estimate_and_ends_it_with_the_lease() {
    let postgres = database().await;
    let load = Load::start(&postgres.url("registry"), LoadOptions::default()).await.unwrap();
    let Some(mut prometheus) = scraping(&load).await else { return };
    let mut fleet = Fleet::servers().await;
    fleet.set("ROWCOUNT_DATABASE_URL", postgres.url("registry"));
    for (setting, value) in [
        ("ROWCOUNT_RATES_PROMETHEUS_URL", &*prometheus.url()),
        ("ROWCOUNT_RATES_GAUGE_ENABLED", "true"),
        ("ROWCOUNT_RATES_GAUGE_INTERVAL", "1s"),
        ("ROWCOUNT_RATES_GAUGE_MODEL", "published-2020"),
    ] {
        fleet.set(setting, value);
    }
    let mut alice = fleet.instance("alice").await;
    fleet.holder(&[&alice]).await;
    let bob = fleet.instance("bob").await;
    let series = r#"rowcount_estimated_operations_per_second{bound="expected",operation="select"}"#;
    // 740 when it is played in time, less on a loaded machine.
    eventually("the holder exports its SELECTs a second", async || {
        crate::fleet::sample(&alice.metrics().await, series).filter(|rate| (50.0..1000.0).contains(rate))
    })
    .await;
    assert!(!bob.metrics().await.contains("rowcount_estimated_operations_per_second{"));

    alice.signal(rustix::process::Signal::KILL);
    alice.exit().await;
    eventually("the next holder exports it", async || crate::fleet::sample(&bob.metrics().await, series)).await;
    prometheus.stop().await.unwrap();
    eventually("an estimate that is not renewed leaves the page", async || {
        (!bob.metrics().await.contains("rowcount_estimated_operations_per_second{")).then_some(())
    })
    .await;
    let request = v1::EstimateRatesRequest::default();
    let status = RateServiceClient::new(bob.channel().await).estimate_rates(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}
