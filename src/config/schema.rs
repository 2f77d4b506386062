//! Every setting there is, as values: defaults, variables, the check for unknown keys and the listing all come from
//! this one table, so they cannot drift apart.

use super::kind::Kind;

/// A setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The dotted path of its key.
    pub path: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// What holds when nobody says otherwise.
    pub default: &'static str,
    /// What it is, for people.
    pub about: &'static str,
}

/// A key of a query, below `queries.NAME`, or of a record.
#[derive(Clone, Copy, Debug)]
pub struct QueryKey {
    /// Its name.
    pub key: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// What it is, for people.
    pub about: &'static str,
}

const LEVELS: Kind = Kind::Choice(&["error", "warn", "info", "debug", "trace"]);

const MODELS: Kind = Kind::Choice(&["registry-4.32", "published-2020", "parametric-2020"]);

const TLS_VERSIONS: Kind = Kind::Choice(&["tls1.2", "tls1.3"]);

/// Every setting but the queries, in the order in which they are listed.
pub const SETTINGS: &[Setting] = &[
    on("instanceid", Kind::InstanceId, "", "unique in the fleet; empty: host name and a random suffix"),
    on("cluster", Kind::Cluster, "default", "one fleet, one name; part of every Redis key"),
    on("grpc.addr", Kind::Listen, "127.0.0.1:50051", "where gRPC listens; `:50051` is every interface"),
    on("grpc.reflection", Kind::Bool, "true", "serve reflection, for grpcurl"),
    on("grpc.tls.certificate", Kind::Text, "", "certificate chain, a PEM file; empty: plaintext"),
    on("grpc.tls.key", Kind::Text, "", "its key, a PEM file"),
    on(
        "grpc.tls.clientcas",
        Kind::List,
        "",
        "authorities of client certificates, PEM files; empty: none are asked for",
    ),
    on("grpc.tls.allowednames", Kind::List, "", "names that a client certificate may have; empty: any"),
    on("grpc.tls.minimumtls", TLS_VERSIONS, "tls1.2", "the oldest version of TLS"),
    on("http.addr", Kind::Listen, "127.0.0.1:9464", "where the ops port listens"),
    on("http.tls.certificate", Kind::Text, "", "as under grpc"),
    on("http.tls.key", Kind::Text, "", "as under grpc"),
    on("http.tls.clientcas", Kind::List, "", "as under grpc"),
    on("http.tls.allowednames", Kind::List, "", "as under grpc"),
    on("http.tls.minimumtls", TLS_VERSIONS, "tls1.2", "as under grpc"),
    on("auth.tokens", Kind::Records, "", "bearer tokens and their roles, see below; empty: none is asked for"),
    on("insecure", Kind::Bool, "false", "allow plaintext on addresses that are not loopback"),
    on("database.url", Kind::DatabaseUrl, "", "instead of the parts below"),
    on("database.host", Kind::DatabaseHost, "", "a name, an address or a socket directory"),
    on("database.port", Kind::Int(1, 65535), "5432", "TCP port, or the number in the socket's name"),
    on(
        "database.user",
        Kind::Text,
        "",
        "role; it needs SELECT on what is counted, and pg_read_all_stats to follow large tables",
    ),
    on("database.password", Kind::Secret, "", "its password"),
    on("database.dbname", Kind::Text, "", "database"),
    on(
        "database.sslmode",
        Kind::Choice(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]),
        "prefer",
        "as libpq's",
    ),
    on("database.sslcert", Kind::Text, "", "client certificate, a PEM file"),
    on("database.sslkey", Kind::Text, "", "its key, a PEM file"),
    on("database.sslrootcert", Kind::Text, "", "authorities, a PEM file; empty: the system's"),
    on("database.connecttimeout", Kind::Duration(100), "5s", "for connecting"),
    on("database.connections", Kind::Int(1, 1000), "2", "hard ceiling on backends"),
    on("database.metrics.enabled", Kind::Bool, "true", "false: this instance answers but never competes"),
    on("database.metrics.interval", Kind::Duration(100), "10s", "how often a query is counted"),
    on("database.metrics.leaseduration", Kind::Duration(200), "30s", "life of the lease; longer than the interval"),
    on("redis.cache.enabled", Kind::Bool, "true", "false: as without an address"),
    on(
        "redis.cache.addr",
        Kind::Remotes,
        "",
        "host:port; several: with mainname Sentinels, without it nodes of a Cluster; empty: lease and board in memory, \
         one instance only",
    ),
    on("redis.cache.mainname", Kind::Text, "", "what the Sentinels call the master"),
    on("redis.cache.username", Kind::Text, "", "ACL user"),
    on("redis.cache.password", Kind::Secret, "", "its password"),
    on("redis.cache.sentinelusername", Kind::Text, "", "ACL user of the Sentinels"),
    on("redis.cache.sentinelpassword", Kind::Secret, "", "its password"),
    on("redis.cache.db", Kind::Int(0, 65535), "0", "number of the database; a Cluster has 0 only"),
    on("redis.cache.dialtimeout", Kind::Duration(10), "5s", "for connecting"),
    on("redis.cache.readtimeout", Kind::Duration(10), "5s", "for an answer"),
    on("redis.cache.writetimeout", Kind::Duration(10), "5s", "for sending"),
    on("redis.cache.tls.enabled", Kind::Bool, "false", "TLS towards Redis, and towards Sentinels"),
    on("redis.cache.tls.insecure", Kind::Bool, "false", "accept any certificate"),
    on("redis.cache.tls.ca", Kind::Text, "", "authorities, a PEM file; empty: the system's"),
    on("lease.acquire", Kind::Choice(&["standby", "once"]), "standby", "`once`: a single attempt"),
    on("lease.quarantine", Kind::Duration(0), "0s", "the same for the whole fleet; 0s: leaseduration and its margin"),
    on("lease.firststart", Kind::Choice(&["wait", "immediate"]), "wait", "what a missing lease record means"),
    on("collection.timeout", Kind::Duration(100), "10s", "of a statement, unless its query says otherwise"),
    on("collection.triggerinterval", Kind::Duration(0), "1s", "between the starts of requested collections"),
    on("collection.staleafter", Kind::Int(1, 1_000_000), "3", "intervals without a success until a value is stale"),
    on(
        "catalog",
        Kind::Choice(&["all", "registry", "none"]),
        "all",
        "built-in queries; `registry`: the registry's six",
    ),
    on("rates.prometheus.url", Kind::HttpUrl, "", "where request rates come from: http://host:port/prefix"),
    on("rates.prometheus.token", Kind::Secret, "", "bearer token"),
    on("rates.prometheus.username", Kind::Text, "", "user, for basic authentication"),
    on("rates.prometheus.password", Kind::Secret, "", "its password"),
    on("rates.prometheus.tenant", Kind::HeaderValue, "", "what X-Scope-OrgID says, for a store of many tenants"),
    on("rates.prometheus.timeout", Kind::Duration(100), "10s", "of a query"),
    on("rates.prometheus.tls.ca", Kind::Text, "", "authorities, a PEM file; empty: the system's"),
    on("rates.prometheus.tls.certificate", Kind::Text, "", "client certificate, a PEM file"),
    on("rates.prometheus.tls.key", Kind::Text, "", "its key, a PEM file"),
    on("rates.prometheus.tls.insecure", Kind::Bool, "false", "accept any certificate"),
    on("rates.costs", Kind::Records, "", "costs of requests that replace those of the models, see below"),
    on("rates.gauge.enabled", Kind::Bool, "false", "export the estimate as a metric; needs rates.prometheus.url"),
    on("rates.gauge.interval", Kind::Duration(1_000), "5m", "how often it is made anew"),
    on("rates.gauge.model", MODELS, "registry-4.32", "its cost model"),
    on("log.level", LEVELS, "info", "lines of this level and above"),
    on("log.formatter", Kind::Choice(&["json", "text"]), "json", "how a line is written"),
    on("log.collected", LEVELS, "debug", "level of the per-query line"),
    on("tracing.endpoint", Kind::Endpoint, "", "OTLP over gRPC; the OTEL_* variables count too"),
];

/// Every key of a query.
pub const QUERY_KEYS: &[QueryKey] = &[
    key("description", Kind::Text, "what is counted, for people"),
    key("sql", Kind::Text, "one statement that returns one integer"),
    key("table", Kind::Text, "instead of `sql`: all rows of this table"),
    key("interval", Kind::Duration(100), "default: database.metrics.interval"),
    key("timeout", Kind::Duration(100), "default: collection.timeout"),
    key(
        "method",
        Kind::Choice(&["exact", "exactcapped", "followed", "estimated", "auto"]),
        "how the rows of a table are counted, default: auto; of `sql` only `exact`",
    ),
    key("cap", Kind::Int(1, i64::MAX), "with `method: exactcapped`: rows that are counted at most"),
    key("enabled", Kind::Bool, "default: true; of a built-in: what `catalog` says"),
];

/// Every key of a record of `rates.costs`.
pub const COST_KEYS: &[QueryKey] = &[
    key("method", Kind::Text, "HTTP method, in any case"),
    key("handler", Kind::Text, "handler or route label"),
    key("code", Kind::Text, "response code; default: every code"),
    key("kind", Kind::Text, "the kind that is replaced, as `rowcount rates model` names it; default: all kinds"),
    key("select", Kind::Text, "SELECTs of one request: a number or an expression in L, M and T; default: 0"),
    key("insert", Kind::Text, "INSERTs, likewise"),
    key("update", Kind::Text, "UPDATEs, likewise"),
    key("delete", Kind::Text, "DELETEs, likewise"),
];

/// Every key of a record of `auth.tokens`.
pub const TOKEN_KEYS: &[QueryKey] = &[
    key("name", Kind::Text, "who has it, for the log and the traces: letters, digits, `.`, `_` and `-`"),
    key("tokenfile", Kind::Text, "path of the file that holds it, on one line"),
    key("role", Kind::Text, "`read` or `operate`"),
];

const fn on(path: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Setting {
    Setting { path, kind, default, about }
}

const fn key(key: &'static str, kind: Kind, about: &'static str) -> QueryKey {
    QueryKey { key, kind, about }
}

/// A path that can be given: a setting's own, or that of the file of a secret.
pub struct Given {
    /// The setting.
    pub setting: &'static Setting,
    /// Whether the path is that of the file.
    pub is_file: bool,
}

// === impl Given ===

impl Given {
    /// The setting that `path` names.
    pub fn find(path: &str) -> Option<Self> {
        SETTINGS.iter().find_map(|setting| {
            let rest = path.strip_prefix(setting.path)?;
            match rest {
                "" => Some(Self { setting, is_file: false }),
                "file" if setting.kind.is_secret() => Some(Self { setting, is_file: true }),
                _ => None,
            }
        })
    }
}

/// Every path that can be given.
pub fn paths() -> impl Iterator<Item = String> {
    SETTINGS.iter().flat_map(|setting| {
        let file = setting.kind.is_secret().then(|| format!("{}file", setting.path));
        std::iter::once(setting.path.to_owned()).chain(file)
    })
}

/// Whether `path` is a section: a setting lies below it.
pub fn is_section(path: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The environment variable of `path`.
pub fn variable(prefix: &str, path: &str) -> String {
    format!("{prefix}_{}", path.replace('.', "_").to_uppercase())
}

/// The known path that is most like `path`, which is none.
pub fn nearest(path: &str) -> String {
    let mut known: Vec<String> = paths().collect();
    let sections: Vec<String> = known.iter().flat_map(|path| parents(path)).collect();
    known.extend(sections);
    known.push("queries".to_owned());
    most_like(path, known)
}

/// The one of `known` that is most like `word`. What follows the last dot counts by itself too, since a right key in a
/// wrong place is a common mistake.
pub fn most_like(word: &str, known: impl IntoIterator<Item = String>) -> String {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |candidate: &str| {
        let whole = strsim::normalized_damerau_levenshtein(word, candidate);
        whole.max(0.95 * strsim::normalized_damerau_levenshtein(&last(word), &last(candidate)))
    };
    known.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default()
}

fn parents(path: &str) -> Vec<String> {
    path.match_indices('.').map(|(at, _)| path[..at].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_path_has_a_variable_of_its_own() {
        let variables: BTreeSet<_> = paths().map(|path| variable("ROWCOUNT", &path)).collect();
        assert_eq!(variables.len(), paths().count());
    }

    #[test]
    fn every_default_can_stand_where_it_stands() {
        for setting in SETTINGS {
            assert_eq!(setting.kind.check(setting.default), Ok(()), "{}", setting.path);
        }
    }

    #[test]
    fn the_models_are_those_there_are() {
        let Kind::Choice(words) = MODELS else { panic!("a choice") };
        assert_eq!(words, crate::rates::model::ModelName::ALL.map(|model| model.as_str()));
    }

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        for (wrong, right) in [
            ("databse", "database"),
            ("database.metrics.lease_duration", "database.metrics.leaseduration"),
            ("redis.addr", "redis.cache.addr"),
            ("redis.cache.passwordfil", "redis.cache.passwordfile"),
            ("query", "queries"),
            ("leaseduration", "database.metrics.leaseduration"),
        ] {
            assert_eq!(nearest(wrong), right);
        }
    }
}
