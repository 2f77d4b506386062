//! The servers of a fleet's board: one alone, a master behind Sentinels, or a Cluster.

use std::fmt;

use rowcount::demo::redis::{RedisOptions, RedisServer};

use crate::modes::{
    nodes::{self, Cluster},
    polled,
    sentinels::{self, NAME, SentinelSet},
};

/// Whom the replicas are to their masters: what cuts them off, and nobody else.
const REPLICA: &str = "replica";

/// How a fleet's servers are set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// One.
    Alone,
    /// A master and a replica, behind three Sentinels.
    Sentinels,
    /// Three masters with a replica each.
    Cluster,
}

/// The servers, and which of them has the board.
pub enum Store {
    Alone(RedisServer),
    Sentinels(SentinelSet, usize),
    Cluster(Cluster, usize),
}

// === impl Store ===

impl Store {
    /// Servers without data.
    pub async fn start(setting: Setting) -> Self {
        let user = format!("user {REPLICA} on >{REPLICA} ~* &* +@all");
        let lines = vec![format!("masteruser {REPLICA}"), format!("masterauth {REPLICA}"), user];
        match setting {
            Setting::Alone => Self::Alone(empty_redis().await),
            Setting::Sentinels => {
                let options = sentinels::Options { servers: lines, ..Default::default() };
                Self::Sentinels(SentinelSet::start_with(1, options).await, 0)
            }
            Setting::Cluster => {
                let cluster = Cluster::start_with(nodes::Options { nodes: lines, ..Default::default() }).await;
                let owner = cluster.owner(None).await;
                Self::Cluster(cluster, owner)
            }
        }
    }

    /// The settings of an instance that finds it without a proxy.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let addr = |addr: String| ("ROWCOUNT_REDIS_CACHE_ADDR", addr);
        match self {
            Self::Alone(redis) => vec![addr(redis.addr())],
            Self::Sentinels(set, _) => vec![addr(set.addr()), ("ROWCOUNT_REDIS_CACHE_MAINNAME", NAME.to_owned())],
            Self::Cluster(cluster, _) => vec![addr(cluster.addr())],
        }
    }

    /// The server that has the board.
    pub fn master(&self) -> &RedisServer {
        match self {
            Self::Alone(redis) => redis,
            Self::Sentinels(set, master) => &set.servers[*master],
            Self::Cluster(cluster, owner) => &cluster.nodes[*owner],
        }
    }

    pub fn master_mut(&mut self) -> &mut RedisServer {
        match self {
            Self::Alone(redis) => redis,
            Self::Sentinels(set, master) => &mut set.servers[*master],
            Self::Cluster(cluster, owner) => &mut cluster.nodes[*owner],
        }
    }

    /// Waits until the master, whoever that is by now, has a replica that knows all that it knows. On a busy machine
    /// Sentinels and nodes fail over by themselves too.
    pub async fn settle(&mut self) {
        polled("the master has a replica", async || {
            match self {
                Self::Alone(_) => unreachable!("it has no replica"),
                Self::Sentinels(set, master) => {
                    let is_master = async |server: &RedisServer| {
                        let info = server.cli(&["INFO", "replication"]).await.unwrap_or_default();
                        info.contains("role:master") && info.contains("state=online")
                    };
                    for (number, server) in set.servers.iter().enumerate() {
                        if is_master(server).await {
                            *master = number;
                        }
                    }
                }
                Self::Cluster(cluster, owner) => *owner = cluster.owner(None).await,
            }
            self.an_heir().await
        })
        .await;
    }

    /// From here on no replica gets what is written.
    pub async fn cut_off_replicas(&self) {
        self.master().cli(&["ACL", "SETUSER", REPLICA, "off"]).await.expect("the master answers");
        self.master().cli(&["CLIENT", "KILL", "USER", REPLICA]).await.expect("the master answers");
    }

    /// Asks for a fail-over, as an operator does.
    pub async fn ask_for_fail_over(&self) {
        let heir = self.heir().await;
        polled("a fail-over begins", async || {
            let answer = match self {
                Self::Alone(_) => unreachable!("it has no replica"),
                Self::Sentinels(set, _) => set.sentinels[0].cli(&["SENTINEL", "FAILOVER", NAME]).await,
                Self::Cluster(cluster, _) => cluster.nodes[heir].cli(&["CLUSTER", "FAILOVER"]).await,
            };
            (answer.ok()? == "OK").then_some(())
        })
        .await;
    }

    /// Waits until another server is the master; gives the one that was.
    pub async fn failed_over(&mut self) -> &mut RedisServer {
        match self {
            Self::Alone(_) => unreachable!("there is no other one"),
            Self::Sentinels(set, master) => {
                let old = std::mem::replace(master, set.failed_over(*master).await);
                &mut set.servers[old]
            }
            Self::Cluster(cluster, owner) => {
                let old = std::mem::replace(owner, cluster.owner(Some(*owner)).await);
                &mut cluster.nodes[old]
            }
        }
    }

    async fn heir(&self) -> usize {
        polled("the master has a replica", async || self.an_heir().await).await
    }

    async fn an_heir(&self) -> Option<usize> {
        let servers = match self {
            Self::Alone(_) => unreachable!("it has no replica"),
            Self::Sentinels(set, _) => &set.servers,
            Self::Cluster(cluster, _) => &cluster.nodes,
        };
        let of_it = format!("master_port:{}", self.master().port());
        for (number, server) in servers.iter().enumerate() {
            let info = server.cli(&["INFO", "replication"]).await.unwrap_or_default();
            if ["role:slave", &of_it, "master_link_status:up"].iter().all(|line| info.contains(line)) {
                return Some(number);
            }
        }
        None
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alone => "one Redis",
            Self::Sentinels => "behind Sentinels",
            Self::Cluster => "in a Cluster",
        })
    }
}

/// A Redis without data that keeps what it gets when it is killed.
pub async fn empty_redis() -> RedisServer {
    let config = vec!["appendfsync no".to_owned(), "repl-diskless-sync-delay 0".to_owned()];
    let options = RedisOptions { config, appendonly: true, ..RedisOptions::default() };
    RedisServer::start_with(options).await.expect("Redis starts")
}
