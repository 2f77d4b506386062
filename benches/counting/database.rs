//! The database under load, and what it tells of itself.

use std::{fs, time::Duration};

use rowcount::{
    catalog::{self, Catalog},
    demo::{postgres::PostgresOptions, schema},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{fleet::Fleet, process};

/// As many leaves of each partitioned table as a production registry has.
const PARTITIONS: u32 = 64;

/// Servers, the generated rows in one of them.
pub struct Database {
    pub fleet: Fleet,
    pub repositories: u64,
    pub rows: i64,
    pub leaves: i64,
    /// The counted tables, all of those that are there.
    pub tables: Vec<String>,
    admin: PgConnection,
}

/// What statements cost the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Time in them, planning included.
    pub total: Duration,
    /// The longest of them: a snapshot is held no longer, since each is a transaction of its own.
    pub longest: Duration,
    pub calls: i64,
}

// === impl Database ===

impl Database {
    /// Generates it, which takes minutes.
    pub async fn generate(repositories: u64) -> Self {
        let config = [
            "shared_buffers = 2GB",
            "max_wal_size = 8GB",
            "maintenance_work_mem = 512MB",
            "shared_preload_libraries = 'pg_stat_statements'",
            "pg_stat_statements.track_planning = on",
            "pg_stat_statements.max = 10000",
            "autovacuum = on",
        ];
        let options = PostgresOptions { config: config.map(str::to_owned).into(), ..PostgresOptions::default() };
        let mut fleet = Fleet::servers_with(options).await;
        // The defaults again.
        fleet.set("ROWCOUNT_DATABASE_METRICS_INTERVAL", "10s");
        fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "30s");
        fleet.set("ROWCOUNT_LOG_LEVEL", "info");
        let url = fleet.postgres.url("registry");
        eprintln!("Generating {repositories} repositories.");
        schema::create(&url, PARTITIONS).await.expect("creates the schema");
        schema::generate(&url, u32::try_from(repositories).expect("not so many")).await.expect("creates rows");
        eprintln!("Adding keys and triggers.");
        for statement in include_str!("keys.sql").split(";\n\n").flat_map(split) {
            fleet.sql(&statement).await;
        }
        fleet.sql("CREATE EXTENSION pg_stat_statements").await;
        let mut admin = PgConnection::connect(&url).await.expect("PostgreSQL answers");
        let mut tables = Vec::new();
        let mut rows = 0;
        for query in catalog::queries(Catalog::All, Duration::from_secs(10), Duration::from_secs(10)) {
            let Some(table) = query.table().map(str::to_owned) else { continue };
            let count = sqlx::query_scalar::<_, i64>(AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
            // Some are of newer versions of the schema only, some have two queries.
            if tables.contains(&table) {
                continue;
            }
            if let Ok(count) = count.fetch_one(&mut admin).await {
                rows += count;
                tables.push(table);
            }
        }
        let leaves = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND (relispartition OR relnamespace = 'public'::regnamespace)";
        let leaves = sqlx::query_scalar(leaves).fetch_one(&mut admin).await.expect("PostgreSQL answers");
        Self { fleet, repositories, rows, leaves, tables, admin }
    }

    /// Rows of a table, counted.
    pub async fn count(&mut self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.admin).await.expect("it is counted")
    }

    /// From here on costs are counted anew.
    pub async fn forget_costs(&mut self) {
        sqlx::query("SELECT pg_stat_statements_reset()").execute(&mut self.admin).await.expect("PostgreSQL answers");
    }

    /// Of the statements whose text is like this.
    pub async fn cost(&mut self, like: &str) -> Cost {
        let (total, longest, calls): (f64, f64, i64) = sqlx::query_as(
            "SELECT coalesce(sum(total_exec_time + total_plan_time), 0)::float8, coalesce(max(max_exec_time), 0)::float8, \
             coalesce(sum(calls), 0)::int8 FROM pg_stat_statements WHERE query LIKE $1",
        )
        .bind(like)
        .fetch_one(&mut self.admin)
        .await
        .expect("PostgreSQL answers");
        let milliseconds = |ms: f64| Duration::from_secs_f64(ms / 1e3);
        Cost { total: milliseconds(total), longest: milliseconds(longest), calls }
    }

    /// Buffers that were asked for so far.
    pub async fn buffers(&mut self) -> i64 {
        let sql = "SELECT (blks_hit + blks_read)::int8 FROM pg_stat_database WHERE datname = current_database()";
        sqlx::query_scalar(sql).fetch_one(&mut self.admin).await.expect("PostgreSQL answers")
    }

    /// Processor time of the server so far: of every process of it, of those that have ended too.
    pub fn cpu(&self) -> Duration {
        let postmaster = self.fleet.postgres.pid().expect("PostgreSQL runs");
        let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        children.filter_map(process::cpu_if_there).sum::<Duration>() + process::cpu_with_ended(postmaster)
    }
}

/// The statements of a part of a script; a function's body is not to be cut.
fn split(part: &str) -> Vec<String> {
    let part = format!("{};", part.trim().trim_end_matches(';'));
    if part.contains("$$") { vec![part] } else { part.split_inclusive(";\n").map(str::to_owned).collect() }
}
