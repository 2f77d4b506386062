//! Large tables, followed instead of counted, as users see it.

use std::time::{Duration, SystemTime};

use rowcount::proto::v1::{ListQueriesRequest, Method, Query, RowCount};
use rustix::process::Signal;
use tonic::Code;

use crate::fleet::{Fleet, Instance, eventually, sample, told};

/// Large by the service's measure, in two partitions.
const BIG: &str = "
    CREATE TABLE big (n int) PARTITION BY RANGE (n);
    CREATE TABLE big_1 PARTITION OF big FOR VALUES FROM (0) TO (100000);
    CREATE TABLE big_2 PARTITION OF big FOR VALUES FROM (100000) TO (200000);
    INSERT INTO big SELECT generate_series(0, 119999)";

async fn fleet() -> Fleet {
    let mut fleet = Fleet::servers().await;
    fleet.sql(BIG).await;
    fleet.set("ROWCOUNT_CATALOG", "none");
    fleet.set("ROWCOUNT_QUERIES_BIG_TABLE", "big");
    fleet
}

/// The count of `big` once it is followed with these bounds.
async fn followed(instance: &Instance, rows: i64) -> RowCount {
    eventually("it is followed to its rows", async || {
        let count = instance.count("big").await;
        let bounds = (count.lower_bound, count.row_count, count.upper_bound);
        (count.method() == Method::Followed && bounds == (Some(rows), Some(rows), Some(rows))).then_some(count)
    })
    .await
}

/// Whether both rest on the same exact count. It is dated by the server's clock, and told by ours.
fn is_same_anchor(one: &RowCount, two: &RowCount) -> bool {
    let time = |count: &RowCount| SystemTime::try_from(count.anchor_time.unwrap()).unwrap();
    let (one, two) = (time(one), time(two));
    one.duration_since(two).unwrap_or_else(|error| error.duration()) < Duration::from_secs(1)
}

async fn query(instance: &Instance) -> Query {
    let answer = instance.client().await.list_queries(ListQueriesRequest {}).await.unwrap().into_inner();
    answer.queries.into_iter().find(|query| query.query_name == "big").unwrap()
}

fn interval_ms(query: &Query) -> i64 {
    let interval = query.interval.unwrap();
    interval.seconds * 1_000 + i64::from(interval.nanos) / 1_000_000
}

#[tokio::test]
async fn a_large_table_is_followed_with_its_bounds_and_the_choice_is_seen() {
    let fleet = fleet().await;
    let alice = fleet.instance("alice").await;
    // Before that it is estimated, or not told at all: never counted in one go.
    let first = eventually("it has a count", async || Some(alice.count("big").await).filter(|c| c.row_count.is_some()));
    assert_ne!(first.await.method(), Method::Exact);

    let count = followed(&alice, 120_000).await;
    let (complete, observed) = (count.complete_until_time.unwrap(), count.observe_time.unwrap());
    assert!(complete.seconds < observed.seconds && count.anchor_time.unwrap().seconds <= complete.seconds, "{count:?}");
    let query = query(&alice).await;
    assert_eq!((query.method(), query.chosen_method()), (Method::Auto, Method::Followed));
    assert_eq!((query.table.as_str(), interval_ms(&query)), ("big", 500), "at its own interval");
    let page = alice.metrics().await;
    for bound in ["registry_database_rows", "rowcount_query_lower_bound", "rowcount_query_upper_bound"] {
        assert_eq!(sample(&page, &format!("{bound}{{query_name=\"big\"}}")), Some(120_000.0), "{page}");
    }
    for line in [
        "rowcount_query_method{method=\"followed\",query_name=\"big\"} 1",
        "rowcount_follow_anchors_total{result=\"counted\"} 2",
        "rowcount_follow_restless_sessions 0",
    ] {
        assert!(page.contains(line), "{line} is not in {page}");
    }
    for time in ["anchor", "complete_until"] {
        let series = format!("rowcount_query_{time}_timestamp_seconds{{query_name=\"big\"}}");
        assert!(sample(&page, &series).unwrap() > 1.5e9, "{page}");
    }

    fleet.sql("INSERT INTO big SELECT generate_series(0, 99)").await;
    fleet.sql("DELETE FROM big WHERE n >= 119990").await;
    let later = followed(&alice, 120_090).await;
    assert!(is_same_anchor(&later, &count), "without another count");
}

#[tokio::test]
async fn a_new_holder_goes_on_from_the_last_counts() {
    let fleet = fleet().await;
    let mut alice = fleet.instance("alice").await;
    let count = followed(&alice, 120_000).await;
    let bob = fleet.instance("bob").await;
    alice.signal(Signal::TERM);
    assert_eq!(alice.exit().await.code(), Some(0));
    fleet.sql("INSERT INTO big SELECT generate_series(0, 99)").await;
    let next = followed(&bob, 120_100).await;
    assert!(next.epoch > count.epoch);
    assert!(is_same_anchor(&next, &count));
    let page = bob.metrics().await;
    assert!(page.contains("rowcount_follow_anchors_total{result=\"counted\"} 0"), "{page}");
    assert!(page.contains("rowcount_follow_voided_leaves_total{reason=\"reset\"} 0"), "{page}");
}

#[tokio::test]
async fn what_happened_to_the_statistics_in_between_voids_what_was_handed_on() {
    let fleet = fleet().await;
    let mut alice = fleet.instance("alice").await;
    followed(&alice, 120_000).await;
    alice.signal(Signal::TERM);
    assert_eq!(alice.exit().await.code(), Some(0));
    fleet.sql("TRUNCATE big_2").await;
    let bob = fleet.instance("bob").await;
    followed(&bob, 100_000).await;
    let page = bob.metrics().await;
    assert!(page.contains("rowcount_follow_voided_leaves_total{reason=\"filenode\"} 1"), "{page}");
    assert!(page.contains("rowcount_follow_anchors_total{result=\"counted\"} 1"), "the other goes on: {page}");

    fleet.sql("SELECT pg_stat_reset()").await;
    eventually("the reset is seen", async || {
        let page = bob.metrics().await;
        page.contains("rowcount_follow_voided_leaves_total{reason=\"reset\"} 2").then_some(())
    })
    .await;
    followed(&bob, 100_000).await;
}

#[tokio::test]
async fn without_the_grant_a_large_table_is_counted_seldom_and_who_must_follow_says_why() {
    let mut fleet = fleet().await;
    fleet.sql("ANALYZE big; CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader").await;
    fleet.set("ROWCOUNT_DATABASE_URL", fleet.postgres.url("registry").replace("postgres@", "reader@"));
    fleet.set("ROWCOUNT_QUERIES_STRICT_TABLE", "big");
    fleet.set("ROWCOUNT_QUERIES_STRICT_METHOD", "followed");
    let alice = fleet.instance("alice").await;
    let strict = eventually("it is tried", async || alice.count("strict").await.error).await;
    let (code, reason, message) = told(&strict);
    assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "PERMISSION"));
    assert!(message.contains("run GRANT pg_read_all_stats TO reader"), "{message}");
    assert_eq!(alice.count("strict").await.row_count, None);

    let exact = eventually("it is counted", async || {
        Some(alice.count("big").await).filter(|count| count.method() == Method::Exact)
    });
    assert_eq!(exact.await.row_count, Some(120_000));
    eventually("seldom", async || (interval_ms(&query(&alice).await) == 600_000).then_some(())).await;
    assert_eq!(query(&alice).await.chosen_method(), Method::Exact);
    let line = alice.logged("Tables are not followed, large ones are counted seldom").await;
    assert!(line["reason"].as_str().unwrap().contains("GRANT"), "{line}");

    let output = fleet.run(&["check", "--connect"], &[]).await;
    let stdout = String::from_utf8(output.stdout).unwrap();
    let grant = "run GRANT pg_read_all_stats TO reader";
    let line = |name: &str| stdout.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(line("strict").contains("FAILED not followed: ") && line("strict").contains(grant), "{stdout}");
    assert!(
        line("big").contains("about 120,000 rows, exact at most every 10m") && line("big").contains(grant),
        "{stdout}"
    );
}

#[tokio::test]
async fn leaves_that_may_not_be_counted_are_told_with_the_grant_and_the_table_is_counted() {
    let mut fleet = fleet().await;
    fleet
        .sql("ANALYZE big; CREATE ROLE reader LOGIN; GRANT SELECT ON big TO reader; GRANT pg_read_all_stats TO reader")
        .await;
    fleet.set("ROWCOUNT_DATABASE_URL", fleet.postgres.url("registry").replace("postgres@", "reader@"));
    let alice = fleet.instance("alice").await;
    let exact = eventually("it is counted", async || {
        Some(alice.count("big").await).filter(|count| count.method() == Method::Exact)
    });
    assert_eq!(exact.await.row_count, Some(120_000));
    let check = async || {
        let output = fleet.run(&["check", "--connect"], &[]).await;
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, stdout) = check().await;
    assert!(stdout.contains("run GRANT SELECT ON public.big_1, public.big_2 TO reader"), "{stdout}");
    assert_eq!(code, Some(1), "it is a fault");

    fleet.sql("GRANT SELECT ON big_1, big_2 TO reader; ALTER ROLE reader SET track_counts = off").await;
    fleet.sql("ALTER ROLE reader RESET track_counts; CREATE ROLE batch; ALTER ROLE batch SET track_counts = off").await;
    let (_, stdout) = check().await;
    let big = stdout.lines().find(|line| line.starts_with("big")).unwrap();
    assert!(big.contains("about 120,000 rows, followed: a reading of its 2 leaves took "), "{stdout}");
    assert!(stdout.contains("track_counts is off for role batch"), "{stdout}");
}

#[tokio::test]
async fn a_table_that_shrinks_is_counted_again() {
    let fleet = fleet().await;
    let alice = fleet.instance("alice").await;
    followed(&alice, 120_000).await;
    fleet.sql("DELETE FROM big WHERE n >= 60000").await;
    followed(&alice, 60_000).await;
    fleet.sql("DELETE FROM big WHERE n >= 100").await;
    let exact = eventually("it is counted", async || {
        Some(alice.count("big").await).filter(|count| count.method() == Method::Exact)
    });
    assert_eq!(exact.await.row_count, Some(100));
    assert_eq!(query(&alice).await.chosen_method(), Method::Exact);
}

#[tokio::test]
async fn capped_and_estimated_counts_say_what_they_are() {
    let mut fleet = fleet().await;
    fleet.sql("CREATE TABLE few AS SELECT generate_series(1, 9); CREATE TABLE new AS SELECT 1 AS n; ANALYZE few").await;
    for (name, table, method) in [
        ("MANY", "big", "exactcapped"),
        ("LITTLE", "few", "exactcapped"),
        ("GUESS", "few", "estimated"),
        ("UNKNOWN", "new", "estimated"),
        ("GONE", "missing", "estimated"),
    ] {
        let set = |key: &str, value: &str| {
            (format!("ROWCOUNT_QUERIES_{name}_{key}").leak() as &'static str, value.to_owned())
        };
        for (variable, value) in [set("TABLE", table), set("METHOD", method)] {
            fleet.set(variable, value);
        }
        if method == "exactcapped" {
            let (variable, value) = set("CAP", "1000");
            fleet.set(variable, value);
        }
    }
    let alice = fleet.instance("alice").await;
    let told_of = async |name: &str| {
        let run = eventually("it has run", async || Some(alice.count(name).await).filter(|c| c.attempt_time.is_some()));
        run.await
    };
    let bounds = |count: &RowCount| (count.method(), count.lower_bound, count.row_count, count.upper_bound);
    let many = told_of("many").await;
    assert_eq!(bounds(&many), (Method::ExactCapped, Some(1_000), Some(1_000), None));
    let little = told_of("little").await;
    assert_eq!(bounds(&little), (Method::ExactCapped, Some(9), Some(9), Some(9)));
    let guess = told_of("guess").await;
    assert_eq!(bounds(&guess), (Method::Estimated, None, Some(9), None));
    let unknown = told_of("unknown").await;
    assert_eq!(unknown.row_count, None, "never analyzed is unknown, not 0");
    let (_, reason, message) = told(&unknown.error.unwrap());
    assert!(reason == "WRONG_RESULT" && message.contains("public.new was never analyzed"), "{message}");
    let (_, reason, _) = told(&told_of("gone").await.error.unwrap());
    assert_eq!(reason, "TABLE_MISSING");
}
