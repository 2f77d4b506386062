//! Readings whose statements are not in their order, which the suite must find wrong; of the service's own statements.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use rowcount::{
    counting::statistics::{answer, statement},
    follow::{LocalTimes, Oid, Reading, Tree},
};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, Row,
    postgres::{PgRow, types},
};

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
        let trees = answer::trees(&tables, &self.fetch(&statement::leaves(&tables), &[]).await).unwrap();
        let oids: Vec<types::Oid> = trees.values().flat_map(Tree::leaves).map(|(oid, _)| types::Oid(oid)).collect();
        let mut counted = None;
        if self.order == Order::CountersFirst {
            counted = Some(self.counters(&oids).await);
        }
        let activity = answer::activity(&self.fetch(statement::ACTIVITY, &[]).await).unwrap();
        let rows = match counted {
            Some(rows) => rows,
            None => self.counters(&oids).await,
        };
        let counters = answer::counters(&rows).unwrap();
        let (sentinels, end) = answer::sentinels(&self.fetch(statement::SENTINELS, &[]).await).unwrap();
        let filenodes = match self.order {
            Order::FilenodesWithin => within(&rows),
            _ => answer::filenodes(&oids, &self.fetch(statement::FILENODES, &oids).await).unwrap(),
        };
        let now = SystemTime::now();
        let local_end = LocalTimes { asked: now, answered: now };
        Reading { activity, counters, sentinels, end, local_end, filenodes, trees }
    }

    /// The counters; behind them the filenodes, which nobody need look at.
    async fn counters(&mut self, oids: &[types::Oid]) -> Vec<PgRow> {
        let first = |lock| format!("CASE WHEN length(pg_advisory_xact_lock_shared({lock})::text) >= 0 THEN o END,");
        let first = self.lock.map_or("o,".to_owned(), first);
        let sql = statement::COUNTERS.replacen("o,", &first, 1);
        let sql = sql.replacen(" FROM unnest", ", pg_relation_filenode(o) FROM unnest", 1);
        self.fetch(&sql, oids).await
    }

    /// With these relations, where there are any in it.
    async fn fetch(&mut self, sql: &str, oids: &[types::Oid]) -> Vec<PgRow> {
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        let query = if sql.contains("$1") { query.bind(oids) } else { query };
        query.fetch_all(&mut self.connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

/// The filenodes behind the oid and the seven counters.
fn within(rows: &[PgRow]) -> BTreeMap<Oid, Option<u32>> {
    rows.iter()
        .map(|row| (row.get::<types::Oid, _>(0).0, row.get::<Option<types::Oid>, _>(8).map(|node| node.0)))
        .collect()
}
