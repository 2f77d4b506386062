//! The control: a holder as many a program has one, the registry's built-in collector among them. SET NX PX, a refresh
//! every half lease, given up after three failures whatever they are; no deadline of its own, no fence. It serves the same
//! page and tells the same history as the program, so the checker must find with it what it does not find with the
//! program, or it is blind.

use std::{
    env,
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::{Client, RedisError, RedisResult, aio::MultiplexedConnection};
use rowcount::{demo::redis::RedisServer, redis_link::Keys};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    process::Command,
    signal::unix::{SignalKind, signal},
};
use uuid::Uuid;

use super::history::{Micros, now};
use crate::fleet::{Instance, eventually, http_get};

const REDIS: &str = "CONTROL_REDIS";
const CLUSTER: &str = "CONTROL_CLUSTER";
const TTL_MS: &str = "CONTROL_TTL_MS";

/// Failures in a row after which it believes no more.
const FAILURES: u32 = 3;

const REFRESH: &str = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) or 0";
const RELEASE: &str = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0";

struct Naive {
    client: Client,
    lock: String,
    epochs: String,
    ttl: Duration,
    /// The epoch that the page shows.
    shown: Arc<Mutex<Option<i64>>>,
}

/// The command that starts one: this very test binary, with the test below as its main function.
pub fn command(redis: &str, cluster: &str, ttl: Duration) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["chaos::control::a_naive_holder_holds_alone_while_nothing_goes_wrong", "--exact", "--nocapture"]);
    command.env_clear().env(REDIS, redis).env(CLUSTER, cluster).env(TTL_MS, ttl.as_millis().to_string());
    command
}

#[tokio::test]
async fn a_naive_holder_holds_alone_while_nothing_goes_wrong() {
    if let Ok(redis) = env::var(REDIS) {
        return Naive::from_env(&redis).run().await;
    }
    let redis = RedisServer::start().await.unwrap();
    let ttl = Duration::from_secs(2);
    let start = async |name: &str| Instance::start(command(&redis.addr(), "control", ttl), name).await;
    let mut both = [start("alice").await, start("bob").await];
    let holders = async |both: &[Instance]| {
        let mut holders = Vec::new();
        for (index, instance) in both.iter().enumerate() {
            let page = http_get(&instance.http, "/metrics").await;
            if page.is_ok_and(|(_, page)| page.contains("registry_database_rows{")) {
                holders.push(index);
            }
        }
        holders
    };
    let first = eventually("one of them holds", async || holders(&both).await.first().copied()).await;
    let refreshes = async || both[first].lines("lease renewed").len();
    // Three refreshes are one and a half leases.
    eventually("it refreshes", async || {
        assert_eq!(holders(&both).await, [first]);
        (refreshes().await >= 3).then_some(())
    })
    .await;
    both[first].signal(Signal::KILL);
    both[first].exit().await;
    eventually("the other one holds", async || (holders(&both).await == [1 - first]).then_some(())).await;
}

// === impl Naive ===

impl Naive {
    fn from_env(redis: &str) -> Self {
        let setting = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is set"));
        let Keys { keys: [lock, ..], .. } = Keys::new(&setting(CLUSTER), 0);
        Self {
            client: Client::open(format!("redis://{redis}/")).unwrap(),
            epochs: lock.replace("lease", "epochs"),
            lock,
            ttl: Duration::from_millis(setting(TTL_MS).parse().unwrap()),
            shown: Arc::default(),
        }
    }

    /// Until SIGTERM.
    async fn run(self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        tokio::spawn(serve(listener, self.shown.clone()));
        let mut stop = signal(SignalKind::terminate()).unwrap();
        tell(&json!({"msg": "Listening", "grpc_addr": addr, "http_addr": addr}));
        let mut holds: Option<(String, i64)> = None;
        tokio::select! {
            _ = stop.recv() => {}
            () = self.compete(&mut holds) => {}
        }
        if let Some((token, epoch)) = holds {
            self.end(&token, epoch);
            _ = self.script(RELEASE, &token).await;
        }
    }

    async fn compete(&self, holds: &mut Option<(String, i64)>) {
        loop {
            let (token, sent) = (Uuid::new_v4().to_string(), now());
            if let Ok(Some(epoch)) = self.acquire(&token).await {
                *holds = Some((token.clone(), epoch));
                tell(&answered("lease granted", &token, epoch, sent));
                *self.shown.lock().unwrap() = Some(epoch);
                self.hold(&token, epoch).await;
                *holds = None;
                self.end(&token, epoch);
            }
            tokio::time::sleep(self.ttl / 4).await;
        }
    }

    async fn hold(&self, token: &str, epoch: i64) {
        let mut failures = 0;
        while failures < FAILURES {
            tokio::time::sleep(self.ttl / 2).await;
            let sent = now();
            match self.script(REFRESH, token).await {
                Ok(1) => {
                    failures = 0;
                    tell(&answered("lease renewed", token, epoch, sent));
                }
                _ => failures += 1,
            }
        }
    }

    fn end(&self, token: &str, epoch: i64) {
        *self.shown.lock().unwrap() = None;
        tell(&json!({"msg": "lease claim ended", "at_us": now(), "token": token, "epoch": epoch}));
    }

    async fn acquire(&self, token: &str) -> RedisResult<Option<i64>> {
        self.ask(async |mut connection| {
            let mut set = redis::cmd("SET");
            set.arg(&self.lock).arg(token).arg("NX").arg("PX").arg(self.ttl.as_millis().to_string());
            let set: Option<String> = set.query_async(&mut connection).await?;
            match set {
                Some(_) => Ok(Some(redis::cmd("INCR").arg(&self.epochs).query_async(&mut connection).await?)),
                None => Ok(None),
            }
        })
        .await
    }

    async fn script(&self, script: &str, token: &str) -> RedisResult<i64> {
        let ttl = self.ttl.as_millis().to_string();
        self.ask(async |mut connection| {
            let mut eval = redis::cmd("EVAL");
            eval.arg(script).arg(1).arg(&self.lock).arg(token).arg(ttl).query_async(&mut connection).await
        })
        .await
    }

    /// On a connection of its own, for up to a lease.
    async fn ask<T>(&self, call: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>) -> RedisResult<T> {
        let call = async { call(self.client.get_multiplexed_async_connection().await?).await };
        let late = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        tokio::time::timeout(self.ttl, call).await.map_err(late)?
    }
}

/// A line of its history. It has no deadline: it believes until it is told otherwise.
fn answered(message: &str, token: &str, epoch: i64, sent: Micros) -> Value {
    json!({"msg": message, "at_us": now(), "token": token, "epoch": epoch, "sent_us": sent, "deadline_us": u64::MAX,
        "reclaimed": false})
}

fn tell(line: &Value) {
    writeln!(std::io::stderr(), "{line}").expect("whoever started it listens");
}

async fn serve(listener: TcpListener, shown: Arc<Mutex<Option<i64>>>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut request = [0; 1024];
        _ = client.read(&mut request).await;
        let page = match *shown.lock().unwrap() {
            Some(epoch) => format!("registry_database_rows{{query_name=\"t\"}} 3\nrowcount_lease_epoch {epoch}\n"),
            None => String::new(),
        };
        _ = client.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{page}").as_bytes()).await;
    }
}
