//! Estimates against what ran, on a real PostgreSQL in which the test itself runs known numbers of statements.

use std::time::{Duration, Instant};

use rowcount::{
    config::{DatabaseConfig, DatabaseTarget, Secret},
    counting::{Counting, activity::Unusable},
    demo::postgres::{PostgresOptions, PostgresServer},
    observer::{Error, Observer},
    query::{Method, Query, Source as QuerySource},
    rates::validation::{Observation, Rates, Source},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::fleet::eventually;

mod service;

/// Tables of a registry, as far as its background reads them, and one with a trigger.
const SCHEMA: &str = "
    CREATE TABLE t (n int PRIMARY KEY);
    CREATE TABLE log (n int);
    CREATE TABLE gc_blob_review_queue (digest text, review_after timestamptz);
    CREATE TABLE schema_migrations (id text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO log VALUES (OLD.n); RETURN NULL; END $$;
    CREATE TRIGGER note AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
";

/// A server that counts statements, with the extension in both databases: what runs in `postgres` is no matter.
async fn server(track: &str) -> PostgresServer {
    let config = vec![
        "shared_preload_libraries = 'pg_stat_statements'".to_owned(),
        format!("pg_stat_statements.track = '{track}'"),
    ];
    let postgres = PostgresServer::start_with(PostgresOptions { config, ..Default::default() }).await.unwrap();
    postgres.create_database("registry").await.unwrap();
    for dbname in ["registry", "postgres"] {
        postgres.execute(dbname, "CREATE EXTENSION pg_stat_statements").await.unwrap();
    }
    postgres.execute("registry", SCHEMA).await.unwrap();
    postgres
}

fn config(url: &str) -> DatabaseConfig {
    let target = DatabaseTarget::Url(Secret::Inline(url.to_owned()));
    DatabaseConfig { target, connect_timeout: Duration::from_secs(5), connections: 1 }
}

fn observer(url: &str) -> Observer {
    Observer { counting: Some(Counting::new(config(url), "observer")), prometheus: None }
}

/// Observes while `work` runs, which begins after the first reading.
async fn while_running(
    postgres: &PostgresServer,
    source: Option<Source>,
    span: Duration,
    work: impl Future<Output = ()>,
) -> Observation {
    let observer = observer(&postgres.url("registry"));
    let observed = tokio::spawn(async move { observer.observe(source, span).await });
    until_read(postgres, "observer").await;
    let began = Instant::now();
    work.await;
    assert!(began.elapsed() < span, "the work fits into the span: {:?}", began.elapsed());
    observed.await.unwrap().unwrap()
}

/// Waits until `instance` has read the statistics for the first time; from another database, which nobody observes.
async fn until_read(postgres: &PostgresServer, instance: &str) {
    let mut admin = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rowcount/{instance}' AND state = 'idle' \
         AND (query LIKE '%s.queryid%' OR query LIKE '%pg_stat_user_tables%')"
    );
    eventually("the first reading is over", async || {
        let read: i64 = sqlx::query_scalar(AssertSqlSafe(&*sql)).fetch_one(&mut admin).await.unwrap();
        (read == 1).then_some(())
    })
    .await;
}

async fn run(connection: &mut PgConnection, times: usize, sql: &str) {
    for _ in 0..times {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await.unwrap();
    }
}

/// How many statements, or rows, of each operation were observed.
fn numbers(observed: &Observation) -> Vec<f64> {
    let Rates::ByOperation(rates) = &observed.rates else { panic!("operations are told") };
    let number = |rate: f64| rate * observed.span.as_secs_f64();
    rates.iter().map(|(_, rate)| (number(*rate) * 1e6).round() / 1e6).collect()
}

/// The number in the one warning with these words.
fn number_in(observed: &Observation, words: &str) -> f64 {
    let warning = observed.warnings.iter().find(|warning| warning.contains(words));
    let warning = warning.unwrap_or_else(|| panic!("{words} in {:#?}", observed.warnings));
    let rate = warning.split(' ').find_map(|word| word.parse::<f64>().ok()).unwrap();
    (rate * observed.span.as_secs_f64()).round()
}

#[tokio::test]
async fn exactly_the_statements_of_requests_are_observed() {
    let postgres = server("all").await;
    let url = postgres.url("registry");
    let mut registry = PgConnection::connect(&url).await.unwrap();
    // Before the first reading: of no interest.
    run(&mut registry, 3, "SELECT n FROM t").await;
    let other = Counting::new(config(&url), "other");
    let second = Duration::from_secs(1);
    let query = Query {
        name: "t".parse().unwrap(),
        description: String::new(),
        source: QuerySource::Table("t".to_owned()),
        method: Method::Exact,
        cap: None,
        interval: second,
        timeout: 10 * second,
        builtin: false,
    };
    let observed = while_running(&postgres, None, 5 * second, async {
        run(&mut registry, 30, "SELECT n FROM t").await;
        run(&mut registry, 1, "INSERT INTO t SELECT generate_series(1, 100)").await;
        run(&mut registry, 19, "/* who */ insert into log values (1)").await;
        run(&mut registry, 10, "UPDATE t SET n = n WHERE n = 1").await;
        run(&mut registry, 2, "DELETE FROM t WHERE n = (SELECT max(n) FROM t)").await;
        run(&mut registry, 3, "WITH d AS (DELETE FROM log WHERE n = 7 RETURNING n) SELECT count(*) FROM d").await;
        for _ in 0..4 {
            registry.begin().await.unwrap().commit().await.unwrap();
        }
        // The registry's own: its row counts and a poll of its garbage collector.
        run(&mut registry, 5, "SELECT COUNT(*) FROM gc_blob_review_queue WHERE review_after < NOW()").await;
        run(&mut registry, 2, "SELECT COUNT(*) FROM schema_migrations").await;
        let poll = "SELECT digest FROM gc_blob_review_queue WHERE review_after < NOW() ORDER BY review_after \
                    FOR UPDATE SKIP LOCKED LIMIT 1";
        run(&mut registry, 4, poll).await;
        for _ in 0..6 {
            assert_eq!(other.count(&query, 10 * second, &CancellationToken::new()).await.outcome.unwrap().value, 98);
        }
    })
    .await;
    assert_eq!(observed.source, Source::Statements);
    assert_eq!(numbers(&observed), [30.0, 20.0, 10.0, 5.0], "{:#?}", observed.warnings);
    assert!(observed.span >= 5 * second && observed.reset_time.is_none());
    assert_eq!(number_in(&observed, "registry's background"), 11.0);
    assert_eq!(number_in(&observed, "begin, commit and rollback"), 8.0);
    assert_eq!(number_in(&observed, "inside triggers"), 2.0);
    // Six counts, the settings of that session, and what the observer itself asked before its second reading.
    assert!(number_in(&observed, "rowcount's own") >= 7.0);
}

#[tokio::test]
async fn a_reset_within_the_time_is_told_and_only_what_ran_since_counts() {
    let postgres = server("top").await;
    let mut registry = PgConnection::connect(&postgres.url("registry")).await.unwrap();
    let observed = while_running(&postgres, Some(Source::Statements), Duration::from_secs(3), async {
        run(&mut registry, 40, "SELECT n FROM t").await;
        postgres.execute("postgres", "SELECT pg_stat_statements_reset()").await.unwrap();
        run(&mut registry, 15, "SELECT n FROM t").await;
        run(&mut registry, 5, "INSERT INTO log VALUES (1)").await;
    })
    .await;
    assert_eq!(numbers(&observed), [15.0, 5.0, 0.0, 0.0]);
    assert!(observed.reset_time.is_some() && observed.span < Duration::from_secs(3), "{:?}", observed.span);
    assert!(observed.warnings[0].starts_with("pg_stat_statements was reset at "), "{:#?}", observed.warnings);
}

#[tokio::test]
async fn statements_that_leave_the_statistics_are_told() {
    let postgres = server("top").await;
    let mut registry = PgConnection::connect(&postgres.url("registry")).await.unwrap();
    run(&mut registry, 40, "SELECT n FROM t").await;
    run(&mut registry, 40, "UPDATE t SET n = n").await;
    let observed = while_running(&postgres, Some(Source::Statements), Duration::from_secs(3), async {
        // Not all of them: that would be a reset.
        let reset = "SELECT pg_stat_statements_reset(userid, dbid, queryid) FROM pg_stat_statements \
                     WHERE query LIKE '%FROM t' OR query LIKE 'UPDATE%'";
        postgres.execute("postgres", reset).await.unwrap();
        run(&mut registry, 15, "SELECT n FROM t").await;
    })
    .await;
    assert_eq!(numbers(&observed), [15.0, 0.0, 0.0, 0.0]);
    let told = observed.warnings.join("\n");
    assert!(told.contains("dropped statements meanwhile, 1 of those that it had"), "{told}");
    assert!(told.contains("1 statements were dropped from pg_stat_statements and came back"), "{told}");
}

#[tokio::test]
async fn without_pg_stat_statements_the_next_source_is_taken_and_told_why() {
    let postgres = server("top").await;
    postgres.create_database("bare").await.unwrap();
    postgres.create_database("off").await.unwrap();
    postgres.execute("off", "CREATE EXTENSION pg_stat_statements").await.unwrap();
    let setup = "CREATE ROLE reader LOGIN; CREATE ROLE monitor LOGIN; GRANT pg_read_all_stats TO monitor; \
                 ALTER DATABASE off SET pg_stat_statements.track = 'none'";
    postgres.execute("registry", setup).await.unwrap();
    let as_role = |role: &str| postgres.url("registry").replace("postgres@", &format!("{role}@"));

    let second = Duration::from_secs(1);
    let unusable = async |url: &str| match observer(url).observe(Some(Source::Statements), second).await {
        Err(Error::Unusable(unusable)) => unusable,
        other => panic!("{other:?}"),
    };
    let hidden = unusable(&as_role("reader")).await;
    assert_eq!(hidden, Unusable::Hidden("reader".to_owned()));
    assert!(hidden.to_string().ends_with("run GRANT pg_read_all_stats TO reader"), "{hidden}");
    assert_eq!(unusable(&postgres.url("bare")).await, Unusable::Missing("bare".to_owned()));
    assert_eq!(unusable(&postgres.url("off")).await, Unusable::Off);
    let plain = PostgresServer::start().await.unwrap();
    plain.execute("postgres", "CREATE EXTENSION pg_stat_statements").await.unwrap();
    assert_eq!(unusable(&plain.url("postgres")).await, Unusable::NotLoaded);

    let observed = observer(&as_role("monitor")).observe(None, second).await.unwrap();
    assert_eq!(observed.source, Source::Statements, "that right is enough");
    let observed = observer(&postgres.url("bare")).observe(None, second).await.unwrap();
    assert_eq!(observed.source, Source::TableStatistics);
    let want = [
        "not observed by pg_stat_statements: pg_stat_statements is not installed in database bare: run CREATE EXTENSION \
         pg_stat_statements there",
        "not observed by the registry's query counter in Prometheus: no Prometheus is configured: set \
         rates.prometheus.url",
    ];
    assert_eq!(observed.warnings[..2], want);
}

#[tokio::test]
async fn table_statistics_tell_rows() {
    let postgres = PostgresServer::start().await.unwrap();
    let url = postgres.create_database("registry").await.unwrap();
    postgres.execute("registry", SCHEMA).await.unwrap();
    let observed = while_running(&postgres, Some(Source::TableStatistics), Duration::from_secs(4), async {
        let mut registry = PgConnection::connect(&url).await.unwrap();
        run(&mut registry, 1, "INSERT INTO t SELECT generate_series(1, 100)").await;
        run(&mut registry, 1, "UPDATE log SET n = 1").await;
        run(&mut registry, 1, "UPDATE t SET n = -n").await;
        run(&mut registry, 1, "DELETE FROM t WHERE n < -90").await;
        // A session tells the rest when it ends.
        registry.close().await.unwrap();
    })
    .await;
    // Ten rows more by the trigger; the rows that an index finds depend on the plans.
    assert_eq!(numbers(&observed)[1..], [110.0, 100.0, 10.0]);
    assert!(observed.warnings[0].contains("rows, not statements"), "{:#?}", observed.warnings);
}
