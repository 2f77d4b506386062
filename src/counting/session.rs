//! One backend of the server's: its settings, and one statement at a time on it.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgRow, PgSslMode, types::Oid},
};

use crate::{
    config::DatabaseConfig,
    counting::{fault, target},
    failure::Failure,
    rates::validation::purpose::MARK,
};

/// How often the server looks whether we are still there while it runs a statement of ours: the longest that a
/// statement outlives its session.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// A statement waits this long for a lock at most: whoever holds one for longer excludes reading, and whoever queues
/// behind us waits for us.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// Servers before 14 know neither of these, and no start-up option may be unknown, so they are set afterwards. An idle
/// session ends on the server, so that an instance which no longer counts, or no longer runs, holds nothing.
const SETTINGS: &str = "SET /* rowcount */ client_connection_check_interval = '200ms'; \
                        SET /* rowcount */ idle_session_timeout = '60s'";

/// From 15 on: with `none` a row of statistics may change while it is read. Unknown before.
const CONSISTENCY: &str = "SET /* rowcount */ stats_fetch_consistency = 'cache'";

/// One statement.
#[derive(Clone, Copy, Debug)]
pub enum Statement<'a> {
    /// Planned each time: a schema that changes would make a plan that is kept refuse to run.
    Once(&'a str),
    /// Planned once in a session. Of the catalog and the statistics only: nobody changes what those consist of.
    Kept(&'a str),
    /// The same of these relations, its `$1`.
    KeptOf(&'a str, &'a [Oid]),
}

/// A connection, ready for a statement.
pub struct Session {
    connection: PgConnection,
    /// The statement's time limit as last set on the server; `None` when that is not known.
    limit: Option<Duration>,
}

// === impl Session ===

impl Session {
    /// Connects, with the secrets as of now.
    pub async fn open(config: &DatabaseConfig, application_name: &str) -> Result<Self, Failure> {
        let options = target::options(config, application_name)?;
        let mut connection = connect(options).await.map_err(|error| fault::of_connecting(&error))?;
        // 42704: the server is older; 22023: its system cannot look. Then only the time limit ends a statement.
        for (settings, ignored) in [(SETTINGS, ["42704", "22023"].as_slice()), (CONSISTENCY, &["42704"])] {
            match sqlx::raw_sql(settings).execute(&mut connection).await {
                Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| ignored.contains(&&*code)) => {}
                other => {
                    other.map_err(|error| fault::of_connecting(&error))?;
                }
            }
        }
        Ok(Self { connection, limit: None })
    }

    /// Whether the server is still there.
    pub async fn ping(&mut self) -> Result<(), sqlx::Error> {
        self.connection.ping().await
    }

    /// Runs one statement, for `limit` on the server at most.
    pub async fn fetch(&mut self, statement: Statement<'_>, limit: Duration) -> Result<Vec<PgRow>, sqlx::Error> {
        if self.limit != Some(limit) {
            self.limit = None;
            // Below the limit of the statement, so that a lock is told from a slow count.
            let lock = LOCK_TIMEOUT.min(limit / 2).as_millis().max(1);
            // Not SET: pg_stat_statements keeps one entry of it for each value, and what is left of a lease has many.
            let set = format!(
                "SELECT {MARK} set_config('statement_timeout', '{}', false), set_config('lock_timeout', '{lock}', false)",
                limit.as_millis(),
            );
            sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut self.connection).await?;
            self.limit = Some(limit);
        }
        let query = match statement {
            Statement::Once(sql) => sqlx::query(AssertSqlSafe(sql)).persistent(false),
            Statement::Kept(sql) => sqlx::query(AssertSqlSafe(sql)),
            Statement::KeptOf(sql, relations) => sqlx::query(AssertSqlSafe(sql)).bind(relations),
        };
        let rows = query.fetch_all(&mut self.connection).await;
        if rows.is_err() {
            // The server says why before it has cleaned up; whoever hears of the error finds it idle. Should this fail,
            // the next use of the session will tell.
            let _ = self.connection.ping().await;
        }
        rows
    }

    /// Ends it in good order.
    pub async fn close(self) -> Result<(), sqlx::Error> {
        self.connection.close().await
    }
}

async fn connect(options: PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    match options.connect().await {
        // The driver takes `allow` for plaintext only.
        Err(sqlx::Error::Database(error))
            if matches!(options.get_ssl_mode(), PgSslMode::Allow) && error.code().as_deref() == Some("28000") =>
        {
            options.ssl_mode(PgSslMode::Require).connect().await
        }
        other => other,
    }
}
