//! What is wrong with one query stays with that query: it is told, counted, never a number, and over with its cause.

#![allow(clippy::unwrap_used, reason = "all of it is test code, also what is no test itself")]

use std::time::{Duration, Instant, SystemTime};

use rowcount::proto::v1::{Collection, RowCount, TriggerCollectionRequest, collection::State};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tonic::Code;
use tonic_types::pb;

use crate::fleet::{Fleet, Instance, eventually, sample, told};

/// Of every query here that does not say otherwise.
const INTERVAL: Duration = Duration::from_millis(500);

/// Longer than any test: such a query runs when the instance starts and when it is triggered.
const NEVER: &str = "1h";

/// Backends of ours that run or wait for something.
const BUSY: &str = "application_name LIKE 'rowcount/%' AND state <> 'idle'";

/// A fleet without built-ins whose database has a table `t` of three rows and a table `other` of two.
async fn fleet() -> Fleet {
    let mut fleet = Fleet::servers().await;
    fleet.set("ROWCOUNT_CATALOG", "none");
    let setup = "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2), (3);
        CREATE TABLE other (n int); INSERT INTO other VALUES (1), (2)";
    fleet.sql(setup).await;
    fleet
}

async fn admin(fleet: &Fleet) -> PgConnection {
    PgConnection::connect(&fleet.postgres.url("registry")).await.unwrap()
}

async fn backends(admin: &mut PgConnection, which: &'static str) -> i64 {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE {which}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(admin).await.unwrap()
}

async fn trigger(instance: &Instance, names: &[&str]) -> Collection {
    let request = TriggerCollectionRequest {
        query_names: names.iter().map(ToString::to_string).collect(),
        wait_timeout: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
        ..Default::default()
    };
    let answer = instance.client().await.trigger_collection(request).await.unwrap().into_inner();
    answer.collection.unwrap()
}

fn failures(page: &str, name: &str, reason: &str) -> f64 {
    let series = format!(r#"rowcount_query_failures_total{{query_name="{name}",reason="{reason}"}}"#);
    sample(page, &series).unwrap_or_else(|| panic!("no {series}"))
}

fn rows(page: &str, name: &str) -> Option<f64> {
    sample(page, &format!(r#"registry_database_rows{{query_name="{name}"}}"#))
}

fn skipped(page: &str, name: &str) -> f64 {
    sample(page, &format!(r#"rowcount_query_skipped_total{{query_name="{name}"}}"#)).unwrap()
}

fn observed(count: &RowCount) -> SystemTime {
    count.observe_time.unwrap().try_into().unwrap()
}

/// A count that succeeded, as soon as there is one.
async fn counted(instance: &Instance, name: &str) -> RowCount {
    eventually(&format!("{name} is counted"), async || {
        Some(instance.count(name).await).filter(|count| count.row_count.is_some() && count.error.is_none())
    })
    .await
}

/// A count whose last run failed by its own fault, as soon as there is one: where the machine was too slow for the lease
/// the run was cancelled, and the next one tells.
async fn failed(instance: &Instance, name: &str) -> RowCount {
    let is_its_own = |error: &pb::Status| told(error).1 != "CANCELLED";
    eventually(&format!("{name} fails"), async || {
        Some(instance.count(name).await).filter(|count| count.error.as_ref().is_some_and(is_its_own))
    })
    .await
}

/// The mean time between counts of `name` over the next `intervals`.
async fn pace(instance: &Instance, name: &str, intervals: u32) -> Duration {
    let first = observed(&counted(instance, name).await);
    let (mut last, mut seen) = (first, 0);
    eventually(&format!("{intervals} counts of {name}"), async || {
        let now = observed(&instance.count(name).await);
        seen += u32::from(now > last);
        last = last.max(now);
        (seen >= intervals).then_some(())
    })
    .await;
    last.duration_since(first).unwrap() / intervals
}

#[tokio::test]
async fn a_locked_table_fails_alone_leaves_nobody_waiting_and_is_counted_again_when_it_is_free() {
    let mut fleet = fleet().await;
    fleet.set("ROWCOUNT_QUERIES_LOCKED_TABLE", "t");
    fleet.set("ROWCOUNT_QUERIES_LOCKED_INTERVAL", NEVER);
    fleet.set("ROWCOUNT_QUERIES_FREE_TABLE", "other");
    let instance = fleet.instance("alice").await;
    let before = counted(&instance, "locked").await;
    let mut admin = admin(&fleet).await;
    let mut owner = self::admin(&fleet).await;
    let mut lock = owner.begin().await.unwrap();
    sqlx::raw_sql("INSERT INTO t VALUES (4); LOCK TABLE t IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();

    let stuck = async {
        for _ in 0..4 {
            let collection = trigger(&instance, &["locked"]).await;
            assert_eq!(
                (collection.state(), &*collection.failed_query_names),
                (State::Failed, &["locked".to_owned()][..])
            );
            let waiting = backends(&mut admin, "wait_event_type = 'Lock'").await;
            assert_eq!(waiting, 0, "whoever queued behind us would wait for us");
        }
    };
    let (pace, ()) = tokio::join!(pace(&instance, "free", 5), stuck);
    println!("counted beside a locked table every {pace:?}, want {INTERVAL:?}");
    assert!(pace < 2 * INTERVAL, "{pace:?}");

    let count = instance.count("locked").await;
    let (code, reason, message) = told(count.error.as_ref().unwrap());
    assert!(
        matches!((code, &*reason), (Code::Aborted, "LOCKED") | (Code::DeadlineExceeded, "TIMEOUT")),
        "{reason}: {message}"
    );
    assert_eq!((count.row_count, count.observe_time), (before.row_count, before.observe_time));
    let page = instance.metrics().await;
    assert_eq!(failures(&page, "locked", "locked") + failures(&page, "locked", "timeout"), 4.0);

    lock.commit().await.unwrap();
    assert_eq!(trigger(&instance, &["locked"]).await.state(), State::Succeeded);
    let count = instance.count("locked").await;
    assert_eq!((count.row_count, count.error), (Some(4), None));
}

#[tokio::test]
async fn a_query_that_runs_into_its_timeout_ends_on_the_server() {
    let mut fleet = fleet().await;
    fleet.set("ROWCOUNT_QUERIES_SLOW_SQL", "SELECT count(*) FROM t, pg_sleep(60)");
    fleet.set("ROWCOUNT_QUERIES_SLOW_TIMEOUT", "300ms");
    fleet.set("ROWCOUNT_QUERIES_SLOW_INTERVAL", NEVER);
    let instance = fleet.instance("alice").await;
    failed(&instance, "slow").await;
    assert_eq!(trigger(&instance, &["slow"]).await.state(), State::Failed);
    assert_eq!(backends(&mut admin(&fleet).await, BUSY).await, 0, "it goes on without us");

    let count = instance.count("slow").await;
    let (code, reason, message) = told(&count.error.unwrap());
    assert_eq!((code, &*reason), (Code::DeadlineExceeded, "TIMEOUT"));
    assert!(message.starts_with("not done within 300ms"), "{message}");
    assert_eq!((count.row_count, count.observe_time), (None, None));
    let took = Duration::try_from(count.query_duration.unwrap()).unwrap();
    println!("a timeout of 300 ms took {took:?}");
    assert!((Duration::from_millis(300)..Duration::from_secs(2)).contains(&took), "{took:?}");
    let page = instance.metrics().await;
    assert_eq!((failures(&page, "slow", "timeout"), rows(&page, "slow")), (2.0, None));
}

#[tokio::test]
async fn a_broken_schema_makes_old_values_stale_and_a_repaired_one_makes_new_ones() {
    let mut fleet = fleet().await;
    fleet.set("ROWCOUNT_QUERIES_COLUMN_SQL", "SELECT max(n) FROM t");
    fleet.set("ROWCOUNT_QUERIES_RENAMED_TABLE", "other");
    fleet.set("ROWCOUNT_QUERIES_TAGS_ENABLED", "true");
    fleet.set("ROWCOUNT_COLLECTION_STALEAFTER", "2");
    fleet.sql("CREATE TABLE tags (n int)").await;
    let instance = fleet.instance("alice").await;
    assert_eq!(counted(&instance, "column").await.row_count, Some(3));
    assert_eq!(counted(&instance, "renamed").await.row_count, Some(2));
    assert_eq!(counted(&instance, "tags").await.row_count, Some(0), "an empty table has no rows, and that is known");

    fleet.sql("ALTER TABLE t RENAME n TO m; ALTER TABLE other RENAME TO another; DROP TABLE tags").await;
    for (name, value, code, reason) in [
        ("column", 3, Code::FailedPrecondition, "SQL"),
        ("renamed", 2, Code::NotFound, "TABLE_MISSING"),
        ("tags", 0, Code::NotFound, "TABLE_MISSING"),
    ] {
        let broken = failed(&instance, name).await;
        let got = told(broken.error.as_ref().unwrap());
        assert_eq!((got.0, &*got.1), (code, reason), "{got:?}");
        let at = observed(&broken);
        let stale = eventually("its value is stale", async || {
            let count = instance.count(name).await;
            let age = at.elapsed().unwrap();
            // Asked before the age was taken: what is fresh then was fresh when it was answered.
            assert!(count.stale || age < 4 * INTERVAL, "{name}: shown as fresh at the age of {age:?}");
            count.stale.then_some(count)
        })
        .await;
        assert!(at.elapsed().unwrap() > 2 * INTERVAL, "stale before its time");
        assert_eq!((stale.row_count, observed(&stale)), (Some(value), at), "the last value, with its age");
        assert_eq!(rows(&instance.metrics().await, name), None, "{name} is still exported");
    }
    let page = instance.metrics().await;
    assert!(failures(&page, "column", "sql") >= 1.0, "{page}");
    assert!(failures(&page, "renamed", "table_missing") >= 1.0, "{page}");
    assert_eq!(failures(&page, "tags", "table_missing"), 0.0, "a built-in without its table is no failure");
    let collection = trigger(&instance, &[]).await;
    assert_eq!(collection.state(), State::PartiallySucceeded);
    assert_eq!(collection.failed_query_names, ["column", "renamed"]);

    // One transaction: no count sees the repaired schema with the old rows.
    let repair = "ALTER TABLE t RENAME m TO n; ALTER TABLE another RENAME TO other; CREATE TABLE tags (n int);
        INSERT INTO t VALUES (9); INSERT INTO other VALUES (3); INSERT INTO tags VALUES (1)";
    fleet.sql(repair).await;
    for (name, value) in [("column", 9), ("renamed", 3), ("tags", 1)] {
        let count = counted(&instance, name).await;
        assert_eq!((count.row_count, count.stale), (Some(value), false), "{name}");
        assert_eq!(rows(&instance.metrics().await, name), Some(value as f64));
    }
    assert_eq!(trigger(&instance, &[]).await.state(), State::Succeeded);
}

#[tokio::test]
async fn whatever_is_no_count_is_told_under_its_reason_and_is_never_a_number() {
    use Code::{FailedPrecondition, PermissionDenied};
    let mut fleet = fleet().await;
    fleet.sql("CREATE TABLE hidden (n int); CREATE ROLE reader LOGIN; GRANT SELECT ON t, other TO reader").await;
    let wrong = [
        ("null", "SELECT max(n) FROM t WHERE n > 9", FailedPrecondition, "WRONG_RESULT", "got NULL"),
        ("text", "SELECT 'seven'", FailedPrecondition, "WRONG_RESULT", "got a value of type text"),
        ("none", "SELECT n FROM t WHERE n > 9", FailedPrecondition, "WRONG_RESULT", "got no row"),
        ("two", "SELECT n FROM other", FailedPrecondition, "WRONG_RESULT", "got several rows"),
        ("over", "SELECT n + 9223372036854775807 FROM t WHERE n = 1", FailedPrecondition, "WRONG_RESULT", "out of its"),
        ("numeric", "SELECT 1e30::numeric", FailedPrecondition, "WRONG_RESULT", "got a value of type numeric"),
        ("float", "SELECT 2.0::float8", FailedPrecondition, "WRONG_RESULT", "got a value of type float8"),
        ("columns", "SELECT 1, 2", FailedPrecondition, "WRONG_RESULT", "got 2 columns"),
        ("broken", "SELEC 1", FailedPrecondition, "SQL", "syntax error"),
        ("writes", "WITH w AS (DELETE FROM t RETURNING 1) SELECT count(*) FROM w", FailedPrecondition, "SQL", "0A000"),
        ("denied", "SELECT count(*) FROM hidden", PermissionDenied, "PERMISSION", "permission denied"),
    ];
    fleet.set("ROWCOUNT_DATABASE_URL", fleet.postgres.url("registry").replace("postgres@", "reader@"));
    fleet.set("ROWCOUNT_QUERIES_GOOD_TABLE", "t");
    for (name, sql, ..) in wrong {
        let variable = format!("ROWCOUNT_QUERIES_{}_SQL", name.to_uppercase());
        fleet.set(variable.leak(), sql);
    }
    let instance = fleet.instance("alice").await;
    for (name, sql, code, reason, message) in wrong {
        let count = failed(&instance, name).await;
        let (got_code, got_reason, got) = told(count.error.as_ref().unwrap());
        assert_eq!((got_code, &*got_reason), (code, reason), "{sql}");
        assert!(got.contains(message), "{sql}: {got}");
        assert_eq!(
            (count.row_count, count.observe_time, count.lower_bound, count.upper_bound),
            (None, None, None, None)
        );
        let page = instance.metrics().await;
        assert!(failures(&page, name, &reason.to_lowercase()) >= 1.0, "{page}");
        assert_eq!(rows(&page, name), None, "{sql}");
    }
    assert_eq!(counted(&instance, "good").await.row_count, Some(3), "and nothing was deleted");

    let names: Vec<_> = wrong.iter().map(|(name, ..)| *name).collect();
    let collection = trigger(&instance, &[&names[..], &["good"]].concat()).await;
    assert_eq!(collection.state(), State::PartiallySucceeded);
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(collection.failed_query_names, sorted);
    let collection = trigger(&instance, &names).await;
    assert_eq!((collection.state(), collection.failed_query_names.len()), (State::Failed, names.len()));
    fleet.set("ROWCOUNT_QUERIES_SEVERAL_SQL", "SELECT 1; SELECT 2");
    let refused = fleet.run(&["check"], &[]).await;
    assert_eq!(refused.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("queries.several.sql: holds more than one statement"));

    fleet.sql("GRANT SELECT ON hidden TO reader").await;
    assert_eq!(counted(&instance, "denied").await.row_count, Some(0));
}

#[tokio::test]
async fn a_slow_query_skips_its_own_ticks_and_delays_nobody() {
    let mut fleet = fleet().await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "20s");
    fleet.set("ROWCOUNT_DATABASE_METRICS_INTERVAL", "200ms");
    fleet.set("ROWCOUNT_DATABASE_CONNECTIONS", "2");
    fleet.set("ROWCOUNT_QUERIES_SLOW_SQL", "SELECT count(*) FROM t, pg_sleep(3)");
    fleet.set("ROWCOUNT_QUERIES_QUICK_TABLE", "other");
    fleet.set("ROWCOUNT_QUERIES_FAST_TABLE", "t");
    let instance = fleet.instance("alice").await;
    let mut admin = admin(&fleet).await;
    let mut other = self::admin(&fleet).await;
    let began = Instant::now();
    let ours = "application_name LIKE 'rowcount/%'";
    // Two runs of the slow one in a row.
    let watch = async {
        let (mut most, mut looks, mut stuck) = (0, 0, 0);
        eventually("two slow runs", async || {
            most = most.max(backends(&mut admin, ours).await);
            stuck +=
                backends(&mut other, "query LIKE '%pg_sleep(3)%' AND state = 'active' AND pid <> pg_backend_pid()")
                    .await;
            looks += 1;
            let page = instance.metrics().await;
            let runs = sample(&page, r#"registry_database_queries_total{name="count_slow"}"#);
            (runs >= Some(2.0)).then_some((most, looks, stuck))
        })
        .await
    };
    let ((most, looks, stuck), pace) = tokio::join!(watch, pace(&instance, "quick", 10));
    let page = instance.metrics().await;
    println!(
        "beside a query of 3 s counted every {pace:?}, want 200 ms; {most} backends at most in {looks} looks, {} ticks \
         skipped in {:?}",
        skipped(&page, "slow"),
        began.elapsed()
    );
    assert!(stuck > 0, "the slow query was never seen");
    assert!(most <= 2, "{most} backends");
    assert!(pace < Duration::from_millis(500), "{pace:?}");
    assert!(skipped(&page, "slow") >= 10.0, "{page}");
    let count = counted(&instance, "slow").await;
    assert_eq!(count.row_count, Some(3));
    let runs =
        |name: &str| sample(&page, &format!(r#"registry_database_queries_total{{name="count_{name}"}}"#)).unwrap();
    assert!(runs("fast") >= 5.0 * runs("slow"), "{page}");
}
