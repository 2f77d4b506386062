//! How a run ends before its time, and that nothing of it is left on the server.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rowcount::{counting::Counting, failure::FailureReason, query::Query};
use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;

use super::{PLENTY, backends, config, failure, run, sql, started, table, until_none, until_some, value};

/// Busy, and asleep: the server looks after its time limits and its client in both.
const ENDLESS: [&str; 2] =
    ["WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT 1 FROM r) SELECT count(*) FROM r", "SELECT 1 FROM pg_sleep(600)"];

const ACTIVE: &str = "state = 'active'";

/// What a backend may outlive its run by.
const SOON: Duration = Duration::from_millis(1500);

fn within(query: Query, timeout: Duration) -> Query {
    Query { timeout, ..query }
}

#[tokio::test]
async fn a_slow_query_ends_on_the_server_in_its_time() {
    let (_postgres, url, mut admin) = started().await;
    let counting = Counting::new(config(&url, 1), "a");
    for text in ENDLESS {
        let query = within(sql(text), Duration::from_millis(300));
        let (reason, message) = failure(&counting, &query).await;
        assert_eq!(reason, FailureReason::Timeout);
        assert_eq!(message, "not done within 300ms (SQLSTATE 57014)");
        assert_eq!(backends(&mut admin, ACTIVE).await, 0);

        let run = counting.count(&sql(text), Duration::from_millis(400), &CancellationToken::new()).await;
        assert_eq!(run.outcome.unwrap_err().reason, FailureReason::Timeout, "the time left binds too");
        assert_eq!(backends(&mut admin, ACTIVE).await, 0);
    }
    assert_eq!(value(&counting, &table("t")).await, 3);
    assert_eq!(backends(&mut admin, "true").await, 1, "the connection goes on");
}

#[tokio::test]
async fn a_statement_that_somebody_cancels_on_the_server_has_not_run_out_of_time() {
    let (_postgres, url, mut admin) = started().await;
    let counting = Counting::new(config(&url, 1), "a");
    let query = sql(ENDLESS[1]);
    let cancelling = async {
        until_some(&mut admin, "wait_event = 'PgSleep'", 1).await;
        backends(&mut admin, "pg_cancel_backend(pid)").await
    };
    let ((reason, message), cancelled) = tokio::join!(failure(&counting, &query), cancelling);
    assert_eq!(cancelled, 1);
    assert_eq!((reason, message.contains("57014")), (FailureReason::Sql, true), "{message}");
}

#[tokio::test]
async fn a_locked_table_fails_as_locked_and_holds_up_no_other() {
    let (_postgres, url, mut admin) = started().await;
    let counting = Counting::new(config(&url, 2), "a");
    let mut owner = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").execute(&mut owner).await.unwrap();

    let (query, other) = (table("t"), table("one"));
    let locked = failure(&counting, &query);
    let others = async {
        until_some(&mut admin, "wait_event_type = 'Lock'", 1).await;
        value(&counting, &other).await
    };
    let ((reason, message), rows) = tokio::join!(locked, others);
    assert_eq!((reason, rows), (FailureReason::Locked, 1), "{message}");
    assert_eq!(backends(&mut admin, ACTIVE).await, 0);
    let short = within(table("t"), Duration::from_millis(200));
    assert_eq!(failure(&counting, &short).await.0, FailureReason::Locked, "told from a slow count");

    sqlx::raw_sql("ROLLBACK").execute(&mut owner).await.unwrap();
    assert_eq!(value(&counting, &table("t")).await, 3);
}

#[tokio::test]
async fn a_cancelled_run_returns_at_once_and_ends_on_the_server() {
    let (_postgres, url, mut admin) = started().await;
    let counting = Counting::new(config(&url, 1), "a");
    for text in ENDLESS {
        let (query, cancel) = (sql(text), CancellationToken::new());
        let cancelling = async {
            until_some(&mut admin, ACTIVE, 1).await;
            cancel.cancel();
            Instant::now()
        };
        let (run, cancelled_at) = tokio::join!(counting.count(&query, PLENTY, &cancel), cancelling);
        assert_eq!(run.outcome.unwrap_err().reason, FailureReason::Cancelled);
        assert!(cancelled_at.elapsed() < Duration::from_millis(200), "no wait for the server");
        assert!(until_none(&mut admin, ACTIVE).await < SOON);
        assert_eq!(value(&counting, &table("t")).await, 3, "its only connection is free again");
    }
}

#[tokio::test]
async fn a_dropped_run_ends_on_the_server() {
    let (_postgres, url, mut admin) = started().await;
    let counting = Counting::new(config(&url, 1), "a");
    for text in ENDLESS {
        let counter = counting.clone();
        let task = tokio::spawn(async move { run(&counter, &sql(text)).await });
        until_some(&mut admin, ACTIVE, 1).await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(until_none(&mut admin, ACTIVE).await < SOON);
        assert_eq!(value(&counting, &table("t")).await, 3);
    }
}

#[tokio::test]
async fn the_wait_for_a_connection_is_bounded() {
    let (_postgres, url, mut admin) = started().await;
    let counting = Counting::new(config(&url, 1), "a");
    let (busy, cancel) = (sql(ENDLESS[1]), CancellationToken::new());
    let waiting = async {
        until_some(&mut admin, ACTIVE, 1).await;
        let run = counting.count(&table("t"), Duration::from_millis(300), &CancellationToken::new()).await;
        cancel.cancel();
        run
    };
    let (_, run) = tokio::join!(counting.count(&busy, PLENTY, &cancel), waiting);
    let failure = run.outcome.unwrap_err();
    assert_eq!(failure.reason, FailureReason::Timeout);
    assert_eq!(failure.message, "no connection was free within 300ms: see database.connections");
    assert!(run.duration < Duration::from_millis(100), "a wait is no time of the query's");
}

#[tokio::test]
async fn there_are_never_more_backends_than_configured() {
    let (_postgres, url, mut admin) = started().await;
    let counting = Counting::new(config(&url, 3), "a");
    // Each fourth is dropped at work, which closes its connection; each fifth asks for the impossible.
    let counts = join_all((0..40).map(async |i| {
        let text = if i % 5 == 0 { "SELECT shout()" } else { "SELECT count(*) FROM t, pg_sleep(0.05) AS s" };
        if i % 4 == 0 {
            let query = sql(ENDLESS[1]);
            let dropped = tokio::time::timeout(Duration::from_millis(500 + 20 * i), run(&counting, &query)).await;
            assert!(dropped.is_err());
            None
        } else {
            Some(run(&counting, &sql(text)).await.outcome.is_ok() == (i % 5 != 0))
        }
    }));
    let mut most = 0;
    let watch = async {
        loop {
            most = backends(&mut admin, "true").await.max(most);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let outcomes = tokio::select! {
        outcomes = counts => outcomes,
        () = watch => unreachable!("it goes on until it is dropped"),
    };
    assert!(outcomes.iter().flatten().all(|as_expected| *as_expected), "{outcomes:?}");
    assert_eq!(most, 3);
}

#[tokio::test]
async fn closing_interrupts_what_runs_and_leaves_no_backend() {
    let (_postgres, url, mut admin) = started().await;
    let counting = Counting::new(config(&url, 3), "a");
    let queries = ENDLESS.map(sql);
    value(&counting, &table("t")).await;
    let closing = async {
        until_some(&mut admin, ACTIVE, 2).await;
        let begun = Instant::now();
        counting.close().await;
        let took = begun.elapsed();
        assert!(until_none(&mut admin, "true").await < Duration::from_millis(500));
        took
    };
    let (one, two, took) = tokio::join!(run(&counting, &queries[0]), run(&counting, &queries[1]), closing);
    assert!(took < Duration::from_secs(1), "{took:?}");
    for run in [one, two, run(&counting, &table("t")).await] {
        assert_eq!(run.outcome.unwrap_err().reason, FailureReason::Cancelled);
    }
    assert_eq!(backends(&mut admin, "true").await, 0);
}
