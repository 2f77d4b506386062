//! What Sentinels say about the master.

use std::{io, time::Duration};

use futures_util::FutureExt;
use redis::{AsyncConnectionConfig, RedisError, RedisResult, aio::MultiplexedConnection};

use super::{
    agreement::agreed,
    dial::{bounded, dial, login},
    explained,
};
use crate::config::{RedisAddr, RedisConfig, Sentinels};

/// A Sentinel, with a connection that is kept until it fails.
pub(super) struct Sentinel<'a> {
    addr: &'a RedisAddr,
    config: &'a RedisConfig,
    sentinels: &'a Sentinels,
    connection: Option<MultiplexedConnection>,
}

/// Where the master may be, the likeliest first.
pub(super) async fn masters(config: &RedisConfig, sentinels: &Sentinels) -> RedisResult<Vec<RedisAddr>> {
    let patience = config.dial_timeout + config.patience();
    let asked = Sentinel::all(config, sentinels)
        .map(|mut sentinel| (sentinel.addr, async move { sentinel.master(patience).await }.boxed()));
    agreed("no Sentinel of redis.cache.addr tells the master", asked.collect()).await
}

// === impl Sentinel ===

impl<'a> Sentinel<'a> {
    /// Each of them, not connected yet.
    pub(super) fn all(config: &'a RedisConfig, sentinels: &'a Sentinels) -> impl Iterator<Item = Self> {
        sentinels.addrs.iter().map(move |addr| Self { addr, config, sentinels, connection: None })
    }

    /// Where the master is, asked within `patience`, connecting included. During a fail-over it may be one that is not the
    /// master yet.
    pub(super) async fn master(&mut self, patience: Duration) -> RedisResult<RedisAddr> {
        let told = bounded(patience, self.ask()).await;
        if told.is_err() {
            self.connection = None;
        }
        let Sentinels { main_name, password, .. } = self.sentinels;
        match told {
            Ok(Some((host, port))) => Ok(RedisAddr { host, port }),
            Ok(None) => Err(error(format!("knows no master {main_name:?}, which is redis.cache.mainname"))),
            Err(refused) if refused.code() == Some("NOAUTH") && password.is_none() => {
                Err(error(format!("{refused}; set redis.cache.sentinelpassword")))
            }
            Err(refused) if refused.detail().is_some_and(|detail| detail.starts_with("unknown command")) => {
                Err(error(format!("{refused}; this is no Sentinel, but redis.cache.mainname says so")))
            }
            Err(failed) => Err(error(explained(&failed))),
        }
    }

    async fn ask(&mut self) -> RedisResult<Option<(String, u16)>> {
        let Sentinels { main_name, username, password, .. } = self.sentinels;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let login = login(username.as_deref(), password.as_ref())?;
                none.insert(dial(self.config, self.addr, login, AsyncConnectionConfig::new()).await?)
            }
        };
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(main_name);
        command.query_async(connection).await
    }
}

fn error(text: String) -> RedisError {
    io::Error::other(text).into()
}
