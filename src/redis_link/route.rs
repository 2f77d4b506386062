//! The way to the one server that has the fleet's keys: the only one, the master that Sentinels name, or the owner of
//! the slot in a Cluster. Where it had to be looked for, connecting ends with a script that only that server runs, so a
//! replica, or a node that has given the slot away, is never taken for it.
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
    dial::{bounded, dial, login},
    race::first,
    script,
    sentinel::{Sentinel, masters},
    together,
};
use crate::config::{RedisAddr, RedisConfig, RedisServers, Sentinels};

/// Between two questions to Sentinels whether the master is still where it was. Well below any lease, so that an old
/// master which Sentinels cannot reach, and which does not know that it is replaced, is left before a lease ends there.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Of a Cluster's nodes, each of which sends to the next.
const HOPS: usize = 4;

/// The way, shared by everything in the process that uses Redis: who finds the keys at another server tells the others.
pub struct Route {
    config: RedisConfig,
    keys: Keys,
    probe: Script,
    /// Where they were last found.
    current: watch::Sender<Option<Place>>,
}

/// Where the keys were found.
struct Place {
    addr: RedisAddr,
    /// They are to be looked for again.
    is_doubted: bool,
}

/// The server that has the keys.
#[derive(Clone)]
pub struct Reached {
    /// Where it listens.
    pub addr: RedisAddr,
    /// A connection to it.
    pub connection: MultiplexedConnection,
}

/// What the server that has the keys is.
pub struct Kind {
    is_cluster: bool,
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
        let addr = self.current.borrow().as_ref()?.addr.clone();
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
        self.current.borrow().as_ref().is_some_and(|current| current.addr == *addr && !current.is_doubted)
    }

    /// Ends once the keys are elsewhere than at `addr`. The one who waits here also asks the Sentinels, for all.
    pub async fn left(&self, addr: &RedisAddr) {
        let mut current = self.current.subscribe();
        tokio::select! {
            _ = current.wait_for(|current| current.as_ref().is_some_and(|current| current.addr != *addr)) => {}
            () = self.disowned(addr) => self.doubt(addr),
        }
    }

    /// A connection to the server that has the keys. Everything on the way has a bound: `redis.cache.dialtimeout`, and
    /// `patience` for an answer.
    pub async fn connect(&self) -> RedisResult<Reached> {
        let reached = match &self.config.servers {
            // Nobody else could have them.
            RedisServers::Single(addr) => self.plain(addr).await,
            RedisServers::Sentinels(sentinels) => self.reach_master(sentinels).await,
            RedisServers::Cluster(nodes) => self.reach_owner(nodes).await,
        }?;
        self.found(&reached.addr);
        Ok(reached)
    }

    /// What the server at the end of a connection is; an error unless it has the keys and takes writes.
    pub async fn kind(&self, connection: &mut MultiplexedConnection) -> RedisResult<Kind> {
        let mut probe = self.probe.prepare_invoke();
        self.keys.pass_to(&mut probe);
        let (is_cluster, is_sharded) = bounded(self.patience(), probe.invoke_async(connection)).await?;
        Ok(Kind { is_cluster, is_sharded })
    }

    /// Another connection, to where one was found.
    pub async fn connect_to(
        &self,
        addr: &RedisAddr,
        protocol: ProtocolVersion,
        how: AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let RedisConfig { username, password, db, .. } = &self.config;
        let login = login(username.as_deref(), password.as_ref())?.set_db(*db).set_protocol(protocol);
        dial(&self.config, addr, login, how).await
    }

    async fn reach_master(&self, sentinels: &Sentinels) -> RedisResult<Reached> {
        let mut failed = Vec::new();
        for addr in masters(&self.config, sentinels).await? {
            match self.reach(&addr).await {
                Ok(reached) => return Ok(reached),
                Err(error) => failed.push((addr, error)),
            }
        }
        Err(together("the master that Sentinels name cannot be used", &failed))
    }

    /// By whichever node leads to it.
    async fn reach_owner(&self, nodes: &[RedisAddr]) -> RedisResult<Reached> {
        let mut from = nodes.to_vec();
        fastrand::shuffle(&mut from);
        if let Some(last) = self.current.borrow().as_ref().map(|current| &current.addr) {
            from.retain(|addr| addr != last);
            from.insert(0, last.clone());
        }
        let ways = from.into_iter().map(|addr| (addr.clone(), self.follow(addr).boxed()));
        first("no node of redis.cache.addr leads to the fleet's keys", ways).await
    }

    /// Goes from `addr` to where each node sends.
    async fn follow(&self, mut addr: RedisAddr) -> RedisResult<Reached> {
        for hop in 0..HOPS {
            let error = match self.reach(&addr).await {
                Ok(reached) => return Ok(reached),
                Err(error) => error,
            };
            match redirection(&addr, &error) {
                Some(next) => addr = next,
                None if hop > 0 => return Err(together("sends on", &[(addr, error)])),
                None => return Err(error),
            }
        }
        Err(io::Error::other(format!("sends on and on, at last to {addr}")).into())
    }

    /// A connection to `addr`, once it is sure that the keys are there.
    async fn reach(&self, addr: &RedisAddr) -> RedisResult<Reached> {
        let mut reached = self.plain(addr).await?;
        let Kind { is_cluster, .. } = self.kind(&mut reached.connection).await?;
        if matches!(self.config.servers, RedisServers::Cluster(_)) && !is_cluster {
            let message = "is no node of a Cluster; give one address in redis.cache.addr, or, if they are Sentinels', \
                           redis.cache.mainname";
            return Err(io::Error::other(message).into());
        }
        Ok(reached)
    }

    async fn plain(&self, addr: &RedisAddr) -> RedisResult<Reached> {
        let connection = self.connect_to(addr, ProtocolVersion::RESP2, AsyncConnectionConfig::new()).await?;
        Ok(Reached { addr: addr.clone(), connection })
    }

    fn found(&self, addr: &RedisAddr) {
        self.current.send_modify(|current| {
            if let Some(old) = current.as_ref().filter(|old| old.addr != *addr) {
                info!(from = %old.addr, to = %addr, "Redis has moved");
            }
            *current = Some(Place { addr: addr.clone(), is_doubted: false });
        });
    }

    /// Nobody goes on at `addr`.
    fn doubt(&self, addr: &RedisAddr) {
        self.current.send_modify(|current| {
            if let Some(current) = current.as_mut().filter(|current| current.addr == *addr) {
                current.is_doubted = true;
            }
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
            if is_doubted && masters(&self.config, sentinels).await.is_ok_and(|told| told.first() != Some(addr)) {
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
