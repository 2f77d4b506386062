//! The same fleet behind Sentinels and in a Cluster: servers of each kind that the tests start, and what they go through.

#![allow(clippy::unwrap_used, reason = "all of it is test code, also what is no test itself")]

use std::time::Duration;

use rowcount::{
    demo::redis::RedisServer,
    proto::v1::{GetLeaseStatusResponse, collection, lease::State},
};
use rustix::process::Signal;
use tokio::time::Instant;

use crate::{
    fleet::{Fleet, Instance, eventually, sample},
    outages::{self, counted_anew, trigger},
};

mod access;
mod cluster;
pub mod nodes;
mod sentinel;
pub mod sentinels;

/// For what several servers have to agree on, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(90);

/// Of a fleet that loses no lease by a fail-over, however long the machine takes for one.
const LONG_TTL: &str = "40s";

/// The record of a fleet's lease.
pub const LEASE: &str = "{rowcount:default}:lease";

/// A fleet whose Redis is at `addr`.
async fn fleet(addr: String) -> Fleet {
    let mut fleet = outages::fleet().await;
    fleet.set("ROWCOUNT_REDIS_CACHE_ADDR", addr);
    fleet
}

/// Two instances, the holder first, once both know who holds.
async fn pair(fleet: &Fleet) -> (Instance, Instance) {
    let (alice, bob) = (fleet.instance("alice").await, fleet.instance("bob").await);
    let alice_holds = fleet.holder(&[&alice, &bob]).await.id == "alice";
    let (holder, standby) = if alice_holds { (alice, bob) } else { (bob, alice) };
    for instance in [&holder, &standby] {
        assert_eq!(counted_anew(instance).await.row_count, Some(3));
        eventually("both know who holds", async || (held_by(&instance.lease().await)? == holder.id).then_some(()))
            .await;
        instance.logged("Subscribed to the board's events").await;
    }
    (holder, standby)
}

/// Who holds, as the store told it just now.
fn held_by(told: &GetLeaseStatusResponse) -> Option<String> {
    let lease = told.lease.as_ref().unwrap();
    (lease.state() == State::Held).then(|| lease.holder_id.clone())
}

fn epoch(told: &GetLeaseStatusResponse) -> i64 {
    told.lease.as_ref().unwrap().epoch
}

/// What the holder did on the wish of somebody who asked another instance.
async fn triggers(standby: &Instance) {
    let done = polled("a trigger is carried out", async || trigger(standby).await.ok()).await;
    assert_eq!(done.collection.unwrap().state(), collection::State::Succeeded);
}

/// Everything that a fleet does while its servers are well.
async fn works(fleet: &Fleet) {
    let (mut holder, standby) = pair(fleet).await;
    let first = epoch(&standby.lease().await);
    triggers(&standby).await;

    holder.signal(Signal::KILL);
    holder.exit().await;
    eventually("the standby takes over", async || (held_by(&standby.lease().await)? == standby.id).then_some(())).await;
    let second = epoch(&standby.lease().await);
    assert!(second > first, "{second} after {first}");

    // A standby whose own bid is under way at that moment needs no message: one of a few hand-overs has to come by it.
    let (mut holder, mut epochs) = (standby, vec![second]);
    for name in ["carol", "dave", "erin"] {
        let standby = fleet.instance(name).await;
        eventually("the new one knows who holds", async || {
            (held_by(&standby.lease().await)? == holder.id).then_some(())
        })
        .await;
        standby.logged("Subscribed to the board's events").await;
        triggers(&standby).await;
        let released = r#"rowcount_lease_wakeups_total{source="released"}"#;
        assert_eq!(sample(&standby.metrics().await, released), Some(0.0));
        holder.signal(Signal::TERM);
        holder.exit().await;
        eventually("the lease is handed over", async || (held_by(&standby.lease().await)? == standby.id).then_some(()))
            .await;
        epochs.push(epoch(&standby.lease().await));
        assert!(epochs.is_sorted_by(|before, after| before < after), "{epochs:?}");
        if sample(&standby.metrics().await, released) == Some(1.0) {
            return;
        }
        holder = standby;
    }
    panic!("no hand-over came by message: {epochs:?}");
}

/// The holder keeps its lease and its epoch over what `happens` to the servers; never do two export, and afterwards a
/// trigger goes from one to the other.
async fn keeps_its_lease(holder: &Instance, standby: &Instance, happens: impl Future<Output = ()>) {
    let before = epoch(&standby.lease().await);
    let watched = async {
        loop {
            let (one, other) = tokio::join!(holder.metrics(), standby.metrics());
            let both = [one, other].iter().all(|page| page.contains("registry_database_rows{"));
            assert!(!both, "two instances export rows");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = watched => {}
        () = async {
            happens.await;
            for instance in [holder, standby] {
                polled("the store answers again, and the holder holds", async || {
                    let told = instance.lease().await;
                    (held_by(&told)? == holder.id && told.instance.unwrap().error.is_none()).then_some(())
                })
                .await;
            }
            triggers(standby).await;
        } => {}
    }
    let told = standby.lease().await;
    assert_eq!((held_by(&told), epoch(&told)), (Some(holder.id.clone()), before));
    assert_eq!(holder.lease().await.instance.unwrap().acquire_count, 1);
    assert_eq!(standby.lease().await.instance.unwrap().acquire_count, 0);
}

/// A field of the lease's record on one server, whatever its role.
async fn field(server: &RedisServer, name: &str) -> String {
    server.cli(&["HGET", LEASE, name]).await.unwrap()
}

/// As `eventually`, for what takes longer.
pub async fn polled<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The line of Redis in what `rowcount check --connect` prints, and whether that line is a failure.
async fn checked(fleet: &Fleet, settings: &[(&str, &str)]) -> (String, bool) {
    let output = fleet.run(&["check", "--connect"], settings).await;
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = table.lines().find(|line| line.starts_with("redis ")).unwrap_or_else(|| panic!("{output:?}")).to_owned();
    let failed = line.contains("FAILED");
    assert_eq!(output.status.code(), Some(i32::from(failed)), "{table}");
    (line, failed)
}
