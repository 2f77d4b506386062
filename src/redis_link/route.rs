//! The way to the one server that has the fleet's keys: the only one, the master that Sentinels name, or the owner of
//! the slot in a Cluster. Connecting ends with a script that only that server runs, so a replica, or a node that has
//! given the slot away, is never taken for it.
//!
//! The library has clients for Sentinel and Cluster too. They keep connections to every node, send a command again that
//! may have been carried out, and know no deadline but their own. All our keys lie in one slot, so of all that only the
//! look-up is needed.

use std::{collections::VecDeque, future::pending, io, sync::Arc, time::Duration};

use futures_util::FutureExt;
use redis::{
    AsyncConnectionConfig, ErrorKind, ProtocolVersion, RedisError, RedisResult, Script, ServerErrorKind,
    aio::MultiplexedConnection,
};
use tokio::sync::watch;
use tracing::info;

use super::{
    Keys,
    agreement::{agreed, together},
    dial::{bounded, dial, login},
    script,
    sentinel::Sentinel,
};
use crate::config::{RedisAddr, RedisConfig, RedisServers};

/// Between two questions to Sentinels whether the master is still where it was. Well below any lease, so that an old
/// master which Sentinels cannot reach, and which does not know that it is replaced, is left before a lease ends there.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// How often nodes of a Cluster may send from one to the next.
const HOPS: usize = 4;

/// The way, shared by everything in the process that uses Redis: who finds the keys at another server tells the others.
pub struct Route {
    config: RedisConfig,
    keys: Keys,
    probe: Script,
    /// Where they were last found; `None`: they are to be looked for.
    current: watch::Sender<Option<RedisAddr>>,
}

/// The server that has the keys.
#[derive(Clone)]
pub struct Reached {
    /// Where it listens.
    pub addr: RedisAddr,
    /// A connection to it.
    pub connection: MultiplexedConnection,
    /// Whether messages are published by SPUBLISH there.
    pub is_sharded: bool,
}

// === impl Route ===

impl Route {
    /// The way to the keys of the fleet of this name. Nothing is looked for yet.
    pub fn new(config: RedisConfig, cluster: &str) -> Arc<Self> {
        let keys = Keys::new(cluster, config.db);
        Arc::new(Self { config, keys, probe: script(include_str!("probe.lua")), current: watch::Sender::new(None) })
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The longest that an answer may take.
    pub fn patience(&self) -> Duration {
        self.config.patience()
    }

    /// Where the keys are and by whom that is known, once they were found.
    pub fn describe(&self) -> Option<String> {
        let addr = self.current.borrow().clone()?;
        Some(match &self.config.servers {
            RedisServers::Single(_) => addr.to_string(),
            RedisServers::Sentinels(sentinels) => {
                format!("{addr}, the master {:?} of {} Sentinels", sentinels.main_name, sentinels.addrs.len())
            }
            RedisServers::Cluster(_) => format!("{addr}, which has the fleet's slot of the Cluster"),
        })
    }

    /// Whether the keys are at `addr`, as far as anything in this process knows.
    pub fn is_current(&self, addr: &RedisAddr) -> bool {
        self.current.borrow().as_ref() == Some(addr)
    }

    /// Ends once the keys are elsewhere than at `addr`. The one who waits here also asks the Sentinels, for all.
    pub async fn left(&self, addr: &RedisAddr) {
        let mut current = self.current.subscribe();
        tokio::select! {
            _ = current.wait_for(|current| current.as_ref().is_some_and(|current| current != addr)) => {}
            () = self.disowned(addr) => { self.current.send_replace(None); }
        }
    }

    /// Connects to the server that has the keys. Everything on the way has a bound: `redis.cache.dialtimeout`, and
    /// `patience` for an answer.
    pub async fn connect(&self, protocol: ProtocolVersion, how: AsyncConnectionConfig) -> RedisResult<Reached> {
        let mut ahead = VecDeque::from(self.candidates().await?);
        let mut failed = Vec::new();
        let mut hops = 0;
        while let Some(addr) = ahead.pop_front() {
            let error = match self.reach(&addr, protocol, how.clone()).await {
                Ok(reached) => {
                    self.found(&reached.addr);
                    return Ok(reached);
                }
                Err(error) => error,
            };
            match (&self.config.servers, redirection(&addr, &error)) {
                (RedisServers::Single(_), _) => return Err(error),
                (RedisServers::Cluster(_), Some(next)) if hops < HOPS => {
                    hops += 1;
                    ahead.push_front(next);
                }
                _ => failed.push((addr, error)),
            }
        }
        Err(together("the server with the fleet's keys cannot be used", &failed))
    }

    /// Where the keys may be, the likeliest first.
    async fn candidates(&self) -> RedisResult<Vec<RedisAddr>> {
        match &self.config.servers {
            RedisServers::Single(addr) => Ok(vec![addr.clone()]),
            RedisServers::Sentinels(sentinels) => {
                let patience = self.config.dial_timeout + self.patience();
                let asked = Sentinel::all(&self.config, sentinels)
                    .map(|mut sentinel| (sentinel.addr, async move { sentinel.master(patience).await }.boxed()));
                agreed("no Sentinel of redis.cache.addr tells the master", asked.collect()).await
            }
            RedisServers::Cluster(nodes) => {
                let asked = nodes.iter().map(|node| (node, self.owner_by(node).boxed()));
                agreed("no node of redis.cache.addr tells where the fleet's keys are", asked.collect()).await
            }
        }
    }

    /// The owner of the slot in the eyes of a node.
    async fn owner_by(&self, node: &RedisAddr) -> RedisResult<RedisAddr> {
        match self.reach(node, ProtocolVersion::RESP2, AsyncConnectionConfig::new()).await {
            Ok(_) => Ok(node.clone()),
            Err(error) => redirection(node, &error).ok_or(error),
        }
    }

    /// A connection to `addr`, once it is sure that the keys are there.
    async fn reach(
        &self,
        addr: &RedisAddr,
        protocol: ProtocolVersion,
        how: AsyncConnectionConfig,
    ) -> RedisResult<Reached> {
        let RedisConfig { username, password, db, .. } = &self.config;
        let login = login(username.as_deref(), password.as_ref())?.set_db(*db).set_protocol(protocol);
        let mut connection = dial(&self.config, addr, login, how).await?;
        let mut probe = self.probe.prepare_invoke();
        self.keys.pass_to(&mut probe);
        let (is_cluster, is_sharded): (bool, bool) =
            bounded(self.patience(), probe.invoke_async(&mut connection)).await?;
        if matches!(self.config.servers, RedisServers::Cluster(_)) && !is_cluster {
            let message = "is no node of a Cluster; give one address in redis.cache.addr, or, if they are Sentinels', \
                           redis.cache.mainname";
            return Err(io::Error::other(message).into());
        }
        Ok(Reached { addr: addr.clone(), connection, is_sharded })
    }

    fn found(&self, addr: &RedisAddr) {
        self.current.send_if_modified(|current| {
            let changed = current.as_ref() != Some(addr);
            if let Some(old) = current.as_ref().filter(|_| changed) {
                info!(from = %old, to = %addr, "Redis has moved");
            }
            *current = Some(addr.clone());
            changed
        });
    }

    /// Ends once the Sentinels say that the master is elsewhere; asks one of them at a time, in turn.
    async fn disowned(&self, addr: &RedisAddr) {
        let RedisServers::Sentinels(sentinels) = &self.config.servers else { return pending().await };
        let mut all: VecDeque<_> = Sentinel::all(&self.config, sentinels).collect();
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            all.rotate_left(1);
            let is_doubted = all[0].master(WATCH_INTERVAL).await.is_ok_and(|told| told != *addr);
            // One of them may be behind the times, or ahead of the others.
            if is_doubted && self.candidates().await.is_ok_and(|told| told.first() != Some(addr)) {
                return;
            }
        }
    }
}

/// Where `error` of the node at `addr` sends to. A node that does not know its own name leaves the host out.
fn redirection(addr: &RedisAddr, error: &RedisError) -> Option<RedisAddr> {
    if error.kind() != ErrorKind::Server(ServerErrorKind::Moved) {
        return None;
    }
    let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
    let host = match host.trim_matches(['[', ']']) {
        "" => &addr.host,
        "?" => return None,
        host => host,
    };
    Some(RedisAddr { host: host.to_owned(), port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_names_a_server_or_only_its_port() {
        let at = RedisAddr { host: "here".to_owned(), port: 1 };
        let to = |detail: &str| {
            let error = (ErrorKind::Server(ServerErrorKind::Moved), "MOVED", detail.to_owned()).into();
            redirection(&at, &error).map(|addr| addr.to_string())
        };
        assert_eq!(to("866 10.0.0.1:6379").as_deref(), Some("10.0.0.1:6379"));
        assert_eq!(to("866 node.redis.svc:6379").as_deref(), Some("node.redis.svc:6379"));
        assert_eq!(to("866 fd00::1:6379").as_deref(), Some("[fd00::1]:6379"));
        assert_eq!(to("866 :6379").as_deref(), Some("here:6379"));
        assert_eq!(to("866 ?:6379"), None);
        let other = (ErrorKind::Server(ServerErrorKind::Ask), "ASK", "866 10.0.0.1:6379".to_owned()).into();
        assert_eq!(redirection(&at, &other), None);
    }
}
