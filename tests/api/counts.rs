//! What is counted: each count is COUNT(*)'s, told by any instance and on the holder's page, or it is marked.

use std::{collections::BTreeMap, time::Duration};

use rowcount::{
    catalog::{self, Catalog},
    demo::schema,
    proto::v1::{self, Method, collection::State},
};
use rustix::process::Signal;
use tonic::{Code, Status};
use tonic_types::{RpcStatusExt, StatusExt};

use crate::fleet::{Fleet, Instance, PATIENCE, eventually, sample};

/// Tables that only newer versions of the schema have.
const NEWER: [&str; 3] = ["batched_background_migration_jobs", "batched_background_migrations", "import_statistics"];

#[tokio::test]
async fn every_count_is_that_of_the_database_with_4_partitions() {
    every_count_is_that_of_the_database(4).await;
}

#[tokio::test]
async fn every_count_is_that_of_the_database_with_64_partitions() {
    every_count_is_that_of_the_database(64).await;
}

async fn every_count_is_that_of_the_database(partitions: u32) {
    let fleet = Fleet::servers().await;
    let url = fleet.postgres.url("registry");
    schema::create(&url, partitions).await.unwrap();
    schema::create_newer(&url).await.unwrap();
    schema::generate(&url, 8).await.unwrap();
    for queue in ["gc_blob_review_queue", "gc_manifest_review_queue"] {
        // None becomes due while this looks.
        fleet.sql(&format!("UPDATE {queue} SET review_after = '3000-01-01' WHERE review_after > now()")).await;
    }
    let alice = fleet.instance("alice").await;
    fleet.holder(&[&alice]).await;
    let bob = fleet.instance("bob").await;
    tells_the_truth(&fleet, &alice, &bob).await;
    let before = truths(&fleet).await;
    assert!(before.values().all(|rows| *rows > 0), "{before:?}");

    for table in before.keys().filter(|name| !name.ends_with("_overdue")) {
        let table = match table.as_str() {
            "applied_pre_migrations" => "schema_migrations",
            "applied_post_migrations" => "post_deploy_schema_migrations",
            table => table,
        };
        // A ctid is unique in its partition only: one row at least, whatever refers to it.
        let delete = format!("DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM {table} LIMIT 1)");
        fleet.sql(&format!("SET session_replication_role = replica; {delete}")).await;
    }
    let after = truths(&fleet).await;
    assert!(after.iter().all(|(name, rows)| *rows < before[name] || name.ends_with("_overdue")), "{after:?}");
    tells_the_truth(&fleet, &alice, &bob).await;
}

/// Triggered on the standby, so everything must be there when its call returns: no grace, no second look.
async fn tells_the_truth(fleet: &Fleet, holder: &Instance, standby: &Instance) {
    let truths = truths(fleet).await;
    let done = trigger(standby, &[]).await;
    assert_eq!((done.state(), done.instance_id.as_str()), (State::Succeeded, holder.id.as_str()), "{done:?}");
    for instance in [holder, standby] {
        let counts = instance.counts().await.row_counts;
        let told: BTreeMap<_, _> = counts.iter().map(|one| (one.query_name.clone(), one.row_count.unwrap())).collect();
        assert_eq!(told, truths, "{}", instance.id);
        for count in counts {
            assert_eq!(count.method(), Method::Exact, "{count:?}");
            assert_eq!((count.lower_bound, count.upper_bound), (count.row_count, count.row_count));
            assert!(!count.stale && count.error.is_none(), "{count:?}");
        }
    }
    let page = holder.metrics().await;
    for (name, truth) in &truths {
        let line = format!(r#"registry_database_rows{{query_name="{name}"}} {truth}"#);
        assert!(page.lines().any(|printed| printed == line), "no line {line} in {page}");
    }
    assert!(!standby.metrics().await.contains("registry_database_rows{"));
}

#[tokio::test]
async fn a_schema_without_the_newer_tables_fails_nothing() {
    let mut fleet = Fleet::start().await;
    fleet.set("ROWCOUNT_QUERIES_MINE_TABLE", "of_mine");
    let alice = fleet.instance("alice").await;
    fleet.holder(&[&alice]).await;
    let done = trigger(&alice, &[]).await;
    assert_eq!((done.state(), done.failed_query_names), (State::PartiallySucceeded, vec!["mine".to_owned()]));
    let mut asked = NEWER.to_vec();
    asked.push("tags");
    let done = trigger(&alice, &asked).await;
    assert_eq!((done.state(), done.failed_query_names.len()), (State::Succeeded, 0));

    let page = alice.metrics().await;
    for count in alice.counts().await.row_counts {
        let name = count.query_name.as_str();
        let is_missing = NEWER.contains(&name) || name == "mine";
        assert_eq!(count.row_count, (!is_missing).then_some(0), "{count:?}");
        let error = count.error.as_ref().map(|error| (error.code, error.get_details_error_info().unwrap().reason));
        let missing = (Code::NotFound as i32, "TABLE_MISSING".to_owned());
        assert_eq!(error, is_missing.then_some(missing), "{count:?}");
        assert_eq!(sample(&page, &rows(name)), (!is_missing).then_some(0.0), "{name}");
        let failures = sample(&page, &failures(name, "table_missing")).unwrap();
        assert_eq!(failures > 0.0, name == "mine", "{name}: {failures}");
    }
    // What the schema lacks is not too old.
    let newer = NEWER.map(str::to_owned).to_vec();
    counts(&alice, &newer, Some(PATIENCE)).await.unwrap();

    schema::create_newer(&fleet.postgres.url("registry")).await.unwrap();
    fleet.sql("CREATE TABLE of_mine AS SELECT 7 AS one").await;
    assert_eq!(trigger(&alice, &[]).await.state(), State::Succeeded);
    for (name, truth) in [("batched_background_migration_jobs", 40), ("import_statistics", 1), ("mine", 1)] {
        let count = alice.count(name).await;
        assert_eq!((count.row_count, count.error), (Some(truth), None), "{name}");
    }
}

#[tokio::test]
async fn a_large_table_is_counted_seldom_by_the_schedule_and_at_once_by_a_trigger() {
    let mut fleet = Fleet::servers().await;
    fleet.sql("CREATE TABLE big AS SELECT n FROM generate_series(1, 100001) n").await;
    fleet.sql("CREATE TABLE small AS SELECT n FROM generate_series(1, 3) n").await;
    fleet.set("ROWCOUNT_CATALOG", "none");
    fleet.set("ROWCOUNT_QUERIES_BIG_TABLE", "big");
    fleet.set("ROWCOUNT_QUERIES_BIG_METHOD", "exact");
    fleet.set("ROWCOUNT_QUERIES_SMALL_TABLE", "small");
    fleet.set("ROWCOUNT_QUERIES_RARE_SQL", "SELECT count(*) FROM small WHERE n > 1;");
    fleet.set("ROWCOUNT_QUERIES_RARE_INTERVAL", "1h");
    fleet.set("ROWCOUNT_QUERIES_OFTEN_SQL", "SELECT 7::smallint");
    fleet.set("ROWCOUNT_QUERIES_OFTEN_INTERVAL", "100ms");
    let mut alice = fleet.instance("alice").await;
    eventually("all four are counted", async || {
        let counts = alice.counts().await.row_counts;
        let rows: Vec<_> = counts.iter().map(|count| (count.query_name.as_str(), count.row_count)).collect();
        let want = [("big", 100_001), ("often", 7), ("rare", 2), ("small", 3)].map(|(name, rows)| (name, Some(rows)));
        (rows == want).then_some(())
    })
    .await;
    let bob = fleet.instance("bob").await;
    let paces = BTreeMap::from([("big", 600_000), ("often", 100), ("rare", 3_600_000), ("small", 500)]);
    let paces: BTreeMap<_, _> = paces.into_iter().map(|(name, pace)| (name.to_owned(), pace)).collect();
    for instance in [&alice, &bob] {
        eventually("the queries are listed with their paces", async || (listed(instance).await == paces).then_some(()))
            .await;
    }

    let (big, rare) = (alice.count("big").await.attempt_time, alice.count("rare").await.attempt_time);
    let often = runs(&alice.metrics().await, "often");
    ticks(&alice, "small", 4).await;
    assert_eq!(alice.count("big").await.attempt_time, big);
    assert_eq!(alice.count("rare").await.attempt_time, rare);
    let often = runs(&alice.metrics().await, "often") - often;
    assert!(often > 6.0, "{often} runs of an interval of 100ms while 4 of one of 500ms were seen");

    fleet.sql("INSERT INTO big VALUES (0)").await;
    assert_eq!(trigger(&bob, &["big"]).await.state(), State::Succeeded);
    for instance in [&alice, &bob] {
        assert_eq!(instance.count("big").await.row_count, Some(100_002), "{}", instance.id);
    }

    // A new holder takes the count over instead of making it again.
    let big = bob.count("big").await;
    alice.signal(Signal::TERM);
    assert_eq!(alice.exit().await.code(), Some(0));
    eventually("the new holder counts", async || (bob.count("small").await.epoch > big.epoch).then_some(())).await;
    ticks(&bob, "small", 2).await;
    assert_eq!(bob.count("big").await, big);
    assert_eq!(sample(&bob.metrics().await, &rows("big")), Some(100_002.0));
    assert_eq!(listed(&bob).await, paces);
}

#[tokio::test]
async fn an_old_value_is_marked_and_leaves_the_page_and_nobody_gets_what_is_too_old() {
    let mut fleet = Fleet::servers().await;
    fleet.sql("CREATE TABLE fine AS SELECT 1 AS one; CREATE TABLE breaks AS SELECT 1 AS one").await;
    fleet.set("ROWCOUNT_CATALOG", "none");
    fleet.set("ROWCOUNT_QUERIES_FINE_TABLE", "fine");
    fleet.set("ROWCOUNT_QUERIES_BREAKS_SQL", "SELECT count(one) FROM breaks");
    let alice = fleet.instance("alice").await;
    fleet.holder(&[&alice]).await;
    let bob = fleet.instance("bob").await;
    assert_eq!(trigger(&bob, &[]).await.state(), State::Succeeded);
    for instance in [&alice, &bob] {
        counts(instance, &[], Some(PATIENCE)).await.unwrap();
        let unknown = counts(instance, &["fine".to_owned(), "nobody".to_owned()], None).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound);
        let info = unknown.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.metadata["query_names"].as_str()), ("UNKNOWN_QUERY", "nobody"));
    }

    fleet.sql("ALTER TABLE breaks RENAME COLUMN one TO other").await;
    eventually("the broken query's value leaves the page", async || {
        let page = alice.metrics().await;
        (sample(&page, &rows("breaks")).is_none()).then_some(())
    })
    .await;
    for instance in [&alice, &bob] {
        eventually("the broken query's value is told as stale", async || {
            let count = instance.count("breaks").await;
            let reason = count.error.as_ref()?.get_details_error_info()?.reason;
            (count.stale && count.row_count == Some(1) && reason == "SQL").then_some(())
        })
        .await;
        let limit = Some(Duration::from_millis(1500));
        let old = counts(instance, &["breaks".to_owned()], limit).await.unwrap_err();
        assert_eq!(old.code(), Code::FailedPrecondition);
        let info = old.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.metadata["query_names"].as_str()), ("DATA_TOO_OLD", "breaks"));
        assert_eq!(counts(instance, &[], limit).await.unwrap_err().code(), Code::FailedPrecondition);
        counts(instance, &["fine".to_owned()], Some(PATIENCE)).await.unwrap();
        assert_eq!(instance.count("fine").await.error, None);
    }
    assert!(sample(&alice.metrics().await, &failures("breaks", "sql")).unwrap() > 0.0);

    fleet.sql("ALTER TABLE breaks RENAME COLUMN other TO one; INSERT INTO breaks VALUES (2)").await;
    eventually("the repaired query's value is back", async || {
        (sample(&alice.metrics().await, &rows("breaks")) == Some(2.0)).then_some(())
    })
    .await;
    eventually("the standby has heard", async || {
        let count = bob.count("breaks").await;
        (count.row_count == Some(2) && !count.stale && count.error.is_none()).then_some(())
    })
    .await;
}

/// COUNT(*) of every query of the catalogue, as its name promises it.
async fn truths(fleet: &Fleet) -> BTreeMap<String, i64> {
    let mut truths = BTreeMap::new();
    for query in catalog::queries(Catalog::All, Duration::ZERO, Duration::ZERO) {
        let overdue = if query.name.as_str().ends_with("_overdue") { " WHERE review_after < now()" } else { "" };
        let table = query.table().expect("each built-in counts a table");
        let truth = fleet.scalar(&format!("SELECT count(*) FROM {table}{overdue}")).await;
        truths.insert(query.name.to_string(), truth);
    }
    truths
}

/// Has these counted, or everything, and waits for the end.
async fn trigger(instance: &Instance, names: &[&str]) -> v1::Collection {
    let request = v1::TriggerCollectionRequest {
        query_names: names.iter().map(|name| (*name).to_owned()).collect(),
        wait_timeout: Some(PATIENCE.try_into().unwrap()),
        ..Default::default()
    };
    instance.client().await.trigger_collection(request).await.unwrap().into_inner().collection.unwrap()
}

async fn counts(instance: &Instance, names: &[String], max_age: Option<Duration>) -> Result<(), Status> {
    let max_age = max_age.map(|age| age.try_into().unwrap());
    let request = v1::GetRowCountsRequest { query_names: names.to_vec(), max_age };
    instance.client().await.get_row_counts(request).await.map(drop)
}

/// The interval of each query in ms.
async fn listed(instance: &Instance) -> BTreeMap<String, u128> {
    let request = v1::ListQueriesRequest {};
    let queries = instance.client().await.list_queries(request).await.unwrap().into_inner().queries;
    let interval = |query: &v1::Query| Duration::try_from(query.interval.unwrap()).unwrap().as_millis();
    queries.iter().map(|query| (query.query_name.clone(), interval(query))).collect()
}

/// Waits for this many more runs of a query.
async fn ticks(instance: &Instance, name: &str, count: usize) {
    for _ in 0..count {
        let before = instance.count(name).await.attempt_time;
        eventually("the query runs again", async || (instance.count(name).await.attempt_time != before).then_some(()))
            .await;
    }
}

fn runs(page: &str, name: &str) -> f64 {
    sample(page, &format!(r#"registry_database_queries_total{{name="count_{name}"}}"#)).unwrap()
}

fn rows(name: &str) -> String {
    format!(r#"registry_database_rows{{query_name="{name}"}}"#)
}

fn failures(name: &str, reason: &str) -> String {
    format!(r#"rowcount_query_failures_total{{query_name="{name}",reason="{reason}"}}"#)
}
