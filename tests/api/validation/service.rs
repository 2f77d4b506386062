//! ValidateRates over gRPC: what it answers, and how it ends.

use std::time::{Duration, Instant};

use rowcount::{
    demo::postgres::PostgresOptions,
    proto::v1::{
        self, ObservationSource, SqlOperation, estimate_rates_request::Source as Wire,
        rate_service_client::RateServiceClient,
    },
};
use rustix::process::Signal;
use sqlx::{Connection, PgConnection};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

use super::{SCHEMA, run, until_read};
use crate::fleet::{Fleet, Instance, eventually, span};

async fn fleet() -> Fleet {
    let config = vec!["shared_preload_libraries = 'pg_stat_statements'".to_owned()];
    let fleet = Fleet::servers_with(PostgresOptions { config, ..Default::default() }).await;
    fleet.sql("CREATE EXTENSION pg_stat_statements").await;
    fleet.sql(SCHEMA).await;
    fleet
}

/// An instance that answers and never competes.
async fn observer(fleet: &Fleet, id: &str) -> Instance {
    fleet.instance_with(id, &[("ROWCOUNT_DATABASE_METRICS_ENABLED", "false")]).await
}

async fn client(instance: &Instance) -> RateServiceClient<Channel> {
    RateServiceClient::new(instance.channel().await)
}

/// Ten GETs of a manifest a second: 20 SELECT.
fn request(seconds: u64) -> v1::ValidateRatesRequest {
    let rate = v1::RequestRate {
        handler: "manifest".to_owned(),
        method: "get".to_owned(),
        requests_per_second: 10.0,
        code: "200".to_owned(),
        ..Default::default()
    };
    let source = Some(Wire::RequestRates(v1::RequestRates { rates: vec![rate] }));
    v1::ValidateRatesRequest {
        observe_duration: Some(span(Duration::from_secs(seconds))),
        estimate: Some(v1::EstimateRatesRequest { source, ..Default::default() }),
        source: ObservationSource::Unspecified.into(),
    }
}

fn reason(status: &Status) -> (Code, String) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("an ErrorInfo: {status}"));
    (status.code(), info.reason)
}

/// Statements of ours that run now.
async fn active(fleet: &Fleet, id: &str) -> i64 {
    let sql =
        format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rowcount/{id}' AND state = 'active'");
    fleet.scalar(&sql).await
}

#[tokio::test]
async fn an_estimate_is_compared_with_what_ran_beside_an_instance_that_counts() {
    let fleet = fleet().await;
    let holder = fleet.instance("holder").await;
    fleet.holder(&[&holder]).await;
    let instance = observer(&fleet, "observer").await;
    let mut rates = client(&instance).await;
    let validated = tokio::spawn(async move { rates.validate_rates(request(4)).await });
    until_read(&fleet.postgres, "observer").await;
    let mut registry = PgConnection::connect(&fleet.postgres.url("registry")).await.unwrap();
    run(&mut registry, 60, "SELECT n FROM t").await;
    run(&mut registry, 20, "INSERT INTO log VALUES (1)").await;
    let answer = validated.await.unwrap().unwrap().into_inner();

    assert_eq!(answer.source(), ObservationSource::Statements);
    let took = Duration::try_from(answer.observe_duration.unwrap()).unwrap();
    assert!(took >= Duration::from_secs(4), "{took:?}");
    let [select, insert, update, delete] = &answer.comparisons[..] else { panic!("four: {answer:?}") };
    assert_eq!(select.operation(), SqlOperation::Select);
    assert_eq!([select.low_per_second, select.estimated_per_second, select.high_per_second], [20.0; 3]);
    assert_eq!(
        (select.observed_per_second * took.as_secs_f64()).round(),
        60.0,
        "the counts of the holder are not in it"
    );
    assert_eq!(select.ratio, Some(select.observed_per_second / 20.0));
    assert_eq!(((insert.observed_per_second * took.as_secs_f64()).round(), insert.ratio), (20.0, None));
    assert_eq!((update.observed_per_second, delete.observed_per_second), (0.0, 0.0));
    assert!(answer.warnings.iter().any(|warning| warning.contains("rowcount's own")), "{:#?}", answer.warnings);
    assert_eq!(answer.stats_reset_time, None);
}

#[tokio::test]
async fn one_runs_at_a_time_and_a_caller_that_goes_away_frees_the_turn() {
    let fleet = fleet().await;
    let instance = observer(&fleet, "observer").await;
    let (mut first, mut second) = (client(&instance).await, client(&instance).await);
    let running = tokio::spawn(async move { first.validate_rates(request(600)).await });
    until_read(&fleet.postgres, "observer").await;
    let refused = second.validate_rates(request(1)).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::ResourceExhausted, "VALIDATION_RUNNING".to_owned()));
    let delay = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(delay > Duration::from_secs(500), "as long as the other one may take: {delay:?}");

    running.abort();
    let answer = eventually("the turn is free", async || second.validate_rates(request(1)).await.ok()).await;
    assert_eq!(answer.into_inner().source(), ObservationSource::Statements);
    eventually("no statement is left", async || (active(&fleet, "observer").await == 0).then_some(())).await;
    let canceled = r#"rpc_method="rowcount.v1.RateService/ValidateRates",rpc_response_status_code="CANCELLED""#;
    assert!(instance.metrics().await.contains(canceled));
}

#[tokio::test]
async fn a_caller_that_goes_away_from_a_database_that_hangs_leaves_nothing_behind() {
    let fleet = fleet().await;
    let instance = observer(&fleet, "observer").await;
    let mut rates = client(&instance).await;
    fleet.postgres.pause();
    let hung = tokio::time::timeout(Duration::from_millis(500), rates.validate_rates(request(5))).await;
    assert!(hung.is_err(), "nothing answers");
    fleet.postgres.resume();
    eventually("no statement is left", async || (active(&fleet, "observer").await == 0).then_some(())).await;
    let answer = eventually("the turn is free", async || rates.validate_rates(request(1)).await.ok()).await;
    assert_eq!(answer.into_inner().comparisons.len(), 4);
}

#[tokio::test]
async fn an_instance_that_stops_ends_a_validation_and_is_gone_at_once() {
    let fleet = fleet().await;
    let mut instance = observer(&fleet, "observer").await;
    let mut rates = client(&instance).await;
    let running = tokio::spawn(async move { rates.validate_rates(request(600)).await });
    until_read(&fleet.postgres, "observer").await;
    let asked = Instant::now();
    instance.signal(Signal::TERM);
    let status = running.await.unwrap().unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "SHUTTING_DOWN".to_owned()), "{status}");
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(instance.exit().await.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_database_that_is_down_or_goes_down_is_unavailable() {
    let mut fleet = fleet().await;
    let instance = observer(&fleet, "observer").await;
    let mut rates = client(&instance).await;
    let mut second = rates.clone();
    let running = tokio::spawn(async move { second.validate_rates(request(3)).await });
    until_read(&fleet.postgres, "observer").await;
    fleet.postgres.stop().await.unwrap();
    for status in [running.await.unwrap().unwrap_err(), rates.validate_rates(request(1)).await.unwrap_err()] {
        assert_eq!(reason(&status), (Code::Unavailable, "DATABASE_UNAVAILABLE".to_owned()), "{status}");
        assert!(status.get_details_retry_info().is_some(), "{status}");
        assert!(status.message().starts_with("cannot connect to the database"), "{status}");
    }
    fleet.postgres.restart().await.unwrap();
    rates.validate_rates(request(1)).await.expect("and back again");
}

#[tokio::test]
async fn a_source_that_cannot_be_used_is_refused_when_it_is_asked_for() {
    let fleet = fleet().await;
    fleet.sql("DROP EXTENSION pg_stat_statements").await;
    let instance = observer(&fleet, "observer").await;
    let mut rates = client(&instance).await;
    let asked = v1::ValidateRatesRequest { source: ObservationSource::Statements.into(), ..request(1) };
    let status = rates.validate_rates(asked).await.unwrap_err();
    assert_eq!(reason(&status), (Code::FailedPrecondition, "STATEMENTS_UNAVAILABLE".to_owned()), "{status}");
    assert!(status.message().contains("run CREATE EXTENSION pg_stat_statements"), "{status}");
    let answer = rates.validate_rates(request(1)).await.unwrap().into_inner();
    assert_eq!(answer.source(), ObservationSource::TableStatistics);
    assert!(answer.warnings[0].contains("CREATE EXTENSION"), "{:#?}", answer.warnings);
}
