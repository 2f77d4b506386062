//! How rows are counted: the only module that talks to PostgreSQL.
//!
//! The database belongs to somebody else. What must stay true: there are never more backends than configured; nothing
//! is written; a statement that runs into its time, or that nobody waits for any more, ends on the server; a failure is
//! of one run only and is never a number.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use sqlx::Row;
use tokio_util::sync::CancellationToken;
use tracing::{Span, field::Empty, instrument};

use crate::{
    config::DatabaseConfig,
    failure::{Failure, FailureReason},
    query::{Method, Query},
};

use pool::Pool;
pub use pool::{CLOSE_TIMEOUT, PoolState};
use statistics::leaf_list::LeafList;

pub mod activity;
mod fault;
mod pool;
mod session;
mod statement;
pub mod statistics;
mod target;

/// Counts. Cheap to clone; the clones share their connections.
#[derive(Clone)]
pub struct Counting {
    pool: Arc<Pool>,
    /// Never locked across an await.
    leaf_list: Arc<Mutex<Option<Arc<LeafList>>>>,
}

/// One run of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What it found, or why it found nothing.
    pub outcome: Result<Reading, Failure>,
    /// When it began, after the wait for a connection.
    pub attempt_time: SystemTime,
    /// How long it took, connecting included.
    pub duration: Duration,
}

/// A number of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Rows at `observe_time`.
    pub value: i64,
    /// How it was obtained; never `Auto`.
    pub method: Method,
    /// At least this many rows; `None` when nothing is promised.
    pub lower_bound: Option<i64>,
    /// At most this many rows; `None` when nothing is promised.
    pub upper_bound: Option<i64>,
    /// No commit after this is counted in, by the clock of this machine.
    pub observe_time: SystemTime,
    /// Every commit before this is counted in, where that is known.
    pub complete_until_time: Option<SystemTime>,
    /// Of a followed number: when the leaf that was counted exactly the longest ago was.
    pub anchor_time: Option<SystemTime>,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its version.
    pub version: String,
    /// Role of the session.
    pub role: String,
    /// Database of the session.
    pub dbname: String,
    /// Whether it is a standby.
    pub standby: bool,
}

/// For asking the server about itself, and the planner about a table.
const BRIEF: Duration = Duration::from_secs(2);

// === impl Counting ===

impl Counting {
    /// Counts on this database, under this name; connects at the first use.
    pub fn new(config: DatabaseConfig, instance_id: &str) -> Self {
        Self { pool: Arc::new(Pool::new(config, instance_id)), leaf_list: Arc::default() }
    }

    /// Runs `query` once by a statement of its own: an estimate where that is its method, else an exact count, up to its
    /// cap where it has one. `time_left` bounds all of it, the wait for a connection too; the query's own
    /// timeout bounds the run. A cancelled or dropped run ends on the server too, and this returns without waiting for
    /// that.
    #[instrument(name = "count", skip_all, fields(
        otel.name = summary("SELECT", query.table()),
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        db.system.name = "postgresql",
        db.query.summary = summary("SELECT", query.table()),
        query_name = query.name.as_str(),
    ))]
    pub async fn count(&self, query: &Query, time_left: Duration, cancel: &CancellationToken) -> Run {
        let estimated = query.table().filter(|_| query.method == Method::Estimated);
        let sql = estimated.map_or_else(|| statement::count(query), statistics::statement::estimate);
        let ran = self.pool.run(&sql, query.timeout, time_left, cancel).await;
        let outcome = ran.rows.and_then(|rows| match estimated {
            Some(table) => Ok(Reading::estimated(statistics::answer::estimate(table, &rows)?, ran.answer_time)),
            None => {
                let (value, since) = statement::count_of(&rows)?;
                Ok(Reading::counted(value, query.cap, ran.answer_time - since))
            }
        });
        if let Err(failure) = &outcome {
            let span = Span::current();
            span.record("error.type", failure.reason.as_str());
            if query.is_failed_by(failure.reason) {
                span.record("otel.status_code", "ERROR");
            }
        }
        Run { outcome, attempt_time: ran.attempt_time, duration: ran.duration }
    }

    /// The planner's estimate of a table's rows; it reads no row and promises nothing.
    #[instrument(name = "estimate", skip_all, fields(
        otel.name = summary("EXPLAIN", Some(table)),
        otel.kind = "client",
        db.system.name = "postgresql",
        db.query.summary = summary("EXPLAIN", Some(table)),
    ))]
    pub async fn estimate_rows(
        &self,
        table: &str,
        time_left: Duration,
        cancel: &CancellationToken,
    ) -> Result<i64, Failure> {
        let ran = self.pool.run(&statement::estimate(table), BRIEF, time_left, cancel).await;
        statement::estimate_of(&ran.rows?)
    }

    /// What a run of `query` would cost, in the planner's units; it reads no row.
    pub async fn planned_cost(&self, query: &Query, time_left: Duration) -> Result<f64, Failure> {
        let ran = self.pool.run(&statement::plan(query), BRIEF, time_left, &CancellationToken::new()).await;
        statement::cost_of(&ran.rows?)
    }

    /// Asks the server who it is; bounded by `connecttimeout` and the wait for a connection.
    pub async fn ping(&self) -> Result<ServerInfo, Failure> {
        let sql = "SELECT /* rowcount */ current_setting('server_version'), current_user::text, current_database()::text, \
                   pg_is_in_recovery()";
        let rows = self.pool.run(sql, BRIEF, Duration::MAX, &CancellationToken::new()).await.rows?;
        let info = rows.first().map(|row| {
            Ok::<_, sqlx::Error>(ServerInfo {
                version: row.try_get(0)?,
                role: row.try_get(1)?,
                dbname: row.try_get(2)?,
                standby: row.try_get(3)?,
            })
        });
        info.and_then(Result::ok)
            .ok_or_else(|| Failure::new(FailureReason::WrongResult, "the server does not tell its version"))
    }

    /// The connections as of now.
    pub fn state(&self) -> PoolState {
        self.pool.state()
    }

    /// Interrupts what runs, refuses what comes, and closes every connection, within `CLOSE_TIMEOUT`. Returns whether
    /// the server has had the time to end every backend of ours.
    pub async fn close(&self) -> bool {
        self.pool.close().await
    }
}

// === impl Reading ===

impl Reading {
    /// Counted, up to `cap`; that many or more are at least that many.
    fn counted(value: i64, cap: Option<i64>, observe_time: SystemTime) -> Self {
        let is_all = cap.is_none_or(|cap| value < cap);
        Self {
            value,
            method: if cap.is_some() { Method::ExactCapped } else { Method::Exact },
            lower_bound: Some(value),
            upper_bound: Some(value).filter(|_| is_all),
            observe_time,
            complete_until_time: None,
            anchor_time: None,
        }
    }

    /// An estimate, which promises nothing.
    pub fn estimated(value: i64, observe_time: SystemTime) -> Self {
        Self {
            value,
            method: Method::Estimated,
            lower_bound: None,
            upper_bound: None,
            observe_time,
            complete_until_time: None,
            anchor_time: None,
        }
    }
}

/// What a statement does to what, after the semantic conventions: a trace never holds the SQL, which is the user's.
fn summary(operation: &str, table: Option<&str>) -> String {
    table.map_or_else(|| operation.to_owned(), |table| format!("{operation} {table}"))
}
