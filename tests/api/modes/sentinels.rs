//! A master, its replicas and the three Sentinels that watch them.

use rowcount::demo::{
    redis::{RedisOptions, RedisServer},
    server::free_port,
};

use super::polled;

/// What the Sentinels call the master.
pub const NAME: &str = "main";

/// How they differ from the usual.
#[derive(Default)]
pub struct Options {
    /// Lines for every server.
    pub servers: Vec<String>,
    /// Lines for every Sentinel, after the one that names the master.
    pub sentinels: Vec<String>,
    /// Password of the default user of the servers, and of that of the Sentinels.
    pub passwords: [Option<String>; 2],
    /// Certificate and key of all, and the authority of both: then clients, replicas and Sentinels speak TLS.
    pub tls: Option<Vec<(String, Vec<u8>)>>,
    /// What the Sentinels call the machine.
    pub host: Option<&'static str>,
}

/// The processes; they end with it.
pub struct SentinelSet {
    /// The first master, then its replicas.
    pub servers: Vec<RedisServer>,
    pub sentinels: Vec<RedisServer>,
    /// Where clients reach each server, and each Sentinel.
    ports: [Vec<u16>; 2],
}

// === impl SentinelSet ===

impl SentinelSet {
    /// With so many replicas.
    pub async fn start(replicas: usize) -> Self {
        Self::start_with(replicas, Options::default()).await
    }

    /// Once every Sentinel knows every process.
    pub async fn start_with(replicas: usize, options: Options) -> Self {
        let Options { servers: lines, sentinels: sentinel_lines, passwords, tls, host } = options;
        let mut set = Self { servers: Vec::new(), sentinels: Vec::new(), ports: [Vec::new(), Vec::new()] };
        for _ in 0..=replicas {
            let mut config = lines.clone();
            if let Some(master) = set.ports[0].first() {
                config.push(format!("replicaof 127.0.0.1 {master}"));
            }
            let (server, port) = start(config, tls.as_deref(), passwords[0].clone(), &[]).await;
            set.servers.push(server);
            set.ports[0].push(port);
        }
        for replica in &set.servers[1..] {
            polled("the replica is linked", async || {
                replica.cli(&["INFO", "replication"]).await.ok()?.contains("master_link_status:up").then_some(())
            })
            .await;
        }
        let mut config = Vec::new();
        if host.is_some() {
            config.extend(["sentinel resolve-hostnames yes", "sentinel announce-hostnames yes"].map(str::to_owned));
        }
        let master = set.ports[0][0];
        config.extend([
            format!("sentinel monitor {NAME} {} {master} 2", host.unwrap_or("127.0.0.1")),
            format!("sentinel down-after-milliseconds {NAME} 1000"),
            format!("sentinel failover-timeout {NAME} 5000"),
        ]);
        config.extend(sentinel_lines);
        for _ in 0..3 {
            let args = ["--sentinel".to_owned()];
            let (sentinel, port) = start(config.clone(), tls.as_deref(), passwords[1].clone(), &args).await;
            set.sentinels.push(sentinel);
            set.ports[1].push(port);
        }
        for sentinel in &set.sentinels {
            polled("the Sentinel knows all", async || {
                let master = master_of(sentinel).await?;
                let has = |field: &str, value: &str| master.iter().any(|(name, is)| name == field && is == value);
                let knows = has("flags", "master")
                    && has("num-slaves", &replicas.to_string())
                    && has("num-other-sentinels", "2");
                knows.then_some(())
            })
            .await;
        }
        set
    }

    /// The Sentinels, as `redis.cache.addr` wants them.
    pub fn addr(&self) -> String {
        self.ports[1].iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// Where clients reach a server.
    pub fn port(&self, server: usize) -> u16 {
        self.ports[0][server]
    }

    /// The new master, once all Sentinels name one and it knows that it is.
    pub async fn failed_over(&self, from: usize) -> usize {
        polled("the Sentinels have made another one the master", async || {
            let mut told = Vec::new();
            for sentinel in &self.sentinels {
                let addr = sentinel.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).await.ok()?;
                told.push(addr.lines().last()?.parse::<u16>().ok()?);
            }
            let new = self.ports[0].iter().position(|port| *port == told[0])?;
            let agreed = new != from && told.iter().all(|port| *port == told[0]);
            let knows = self.servers[new].cli(&["INFO", "replication"]).await.ok()?.contains("role:master");
            (agreed && knows).then_some(new)
        })
        .await
    }
}

/// The fields of the master in the eyes of a Sentinel.
async fn master_of(sentinel: &RedisServer) -> Option<Vec<(String, String)>> {
    let told = sentinel.cli(&["SENTINEL", "MASTER", NAME]).await.ok()?;
    let lines: Vec<_> = told.lines().map(str::to_owned).collect();
    Some(lines.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
}

/// A process and where its clients reach it.
async fn start(
    mut config: Vec<String>,
    tls: Option<&[(String, Vec<u8>)]>,
    requirepass: Option<String>,
    args: &[String],
) -> (RedisServer, u16) {
    let mut tls_port = None;
    if tls.is_some() {
        let port = free_port().unwrap();
        let lines = ["tls-cert-file redis.pem", "tls-key-file redis.key", "tls-ca-cert-file ca.pem"];
        config.extend(lines.map(str::to_owned));
        config.extend(["tls-auth-clients no".to_owned(), "tls-replication yes".to_owned(), format!("tls-port {port}")]);
        tls_port = Some(port);
    }
    let files = tls.map(<[_]>::to_vec).unwrap_or_default();
    let options = RedisOptions { config, files, args: args.to_vec(), requirepass, ..RedisOptions::default() };
    let server = RedisServer::start_with(options).await.unwrap();
    let port = tls_port.unwrap_or(server.port());
    (server, port)
}
