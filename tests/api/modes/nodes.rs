//! A Cluster of three masters with a replica each.

use std::net::TcpListener;

use rowcount::demo::{
    redis::{RedisOptions, RedisServer},
    server::free_port,
};

use super::{LEASE, polled};

/// The masters at first; their replicas follow in the same order.
const MASTERS: usize = 3;

const SLOTS: usize = 16_384;

/// How it differs from the usual.
#[derive(Default)]
pub struct Options {
    /// Lines for every node.
    pub nodes: Vec<String>,
    /// Certificate and key of all, and the authority of both: then clients and nodes speak TLS.
    pub tls: Option<Vec<(String, Vec<u8>)>>,
}

/// The processes; they end with it.
pub struct Cluster {
    pub nodes: Vec<RedisServer>,
    /// Where clients reach each.
    ports: Vec<u16>,
}

// === impl Cluster ===

impl Cluster {
    /// One of the usual kind.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// Once every node knows every slot's owner and every replica its master.
    pub async fn start_with(options: Options) -> Self {
        let mut cluster = Self { nodes: Vec::new(), ports: Vec::new() };
        for _ in 0..2 * MASTERS {
            let (node, port) = node(&options).await;
            cluster.nodes.push(node);
            cluster.ports.push(port);
        }
        let mut ids = Vec::new();
        for (number, node) in cluster.nodes.iter().enumerate() {
            ids.push(node.cli(&["CLUSTER", "MYID"]).await.unwrap());
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]).await.unwrap();
        }
        for (number, master) in cluster.nodes[..MASTERS].iter().enumerate() {
            let slots = number * SLOTS / MASTERS..(number + 1) * SLOTS / MASTERS;
            let slots: Vec<_> = slots.map(|slot| slot.to_string()).collect();
            let mut command = vec!["CLUSTER", "ADDSLOTS"];
            command.extend(slots.iter().map(String::as_str));
            assert_eq!(master.cli(&command).await.unwrap(), "OK");
        }
        for port in &cluster.ports[1..] {
            cluster.nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &port.to_string()]).await.unwrap();
        }
        for (replica, master) in cluster.nodes[MASTERS..].iter().zip(&ids) {
            polled("the replica may follow its master", async || {
                (replica.cli(&["CLUSTER", "REPLICATE", master]).await.ok()? == "OK").then_some(())
            })
            .await;
        }
        for (number, node) in cluster.nodes.iter().enumerate() {
            polled("the node knows all", async || {
                let info = node.cli(&["CLUSTER", "INFO"]).await.ok()?;
                let knows = info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6");
                let linked = number < MASTERS
                    || node.cli(&["INFO", "replication"]).await.ok()?.contains("master_link_status:up");
                (knows && linked && cluster.replicas_known_by(node).await? == MASTERS).then_some(())
            })
            .await;
        }
        cluster
    }

    /// All nodes, as `redis.cache.addr` wants them.
    pub fn addr(&self) -> String {
        self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// Where clients reach a node.
    pub fn port(&self, node: usize) -> u16 {
        self.ports[node]
    }

    /// The node that answers for the fleet's keys, once one does that is not `except`.
    pub async fn owner(&self, except: Option<usize>) -> usize {
        polled("a node has the fleet's keys", async || {
            for (number, node) in self.nodes.iter().enumerate() {
                if Some(number) != except && node.cli(&["HLEN", LEASE]).await.is_ok() {
                    return Some(number);
                }
            }
            None
        })
        .await
    }

    /// Moves the fleet's slot to the master `to`, key after key, while the fleet goes on.
    pub async fn move_slot(&self, from: usize, to: usize) {
        let slot = self.nodes[from].cli(&["CLUSTER", "KEYSLOT", LEASE]).await.unwrap();
        let id = async |node: usize| self.nodes[node].cli(&["CLUSTER", "MYID"]).await.unwrap();
        let (from_id, to_id) = (id(from).await, id(to).await);
        let set = async |node: usize, how: &str, id: &str| {
            assert_eq!(self.nodes[node].cli(&["CLUSTER", "SETSLOT", &slot, how, id]).await.unwrap(), "OK");
        };
        set(to, "IMPORTING", &from_id).await;
        set(from, "MIGRATING", &to_id).await;
        let port = self.nodes[to].port().to_string();
        loop {
            let keys = self.nodes[from].cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]).await.unwrap();
            if keys.is_empty() {
                break;
            }
            let moved = self.nodes[from].cli(&["MIGRATE", "127.0.0.1", &port, &keys, "0", "5000"]).await.unwrap();
            assert!(["OK", "NOKEY"].contains(&&*moved), "{moved}");
        }
        for node in [to, from] {
            set(node, "NODE", &to_id).await;
        }
    }

    async fn replicas_known_by(&self, node: &RedisServer) -> Option<usize> {
        let all = node.cli(&["CLUSTER", "NODES"]).await.ok()?;
        Some(all.lines().filter(|line| line.contains("slave ")).count())
    }
}

/// A node that knows no other, and where its clients reach it. The other nodes reach it at the next port but 9,999.
async fn node(options: &Options) -> (RedisServer, u16) {
    let mut config = vec![
        "cluster-enabled yes".to_owned(),
        "cluster-node-timeout 2000".to_owned(),
        "cluster-replica-validity-factor 0".to_owned(),
        "cluster-allow-replica-migration no".to_owned(),
    ];
    config.extend(options.nodes.clone());
    let (port, tls_port) = (port(), port());
    if options.tls.is_some() {
        let lines = ["tls-cert-file redis.pem", "tls-key-file redis.key", "tls-ca-cert-file ca.pem"];
        config.extend(lines.map(str::to_owned));
        config.extend(["tls-auth-clients no", "tls-replication yes", "tls-cluster yes"].map(str::to_owned));
        config.push(format!("tls-port {tls_port}"));
    }
    let files = options.tls.clone().unwrap_or_default();
    let has_tls = options.tls.is_some();
    let options = RedisOptions { config, files, port: Some(port), ..RedisOptions::default() };
    let server = RedisServer::start_with(options).await.unwrap();
    (server, if has_tls { tls_port } else { port })
}

/// A free port below another one, on which nodes listen for each other.
fn port() -> u16 {
    let is_free = |port: &u16| *port < 22_000 && TcpListener::bind(("127.0.0.1", *port + 10_000)).is_ok();
    (0..1000).map(|_| free_port().unwrap()).find(is_free).expect("two free ports")
}
