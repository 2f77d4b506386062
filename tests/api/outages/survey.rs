//! A Redis on which the promises of the lease do not hold is told of: once in the log, with what to do, and by `check`.

use rowcount::demo::redis::{RedisOptions, RedisServer};
use serde_json::Value;

use super::fleet;
use crate::fleet::{Fleet, Instance, eventually};

const STANDS: &str = "Subscribed to the board's events";

/// Exit code of `check --connect`, and its lines.
async fn check(fleet: &Fleet, settings: &[(&str, &str)]) -> (Option<i32>, Vec<String>) {
    let output = fleet.run(&["check", "--connect"], settings).await;
    let table = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), table.lines().map(str::to_owned).collect())
}

/// Warnings with this text so far.
fn warnings(instance: &Instance, text: &str) -> usize {
    let lines = instance.log();
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["level"] == "warn" && line["msg"].as_str().is_some_and(|msg| msg.contains(text))).count()
}

async fn warns(instance: &Instance, text: &str) {
    eventually(&format!("{} warns of {text:?}", instance.id), async || (warnings(instance, text) > 0).then_some(()))
        .await;
}

#[tokio::test]
async fn a_redis_that_may_evict_the_lease_is_told_of_once() {
    const TEXT: &str = "maxmemory-policy allkeys-lru): set noeviction or a volatile- policy, or use a Redis of its own";
    let mut fleet = fleet().await;
    let config = ["maxmemory 100mb", "maxmemory-policy allkeys-lru"].map(str::to_owned).into();
    fleet.redis = RedisServer::start_with(RedisOptions { config, ..Default::default() }).await.unwrap();
    fleet.set("ROWCOUNT_REDIS_CACHE_ADDR", fleet.redis.addr());
    let alice = fleet.instance("alice").await;
    warns(&alice, TEXT).await;
    let (code, lines) = check(&fleet, &[]).await;
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("redis ") && line.contains("WARNING") && line.ends_with(TEXT)));

    // It looks again with each new subscription, and at another server then.
    alice.logged(STANDS).await;
    fleet.redis.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]).await.unwrap();
    fleet.redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
    warns(&alice, "maxmemory-policy allkeys-random").await;
    fleet.redis.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await.unwrap();
    fleet.redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
    eventually("a third subscription", async || (alice.lines(STANDS).len() == 3).then_some(())).await;
    fleet.redis.cli(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    let (code, lines) = check(&fleet, &[]).await;
    assert!(code == Some(0) && !lines.iter().any(|line| line.contains("WARNING")), "{lines:?}");
    assert_eq!(warnings(&alice, TEXT), 1);
}

#[tokio::test]
async fn a_replica_is_told_of_with_what_to_do() {
    const TEXT: &str = "redis.cache.addr must lead to its master";
    let mut fleet = fleet().await;
    let port = fleet.redis.port();
    let config = vec![format!("replicaof 127.0.0.1 {port}")];
    let replica = RedisServer::start_with(RedisOptions { config, ..Default::default() }).await.unwrap();
    eventually("it follows its master", async || {
        replica.cli(&["INFO", "replication"]).await.unwrap().contains("master_link_status:up").then_some(())
    })
    .await;
    fleet.set("ROWCOUNT_REDIS_CACHE_ADDR", replica.addr());
    let alice = fleet.instance("alice").await;
    warns(&alice, "Redis is a replica, which takes no writes").await;
    eventually("the lease says why it is not answered", async || {
        let error = alice.lease().await.instance.unwrap().error?;
        error.message.contains(TEXT).then_some(())
    })
    .await;
    let (code, lines) = check(&fleet, &[]).await;
    assert_eq!(code, Some(1), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("redis ") && line.contains("FAILED") && line.ends_with(TEXT)));
}

#[tokio::test]
async fn a_lease_that_our_quarantine_does_not_outlast_is_told_of() {
    const TEXT: &str = "alice has a lease of 6s, which lease.quarantine, 2.25s here, does not outlast";
    let fleet = fleet().await;
    let long = [("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "6s")];
    let alice = fleet.instance_with("alice", &long).await;
    fleet.holder(&[&alice]).await;
    let bob = fleet.instance("bob").await;
    warns(&bob, TEXT).await;
    warns(&bob, "set lease.quarantine to at least 6.3s on every instance").await;
    let (code, lines) = check(&fleet, &[]).await;
    assert!(code == Some(0) && lines.iter().any(|line| line.contains("WARNING") && line.contains(TEXT)), "{lines:?}");

    let covered = [("ROWCOUNT_LEASE_QUARANTINE", "6300ms")];
    let (code, lines) = check(&fleet, &covered).await;
    assert!(code == Some(0) && !lines.iter().any(|line| line.contains("WARNING")), "{lines:?}");
    let carol = fleet.instance_with("carol", &covered).await;
    carol.logged("database row count metrics lock already obtained by another instance").await;
    assert_eq!((warnings(&carol, "does not outlast"), warnings(&alice, "does not outlast")), (0, 0));
    assert_eq!(warnings(&bob, TEXT), 1, "though it has asked again and again");
}
