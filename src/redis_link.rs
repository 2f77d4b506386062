//! One connection to Redis that is made when it is needed and thrown away when it fails, and the scripts that run on
//! it. Only lease/ and board/ send commands.

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    RedisResult, Script, ServerErrorKind, TlsCertificates, Value, aio::MultiplexedConnection,
};

use crate::config::RedisConfig;

/// What every script begins with: one moment, one generation, the guard.
const PRELUDE: &str = include_str!("redis_link/prelude.lua");

/// What the scripts call.
const COMMANDS: &str = "+info +time +hget +hgetall +hmget +hvals +hscan +hset +hdel +publish";

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
    config: RedisConfig,
    keys: Keys,
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
    connection: MultiplexedConnection,
}

// === impl Keys ===

impl Keys {
    /// The keys of the fleet of this name in this database.
    pub fn new(cluster: &str, db: i64) -> Self {
        let key = |name: &str| format!("{{rowcount:{cluster}}}:{name}");
        let events = if db == 0 { key("events") } else { key(&format!("events:{db}")) };
        Self { keys: ["lease", "snapshot", "collections", "triggers"].map(key), events }
    }
}

// === impl RedisLink ===

impl RedisLink {
    /// A link that has not connected yet.
    pub fn new(config: RedisConfig, keys: Keys) -> Self {
        Self {
            config,
            keys,
            connection: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            connections: AtomicU64::new(0),
        }
    }

    /// The keys it works on.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The longest that a call may take when its caller has no bound of its own.
    pub fn default_timeout(&self) -> Duration {
        self.config.read_timeout + self.config.write_timeout
    }

    /// Runs a script made by `script` with these arguments, as `call` does.
    pub async fn run(&self, script: &Script, args: &[&[u8]], timeout: Duration) -> RedisResult<Value> {
        let mut invocation = script.prepare_invoke();
        for key in &self.keys.keys {
            invocation.key(key);
        }
        invocation.arg(&self.keys.events);
        for arg in args {
            invocation.arg(*arg);
        }
        self.call(timeout, async |mut connection| invocation.invoke_async(&mut connection).await).await
    }

    /// Makes a call, connecting included, within `timeout`. After an error the connection is thrown away, unless it is
    /// one that every connection would meet: so a late answer is never taken for that of another call, and after a
    /// fail-over behind one address the next call finds the new master.
    pub async fn call<T>(
        &self,
        timeout: Duration,
        call: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let mut used = None;
        let connected = async {
            let Numbered { number, connection } = self.connected().await?;
            used = Some(number);
            call(connection).await
        };
        let result = match tokio::time::timeout(timeout, connected).await {
            Ok(result) => result,
            Err(_) => Err(timed_out(timeout)),
        };
        if let (Err(error), Some(number)) = (&result, used)
            && !is_the_same_anywhere(error)
        {
            self.slot().take_if(|shared| shared.number == number);
        }
        result
    }

    /// The connection, made now when there is none.
    async fn connected(&self) -> RedisResult<Numbered> {
        let shared = || self.slot().clone();
        if let Some(shared) = shared() {
            return Ok(shared);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(shared) = shared() {
            return Ok(shared);
        }
        // The caller's time-out bounds each call; the library's own would only blur the message.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.dial_timeout))
            .set_response_timeout(None);
        let connection = client(&self.config)?.get_multiplexed_async_connection_with_config(&config).await?;
        let fresh = Numbered { number: self.connections.fetch_add(1, Ordering::Relaxed), connection };
        *self.slot() = Some(fresh.clone());
        Ok(fresh)
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

/// A script of ours: the prelude, then `body`.
pub fn script(body: &str) -> Script {
    Script::new(&format!("{PRELUDE}\n{body}"))
}

/// A client with the credentials as of now: secrets and certificates are read anew at each connection.
pub fn client(config: &RedisConfig) -> RedisResult<Client> {
    let RedisConfig { host, port, username, password, db, tls, .. } = config;
    let mut login = RedisConnectionInfo::default().set_db(*db);
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password.read().map_err(unreadable)?);
    }
    let Some(tls) = tls else {
        let addr = ConnectionAddr::Tcp(host.clone(), *port);
        return Client::open(addr.into_connection_info()?.set_redis_settings(login));
    };
    let addr = ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: tls.insecure, tls_params: None };
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    };
    let root_cert = tls.ca.as_ref().map(read).transpose().map_err(unreadable)?;
    Client::build_with_tls(
        addr.into_connection_info()?.set_redis_settings(login),
        TlsCertificates { client_tls: None, root_cert },
    )
}

/// The error of a call that was not answered in its time.
pub fn timed_out(timeout: Duration) -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {}", humantime::format_duration(timeout))).into()
}

/// The error in words, with what to do where Redis does not say it: of what it refuses inside a script it names nothing.
pub fn explained(error: &RedisError) -> String {
    let detail = error.detail().unwrap_or_default();
    let has = |texts: &[&str]| texts.iter().any(|text| detail.contains(text));
    if has(&["can't run this command"]) {
        format!("{error}; give the user of redis.cache the commands {COMMANDS}")
    } else if has(&[
        "can't publish to the channel",
        "can't access at least one of the keys",
        "no permissions to access",
    ]) {
        format!("{error}; give the user of redis.cache ~{{rowcount:CLUSTER}}:* &{{rowcount:CLUSTER}}:*")
    } else if matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly)) || has(&["-READONLY"]) {
        format!("{error}; it is a replica: redis.cache.addr must lead to its master")
    } else {
        error.to_string()
    }
}

fn unreadable(error: io::Error) -> RedisError {
    (ErrorKind::InvalidClientConfig, "cannot read a file of redis.cache", error.to_string()).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_hint_names_every_command_of_the_scripts() {
        let scripts = [
            PRELUDE,
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
        let named: BTreeSet<_> = COMMANDS.split(" ").map(|name| name.trim_start_matches('+').to_owned()).collect();
        assert_eq!(called(&scripts), named);
        assert_eq!(called(&[PRELUDE, include_str!("board/rehearse.lua")]), named, "the rehearsal leaves none out");
    }
}
