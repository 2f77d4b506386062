//! What the server says ran in the database: readings of its statistics, which cost it next to nothing. They hold no
//! lock on any table and go through the same few connections as the counts.

use std::{
    collections::HashMap,
    fmt::Write as _,
    time::{Duration, Instant, SystemTime},
};

use sqlx::{Row, postgres::PgRow};
use tokio_util::sync::CancellationToken;
use tracing::instrument;

use super::Counting;
use crate::{
    failure::{Failure, FailureReason},
    rates::{
        operation::PerOperation,
        validation::{
            statements::{self, StatementId},
            tables,
        },
    },
};

/// pg_stat_statements as it is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statements {
    /// The function, with its schema and quoted.
    function: String,
    /// The function that tells of resets, likewise; servers before 14 have none.
    info: Option<String>,
    /// Whether it tells nested statements from others; before 14 it does not.
    tells_nested: bool,
    /// Whether nested statements are counted too, by the setting of our sessions.
    pub tracks_nested: bool,
}

/// Why pg_stat_statements cannot be used, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not installed in this database.
    #[error("pg_stat_statements is not installed in database {0}: run CREATE EXTENSION pg_stat_statements there")]
    Missing(String),
    /// The server does not load it.
    #[error("pg_stat_statements counts nothing: add it to shared_preload_libraries and restart the server")]
    NotLoaded,
    /// It is switched off.
    #[error("pg_stat_statements counts nothing: set pg_stat_statements.track to top")]
    Off,
    /// Others' statements are hidden.
    #[error("role {0} may not read the statements of other roles: run GRANT pg_read_all_stats TO {0}")]
    Hidden(String),
}

/// For a reading.
const LIMIT: Duration = Duration::from_secs(5);

/// For a reading with the wait for a connection.
const TIME: Duration = Duration::from_secs(15);

/// Longest part of a statement that is read, in characters: what it does shows at its beginning.
const LONGEST_TEXT: usize = 10_000;

// === impl Counting ===

impl Counting {
    /// How pg_stat_statements can be read, or why it cannot.
    #[instrument(name = "probe statements", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
    pub async fn statements(&self) -> Result<Result<Statements, Unusable>, Failure> {
        let sql = "SELECT /* rowcount */ current_database()::text, current_setting('pg_stat_statements.track', true), \
                   quote_ident(n.nspname), \
                   EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = n.oid AND p.proname = 'pg_stat_statements' \
                     AND 'toplevel' = ANY (p.proargnames)), \
                   EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = n.oid \
                     AND p.proname = 'pg_stat_statements_info') \
                   FROM (SELECT) AS one LEFT JOIN pg_extension e ON e.extname = 'pg_stat_statements' \
                   LEFT JOIN pg_namespace n ON n.oid = e.extnamespace";
        let rows = self.read(sql).await?;
        let row = rows.first().ok_or_else(unreadable)?;
        let (dbname, track): (String, Option<String>) = (get(row, 0)?, get(row, 1)?);
        let (schema, tells_nested, tells_resets): (Option<String>, bool, bool) =
            (get(row, 2)?, get(row, 3)?, get(row, 4)?);
        let Some(schema) = schema else { return Ok(Err(Unusable::Missing(dbname))) };
        Ok(match track.as_deref() {
            None => Err(Unusable::NotLoaded),
            Some("none") => Err(Unusable::Off),
            Some(track) => Ok(Statements {
                function: format!("{schema}.pg_stat_statements"),
                info: tells_resets.then(|| format!("{schema}.pg_stat_statements_info()")),
                tells_nested,
                tracks_nested: track == "all",
            }),
        })
    }

    /// How often each statement has run in this database.
    #[instrument(name = "read statements", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
    pub async fn statement_calls(&self, source: &Statements) -> Result<Result<statements::Reading, Unusable>, Failure> {
        let Statements { function, info, .. } = source;
        let (resets, info) = match info {
            Some(info) => ("i.dealloc, extract(epoch FROM i.stats_reset)::float8", info.as_str()),
            None => ("NULL::int8, NULL::float8", "(SELECT)"),
        };
        let nested = source.nested();
        // A role that may not read others' statements sees their numbers without their ids.
        let sql = format!(
            "SELECT /* rowcount */ current_user::text, extract(epoch FROM clock_timestamp())::float8, {resets}, \
             s.userid::int8, s.queryid, {nested}, s.calls FROM {info} AS i LEFT JOIN {function}(false) AS s \
             ON s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
        );
        let rows = self.read(&sql).await?;
        let read_at = Instant::now();
        let first = rows.first().ok_or_else(unreadable)?;
        let mut calls = HashMap::with_capacity(rows.len());
        for row in &rows {
            // No calls: the one row of a database without any statement.
            let Some(count) = get::<Option<i64>>(row, 7)? else { continue };
            let Some(query) = get::<Option<i64>>(row, 5)? else { return Ok(Err(Unusable::Hidden(get(first, 0)?))) };
            calls.insert(StatementId { role: get(row, 4)?, query, is_nested: get(row, 6)? }, count);
        }
        Ok(Ok(statements::Reading {
            read_at,
            server_time: time(get(first, 1)?),
            calls,
            deallocations: get(first, 2)?,
            reset_time: get::<Option<f64>>(first, 3)?.map(time),
        }))
    }

    /// The texts of these statements, as far as the server still has them.
    #[instrument(name = "read texts", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
    pub async fn statement_texts(
        &self,
        source: &Statements,
        ids: impl IntoIterator<Item = StatementId>,
    ) -> Result<HashMap<StatementId, String>, Failure> {
        let mut queries = String::new();
        for (index, id) in ids.into_iter().enumerate() {
            let _ = write!(queries, "{}{}", if index == 0 { "" } else { "," }, id.query);
        }
        let (function, nested) = (&source.function, source.nested());
        let sql = format!(
            "SELECT /* rowcount */ s.userid::int8, s.queryid, {nested}, left(s.query, {LONGEST_TEXT}) \
             FROM {function}(true) AS s WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND s.queryid = ANY ('{{{queries}}}'::int8[])"
        );
        let mut texts = HashMap::new();
        for row in self.read(&sql).await? {
            let id = StatementId { role: get(&row, 0)?, query: get(&row, 1)?, is_nested: get(&row, 2)? };
            if let Some(text) = get::<Option<String>>(&row, 3)? {
                texts.insert(id, text);
            }
        }
        Ok(texts)
    }

    /// How many rows of each table were fetched by an index, inserted, updated and deleted.
    #[instrument(name = "read tables", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
    pub async fn table_rows(&self) -> Result<tables::Reading, Failure> {
        let sql = "SELECT /* rowcount */ extract(epoch FROM clock_timestamp())::float8, \
                   extract(epoch FROM d.stats_reset)::float8, d.xact_commit + d.xact_rollback, t.relid::int8, \
                   coalesce(t.idx_tup_fetch, 0), t.n_tup_ins, t.n_tup_upd, t.n_tup_del \
                   FROM pg_stat_database d LEFT JOIN pg_stat_user_tables t ON true \
                   WHERE d.datname = current_database()";
        let fetched = self.read(sql).await?;
        let read_at = Instant::now();
        let first = fetched.first().ok_or_else(unreadable)?;
        let mut rows = HashMap::with_capacity(fetched.len());
        for row in &fetched {
            // None: the one row of a database without any table.
            let Some(table) = get::<Option<i64>>(row, 3)? else { continue };
            let mut counters = [get(row, 4)?, get(row, 5)?, get(row, 6)?, get(row, 7)?].into_iter();
            rows.insert(table, PerOperation::from_fn(|_| counters.next().unwrap_or_default()));
        }
        Ok(tables::Reading {
            read_at,
            server_time: time(get(first, 0)?),
            rows,
            transactions: get(first, 2)?,
            reset_time: get::<Option<f64>>(first, 1)?.map(time),
        })
    }

    async fn read(&self, sql: &str) -> Result<Vec<PgRow>, Failure> {
        // Whoever does not want it any more drops it, and the statement ends with its session.
        self.pool.run(sql, LIMIT, TIME, &CancellationToken::new()).await.rows
    }
}

// === impl Statements ===

impl Statements {
    /// Whether nested statements are counted among the others, for want of a way to tell them apart.
    pub fn mixes_nested(&self) -> bool {
        self.tracks_nested && !self.tells_nested
    }

    /// The SQL of whether a statement ran inside another one.
    fn nested(&self) -> &'static str {
        if self.tells_nested { "NOT s.toplevel" } else { "false" }
    }
}

fn get<'r, T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>>(
    row: &'r PgRow,
    column: usize,
) -> Result<T, Failure> {
    row.try_get(column).map_err(|_| unreadable())
}

fn unreadable() -> Failure {
    Failure::new(FailureReason::WrongResult, "the server's statistics are not what was expected of its version")
}

/// Seconds since 1970, as the server counts them.
fn time(seconds: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
