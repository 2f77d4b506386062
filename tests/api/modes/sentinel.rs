//! Behind Sentinels.

use std::time::Duration;

use super::{
    LONG_TTL, checked, epoch, field, fleet, held_by, keeps_its_lease, pair, polled,
    sentinels::{NAME, Options, SentinelSet},
    works,
};
use crate::fleet::{Fleet, eventually};

async fn fleet_of(set: &SentinelSet) -> Fleet {
    let mut fleet = fleet(set.addr()).await;
    fleet.set("ROWCOUNT_REDIS_CACHE_MAINNAME", NAME);
    fleet
}

#[tokio::test]
async fn a_fleet_behind_sentinels_works() {
    let set = SentinelSet::start(1).await;
    let fleet = fleet_of(&set).await;
    works(&fleet).await;
    let (line, failed) = checked(&fleet, &[]).await;
    let want = format!("127.0.0.1:{}, the master \"main\" of 3 Sentinels", set.port(0));
    assert!(!failed && line.ends_with(&want), "{line}");
}

#[tokio::test]
async fn a_holder_keeps_its_lease_when_the_master_dies_and_a_sentinel_falls_silent() {
    let mut set = SentinelSet::start(2).await;
    let mut fleet = fleet_of(&set).await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", LONG_TTL);
    let (holder, standby) = pair(&fleet).await;
    // Takes connections and says nothing: the worst that a Sentinel can do to who asks.
    let silent = set.sentinels.remove(0);
    silent.pause();
    let set = &mut set;
    keeps_its_lease(&holder, &standby, async {
        set.servers[0].kill().await.unwrap();
        let new = set.failed_over(0).await;
        assert!(new > 0);
    })
    .await;
    for instance in [&holder, &standby] {
        instance.logged("Redis has moved").await;
    }
}

#[tokio::test]
async fn a_holder_whose_grant_was_lost_with_the_master_takes_its_lease_back() {
    let mut set = SentinelSet::start(1).await;
    let mut fleet = fleet_of(&set).await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", LONG_TTL);
    set.servers[1].pause();
    let (holder, standby) = pair(&fleet).await;
    let granted = field(&set.servers[0], "epoch").await;
    let set = &mut set;
    keeps_its_lease(&holder, &standby, async {
        set.servers[0].kill().await.unwrap();
        set.servers[1].resume();
        assert_eq!(set.failed_over(0).await, 1);
    })
    .await;
    assert_eq!(field(&set.servers[1], "epoch").await, granted);
    let told = standby.lease().await.lease.unwrap();
    assert!(told.quarantine_remaining_duration.is_some_and(|left| left.seconds > 0), "{told:?}");
}

#[tokio::test]
async fn a_master_that_was_replaced_without_knowing_is_left_by_everybody() {
    let user = |name: &str| format!("user {name} on >{name} ~* &* +@all");
    let server = ["masteruser replica".to_owned(), "masterauth replica".to_owned(), user("replica"), user("watcher")];
    let sentinel = [format!("sentinel auth-user {NAME} watcher"), format!("sentinel auth-pass {NAME} watcher")];
    let set = SentinelSet::start_with(
        1,
        Options {
            servers: server.into(),
            sentinels: sentinel.into(),
            passwords: [Some("secret".to_owned()), None],
            ..Options::default()
        },
    )
    .await;
    let mut fleet = fleet_of(&set).await;
    fleet.set("ROWCOUNT_REDIS_CACHE_PASSWORD", "secret");
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "10s");
    let (holder, standby) = pair(&fleet).await;
    let granted = epoch(&standby.lease().await);

    // Neither Sentinels nor replicas reach it any more; its clients do, and it goes on as before.
    let [old, new] = &set.servers[..] else { panic!("two servers") };
    for user in ["watcher", "replica"] {
        old.cli(&["ACL", "SETUSER", user, "off"]).await.unwrap();
        let _ = old.cli(&["CLIENT", "KILL", "USER", user]).await;
    }
    set.failed_over(0).await;
    for instance in [&holder, &standby] {
        instance.logged("Redis has moved").await;
    }
    assert!(old.cli(&["INFO", "replication"]).await.unwrap().contains("role:master"), "it does not know");
    let renewals = field(old, "renewals").await;
    eventually("the lease ends there", async || {
        let now: Vec<i64> = old.query(&["TIME"]).await.unwrap();
        let until: i64 = field(old, "until_us").await.parse().unwrap();
        assert_eq!((field(old, "epoch").await, field(old, "renewals").await), (granted.to_string(), renewals.clone()));
        (until < now[0] * 1_000_000).then_some(())
    })
    .await;
    // Whoever still stood by there would have it by now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((field(old, "epoch").await, field(old, "renewals").await), (granted.to_string(), renewals));
    let kept = polled("the lease is kept at the new master", async || {
        let told = standby.lease().await;
        held_by(&told).map(|holder| (holder, epoch(&told)))
    })
    .await;
    assert_eq!(kept, (holder.id.clone(), granted));
    assert_eq!(field(new, "epoch").await, granted.to_string());
}
