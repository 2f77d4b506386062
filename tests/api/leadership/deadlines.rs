//! What a holder's deadlines do to a query that is longer than the lease: it ends in the server, whatever the holder can
//! still do itself.

use std::time::Duration;

use rustix::process::Signal;

use crate::fleet::{Fleet, Instance, eventually, sample};

const LEASE: &str = "6s";

/// Active statements of an instance that count.
const COUNTING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'rowcount/alice' AND state = 'active' AND query LIKE '%pg_sleep(60)%'";

/// A holder whose one query sleeps for longer than its lease and may.
async fn sleeper() -> (Fleet, Instance) {
    let mut fleet = Fleet::servers().await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", LEASE);
    fleet.set("ROWCOUNT_CATALOG", "none");
    fleet.set("ROWCOUNT_QUERIES_SLEEPS_SQL", "SELECT count(*) FROM pg_sleep(60)");
    fleet.set("ROWCOUNT_QUERIES_SLEEPS_TIMEOUT", "90s");
    let alice = fleet.instance("alice").await;
    eventually("the query runs", async || (fleet.scalar(COUNTING).await == 1).then_some(())).await;
    (fleet, alice)
}

#[tokio::test]
async fn the_query_of_a_frozen_holder_ends_in_the_server_before_the_lease_does() {
    let (fleet, alice) = sleeper().await;
    alice.signal(Signal::STOP);
    let ends: i64 = fleet.redis.query(&["HGET", "{rowcount:default}:lease", "until_us"]).await.unwrap();
    eventually("the query ends", async || {
        let now: Vec<i64> = fleet.redis.query(&["TIME"]).await.unwrap();
        let is_over = now[0] * 1_000_000 + now[1] >= ends;
        let is_running = fleet.scalar(COUNTING).await > 0;
        assert!(!(is_over && is_running), "it outlives the lease");
        (!is_running).then_some(())
    })
    .await;
    alice.signal(Signal::CONT);
}

#[tokio::test]
async fn from_its_soft_deadline_on_a_holder_begins_no_query() {
    let (fleet, alice) = sleeper().await;
    fleet.redis.pause();
    eventually("it holds no more", async || {
        (sample(&alice.metrics().await, "rowcount_lease_held") == Some(0.0)).then_some(())
    })
    .await;
    // The server looks every 200 ms whether somebody waits for the answer.
    eventually("its query has ended", async || (fleet.scalar(COUNTING).await == 0).then_some(())).await;
    let interval = Duration::from_millis(500);
    let began = tokio::time::Instant::now();
    while began.elapsed() < 4 * interval {
        assert_eq!(fleet.scalar(COUNTING).await, 0, "a query begins without the lease");
    }
    fleet.redis.resume();
    eventually("it holds and counts again", async || (fleet.scalar(COUNTING).await == 1).then_some(())).await;
}
