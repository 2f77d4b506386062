//! One table that is followed while a test does to it what it was written for, step by step.

use std::time::{Duration, Instant};

use rowcount::{
    counting::Counting,
    demo::postgres::PostgresServer,
    follow::{Bounds, Follower, LeafName, Note, Reading},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use crate::{
    bounds::{
        mutant::Mutant,
        recording::{Told, counting, tell},
        schema::{self, SESSION},
        truth::Truth,
    },
    fleet::PATIENCE,
};

const TABLE: &str = "t";

/// What makes one statement of a reading known among the others.
pub const ACTIVITY: &str = "pg_stat_activity";
pub const COUNTERS: &str = "pg_stat_get_tuples_inserted";
pub const FILENODES: &str = "pg_relation_filenode";

/// In a database of its own.
pub struct Scene {
    /// Of the database.
    pub url: String,
    /// The same through `gate`.
    pub gated_url: String,
    /// In front of the server, for `counting`.
    pub gate: Gate,
    pub counting: Counting,
    /// Whose work is followed.
    pub actor: PgConnection,
    pub admin: PgConnection,
    pub follower: Follower,
    rule: Option<Mutant>,
    told: Vec<Told>,
}

// === impl Scene ===

impl Scene {
    /// A table of 300 rows that is followed by a rule, to the row.
    pub async fn new(postgres: &PostgresServer, rule: Option<Mutant>) -> Self {
        let name = format!("scene_{}", fastrand::u64(..));
        let url = postgres.create_database(&name).await.unwrap();
        let rows = "INSERT INTO t SELECT nextval('ids'), 0, 0 FROM generate_series(1, 300)";
        postgres.execute(&name, &format!("{}; SET {SESSION} = 'maker'; {rows}", schema::sql())).await.unwrap();
        let gate = Gate::before(postgres.port()).await;
        let gated_url = format!("postgres://postgres@127.0.0.1:{}/{name}", gate.port());
        let counting = counting(&gated_url);
        let [mut actor, admin] =
            [PgConnection::connect(&url).await.unwrap(), PgConnection::connect(&url).await.unwrap()];
        run(&mut actor, &format!("SET {SESSION} = 'actor'")).await;
        let (follower, told) = (Follower::default(), Vec::new());
        let mut scene = Self { url, gated_url, gate, counting, actor, admin, follower, rule, told };
        scene.anchor().await;
        assert_eq!(scene.bounds(), Some(Bounds::exactly(300)));
        scene
    }

    pub async fn act(&mut self, sql: impl Into<String>) {
        run(&mut self.actor, &sql.into()).await;
    }

    pub async fn admin(&mut self, sql: impl Into<String>) {
        run(&mut self.admin, &sql.into()).await;
    }

    /// A statement whose change is not flushed while its session is idle.
    pub async fn act_pending(&mut self, sql: &str) {
        // A flush less than a second ago keeps the next one off.
        flush(&mut self.actor).await;
        self.act(sql).await;
    }

    pub async fn flush(&mut self) {
        flush(&mut self.actor).await;
    }

    pub async fn scalar(&mut self, sql: impl Into<String>) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.into())).fetch_one(&mut self.admin).await.unwrap()
    }

    /// Waits until a condition holds.
    pub async fn until(&mut self, condition: &str) {
        let begun = Instant::now();
        while self.scalar(format!("SELECT ({condition})::int::int8")).await == 0 {
            assert!(begun.elapsed() < 2 * PATIENCE, "never: {condition}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until somebody waits for this advisory lock.
    pub async fn until_waited_for(&mut self, lock: u32) {
        self.until(&format!(
            "EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
             WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objid = {lock} AND NOT l.granted)"
        ))
        .await;
    }

    /// Waits until what was last committed is older than the rule's margin.
    pub async fn until_committed_long_ago(&mut self) {
        self.until("clock_timestamp() > (SELECT max(pg_xact_commit_timestamp(xmin)) FROM journal) + interval '11.5 s'")
            .await;
    }

    pub async fn read(&self) -> Reading {
        read(&self.counting).await.expect("no leaf comes or goes")
    }

    /// Has the follower take a reading in, and notes what it says now.
    pub fn take(&mut self, reading: &Reading) -> Vec<Note> {
        let reading = self.rule.map_or_else(|| reading.clone(), |rule| rule.reading(reading));
        let notes = self.follower.take(&reading);
        self.told.extend(tell(&self.follower, &reading, self.rule));
        notes
    }

    /// What was said last.
    pub fn bounds(&self) -> Option<Bounds> {
        Some(self.told.last()?.bounds)
    }

    /// Reads and counts until the table is followed.
    pub async fn anchor(&mut self) {
        let begun = Instant::now();
        while self.follower.state().is_none_or(|state| state.leaves.is_empty()) {
            assert!(begun.elapsed() < 2 * PATIENCE, "not followed: {:?}", self.follower);
            let reading = self.read().await;
            self.take(&reading);
            if let Some(oid) = self.follower.wanted_anchor() {
                let (ticket, LeafName { name, .. }) = self.follower.begin_anchor(oid).unwrap();
                let cancel = CancellationToken::new();
                let counted = self.counting.count_leaf(oid, &name, PATIENCE, PATIENCE, &cancel).await.unwrap();
                self.follower.counted(oid, ticket, counted);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// How many of the bounds that were told so far were wrong.
    pub async fn violations(&self) -> usize {
        let violations = Truth::read(&self.url).await.violations(&self.told);
        violations.iter().for_each(|violation| println!("{:?}: {violation:?}", self.rule));
        violations.len()
    }
}

/// `None` when leaves came or went meanwhile.
pub async fn read(counting: &Counting) -> Option<Reading> {
    let cancel = CancellationToken::new();
    counting.read_statistics(&[TABLE.to_owned()].into(), &[].into(), PATIENCE, &cancel).await.unwrap()
}

pub async fn run(connection: &mut PgConnection, sql: &str) {
    let ran = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    ran.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

pub async fn flush(connection: &mut PgConnection) {
    run(connection, "SELECT pg_stat_force_next_flush()").await;
    // Done once it answers again.
    run(connection, "SELECT").await;
}
