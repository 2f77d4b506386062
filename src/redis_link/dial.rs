//! A connection to one server, with credentials and certificates as of now: they are read anew each time.

use std::{fs, io, path::PathBuf, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    RedisResult, TlsCertificates, aio::MultiplexedConnection,
};
use tokio::time::timeout;

use super::timed_out;
use crate::config::{RedisAddr, RedisConfig, Secret};

/// Connects and logs in.
pub(super) async fn dial(
    config: &RedisConfig,
    addr: &RedisAddr,
    login: RedisConnectionInfo,
    how: AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    // The caller's time-out bounds each call; the library's own would only blur the message.
    let how = how.set_connection_timeout(Some(config.dial_timeout)).set_response_timeout(None);
    client(config, addr, login)?.get_multiplexed_async_connection_with_config(&how).await
}

/// Whom to log in as.
pub(super) fn login(username: Option<&str>, password: Option<&Secret>) -> RedisResult<RedisConnectionInfo> {
    let mut login = RedisConnectionInfo::default();
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password.read().map_err(unreadable)?);
    }
    Ok(login)
}

/// The answer, or an error after `patience`.
pub(super) async fn bounded<T>(patience: Duration, answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(patience, answer).await.unwrap_or_else(|_| Err(timed_out(patience)))
}

fn client(config: &RedisConfig, addr: &RedisAddr, login: RedisConnectionInfo) -> RedisResult<Client> {
    let RedisAddr { host, port } = addr.clone();
    let Some(tls) = &config.tls else {
        return Client::open(ConnectionAddr::Tcp(host, port).into_connection_info()?.set_redis_settings(login));
    };
    let addr = ConnectionAddr::TcpTls { host, port, insecure: tls.insecure, tls_params: None };
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    };
    let root_cert = tls.ca.as_ref().map(read).transpose().map_err(unreadable)?;
    Client::build_with_tls(
        addr.into_connection_info()?.set_redis_settings(login),
        TlsCertificates { client_tls: None, root_cert },
    )
}

fn unreadable(error: io::Error) -> RedisError {
    (ErrorKind::InvalidClientConfig, "cannot read a file of redis.cache", error.to_string()).into()
}
