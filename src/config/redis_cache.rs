//! `redis.cache`: what its addresses name, and how to speak to what they name.

use super::{RedisConfig, RedisServers, RedisTls, Sentinels, address, problems::Problem, settings::Settings};

const ENABLED: &str = "redis.cache.enabled";
const ADDR: &str = "redis.cache.addr";
const MAIN_NAME: &str = "redis.cache.mainname";
const SENTINEL_USERNAME: &str = "redis.cache.sentinelusername";
const SENTINEL_PASSWORD: &str = "redis.cache.sentinelpassword";
const DB: &str = "redis.cache.db";

/// How to reach Redis; `None`, with a warning, when lease and board live in memory.
pub fn build(settings: &Settings, problems: &mut Vec<Problem>, warnings: &mut Vec<String>) -> Option<RedisConfig> {
    let servers = servers(settings, problems);
    let reason = if !settings.is_on(ENABLED) {
        "redis.cache.enabled is false"
    } else if settings.text(ADDR).is_empty() {
        "no redis.cache.addr"
    } else {
        return Some(RedisConfig {
            servers: servers?,
            username: settings.non_empty("redis.cache.username"),
            password: settings.secret("redis.cache.password"),
            db: settings.number(DB),
            dial_timeout: settings.duration("redis.cache.dialtimeout"),
            read_timeout: settings.duration("redis.cache.readtimeout"),
            write_timeout: settings.duration("redis.cache.writetimeout"),
            tls: tls(settings, warnings),
        });
    };
    warnings.push(format!("{reason}: the lease and the board live in memory: one instance only"));
    None
}

fn servers(settings: &Settings, problems: &mut Vec<Problem>) -> Option<RedisServers> {
    let addrs = address::remotes(settings.text(ADDR)).unwrap_or_default();
    let Some(main_name) = settings.non_empty(MAIN_NAME) else {
        let credentials = settings.set(&[SENTINEL_USERNAME, SENTINEL_PASSWORD, &format!("{SENTINEL_PASSWORD}file")]);
        if let [given, ..] = &credentials[..] {
            problems.push(Problem::of(MAIN_NAME, format!("is not set, but {given} is")));
        }
        if addrs.len() > 1 && settings.number::<i64>(DB) != 0 {
            let message = format!(
                "{} is not in a Cluster, which has 0 only; set {MAIN_NAME} where the addresses are Sentinels",
                settings.valued(DB)
            );
            problems.push(Problem::of(DB, message));
        }
        return match &addrs[..] {
            [] => None,
            [addr] => Some(RedisServers::Single(addr.clone())),
            _ => Some(RedisServers::Cluster(addrs)),
        };
    };
    if addrs.is_empty() && settings.are_sound(&[ADDR]) {
        let message = format!("is set to {}, but {ADDR} names no Sentinel", settings.valued(MAIN_NAME));
        problems.push(Problem::of(MAIN_NAME, message));
    }
    let username = settings.non_empty(SENTINEL_USERNAME);
    let password = settings.secret(SENTINEL_PASSWORD);
    (!addrs.is_empty()).then_some(RedisServers::Sentinels(Sentinels { addrs, main_name, username, password }))
}

fn tls(settings: &Settings, warnings: &mut Vec<String>) -> Option<RedisTls> {
    let insecure = settings.is_on("redis.cache.tls.insecure");
    let ca = settings.file("redis.cache.tls.ca");
    let enabled = settings.is_on("redis.cache.tls.enabled");
    if !enabled && (insecure || ca.is_some()) {
        warnings.push("redis.cache.tls.enabled is false: the rest of redis.cache.tls is ignored".to_owned());
    }
    enabled.then_some(RedisTls { insecure, ca })
}
