//! The settings, with every default filled in and every relation checked: a `Config` that exists is one to run with.
//! Only main, app and cli name the whole of it; a component takes its own group.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use url::Url;

use crate::{
    catalog::Catalog,
    credentials::Sources,
    query::Query,
    rates::{costs::CostOverride, model::ModelName},
};

pub use address::Error as AddressError;
pub use load::{Effective, Loaded, ServeArgs, environment, load};
pub use origin::Origin;
pub use problems::{Problem, Problems};
pub use schema::{COST_KEYS, QUERY_KEYS, QueryKey, SETTINGS, Setting, TOKEN_KEYS};
pub use secret::Secret;

mod address;
mod build;
mod costs;
mod duration;
mod kind;
mod layers;
mod load;
mod origin;
mod problems;
mod queries;
mod records;
mod redis_cache;
mod registry;
mod schema;
mod secret;
mod settings;
mod sql;
mod surface;
mod yaml;

/// Everything that `rowcount serve` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// `instanceid`: unique in the fleet; default: host name and a random suffix.
    pub instance_id: String,
    /// `cluster`: one fleet, one name; part of every Redis key.
    pub cluster: String,
    /// `grpc`.
    pub grpc: GrpcConfig,
    /// `http`: the ops port.
    pub http: HttpConfig,
    /// The files of `grpc.tls`, `http.tls` and `auth.tokens`.
    pub sources: Sources,
    /// `database`, without `metrics`.
    pub database: DatabaseConfig,
    /// `redis.cache`; `None` without an address: lease and board live in memory.
    pub redis: Option<RedisConfig>,
    /// `database.metrics` and `lease`.
    pub lease: LeaseConfig,
    /// `collection`, and the queries that `catalog` and `queries` come to.
    pub collection: CollectionConfig,
    /// `rates`.
    pub rates: RatesConfig,
    /// `log`.
    pub log: LogConfig,
    /// `tracing`.
    pub tracing: TracingConfig,
}

/// The gRPC port.
#[derive(Clone, Debug)]
pub struct GrpcConfig {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Whether reflection is served.
    pub reflection: bool,
}

/// The ops port.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
}

/// How to reach PostgreSQL.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// What was given: a URL or its parts.
    pub target: DatabaseTarget,
    /// `connecttimeout`.
    pub connect_timeout: Duration,
    /// `connections`: hard ceiling on backends, at least 1.
    pub connections: usize,
}

/// Where the database is. Secrets are read at each connection, so a rotated password needs no restart.
#[derive(Clone, Debug)]
pub enum DatabaseTarget {
    /// `url`: libpq's `postgres://user:password@host:port/dbname?sslmode=…`.
    Url(Secret),
    /// The parts.
    Parts {
        /// A name, an address or a socket directory.
        host: String,
        /// TCP port, or the number in the socket's name.
        port: u16,
        /// Role.
        user: String,
        /// `None`: none is sent.
        password: Option<Secret>,
        /// Database.
        dbname: String,
        /// As libpq's.
        sslmode: SslMode,
        /// Client certificate, PEM.
        sslcert: Option<PathBuf>,
        /// Its key, PEM.
        sslkey: Option<PathBuf>,
        /// Certificate authorities, PEM; the system's when `None`.
        sslrootcert: Option<PathBuf>,
    },
}

/// libpq's sslmode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Plaintext only.
    Disable,
    /// Plaintext, TLS when the server insists.
    Allow,
    /// TLS when the server has it.
    Prefer,
    /// TLS, unverified unless a root certificate is given.
    Require,
    /// TLS with a verified chain.
    VerifyCa,
    /// TLS with a verified chain and name.
    VerifyFull,
}

/// How to reach Redis.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// What `addr` names.
    pub servers: RedisServers,
    /// ACL user; `None`: the default user.
    pub username: Option<String>,
    /// `None`: no AUTH is sent.
    pub password: Option<Secret>,
    /// Number of the database.
    pub db: i64,
    /// For connecting.
    pub dial_timeout: Duration,
    /// For an answer.
    pub read_timeout: Duration,
    /// For sending; added to `read_timeout`, since a command is sent and answered in one call.
    pub write_timeout: Duration,
    /// `None`: plaintext. Of the Sentinels too.
    pub tls: Option<RedisTls>,
}

/// What `redis.cache.addr` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisServers {
    /// The server.
    Single(RedisAddr),
    /// Those who know which server is the master.
    Sentinels(Sentinels),
    /// Some nodes of a Cluster, of which any tells the others.
    Cluster(Vec<RedisAddr>),
}

/// How to ask Sentinels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentinels {
    /// At least one.
    pub addrs: Vec<RedisAddr>,
    /// `mainname`: what they call the master.
    pub main_name: String,
    /// ACL user there; `None`: the default user.
    pub username: Option<String>,
    /// `None`: no AUTH is sent.
    pub password: Option<Secret>,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisAddr {
    /// Host name or address; an IPv6 address has no brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// TLS towards Redis.
#[derive(Clone, Debug)]
pub struct RedisTls {
    /// Accept any certificate.
    pub insecure: bool,
    /// Certificate authorities, PEM; the system's when `None`.
    pub ca: Option<PathBuf>,
}

/// How to compete for the lease.
#[derive(Clone, Debug)]
pub struct LeaseConfig {
    /// `database.metrics.enabled`: false answers but never competes.
    pub enabled: bool,
    /// `database.metrics.leaseduration`: longer than the interval.
    pub duration: Duration,
    /// `lease.quarantine`, with its default filled in: at least the duration and its margin.
    pub quarantine: Duration,
    /// `lease.acquire`.
    pub acquire: Acquire,
    /// `lease.firststart`.
    pub first_start: FirstStart,
}

/// What to do when another instance holds the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquire {
    /// Stand by and take over.
    Standby,
    /// The first design's single attempt: do not campaign again.
    Once,
}

/// What a missing lease record means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstStart {
    /// The past is unknown: wait the quarantine once.
    Wait,
    /// Nobody held it: start at once.
    Immediate,
}

/// What is counted, and when.
#[derive(Clone, Debug)]
pub struct CollectionConfig {
    /// `database.metrics.interval`.
    pub interval: Duration,
    /// `collection.triggerinterval`: between the starts of requested collections.
    pub trigger_interval: Duration,
    /// `collection.staleafter`: intervals without a success until a value is stale.
    pub stale_after: u32,
    /// `catalog`.
    pub catalog: Catalog,
    /// The queries that are on, ordered by name.
    pub queries: Vec<Query>,
}

/// What the request load asks of the database, and where that load is known.
#[derive(Clone, Debug)]
pub struct RatesConfig {
    /// `prometheus`; `None` without a URL.
    pub prometheus: Option<PrometheusConfig>,
    /// `costs`: each fits a model, and all of those that fit one fit it together.
    pub costs: Vec<CostOverride>,
    /// `gauge`; `None` unless it is enabled. Never without `prometheus`.
    pub gauge: Option<GaugeConfig>,
}

/// The estimate as a metric.
#[derive(Clone, Copy, Debug)]
pub struct GaugeConfig {
    /// How often it is made anew.
    pub interval: Duration,
    /// What requests cost.
    pub model: ModelName,
}

/// How to ask a Prometheus.
#[derive(Clone, Debug)]
pub struct PrometheusConfig {
    /// Where its HTTP API is, without `/api/v1`; has no user, no query and no fragment.
    pub url: Url,
    /// Bearer token; not beside `username`.
    pub token: Option<Secret>,
    /// For basic authentication.
    pub username: Option<String>,
    /// Only beside `username`; `None`: an empty one is sent.
    pub password: Option<Secret>,
    /// What `X-Scope-OrgID` says; `None`: it is not sent.
    pub tenant: Option<String>,
    /// For a query and its whole answer, connecting included.
    pub timeout: Duration,
    /// Means something beside an https URL only.
    pub tls: PrometheusTls,
}

/// TLS towards Prometheus.
#[derive(Clone, Debug, Default)]
pub struct PrometheusTls {
    /// Certificate authorities, PEM; the system's when `None`.
    pub ca: Option<PathBuf>,
    /// Client certificate, PEM; never without `key`.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// Accept any certificate.
    pub insecure: bool,
}

/// Logging.
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    /// Lines of this level and above.
    pub level: tracing::Level,
    /// How a line is written.
    pub formatter: LogFormatter,
    /// Level of the per-query line.
    pub collected: tracing::Level,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormatter {
    /// One flat JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Traces.
#[derive(Clone, Debug)]
pub struct TracingConfig {
    /// OTLP/gRPC endpoint; `None`: no traces unless an OTEL_ variable names one.
    pub endpoint: Option<String>,
}

// === impl PrometheusConfig ===

impl PrometheusConfig {
    /// The one at `url`, with the defaults for everything else.
    pub fn at(url: &str) -> Result<Self, AddressError> {
        Ok(Self {
            url: address::http(url)?,
            token: None,
            username: None,
            password: None,
            tenant: None,
            timeout: Duration::from_secs(10),
            tls: PrometheusTls::default(),
        })
    }
}

// === impl RedisConfig ===

impl RedisConfig {
    /// The longest that a command may take to be sent and answered.
    pub fn patience(&self) -> Duration {
        self.read_timeout + self.write_timeout
    }
}

// === impl RedisAddr ===

impl fmt::Display for RedisAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

// === impl DatabaseTarget ===

impl DatabaseTarget {
    /// Whether a database is named; only an instance that never counts may be without one.
    pub fn is_given(&self) -> bool {
        match self {
            Self::Url(_) => true,
            Self::Parts { host, .. } => !host.is_empty(),
        }
    }
}
