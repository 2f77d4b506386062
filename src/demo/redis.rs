//! A private Redis: without persistence unless asked, gone without a trace when dropped.

use std::{env, ffi::OsString, time::Duration};

use redis::{AsyncConnectionConfig, Client, FromRedisValue, aio::MultiplexedConnection};
use rustix::process::Signal;

use crate::demo::server::{Error, Server, free_port};

const PACKAGE: &str = "redis-server";

/// Names the program of another version, which may lie where only we can read it.
const PROGRAM: &str = "REDIS_SERVER";

/// The longest that connecting, or the answer to one command, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How it differs from the usual.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// Lines for redis.conf; the last one of a name wins. Files are found in the server's directory.
    pub config: Vec<String>,
    /// Files in the server's directory, by name: certificates, keys. The server owns them.
    pub files: Vec<(String, Vec<u8>)>,
    /// Arguments after the name of redis.conf.
    pub args: Vec<String>,
    /// Where it listens on 127.0.0.1; `None`: a free port.
    pub port: Option<u16>,
    /// Whether data survives `restart` and `kill`.
    pub appendonly: bool,
    /// Password of the default user.
    pub requirepass: Option<String>,
}

/// A running server; dropping it ends it and removes its data.
pub struct RedisServer {
    server: Server,
    program: OsString,
    port: u16,
    args: Vec<String>,
    password: Option<String>,
}

// === impl RedisServer ===

impl RedisServer {
    /// A server without persistence or password.
    pub async fn start() -> Result<Self, Error> {
        Self::start_with(RedisOptions::default()).await
    }

    /// A server of these options.
    pub async fn start_with(options: RedisOptions) -> Result<Self, Error> {
        let RedisOptions { config, files, args, port, appendonly, requirepass } = options;
        let program = env::var_os(PROGRAM);
        let server = match &program {
            Some(_) => Server::new_as_us("redis", "KILL"),
            None => Server::new("redis", "KILL"),
        }?;
        let port = port.map_or_else(free_port, Ok)?;
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".into(),
            "save \"\"".into(),
            format!("appendonly {}", if appendonly { "yes" } else { "no" }),
            "appendfsync always".into(),
        ];
        lines.extend(requirepass.iter().map(|password| format!("requirepass \"{password}\"")));
        lines.extend(config);
        server.write("redis.conf", lines.join("\n").as_bytes())?;
        for (name, contents) in files {
            server.write(name, &contents)?;
        }
        let program = program.unwrap_or_else(|| "redis-server".into());
        let mut redis = Self { server, program, port, args, password: requirepass };
        redis.launch().await?;
        Ok(redis)
    }

    /// `host:port`, as `redis.cache.addr` wants it.
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// URL of its first database, with the password.
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@{}/", self.addr()),
            None => format!("redis://{}/", self.addr()),
        }
    }

    /// Process id; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Result<MultiplexedConnection, Error> {
        connect(&self.url()).await
    }

    /// Runs one command, as redis-cli does, and gives its answer as text: lists a line each, nil empty.
    pub async fn cli(&self, args: &[&str]) -> Result<String, Error> {
        let answer = self.query::<redis::Value>(args).await?;
        Ok(text(&answer))
    }

    /// Runs one command and gives its answer.
    pub async fn query<T: FromRedisValue>(&self, args: &[&str]) -> Result<T, Error> {
        let mut command = redis::Cmd::new();
        args.iter().for_each(|arg| {
            command.arg(arg);
        });
        Ok(command.query_async(&mut self.connect().await?).await?)
    }

    /// Ends it in good order.
    pub async fn stop(&mut self) -> Result<(), Error> {
        self.server.stop(Signal::TERM).await
    }

    /// Kills it, as a crash would.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.server.kill().await
    }

    /// Starts it again with its port, after stopping it when it runs. Without `appendonly` it has lost its data.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.stop().await?;
        self.launch().await
    }

    /// Freezes it: connections stay open, nothing answers.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Undoes `pause`.
    pub fn resume(&self) {
        self.server.resume();
    }

    async fn launch(&mut self) -> Result<(), Error> {
        let mut command = self.server.command(&self.program)?;
        command.arg("redis.conf").args(&self.args);
        let url = self.url();
        let ready = async |_| {
            let Ok(mut connection) = connect(&url).await else { return false };
            redis::cmd("PING").exec_async(&mut connection).await.is_ok()
        };
        self.server.start(command, PACKAGE, ready).await
    }
}

async fn connect(url: &str) -> Result<MultiplexedConnection, Error> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    Ok(Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?)
}

fn text(value: &redis::Value) -> String {
    match value {
        redis::Value::Nil => String::new(),
        redis::Value::Int(number) => number.to_string(),
        redis::Value::Okay => "OK".to_owned(),
        redis::Value::SimpleString(text) => text.clone(),
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        redis::Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join("\n"),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn data_survives_a_crash_only_when_asked() {
        for appendonly in [false, true] {
            let options = RedisOptions { appendonly, ..Default::default() };
            let mut redis = RedisServer::start_with(options).await.unwrap();
            assert_eq!(redis.cli(&["SET", "k", "v"]).await.unwrap(), "OK");
            redis.kill().await.unwrap();
            assert!(redis.cli(&["PING"]).await.is_err());
            redis.restart().await.unwrap();
            assert_eq!(redis.cli(&["GET", "k"]).await.unwrap(), if appendonly { "v" } else { "" });
        }
    }

    #[tokio::test]
    async fn a_paused_server_holds_its_connections_and_answers_later() {
        let redis = RedisServer::start_with(RedisOptions { requirepass: Some("secret".into()), ..Default::default() });
        let redis = redis.await.unwrap();
        let mut connection = redis.connect().await.unwrap();
        redis.pause();
        let silence = Duration::from_millis(100);
        assert!(tokio::time::timeout(silence, redis.cli(&["PING"])).await.is_err());
        redis.resume();
        redis::cmd("PING").exec_async(&mut connection).await.unwrap();
    }
}
