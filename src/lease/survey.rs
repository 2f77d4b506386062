//! What the store of the lease must be for its promises to hold, and what it is: told once each, with what to do.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    board::Event,
    lease::{Backend, from_micros},
    lease_protocol::{Standing, margin},
};

/// The oldest Redis that the tests run on.
const OLDEST: (u32, u32) = (6, 2);

/// The longest that the server may take to tell of itself.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Between tries while it does not, when nothing else tells that it may.
const RETRY_WAIT: Duration = Duration::from_secs(60);

/// What a server tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Redis, or one that speaks like it.
    product: &'static str,
    version: String,
    /// The version of Redis that it stands for.
    redis: Option<(u32, u32)>,
    is_replica: bool,
    /// What it does when it is full; empty when it has no limit, and so never is.
    policy: String,
}

/// Something that may break a promise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// Keys without an expiry may vanish.
    Evicts {
        /// The server's `maxmemory-policy`.
        policy: String,
    },
    /// It takes no writes, and may lie behind.
    Replica,
    /// Nobody knows whether it does what is asked.
    TooOld {
        /// Its name and version.
        server: String,
    },
    /// A lease that our quarantine does not outlast.
    LongLease {
        /// Whose.
        holder: String,
        /// How long it is.
        ttl: Duration,
        /// How long nobody is let in here after a loss of data.
        quarantine: Duration,
    },
}

/// Looks at the server whenever the subscription stands anew, since it may be another one.
pub struct Survey {
    backend: Arc<dyn Backend>,
    events: broadcast::Receiver<Event>,
    told: BTreeSet<Finding>,
}

// === impl Server ===

impl Server {
    /// What the text of INFO tells, the sections server, memory and replication.
    pub fn parse(info: &str) -> Self {
        let field = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.unwrap_or_default().trim()
        };
        let (product, version) = match field("valkey_version") {
            "" => ("Redis", field("redis_version")),
            version => ("Valkey", version),
        };
        let mut numbers = field("redis_version").split('.').map_while(|number| number.parse().ok());
        Self {
            product,
            version: version.to_owned(),
            redis: numbers.next().zip(numbers.next()),
            is_replica: field("role") == "slave",
            policy: if field("maxmemory") == "0" { String::new() } else { field("maxmemory_policy").to_owned() },
        }
    }

    /// What may break a promise.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.is_replica {
            findings.push(Finding::Replica);
        }
        if self.policy.starts_with("allkeys-") {
            findings.push(Finding::Evicts { policy: self.policy.clone() });
        }
        if self.redis.is_some_and(|version| version < OLDEST) {
            findings.push(Finding::TooOld { server: self.to_string() });
        }
        findings
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.product, self.version)
    }
}

// === impl Finding ===

impl Finding {
    /// Whether somebody holds a lease that `quarantine` does not outlast.
    pub fn of_lease(standing: &Standing, quarantine: Duration) -> Option<Self> {
        let ttl = from_micros(standing.ttl_us);
        (standing.remaining_us > 0 && ttl + margin(ttl) > quarantine).then(|| Self::LongLease {
            holder: standing.holder.clone(),
            ttl,
            quarantine,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evicts { policy } => write!(
                f,
                "Redis may throw the lease away when it is full (maxmemory-policy {policy}): set noeviction or a \
                 volatile- policy, or use a Redis of its own"
            ),
            Self::Replica => {
                write!(f, "Redis is a replica, which takes no writes: redis.cache.addr must lead to its master")
            }
            Self::TooOld { server } => {
                let (major, minor) = OLDEST;
                write!(f, "{server} is older than {major}.{minor}, the oldest that is tested: upgrade it")
            }
            Self::LongLease { holder, ttl, quarantine } => write!(
                f,
                "{holder} has a lease of {ttl:?}, which lease.quarantine, {quarantine:?} here, does not outlast: after \
                 a loss of data in Redis two could hold it; set lease.quarantine to at least {:?} on every instance",
                *ttl + margin(*ttl)
            ),
        }
    }
}

// === impl Survey ===

impl Survey {
    /// A survey that has told nothing yet.
    pub fn new(backend: Arc<dyn Backend>, events: broadcast::Receiver<Event>) -> Self {
        Self { backend, events, told: BTreeSet::new() }
    }

    /// Looks again and again until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            // Why it did not answer is told by whoever needs it.
            let is_told = match self.backend.server(ANSWER_WAIT).await {
                Ok(server) => {
                    server.iter().flat_map(Server::findings).for_each(|finding| self.tell(finding));
                    true
                }
                Err(_) => false,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = Self::stands_anew(&mut self.events) => {}
                () = tokio::time::sleep(RETRY_WAIT), if !is_told => {}
            }
        }
    }

    fn tell(&mut self, finding: Finding) {
        if self.told.insert(finding.clone()) {
            warn!("{finding}");
        }
    }

    async fn stands_anew(events: &mut broadcast::Receiver<Event>) {
        loop {
            match events.recv().await {
                Ok(Event::Subscribed) => return,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDIS: &str = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n\
                         # Replication\r\nrole:master\r\n";

    fn findings(changes: &[(&str, &str)]) -> Vec<Finding> {
        let info = changes.iter().fold(REDIS.to_owned(), |info, (old, new)| info.replace(old, new));
        Server::parse(&info).findings()
    }

    #[test]
    fn a_server_that_may_break_a_promise_is_found_out() {
        assert_eq!(findings(&[]), []);
        let full = ("maxmemory:0", "maxmemory:1000");
        let lru = ("noeviction", "allkeys-lru");
        assert_eq!(findings(&[full]), []);
        assert_eq!(findings(&[lru]), [], "without a limit it is never full");
        assert_eq!(findings(&[full, lru]), [Finding::Evicts { policy: "allkeys-lru".to_owned() }]);
        assert_eq!(findings(&[full, ("noeviction", "volatile-lru")]), [], "our keys have no expiry");
        assert_eq!(findings(&[("role:master", "role:slave")]), [Finding::Replica]);
        for (version, is_old) in [("6.2.0", false), ("6.0.16", true), ("5.0.7", true), ("10.0.0", false)] {
            let server = format!("Redis {version}");
            let wanted = Some(Finding::TooOld { server }).filter(|_| is_old);
            assert_eq!(findings(&[("7.0.15", version)]).pop(), wanted, "{version}");
        }
        let valkey = REDIS.replace("7.0.15", "7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.0");
        assert_eq!(
            (Server::parse(&valkey).to_string(), Server::parse(&valkey).findings()),
            ("Valkey 9.1.0".into(), vec![])
        );
    }
}
