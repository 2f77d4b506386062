//! Counting on a real PostgreSQL: what a run can come to, and what the database never sees.

use std::time::{Duration, Instant};

use rowcount::{
    config::{DatabaseConfig, DatabaseTarget, Secret},
    counting::{Counting, Run},
    demo::postgres::PostgresServer,
    failure::FailureReason,
    query::{Method, Query, Source},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio_util::sync::CancellationToken;

mod connecting;
mod ending;
mod statistics;

const PLENTY: Duration = Duration::from_secs(30);

/// As many rows as make a mistake visible, and functions that must not get through.
const SCHEMA: &str = "
    CREATE TABLE t (n int NOT NULL);
    INSERT INTO t VALUES (1), (2), (3);
    CREATE TABLE one (n bigint NOT NULL, amount bigint);
    INSERT INTO one VALUES (1);
    CREATE FUNCTION bump() RETURNS bigint LANGUAGE sql AS 'INSERT INTO t VALUES (4) RETURNING n::bigint';
    CREATE FUNCTION shout() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hunter2'; END $$;
";

fn config(url: &str, connections: usize) -> DatabaseConfig {
    let target = DatabaseTarget::Url(Secret::Inline(url.to_owned()));
    DatabaseConfig { target, connect_timeout: Duration::from_secs(5), connections }
}

fn query(source: Source, builtin: bool) -> Query {
    Query {
        name: "q".parse().unwrap(),
        description: String::new(),
        source,
        method: Method::Auto,
        cap: None,
        interval: PLENTY,
        timeout: Duration::from_secs(20),
        builtin,
    }
}

fn sql(text: &str) -> Query {
    query(Source::Statement { sql: text.to_owned(), table: None }, false)
}

fn table(name: &str) -> Query {
    query(Source::Table(name.to_owned()), true)
}

async fn run(counting: &Counting, query: &Query) -> Run {
    counting.count(query, PLENTY, &CancellationToken::new()).await
}

async fn value(counting: &Counting, query: &Query) -> i64 {
    run(counting, query).await.outcome.unwrap().value
}

/// The reason and the message of a failure; both must be free of what only the user may know.
async fn failure(counting: &Counting, query: &Query) -> (FailureReason, String) {
    let failure = run(counting, query).await.outcome.unwrap_err();
    assert!(!failure.message.contains("hunter2"), "{failure}");
    (failure.reason, failure.message)
}

/// Backends of ours of which `condition` holds.
async fn backends(admin: &mut PgConnection, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'rowcount/%' AND {condition}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(admin).await.unwrap()
}

/// How long it took until none of our backends fulfilled `condition`.
async fn until_none(admin: &mut PgConnection, condition: &str) -> Duration {
    let begun = Instant::now();
    while backends(admin, condition).await > 0 {
        assert!(begun.elapsed() < PLENTY, "still there: {condition}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

async fn until_some(admin: &mut PgConnection, condition: &str, number: i64) {
    let begun = Instant::now();
    while backends(admin, condition).await < number {
        assert!(begun.elapsed() < PLENTY, "not there: {condition}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn started() -> (PostgresServer, String, PgConnection) {
    let postgres = PostgresServer::start().await.unwrap();
    let url = postgres.create_database("registry").await.unwrap();
    postgres.execute("registry", SCHEMA).await.unwrap();
    let admin = PgConnection::connect(&url).await.unwrap();
    (postgres, url, admin)
}

#[tokio::test]
async fn one_row_of_one_integer_is_a_count() {
    let (_postgres, url, mut admin) = started().await;
    let counting = Counting::new(config(&url, 2), "a");
    for (text, want) in [
        ("SELECT count(*) FROM t", 3),
        (" SELECT count(*) FROM t ; \n;", 3),
        ("SELECT count(*) FROM t -- all of them", 3),
        ("SELECT 7::smallint AS counted", 7),
        ("SELECT max(n) FROM t", 3),
        ("VALUES (-5)", -5),
        ("WITH few AS (SELECT FROM t LIMIT 2) SELECT count(*) FROM few", 2),
    ] {
        assert_eq!(value(&counting, &sql(text)).await, want, "{text}");
    }
    assert_eq!(value(&counting, &table("t")).await, 3);
    assert_eq!(value(&counting, &table("public.t")).await, 3);
    assert_eq!(backends(&mut admin, "true").await, 1, "one connection did it all");

    let reading = run(&counting, &table("t")).await.outcome.unwrap();
    assert_eq!((reading.method, reading.lower_bound, reading.upper_bound), (Method::Exact, Some(3), Some(3)));
}

#[tokio::test]
async fn whatever_else_comes_back_is_told_and_is_never_a_number() {
    use FailureReason::{Sql, TableMissing, WrongResult};
    let (_postgres, url, mut admin) = started().await;
    let counting = Counting::new(config(&url, 1), "a");
    for (text, reason, message) in [
        ("SELECT sum(amount)::bigint FROM one", WrongResult, "got NULL, want one row of one integer"),
        ("SELECT n FROM t WHERE n > 9", WrongResult, "got no row, want"),
        ("SELECT n FROM t", WrongResult, "got several rows, want"),
        ("SELECT generate_series(1, 1000000)", WrongResult, "got several rows, want"),
        ("SELECT n, n FROM one", WrongResult, "got 2 columns, want"),
        ("SELECT FROM one", WrongResult, "got no column, want"),
        ("SELECT sum(n) FROM one", WrongResult, "got a value of type numeric; cast it to bigint, want"),
        ("SELECT 'hunter2'", WrongResult, "got a value of type text; cast it to bigint, want"),
        ("SELECT n + 9223372036854775807 FROM one", WrongResult, "out of its type's range (SQLSTATE 22003)"),
        ("SELECT 'hunter2'::int", Sql, "the server's log has the message (SQLSTATE 22P02)"),
        ("SELECT shout()", Sql, "the server's log has the message (SQLSTATE P0001)"),
        ("SELEC 'hunter2'", Sql, "syntax error at character 7 (SQLSTATE 42601)"),
        ("SELECT n FROM one WHERE 'x' 'hunter2'", Sql, "syntax error at character 29 (SQLSTATE 42601)"),
        ("SELECT 1; SELECT 2", Sql, "syntax error at character 9 (SQLSTATE 42601)"),
        ("BEGIN", Sql, "syntax error at character 7"),
        ("SET statement_timeout = 0", Sql, "syntax error at character 23"),
        ("SELECT m FROM one", Sql, "column \"m\" does not exist (SQLSTATE 42703)"),
        ("SELECT count(*) FROM missing", TableMissing, "relation \"missing\" does not exist (SQLSTATE 42P01)"),
        ("SELECT bump()", Sql, "read-only transaction (SQLSTATE 25006)"),
        ("WITH w AS (DELETE FROM t RETURNING 1) SELECT count(*) FROM w", Sql, "(SQLSTATE 0A000)"),
    ] {
        let got = failure(&counting, &sql(text)).await;
        assert!(got.0 == reason && got.1.contains(message), "{text}: {got:?}");
    }
    assert_eq!(failure(&counting, &table("missing")).await.0, TableMissing);
    assert_eq!(value(&counting, &table("t")).await, 3, "nothing was written");
    assert_eq!(backends(&mut admin, "true").await, 1);
    assert_eq!(counting.state().up, Some(true), "a refused statement is an answer");
}

#[tokio::test]
async fn what_the_role_may_not_see_is_no_zero() {
    let (postgres, _, _admin) = started().await;
    let setup = "CREATE ROLE reader LOGIN; GRANT SELECT ON t TO reader;
        CREATE POLICY few ON t USING (n < 2); ALTER TABLE t ENABLE ROW LEVEL SECURITY";
    postgres.execute("registry", setup).await.unwrap();
    let url = format!("postgres://reader:hunter2@127.0.0.1:{}/registry", postgres.port());
    let counting = Counting::new(config(&url, 1), "a");

    let (reason, message) = failure(&counting, &table("one")).await;
    assert_eq!((reason, &*message), (FailureReason::Permission, "permission denied for table one (SQLSTATE 42501)"));
    let (reason, message) = failure(&counting, &table("t")).await;
    assert!(reason == FailureReason::Permission && message.contains("row-level security"), "{message}");
}

#[tokio::test]
async fn a_broken_column_fails_until_it_is_repaired() {
    let (postgres, url, mut admin) = started().await;
    let counting = Counting::new(config(&url, 1), "a");
    let query = sql("SELECT max(n) FROM t");
    assert_eq!(value(&counting, &query).await, 3);
    postgres.execute("registry", "ALTER TABLE t DROP COLUMN n").await.unwrap();
    assert_eq!(failure(&counting, &query).await.0, FailureReason::Sql);
    postgres.execute("registry", "ALTER TABLE t ADD COLUMN n bigint DEFAULT 8").await.unwrap();
    assert_eq!(value(&counting, &query).await, 8);
    assert_eq!(backends(&mut admin, "true").await, 1);
}

#[tokio::test]
async fn the_time_of_a_count_is_that_of_its_snapshot_and_not_of_its_end() {
    let (_postgres, url, _admin) = started().await;
    let counting = Counting::new(config(&url, 1), "a");
    let Run { outcome, attempt_time, duration } =
        run(&counting, &sql("SELECT count(*) FROM t, pg_sleep(0.5) AS s")).await;
    let observe_time = outcome.unwrap().observe_time;
    assert!(observe_time >= attempt_time);
    assert!(observe_time <= attempt_time + duration - Duration::from_millis(450));
}

#[tokio::test]
async fn the_planner_estimates_a_table_with_its_partitions() {
    let (postgres, url, _admin) = started().await;
    let setup = "CREATE TABLE parts (n int) PARTITION BY RANGE (n);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
        CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (1000) TO (5000);
        INSERT INTO parts SELECT generate_series(0, 4999); ANALYZE parts";
    postgres.execute("registry", setup).await.unwrap();
    let counting = Counting::new(config(&url, 1), "a");
    let cancel = CancellationToken::new();
    assert_eq!(counting.estimate_rows("parts", PLENTY, &cancel).await.unwrap(), 5000);
    let missing = counting.estimate_rows("missing", PLENTY, &cancel).await.unwrap_err();
    assert_eq!(missing.reason, FailureReason::TableMissing);
}

#[tokio::test]
async fn every_session_is_bound_by_our_settings() {
    let (_postgres, url, _admin) = started().await;
    let url = format!("{url}?options=-c%20default_transaction_read_only%3Doff");
    let counting = Counting::new(config(&url, 1), "a");
    for (name, setting) in [
        ("application_name", "rowcount/a"),
        ("client_connection_check_interval", "200"),
        ("default_transaction_read_only", "on"),
        ("idle_in_transaction_session_timeout", "5000"),
        ("idle_session_timeout", "60000"),
        ("lock_timeout", "500"),
        ("max_parallel_workers_per_gather", "0"),
        ("row_security", "off"),
        ("statement_timeout", "20000"),
        ("stats_fetch_consistency", "cache"),
    ] {
        let text = format!("SELECT count(*) FROM pg_settings WHERE name = '{name}' AND setting = '{setting}'");
        assert_eq!(value(&counting, &sql(&text)).await, 1, "{name}");
    }
}
