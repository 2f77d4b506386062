//! In a Cluster.

use super::{LONG_TTL, checked, field, fleet, keeps_its_lease, nodes::Cluster, pair, works};

const EVENTS: &str = "{rowcount:default}:events";

#[tokio::test]
async fn a_fleet_in_a_cluster_works() {
    let cluster = Cluster::start().await;
    let fleet = fleet(cluster.addr()).await;
    works(&fleet).await;
    let owner = cluster.owner(None).await;
    let (line, failed) = checked(&fleet, &[]).await;
    let want = format!("127.0.0.1:{}, which has the fleet's slot of the Cluster", cluster.port(owner));
    assert!(!failed && line.ends_with(&want), "{line}");
}

#[tokio::test]
async fn a_holder_keeps_its_lease_when_the_owner_of_the_slot_dies() {
    let mut cluster = Cluster::start().await;
    let mut fleet = fleet(cluster.addr()).await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", LONG_TTL);
    let (holder, standby) = pair(&fleet).await;
    let owner = cluster.owner(None).await;
    let cluster = &mut cluster;
    keeps_its_lease(&holder, &standby, async {
        cluster.nodes[owner].kill().await.unwrap();
        cluster.owner(Some(owner)).await;
    })
    .await;
    for instance in [&holder, &standby] {
        instance.logged("Redis has moved").await;
    }
}

#[tokio::test]
async fn a_holder_keeps_its_lease_when_the_slot_moves() {
    let cluster = Cluster::start().await;
    // One node is enough to find the others, but one address would be that of a single server.
    let mut fleet = fleet(format!("127.0.0.1:1,127.0.0.1:{}", cluster.port(5))).await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", LONG_TTL);
    let (holder, standby) = pair(&fleet).await;
    let owner = cluster.owner(None).await;
    let next = (owner + 1) % 3;
    keeps_its_lease(&holder, &standby, async {
        cluster.move_slot(owner, next).await;
        assert_eq!(cluster.owner(None).await, next);
    })
    .await;
    assert_ne!(field(&cluster.nodes[next], "renewals").await, "0");
    // Both listen there, by messages that go to no other node where the servers can do that.
    let info = cluster.nodes[next].cli(&["INFO", "server"]).await.unwrap();
    let count = if info.contains("redis_version:6.") { "NUMSUB" } else { "SHARDNUMSUB" };
    assert_eq!(cluster.nodes[next].cli(&["PUBSUB", count, EVENTS]).await.unwrap(), format!("{EVENTS}\n2"));
}
