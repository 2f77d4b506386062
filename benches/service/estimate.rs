//! How near an estimate out of a live Prometheus comes to what PostgreSQL counted, with the kinds of requests known.

use std::time::Duration;

use rowcount::{
    demo::{
        load::{Kind, Load, LoadOptions, Mix, Sent},
        postgres::{PostgresOptions, PostgresServer},
        prometheus::{PrometheusOptions, PrometheusServer},
        schema,
    },
    proto::v1::{self, estimate_rates_request::Source, rate_service_client::RateServiceClient},
};
use tokio::time::sleep;

use super::{fleet::Fleet, report::Report};

/// Long enough that the rarest verbs run often, and that a scrape more or less is little of it.
const OBSERVED: Duration = Duration::from_secs(60);

/// The load runs this long before anybody looks.
const WARM_UP: Duration = Duration::from_secs(5);

/// Of the published load; those beyond are the machine's to hold or not, which the row says.
const MULTIPLES: [f64; 2] = [1.0, 8.0];

pub async fn measure(mut report: Report) -> Report {
    let config = vec!["shared_preload_libraries = 'pg_stat_statements'".into()];
    let options = PostgresOptions { config, ..Default::default() };
    let postgres = PostgresServer::start_with(options).await.expect("PostgreSQL starts");
    let url = postgres.create_database("registry").await.expect("makes a database");
    postgres.execute("registry", "CREATE EXTENSION pg_stat_statements").await.expect("has pg_stat_statements");
    schema::create(&url, 64).await.expect("makes the schema");
    schema::generate(&url, 1000).await.expect("fills it");
    postgres.execute("registry", "ANALYZE").await.expect("analyses it");

    for mix in [Mix::Registry432, Mix::Published2020] {
        for multiple in MULTIPLES {
            let row = compare(&url, mix, multiple).await;
            report.row(row.what, row.measured, "each verb within 0.98 … 1.02");
        }
    }
    report
}

struct Row {
    what: String,
    measured: String,
}

async fn compare(url: &str, mix: Mix, multiple: f64) -> Row {
    let model = match mix {
        Mix::Published2020 => "published-2020",
        Mix::Registry432 => "registry-4.32",
    };
    let load = Load::start(url, LoadOptions { mix, multiple, ..Default::default() }).await.expect("the load starts");
    let targets = vec![load.addr().to_string()];
    let options = PrometheusOptions { targets, ..Default::default() };
    let prometheus = PrometheusServer::start(options).await.expect("Prometheus starts");
    let mut fleet = Fleet::servers().await;
    fleet.set("ROWCOUNT_DATABASE_URL", url);
    fleet.set("ROWCOUNT_RATES_PROMETHEUS_URL", prometheus.url());
    let instance = fleet.instance("alice").await;
    sleep(WARM_UP).await;

    let before = load.sent();
    let mut client = RateServiceClient::new(instance.channel().await);
    let request = v1::ValidateRatesRequest {
        observe_duration: prost_types::Duration::try_from(OBSERVED).ok(),
        estimate: Some(v1::EstimateRatesRequest { cost_model: model.to_owned(), ..Default::default() }),
        source: v1::ObservationSource::Statements.into(),
    };
    let by_labels = client.validate_rates(request).await.expect("it validates").into_inner();
    let sent = since(load.sent(), &before);
    let by_kinds = client.estimate_rates(with_kinds(model, &sent)).await.expect("it estimates").into_inner();
    load.finish().await.expect("the load is played to its end");

    let ratio = |observed: f64, estimated: f64| {
        if estimated > 0.0 { format!("{:.3}", observed / estimated) } else { "-".to_owned() }
    };
    let told = by_labels.comparisons.iter().zip(&by_kinds.totals).map(|(compared, known)| {
        let verb = compared.operation().as_str_name().trim_start_matches("SQL_OPERATION_");
        let observed = compared.observed_per_second;
        let (kinds, labels) = (ratio(observed, known.per_second), ratio(observed, compared.estimated_per_second));
        format!("{verb} {kinds} ({labels}) of {observed:.1}/s")
    });
    Row {
        what: format!("observed / estimated with the kinds known (by the labels alone), {model} at {multiple} x"),
        measured: format!("{}; {} requests late", told.collect::<Vec<_>>().join(", "), sent.late),
    }
}

/// Requests by kind, and those that were late, since `before`.
fn since(mut sent: Sent, before: &Sent) -> Sent {
    for (kind, count) in &mut sent.requests {
        *count -= before.requests.get(kind).copied().unwrap_or_default();
    }
    sent.late -= before.late;
    sent
}

/// The estimate for the time that was observed, with the shares that the kinds really had.
fn with_kinds(model: &str, sent: &Sent) -> v1::EstimateRatesRequest {
    let labels = |kind: &Kind| (kind.handler, kind.method, kind.code);
    let of = |kind: &Kind| {
        let wanted = labels(kind);
        sent.requests.iter().filter(move |(other, _)| labels(other) == wanted)
    };
    let several = sent.requests.iter().filter(|(kind, count)| **count > 0 && of(kind).count() > 1);
    let kind_shares = several.map(|(kind, count)| v1::KindShare {
        kind: kind.name.to_owned(),
        share: *count as f64 / of(kind).map(|(_, count)| *count as f64).sum::<f64>(),
        handler: kind.handler.to_owned(),
        method: kind.method.to_owned(),
        code: kind.code.to_owned(),
    });
    v1::EstimateRatesRequest {
        source: Some(Source::Prometheus(v1::PrometheusSource {
            window: prost_types::Duration::try_from(OBSERVED).ok(),
            ..Default::default()
        })),
        cost_model: model.to_owned(),
        cost_parameters: Some(v1::CostParameters { kind_shares: kind_shares.collect(), ..Default::default() }),
        // Requests of the mix that no model knows.
        cost_overrides: vec![v1::RequestCost {
            handler: "/gitlab/v1/repositories/{name}".to_owned(),
            method: "PATCH".to_owned(),
            select_count: 2.0,
            ..Default::default()
        }],
        ..Default::default()
    }
}
