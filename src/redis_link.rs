//! One connection to Redis that is made when it is needed and thrown away when it fails, and the scripts that run on
//! it. Only lease/ and board/ send commands.

use std::{fs, io, path::PathBuf, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    RedisResult, Script, ServerErrorKind, TlsCertificates, Value, aio::MultiplexedConnection,
};
use tokio::sync::Mutex;

use crate::config::RedisConfig;

/// What every script begins with: one moment, one generation, the guard.
const PRELUDE: &str = include_str!("redis_link/prelude.lua");

/// The keys of one fleet. They share a hash tag, so they lie in one slot and one script may touch them all.
#[derive(Clone, Debug)]
pub struct Keys {
    /// `:lease`, `:snapshot`, `:collections`, `:triggers`, in the order in which scripts take them.
    pub keys: [String; 4],
    /// `:events`: the channel.
    pub events: String,
}

/// A connection of its own, with a stated bound on each call.
pub struct RedisLink {
    config: RedisConfig,
    keys: Keys,
    /// `None` until the next call connects. Held across connecting, so that only one call connects at a time.
    connection: Mutex<Option<MultiplexedConnection>>,
}

// === impl Keys ===

impl Keys {
    /// The keys of the fleet of this name.
    pub fn new(cluster: &str) -> Self {
        let key = |name: &str| format!("{{rowcount:{cluster}}}:{name}");
        Self { keys: ["lease", "snapshot", "collections", "triggers"].map(key), events: key("events") }
    }
}

// === impl RedisLink ===

impl RedisLink {
    /// A link that has not connected yet.
    pub fn new(config: RedisConfig, keys: Keys) -> Self {
        Self { config, keys, connection: Mutex::new(None) }
    }

    /// The keys it works on.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The longest that a call may take when its caller has no bound of its own.
    pub fn default_timeout(&self) -> Duration {
        self.config.read_timeout + self.config.write_timeout
    }

    /// Runs a script made by `script` with these arguments, all within `timeout`. After an error the connection is
    /// thrown away: the next call uses a fresh one, so a late answer is never taken for that of another call.
    pub async fn run(&self, script: &Script, args: &[&[u8]], timeout: Duration) -> RedisResult<Value> {
        let call = async {
            let mut connection = self.connected().await?;
            let mut invocation = script.prepare_invoke();
            for key in &self.keys.keys {
                invocation.key(key);
            }
            invocation.arg(&self.keys.events);
            for arg in args {
                invocation.arg(*arg);
            }
            invocation.invoke_async(&mut connection).await
        };
        let result = match tokio::time::timeout(timeout, call).await {
            Ok(result) => result,
            Err(_) => Err(timed_out(timeout)),
        };
        if result.as_ref().is_err_and(|error: &RedisError| error.is_io_error() || error.is_unrecoverable_error()) {
            self.disconnect().await;
        }
        result
    }

    /// Throws the connection away; the next call uses a fresh one.
    pub async fn disconnect(&self) {
        *self.connection.lock().await = None;
    }

    /// The connection, made now when there is none.
    pub async fn connected(&self) -> RedisResult<MultiplexedConnection> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        // The caller's time-out bounds each call; the library's own would only blur the message.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.dial_timeout))
            .set_response_timeout(None);
        let connection = client(&self.config)?.get_multiplexed_async_connection_with_config(&config).await?;
        *slot = Some(connection.clone());
        Ok(connection)
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

/// The error in words, with what to do where that is known.
pub fn explained(error: &RedisError) -> String {
    let refused = error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
        || error.detail().is_some_and(|detail| detail.contains("can't run this command"));
    let hint = if refused { "; give the user of redis.cache the commands +info and +time" } else { "" };
    format!("{error}{hint}")
}

fn unreadable(error: io::Error) -> RedisError {
    (ErrorKind::InvalidClientConfig, "cannot read a file of redis.cache", error.to_string()).into()
}
