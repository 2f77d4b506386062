//! From settings that are valid by themselves to a `Config` that is valid as a whole: what must hold between settings
//! is checked here.

use std::{fmt::Display, str::FromStr};

use crate::{catalog::Catalog, credentials::Credentials, lease_protocol::margin};

use super::{
    Acquire, CollectionConfig, Config, DatabaseConfig, DatabaseTarget, FirstStart, GaugeConfig, GrpcConfig, HttpConfig,
    LeaseConfig, LogConfig, LogFormatter, PrometheusConfig, PrometheusTls, RatesConfig, SslMode, TracingConfig,
    address, costs,
    layers::Layers,
    problems::Problem,
    queries::{self, Defaults},
    redis_cache,
    settings::Settings,
    surface::{self, Surface},
};

const URL: &str = "database.url";
const PARTS: [&str; 10] = [
    "database.host",
    "database.port",
    "database.user",
    "database.password",
    "database.passwordfile",
    "database.dbname",
    "database.sslmode",
    "database.sslcert",
    "database.sslkey",
    "database.sslrootcert",
];
const INTERVAL: &str = "database.metrics.interval";
const LEASE: &str = "database.metrics.leaseduration";
const QUARANTINE: &str = "lease.quarantine";

/// The whole and the credentials of its ports, with what is wrong and what is odd added to the layers' own.
pub fn build(settings: &Settings, layers: &mut Layers) -> (Config, Credentials) {
    let Surface { grpc, http, sources, credentials } = surface::build(settings, layers);
    let Layers { entries: _, records, queries, problems, warnings } = layers;
    let rates = RatesConfig {
        prometheus: prometheus(settings, problems, warnings),
        costs: costs::build(records.get("rates.costs"), problems),
        gauge: gauge(settings, problems, warnings),
    };
    let lease = lease(settings, problems);
    let defaults = Defaults {
        catalog: match settings.text("catalog") {
            "registry" => Catalog::Registry,
            "none" => Catalog::None,
            _ => Catalog::All,
        },
        interval: settings.duration(INTERVAL),
        timeout: settings.duration("collection.timeout"),
    };
    let queries = queries::build(queries, &defaults, problems, warnings);
    if queries.is_empty() {
        warnings.push("no query is on: nothing is counted".to_owned());
    }
    let config = Config {
        instance_id: settings.text("instanceid").to_owned(),
        cluster: settings.text("cluster").to_owned(),
        grpc: GrpcConfig { addr: grpc, reflection: settings.is_on("grpc.reflection") },
        http: HttpConfig { addr: http },
        sources,
        database: DatabaseConfig {
            target: target(settings, lease.enabled, problems),
            connect_timeout: settings.duration("database.connecttimeout"),
            connections: settings.number("database.connections"),
        },
        redis: redis_cache::build(settings, problems, warnings),
        collection: CollectionConfig {
            interval: defaults.interval,
            trigger_interval: settings.duration("collection.triggerinterval"),
            stale_after: settings.number("collection.staleafter"),
            catalog: defaults.catalog,
            queries,
        },
        lease,
        rates,
        log: LogConfig {
            level: word(settings, "log.level"),
            formatter: if settings.text("log.formatter") == "text" { LogFormatter::Text } else { LogFormatter::Json },
            collected: word(settings, "log.collected"),
        },
        tracing: TracingConfig { endpoint: settings.non_empty("tracing.endpoint") },
    };
    (config, credentials)
}

fn lease(settings: &Settings, problems: &mut Vec<Problem>) -> LeaseConfig {
    let (interval, duration) = (settings.duration(INTERVAL), settings.duration(LEASE));
    if settings.are_sound(&[INTERVAL, LEASE]) && duration <= interval {
        let (lease, interval) = (settings.valued(LEASE), settings.valued(INTERVAL));
        problems.push(Problem::of(LEASE, format!("{lease} must be longer than {INTERVAL}, {interval}")));
    }
    let least = duration + margin(duration);
    let given = settings.duration(QUARANTINE);
    if settings.are_sound(&[QUARANTINE, LEASE]) && !given.is_zero() && given < least {
        let (quarantine, lease) = (settings.valued(QUARANTINE), settings.valued(LEASE));
        let message = format!("{quarantine} must be 0s, or at least {least:?}: {LEASE}, {lease}, and its margin");
        problems.push(Problem::of(QUARANTINE, message));
    }
    LeaseConfig {
        enabled: settings.is_on("database.metrics.enabled"),
        duration,
        quarantine: if given.is_zero() { least } else { given },
        acquire: if settings.text("lease.acquire") == "once" { Acquire::Once } else { Acquire::Standby },
        first_start: match settings.text("lease.firststart") {
            "immediate" => FirstStart::Immediate,
            _ => FirstStart::Wait,
        },
    }
}

fn target(settings: &Settings, needed: bool, problems: &mut Vec<Problem>) -> DatabaseTarget {
    let parts = settings.set(&PARTS);
    let url = settings.set(&[URL, "database.urlfile"]);
    if let [url, ..] = &url[..]
        && !parts.is_empty()
    {
        let message = format!("give {url} or the parts, not both; set are {}", parts.join(", "));
        problems.push(Problem::of(URL, message));
    }
    if let Some(url) = settings.secret(URL) {
        return DatabaseTarget::Url(url);
    }
    for (path, what) in [
        (
            "database.host",
            "set it, or database.url, or database.metrics.enabled: false on an instance that never counts",
        ),
        ("database.user", "set it to the role to log in as"),
        ("database.dbname", "set it to the registry's metadata database"),
    ] {
        let is_host = path == "database.host";
        let wanted = needed && (is_host || !settings.text("database.host").is_empty());
        if wanted && settings.text(path).is_empty() && settings.are_sound(&[URL, "database.host"]) {
            problems.push(Problem::of(path, format!("is not set; {what}")));
        }
    }
    let (cert, key) = ("database.sslcert", "database.sslkey");
    settings.need_both(cert, key, problems);
    DatabaseTarget::Parts {
        host: settings.text("database.host").to_owned(),
        port: settings.number("database.port"),
        user: settings.text("database.user").to_owned(),
        password: settings.secret("database.password"),
        dbname: settings.text("database.dbname").to_owned(),
        sslmode: match settings.text("database.sslmode") {
            "disable" => SslMode::Disable,
            "allow" => SslMode::Allow,
            "require" => SslMode::Require,
            "verify-ca" => SslMode::VerifyCa,
            "verify-full" => SslMode::VerifyFull,
            _ => SslMode::Prefer,
        },
        sslcert: settings.file(cert),
        sslkey: settings.file(key),
        sslrootcert: settings.file("database.sslrootcert"),
    }
}

fn prometheus(
    settings: &Settings,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Option<PrometheusConfig> {
    const URL: &str = "rates.prometheus.url";
    const USERNAME: &str = "rates.prometheus.username";
    const TOKEN: [&str; 2] = ["rates.prometheus.token", "rates.prometheus.tokenfile"];
    const PASSWORD: [&str; 2] = ["rates.prometheus.password", "rates.prometheus.passwordfile"];
    const TENANT: &str = "rates.prometheus.tenant";
    const CERTIFICATE: &str = "rates.prometheus.tls.certificate";
    const KEY: &str = "rates.prometheus.tls.key";
    const CA: &str = "rates.prometheus.tls.ca";
    const INSECURE: &str = "rates.prometheus.tls.insecure";

    let username = settings.set(&[USERNAME]);
    if let ([token, ..], [username, ..]) = (&settings.set(&TOKEN)[..], &username[..]) {
        problems.push(Problem::of(TOKEN[0], format!("give {token} or {username}, not both")));
    }
    if let ([password, ..], []) = (&settings.set(&PASSWORD)[..], &username[..]) {
        problems.push(Problem::of(USERNAME, format!("is not set, but {password} is")));
    }
    settings.need_both(CERTIFICATE, KEY, problems);
    let mut tls = settings.set(&[CA, CERTIFICATE, KEY]);
    if settings.is_on(INSECURE) {
        tls.extend(settings.set(&[INSECURE]));
    }
    let Ok(url) = address::http(settings.text(URL)) else {
        let mut rest = settings.set(&[&TOKEN[..], &[USERNAME], &PASSWORD, &[TENANT]].concat());
        rest.append(&mut tls);
        if settings.are_sound(&[URL]) && !rest.is_empty() {
            warnings.push(format!("no {URL}: {} ignored", are(&rest)));
        }
        return None;
    };
    if url.scheme() == "http" && !tls.is_empty() {
        warnings.push(format!("{URL} is http: {} ignored", are(&tls)));
    }
    Some(PrometheusConfig {
        url,
        token: settings.secret(TOKEN[0]),
        username: settings.non_empty(USERNAME),
        password: settings.secret(PASSWORD[0]),
        tenant: settings.non_empty(TENANT),
        timeout: settings.duration("rates.prometheus.timeout"),
        tls: PrometheusTls {
            ca: settings.file(CA),
            certificate: settings.file(CERTIFICATE),
            key: settings.file(KEY),
            insecure: settings.is_on(INSECURE),
        },
    })
}

/// `a, b are`, `a is`.
fn are(things: &[String]) -> String {
    format!("{} {}", things.join(", "), if things.len() == 1 { "is" } else { "are" })
}

fn gauge(settings: &Settings, problems: &mut Vec<Problem>, warnings: &mut Vec<String>) -> Option<GaugeConfig> {
    const ENABLED: &str = "rates.gauge.enabled";
    const URL: &str = "rates.prometheus.url";
    const COUNTS: &str = "database.metrics.enabled";
    if !settings.is_on(ENABLED) {
        return None;
    }
    if settings.text(URL).is_empty() && settings.are_sound(&[URL]) {
        let enabled = settings.valued(ENABLED);
        problems.push(Problem::of(ENABLED, format!("{enabled} needs {URL}, which is not set")));
    }
    if !settings.is_on(COUNTS) {
        let counts = settings.valued(COUNTS);
        warnings.push(format!("{ENABLED}: {COUNTS} is {counts}, so this instance never exports the estimate"));
    }
    Some(GaugeConfig {
        interval: settings.duration("rates.gauge.interval"),
        model: word(settings, "rates.gauge.model"),
    })
}

fn word<T: FromStr<Err: Display>>(settings: &Settings, path: &str) -> T {
    let word = settings.text(path).parse().map_err(|error: T::Err| error.to_string());
    word.expect("a word was checked against its kind")
}
