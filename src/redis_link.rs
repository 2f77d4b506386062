//! One connection to Redis that is made when it is needed and thrown away when it fails, and the scripts that run on
//! it. Only lease/ and board/ send commands.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{ErrorKind, RedisError, RedisResult, Script, ScriptInvocation, ServerErrorKind, Value};

pub use route::{Kind, Reached, Route};

use crate::config::RedisAddr;

mod agreement;
mod dial;
mod race;
mod route;
mod sentinel;

/// What every script begins with: one moment, one generation, the guard.
const PRELUDE: &str = include_str!("redis_link/prelude.lua");

/// What the scripts call.
const COMMANDS: &str = "+info +time +hget +hgetall +hmget +hvals +hscan +hset +hdel +publish +pubsub|numsub";

/// What they call besides in a Cluster, where the server knows it.
const CLUSTER_COMMANDS: &str = "+spublish +pubsub|shardnumsub";

/// The keys of one fleet. They share a hash tag, so they lie in one slot and one script may touch them all.
#[derive(Clone, Debug)]
pub struct Keys {
    /// `:lease`, `:snapshot`, `:collections`, `:triggers`, in the order in which scripts take them.
    pub keys: [String; 4],
    /// `:events`: the channel; with the number of the database unless it is 0, since channels belong to no database.
    pub events: String,
}

/// A connection of its own, with a stated bound on each call.
pub struct RedisLink {
    route: Arc<Route>,
    /// The one that calls share. Never locked across an await, so that a call that has run out of time leaves at once.
    connection: Mutex<Option<Numbered>>,
    /// Held across connecting, so that only one call connects at a time.
    connecting: tokio::sync::Mutex<()>,
    connections: AtomicU64,
}

/// A connection and which one it is: a call that failed late must not throw its successor away.
#[derive(Clone)]
struct Numbered {
    number: u64,
    reached: Reached,
}

// === impl Keys ===

impl Keys {
    /// The keys of the fleet of this name in this database.
    pub fn new(cluster: &str, db: i64) -> Self {
        let key = |name: &str| format!("{{rowcount:{cluster}}}:{name}");
        let events = if db == 0 { key("events") } else { key(&format!("events:{db}")) };
        Self { keys: ["lease", "snapshot", "collections", "triggers"].map(key), events }
    }

    /// Gives a script what comes before its own arguments.
    fn pass_to(&self, invocation: &mut ScriptInvocation<'_>) {
        for key in &self.keys {
            invocation.key(key);
        }
        invocation.arg(&self.events);
    }
}

// === impl RedisLink ===

impl RedisLink {
    /// A link that has not connected yet.
    pub fn new(route: Arc<Route>) -> Self {
        Self {
            route,
            connection: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            connections: AtomicU64::new(0),
        }
    }

    /// The longest that a call may take when its caller has no bound of its own.
    pub fn default_timeout(&self) -> Duration {
        self.route.patience()
    }

    /// Runs a script made by `script` with these arguments within `timeout`, connecting included. After an error the
    /// connection is thrown away, unless it is one that every connection would meet: so a late answer is never taken for
    /// that of another call, and after a fail-over the next call finds the new master.
    pub async fn run(&self, script: &Script, args: &[&[u8]], timeout: Duration) -> RedisResult<Value> {
        let mut invocation = script.prepare_invoke();
        self.route.keys().pass_to(&mut invocation);
        for arg in args {
            invocation.arg(*arg);
        }
        let mut used = None;
        let answered = async {
            let mut is_repeated = false;
            loop {
                let Numbered { number, reached } = self.connected().await?;
                used = Some(number);
                let mut connection = reached.connection;
                let result = invocation.invoke_async(&mut connection).await;
                match result {
                    // Nothing was done there, so it may be done where the keys are now.
                    Err(error) if is_of_elsewhere(&error) && !is_repeated => {
                        is_repeated = true;
                        self.drop_connection(number);
                    }
                    result => return result,
                }
            }
        };
        let result = match tokio::time::timeout(timeout, answered).await {
            Ok(result) => result,
            Err(_) => Err(timed_out(timeout)),
        };
        if let (Err(error), Some(number)) = (&result, used)
            && !is_the_same_anywhere(error)
        {
            self.drop_connection(number);
        }
        result
    }

    /// The connection, made now when there is none to where the keys are.
    async fn connected(&self) -> RedisResult<Numbered> {
        let shared = || self.slot().clone().filter(|shared| self.route.is_current(&shared.reached.addr));
        if let Some(shared) = shared() {
            return Ok(shared);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(shared) = shared() {
            return Ok(shared);
        }
        let reached = self.route.connect().await?;
        let fresh = Numbered { number: self.connections.fetch_add(1, Ordering::Relaxed), reached };
        *self.slot() = Some(fresh.clone());
        Ok(fresh)
    }

    fn drop_connection(&self, number: u64) {
        self.slot().take_if(|shared| shared.number == number);
    }

    fn slot(&self) -> MutexGuard<'_, Option<Numbered>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a fresh connection would help no more: the user may not do it, or the script itself failed. What a server
/// says of its own state is no such error, also when Redis 6.2 wraps it into one of the script.
fn is_the_same_anywhere(error: &RedisError) -> bool {
    const OF_ITS_STATE: [&str; 4] = ["-READONLY", "-LOADING", "-MASTERDOWN", "-CLUSTERDOWN"];
    let ErrorKind::Server(kind) = error.kind() else { return false };
    let detail = error.detail().unwrap_or_default();
    match kind {
        ServerErrorKind::NoPerm => true,
        ServerErrorKind::ResponseError => !OF_ITS_STATE.iter().any(|code| detail.contains(code)),
        _ => false,
    }
}

/// Whether the server says that the keys are not, or not for writing, where the command was sent: it did nothing.
fn is_of_elsewhere(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::ReadOnly))
}

/// A script of ours: the prelude, then `body`.
pub fn script(body: &str) -> Script {
    Script::new(&format!("{PRELUDE}\n{body}"))
}

/// The error of a call that was not answered in its time.
pub fn timed_out(timeout: Duration) -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {}", humantime::format_duration(timeout))).into()
}

/// The error in words, with what to do where Redis does not say it: of what it refuses inside a script it names nothing,
/// and it does not know what it was taken for.
pub fn explained(error: &RedisError) -> String {
    let detail = error.detail().unwrap_or_default();
    let has = |texts: &[&str]| texts.iter().any(|text| detail.contains(text));
    // Newer servers have other words for all of it.
    if has(&["can't run this command", "no permissions to run"]) {
        format!("{error}; give the user of redis.cache the commands {COMMANDS}, in a Cluster also {CLUSTER_COMMANDS}")
    } else if has(&[
        "can't publish to the channel",
        "can't access at least one of the keys",
        "no permissions to access",
        "No permissions to access",
    ]) {
        format!("{error}; give the user of redis.cache ~{{rowcount:CLUSTER}}:* &{{rowcount:CLUSTER}}:*")
    } else if matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly)) || has(&["-READONLY"]) {
        format!("{error}; it is a replica: redis.cache.addr must lead to its master")
    } else if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) {
        format!("{error}; it is a node of a Cluster: name several of its nodes in redis.cache.addr")
    } else if detail.starts_with("unknown command") && detail.to_lowercase().contains("evalsha") {
        format!("{error}; if it is a Sentinel, set redis.cache.mainname")
    } else {
        error.to_string()
    }
}

/// One error of many, each with the server that it is of.
fn together(what: &str, failed: &[(RedisAddr, RedisError)]) -> RedisError {
    let each: Vec<_> = failed.iter().map(|(addr, error)| format!("{addr}: {}", explained(error))).collect();
    io::Error::other(format!("{what}: {}", each.join("; "))).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_hint_names_every_command_of_the_scripts() {
        let scripts = [
            PRELUDE,
            include_str!("redis_link/probe.lua"),
            include_str!("lease/listeners.lua"),
            include_str!("lease/prologue.lua"),
            include_str!("lease/acquire.lua"),
            include_str!("lease/renew.lua"),
            include_str!("lease/release.lua"),
            include_str!("board/pending.lua"),
            include_str!("board/load.lua"),
            include_str!("board/publish.lua"),
            include_str!("board/trigger.lua"),
            include_str!("board/begin.lua"),
            include_str!("board/resign.lua"),
            include_str!("lease/survey.lua"),
        ];
        let called = |scripts: &[&str]| -> BTreeSet<String> {
            let calls = scripts.iter().flat_map(|script| script.split("redis.call('").skip(1));
            calls.map(|call| call.split('\'').next().unwrap().to_lowercase()).collect()
        };
        let named = COMMANDS.split(" ").chain(CLUSTER_COMMANDS.split(" "));
        let command = |right: &str| right.trim_start_matches('+').split('|').next().unwrap().to_owned();
        let named: BTreeSet<_> = named.map(command).collect();
        assert_eq!(called(&scripts), named);
        assert_eq!(called(&[PRELUDE, include_str!("board/rehearse.lua")]), named, "the rehearsal leaves none out");
    }
}
