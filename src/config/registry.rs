//! The registry's own config.yml with its own environment, as the lowest layer: `database`, `redis` and `log`, as far
//! as they mean something here. Everything else in that file is the registry's business. A zero there means "not
//! set", as it does to the registry.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{
    duration,
    kind::Kind,
    layers::Layers,
    origin::{Entry, Origin},
    schema::{self, Given},
    yaml::{Node, Value},
};

/// What is taken, with the path that it has here. `database.metrics.enabled` is not: whoever moves over switches the
/// registry's own collector off there. `primary` stands after `host`, since it wins where both are set.
const TAKEN: [(&str, &str); 28] = [
    ("database.host", "database.host"),
    ("database.primary", "database.host"),
    ("database.port", "database.port"),
    ("database.user", "database.user"),
    ("database.password", "database.password"),
    ("database.dbname", "database.dbname"),
    ("database.sslmode", "database.sslmode"),
    ("database.sslcert", "database.sslcert"),
    ("database.sslkey", "database.sslkey"),
    ("database.sslrootcert", "database.sslrootcert"),
    ("database.connecttimeout", "database.connecttimeout"),
    ("database.metrics.interval", "database.metrics.interval"),
    ("database.metrics.leaseduration", "database.metrics.leaseduration"),
    ("redis.cache.enabled", "redis.cache.enabled"),
    ("redis.cache.addr", "redis.cache.addr"),
    ("redis.cache.mainname", "redis.cache.mainname"),
    ("redis.cache.username", "redis.cache.username"),
    ("redis.cache.password", "redis.cache.password"),
    ("redis.cache.sentinelusername", "redis.cache.sentinelusername"),
    ("redis.cache.sentinelpassword", "redis.cache.sentinelpassword"),
    ("redis.cache.db", "redis.cache.db"),
    ("redis.cache.dialtimeout", "redis.cache.dialtimeout"),
    ("redis.cache.readtimeout", "redis.cache.readtimeout"),
    ("redis.cache.writetimeout", "redis.cache.writetimeout"),
    ("redis.cache.tls.enabled", "redis.cache.tls.enabled"),
    ("redis.cache.tls.insecure", "redis.cache.tls.insecure"),
    ("log.level", "log.level"),
    ("log.formatter", "log.formatter"),
];

/// Lays the registry's file and its environment over what is there.
pub fn lay(layers: &mut Layers, path: &Path, environment: &BTreeMap<String, String>) {
    let mut root = layers.read("--registry-config", path);
    for (theirs, ours) in TAKEN {
        let kind = Given::find(ours).expect("every path above is a setting, as a test shows").setting.kind;
        let variable = schema::variable("REGISTRY", theirs);
        let entry = if let Some(text) = environment.get(&variable) {
            Some(Entry { text: text.clone(), origin: Origin::Environment(variable) })
        } else if let Some((line, node)) = root.as_mut().and_then(|root| take(root, theirs)) {
            layers.value(theirs, kind, node, Origin::RegistryFile { path: path.to_owned(), line })
        } else {
            None
        };
        let entry = entry.map(|Entry { text, origin }| Entry { text: as_ours(kind, text), origin });
        if let Some(entry) = entry.filter(|entry| is_set(kind, &entry.text)) {
            layers.entries.insert(ours.to_owned(), entry);
        }
    }
}

/// A bare number for a duration is nanoseconds, as Go reads it.
fn as_ours(kind: Kind, text: String) -> String {
    match kind {
        Kind::Duration(_) if text.parse::<u64>().is_ok() => format!("{text}ns"),
        _ => text,
    }
}

fn is_set(kind: Kind, text: &str) -> bool {
    match kind {
        Kind::Duration(_) => !text.is_empty() && duration::parse(text) != Ok(Duration::ZERO),
        Kind::Int(1.., _) => text != "0",
        _ => !text.is_empty(),
    }
}

/// Takes what stands at `path` out of the tree, with its line.
fn take(root: &mut Node, path: &str) -> Option<(u64, Node)> {
    let Value::Map(entries) = &mut root.value else { return None };
    let (key, rest) = path.split_once('.').unwrap_or((path, ""));
    let at = entries.iter().position(|(known, ..)| known == key)?;
    if rest.is_empty() {
        let (_, line, node) = entries.swap_remove(at);
        return Some((line, node));
    }
    take(&mut entries[at].2, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_taken_is_a_setting() {
        for (theirs, ours) in TAKEN {
            assert!(Given::find(ours).is_some_and(|given| !given.is_file), "{theirs}");
        }
    }
}
