//! TLS and users on every hop, and what is said when a setting does not fit the servers.

use rowcount::demo::redis::RedisServer;

use super::{
    checked, fleet,
    nodes::{self, Cluster},
    pair, polled,
    sentinels::{self, NAME, SentinelSet},
    works,
};
use crate::{
    certificates::Certificates,
    fleet::{Fleet, Instance, eventually, told},
    outages::part,
};

const PAGE: &str = include_str!("../../../docs/lease.md");

const CREDENTIALS: [(&str, &str); 2] =
    [("ROWCOUNT_REDIS_CACHE_USERNAME", "rowcount"), ("ROWCOUNT_REDIS_CACHE_PASSWORD", "PASSWORD")];

/// The user of the page, as a configuration has it, with what comes instead of some of its rights.
fn user(instead: Option<(&str, &str)>) -> String {
    let command = PAGE.lines().find_map(|line| line.strip_prefix("ACL SETUSER rowcount reset ")).unwrap();
    let mut words: Vec<_> = command.split(' ').collect();
    if let Some((added, removed)) = instead {
        let sentence = format!("`{added}` instead of `{removed}`");
        assert!(PAGE.contains(&sentence), "the page says so");
        words.retain(|word| !removed.split(' ').any(|removed| removed == *word));
        words.extend(added.split(' '));
    }
    format!("user rowcount resetchannels {}", words.join(" "))
}

/// A certificate for 127.0.0.1 and localhost.
struct Tls(Certificates);

impl Tls {
    fn new() -> Self {
        let certificates = Certificates::new();
        certificates.issue("ca", "redis", "IP:127.0.0.1,DNS:localhost");
        Self(certificates)
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        ["redis.pem", "redis.key", "ca.pem"].map(|name| (name.to_owned(), self.0.read(name))).into()
    }

    fn set(&self, fleet: &mut Fleet) {
        fleet.set("ROWCOUNT_REDIS_CACHE_TLS_ENABLED", "true");
        fleet.set("ROWCOUNT_REDIS_CACHE_TLS_CA", self.0.text("ca.pem"));
        // A handshake is slow in a build without optimisation, and a tenth of the lease is what a command of it may
        // take.
        fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "15s");
        for (name, value) in CREDENTIALS {
            fleet.set(name, value);
        }
    }
}

/// Waits until GetLeaseStatus and the ops port both tell this of Redis.
async fn tells(instance: &Instance, what: &str) {
    eventually(&format!("{what:?} is told"), async || {
        let error = told(&instance.lease().await.instance.unwrap().error?).2;
        (error.contains(what) && part(instance, "redis").await.contains(what)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sentinels_and_servers_are_spoken_to_over_tls_as_their_users_by_their_names() {
    let tls = Tls::new();
    let right = "+sentinel|get-master-addr-by-name";
    assert!(PAGE.contains(right), "the page says so");
    let watcher = format!("user watcher on >of-watcher {right}");
    let set = SentinelSet::start_with(
        1,
        sentinels::Options {
            servers: vec![user(None)],
            sentinels: vec![watcher],
            passwords: [None, Some("of-sentinels".to_owned())],
            tls: Some(tls.files()),
            host: Some("localhost"),
        },
    )
    .await;
    let mut fleet = fleet(set.addr()).await;
    fleet.set("ROWCOUNT_REDIS_CACHE_MAINNAME", NAME);
    tls.set(&mut fleet);
    for (settings, want) in [
        (vec![], "set redis.cache.sentinelpassword"),
        (vec![("ROWCOUNT_REDIS_CACHE_SENTINELPASSWORD", "wrong")], "authentication failed"),
        (vec![("ROWCOUNT_REDIS_CACHE_SENTINELPASSWORD", "of-sentinels")], ""),
        (
            vec![
                ("ROWCOUNT_REDIS_CACHE_SENTINELUSERNAME", "watcher"),
                ("ROWCOUNT_REDIS_CACHE_SENTINELPASSWORD", "of-watcher"),
            ],
            "",
        ),
        (
            vec![
                ("ROWCOUNT_REDIS_CACHE_SENTINELPASSWORD", "of-sentinels"),
                ("ROWCOUNT_REDIS_CACHE_PASSWORD", "of-sentinels"),
            ],
            "authentication failed",
        ),
        (
            vec![("ROWCOUNT_REDIS_CACHE_SENTINELPASSWORD", "of-sentinels"), ("ROWCOUNT_REDIS_CACHE_TLS_CA", "")],
            "certificate",
        ),
    ] {
        let (line, failed) = checked(&fleet, &settings).await;
        let ok = format!("localhost:{}, the master \"main\" of 3 Sentinels", set.port(0));
        assert_eq!(failed, !want.is_empty(), "{settings:?}: {line}");
        assert!(line.contains(if failed { want } else { &ok }), "{settings:?}: {line}");
    }
    let instance = fleet.instance("stranger").await;
    tells(&instance, "set redis.cache.sentinelpassword").await;
    fleet.set("ROWCOUNT_REDIS_CACHE_SENTINELUSERNAME", "watcher");
    fleet.set("ROWCOUNT_REDIS_CACHE_SENTINELPASSWORD", "of-watcher");
    works(&fleet).await;
}

#[tokio::test]
async fn nodes_of_a_cluster_are_spoken_to_over_tls_as_a_user_by_their_names() {
    let tls = Tls::new();
    let instead = ("+spublish +ssubscribe +pubsub|shardnumsub", "+publish +subscribe +pubsub|numsub");
    let names = ["cluster-announce-hostname localhost", "cluster-preferred-endpoint-type hostname"];
    let options = nodes::Options {
        nodes: [&user(Some(instead)), names[0], names[1]].map(str::to_owned).into(),
        tls: Some(tls.files()),
    };
    let cluster = Cluster::start_with(options).await;
    let mut fleet = fleet(cluster.addr()).await;
    tls.set(&mut fleet);
    let owner = cluster.owner(None).await;
    // Names travel between the nodes by gossip: until one has come, a node is known by its address.
    polled("the owner is known by its name", async || {
        let (line, failed) = checked(&fleet, &[]).await;
        (!failed && line.contains(&format!("localhost:{}, which has", cluster.port(owner)))).then_some(())
    })
    .await;
    let (line, failed) = checked(&fleet, &[("ROWCOUNT_REDIS_CACHE_PASSWORD", "wrong")]).await;
    assert!(failed && line.contains("authentication failed"), "{line}");
    works(&fleet).await;
}

#[tokio::test]
async fn what_does_not_fit_the_servers_is_told_with_the_setting_to_change() {
    let (set, cluster) = tokio::join!(SentinelSet::start(1), Cluster::start());
    let single = RedisServer::start().await.unwrap();
    let fleet = fleet(single.addr()).await;
    let (sentinels, nodes) = (set.addr(), cluster.addr());
    let owner = cluster.owner(None).await;
    let other = format!("127.0.0.1:{}", cluster.port((owner + 1) % 3));
    let both = format!("{},{}", single.addr(), fleet.redis.addr());
    let one_sentinel = sentinels.split(',').next().unwrap();
    for (addr, mainname, want) in [
        (&*sentinels, "mian", "knows no master \"mian\", which is redis.cache.mainname"),
        (&nodes, NAME, "this is no Sentinel, but redis.cache.mainname says so"),
        (&sentinels, "", "if it is a Sentinel, set redis.cache.mainname"),
        (one_sentinel, "", "if it is a Sentinel, set redis.cache.mainname"),
        (&both, "", "is no node of a Cluster; give one address in redis.cache.addr"),
        (&other, "", "name several of its nodes in redis.cache.addr"),
        ("127.0.0.1:1,127.0.0.1:2", NAME, "no Sentinel of redis.cache.addr tells the master: 127.0.0.1:"),
        ("127.0.0.1:1,127.0.0.1:2", "", "no node of redis.cache.addr leads to the fleet's keys: 127.0.0.1:"),
    ] {
        let settings = [("ROWCOUNT_REDIS_CACHE_ADDR", addr), ("ROWCOUNT_REDIS_CACHE_MAINNAME", mainname)];
        let (line, failed) = checked(&fleet, &settings).await;
        assert!(failed && line.contains(want), "{addr} {mainname}: {line}");
        let instance = fleet.instance_with("alice", &settings).await;
        tells(&instance, want).await;
    }
    // The one that has the keys would do, as any server that stands alone.
    let owner = format!("127.0.0.1:{}", cluster.port(owner));
    let mut lucky = super::fleet(owner).await;
    lucky.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "5s");
    pair(&lucky).await;
}
