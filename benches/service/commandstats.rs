//! Redis' own count of the commands that it ran, and of the time that they took.

use std::collections::BTreeMap;

use rowcount::demo::redis::RedisServer;

/// What only scripts of ours run; everything else came over the network.
const OF_SCRIPTS: [&str; 10] =
    ["info", "time", "hget", "hgetall", "hmget", "hvals", "hscan", "hset", "hdel", "publish"];

/// Since the last reset.
pub struct Statistics(BTreeMap<String, Statistic>);

/// Of one command.
#[derive(Clone, Copy, Default)]
pub struct Statistic {
    pub calls: u64,
    pub micros: u64,
}

// === impl Statistics ===

impl Statistics {
    pub fn of(&self, command: &str) -> Statistic {
        self.0.get(command).copied().unwrap_or_default()
    }

    /// Those of clients.
    pub fn sent(&self) -> f64 {
        self.calls(|command| !OF_SCRIPTS.contains(&command))
    }

    pub fn of_scripts(&self) -> f64 {
        self.calls(|command| OF_SCRIPTS.contains(&command))
    }

    fn calls(&self, is_wanted: impl Fn(&str) -> bool) -> f64 {
        let wanted = self.0.iter().filter(|(command, _)| is_wanted(command));
        wanted.map(|(_, statistic)| statistic.calls).sum::<u64>() as f64
    }
}

// === impl Statistic ===

impl Statistic {
    pub fn micros_per_call(self) -> f64 {
        self.micros as f64 / self.calls.max(1) as f64
    }
}

/// Begins anew.
pub async fn reset(redis: &RedisServer) {
    redis.cli(&["CONFIG", "RESETSTAT"]).await.expect("Redis answers");
}

/// Those since the last reset, without what asking for them takes.
pub async fn statistics(redis: &RedisServer) -> Statistics {
    let text = redis.cli(&["INFO", "commandstats"]).await.expect("Redis answers");
    let mut all: BTreeMap<_, _> = text.lines().filter_map(parse).collect();
    // Of the connection that resets and of the one that asks.
    all.retain(|command, _| !command.starts_with("config") && !command.starts_with("client"));
    Statistics(all)
}

/// `cmdstat_evalsha:calls=3,usec=60,usec_per_call=20.00,…`
fn parse(line: &str) -> Option<(String, Statistic)> {
    let (command, fields) = line.strip_prefix("cmdstat_")?.split_once(':')?;
    let field = |name: &str| {
        let value = fields.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok())
    };
    Some((command.to_owned(), Statistic { calls: field("calls")?, micros: field("usec")? }))
}
