//! Readings whose statements are not in their order, which the suite must find wrong; of the service's own statements.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use rowcount::{
    counting::statistics::{answer, statement},
    follow::{LocalTimes, Oid, Reading, Tree},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    AsBuilt,
    /// The counters before the sessions.
    CountersFirst,
    /// The filenodes in the statement of the counters.
    FilenodesWithin,
}

pub struct Reader {
    connection: PgConnection,
    order: Order,
    /// Each leaf's counters are read under this advisory lock, as if many other leaves came before.
    lock: Option<u32>,
}

// === impl Reader ===

impl Reader {
    pub async fn connect(url: &str, order: Order, lock: Option<u32>) -> Self {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::raw_sql("SET stats_fetch_consistency = 'cache'").execute(&mut connection).await.unwrap();
        Self { connection, order, lock }
    }

    pub async fn read(&mut self, table: &str) -> Reading {
        let tables: BTreeSet<String> = [table.to_owned()].into();
        let trees = answer::trees(&tables, &self.fetch(&statement::leaves(&tables)).await).unwrap();
        let oids: BTreeSet<Oid> = trees.values().flat_map(Tree::leaves).map(|(oid, _)| oid).collect();
        let mut counted = None;
        if self.order == Order::CountersFirst {
            counted = Some(self.counters(&oids).await);
        }
        let activity = answer::activity(&self.fetch(statement::ACTIVITY).await).unwrap();
        let rows = match counted {
            Some(rows) => rows,
            None => self.counters(&oids).await,
        };
        let counters = answer::counters(&rows).unwrap();
        let (sentinels, end) = answer::sentinels(&self.fetch(statement::SENTINELS).await).unwrap();
        let filenodes = match self.order {
            Order::FilenodesWithin => within(&rows),
            _ => answer::filenodes(&self.fetch(&statement::filenodes(&oids)).await).unwrap(),
        };
        let now = SystemTime::now();
        let local_end = LocalTimes { asked: now, answered: now };
        Reading { activity, counters, sentinels, end, local_end, filenodes, trees }
    }

    /// The counters; behind them the filenodes, which nobody need look at.
    async fn counters(&mut self, oids: &BTreeSet<Oid>) -> Vec<PgRow> {
        let lock =
            self.lock.map_or(String::new(), |lock| format!(" + length(pg_advisory_xact_lock_shared({lock})::text)"));
        let sql = statement::counters(oids).replacen("o::int8", &format!("o::int8{lock}"), 1).replacen(
            " FROM unnest",
            ", pg_relation_filenode(o)::int8 FROM unnest",
            1,
        );
        self.fetch(&sql).await
    }

    async fn fetch(&mut self, sql: &str) -> Vec<PgRow> {
        let fetched = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(&mut self.connection).await;
        fetched.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

/// The filenodes behind the oid and the seven counters.
fn within(rows: &[PgRow]) -> BTreeMap<Oid, Option<u32>> {
    let number = |value: i64| u32::try_from(value).unwrap();
    rows.iter().map(|row| (number(row.get(0)), row.get::<Option<i64>, _>(8).map(number))).collect()
}
