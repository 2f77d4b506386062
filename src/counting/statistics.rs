//! Readings of the server's statistics for `follow`, and the exact counts of single leaves that they carry on. A
//! reading takes no lock on any table, so it answers while one is being rewritten; a count holds its snapshot no longer
//! than one leaf takes.

use std::{
    collections::BTreeSet,
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use sqlx::postgres::types;
use tokio_util::sync::CancellationToken;
use tracing::instrument;

use super::{Counting, pool::Lent, session::Statement};
use crate::{
    failure::{Failure, FailureReason},
    follow::{Counted, LocalTimes, Oid, Reading, Support, Tree, Trees},
};
use leaf_list::LeafList;
use obstacles::Obstacles;

pub mod answer;
pub mod leaf_list;
pub mod obstacles;
pub mod statement;

/// For one statement of a reading, on the server.
const LIMIT: Duration = Duration::from_secs(2);

// === impl Counting ===

impl Counting {
    /// Whether tables can be followed on this server, and by this role.
    #[instrument(name = "probe statistics", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
    pub async fn follow_support(&self, time_left: Duration, cancel: &CancellationToken) -> Result<Support, Failure> {
        let ran = self.pool.run(statement::SUPPORT, LIMIT, time_left, cancel).await;
        answer::support(&ran.rows?)
    }

    /// Reads the statistics of these tables, without those of their leaves that are `resting`; each statement in a
    /// transaction of its own, in an order that matters (see `follow::Reading`). `None` when leaves came or went
    /// meanwhile: then it is worth nothing.
    #[instrument(name = "read statistics", level = "debug", skip_all, fields(
        otel.kind = "client",
        db.system.name = "postgresql",
        tables = tables.len(),
    ))]
    pub async fn read_statistics(
        &self,
        tables: &BTreeSet<String>,
        resting: &BTreeSet<Oid>,
        time_left: Duration,
        cancel: &CancellationToken,
    ) -> Result<Option<Reading>, Failure> {
        let mut session = self.pool.lend(time_left, cancel).await?;
        let Some(list) = self.leaf_list(&mut session, tables).await? else { return Ok(None) };
        let oids = oids(&list.trees).filter(|oid| !resting.contains(oid));
        let oids: Vec<types::Oid> = oids.map(types::Oid).collect();

        let activity = answer::activity(&session.fetch(Statement::Kept(statement::ACTIVITY), LIMIT).await?)?;
        let counters = session.fetch(Statement::KeptOf(statement::COUNTERS, &oids), LIMIT).await?;
        let counters = answer::counters(&counters)?;
        let asked = SystemTime::now();
        let sentinels = session.fetch(Statement::Kept(statement::SENTINELS), LIMIT).await?;
        let answered = SystemTime::now();
        let (sentinels, end) = answer::sentinels(&sentinels)?;
        let filenodes = session.fetch(Statement::KeptOf(statement::FILENODES, &oids), LIMIT).await?;
        let filenodes = answer::filenodes(&oids, &filenodes)?;

        // The look before was the last reading's, or that of the list.
        if fingerprint(&mut session, tables, &list.parents).await? != list.fingerprint {
            list.outdate();
            return Ok(None);
        }
        let (local_end, trees) = (LocalTimes { asked, answered }, list.trees.clone());
        Ok(Some(Reading { activity, counters, sentinels, end, local_end, filenodes, trees }))
    }

    /// The leaves of these tables, with their fingerprint as of now or of the last reading; `None` when they come and go.
    async fn leaf_list(
        &self,
        session: &mut Lent<'_>,
        tables: &BTreeSet<String>,
    ) -> Result<Option<Arc<LeafList>>, Failure> {
        let known = self.last_list().clone().filter(|list| list.is_of(tables));
        if let Some(list) = known.as_ref().filter(|list| !list.is_old()) {
            return Ok(Some(list.clone()));
        }
        let mut parents = known.map(|list| list.parents.clone()).unwrap_or_default();
        // Which relations may have children is learned at the first look, and that none came meanwhile at the second.
        for _ in 0..2 {
            let begun = Instant::now();
            let fingerprint = fingerprint(session, tables, &parents).await?;
            let rows = session.fetch(Statement::Once(&statement::leaves(tables)), LIMIT).await?;
            let found = answer::parents(&rows)?;
            if found == parents {
                let trees = answer::trees(tables, &rows)?;
                let list = Arc::new(LeafList::new(tables.clone(), parents, fingerprint, trees, begun));
                *self.last_list() = Some(list.clone());
                return Ok(Some(list));
            }
            parents = found;
        }
        Ok(None)
    }

    fn last_list(&self) -> MutexGuard<'_, Option<Arc<LeafList>>> {
        self.leaf_list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the rows of one leaf exactly, for at most `limit` on the server.
    #[instrument(name = "count leaf", skip_all, fields(
        otel.name = super::summary("SELECT", Some(name)),
        otel.kind = "client",
        db.system.name = "postgresql",
        db.query.summary = super::summary("SELECT", Some(name)),
    ))]
    pub async fn count_leaf(
        &self,
        oid: Oid,
        name: &str,
        limit: Duration,
        time_left: Duration,
        cancel: &CancellationToken,
    ) -> Result<Counted, Failure> {
        let ran = self.pool.run(&statement::count(name), limit, time_left, cancel).await;
        let (counted, found) = answer::counted(&ran.rows?)?;
        if found == oid {
            return Ok(counted);
        }
        Err(Failure::new(FailureReason::Sql, format!("{name} is another table than a moment ago")))
    }
}

impl Counting {
    /// What keeps our role from counting these leaves.
    pub async fn obstacles(&self, leaves: &BTreeSet<Oid>, time_left: Duration) -> Result<Obstacles, Failure> {
        let sql = statement::obstacles(leaves);
        answer::obstacles(&self.pool.run(&sql, LIMIT, time_left, &CancellationToken::new()).await.rows?)
    }
}

/// Of these tables, and of the children that these relations of theirs have.
async fn fingerprint(
    session: &mut Lent<'_>,
    tables: &BTreeSet<String>,
    parents: &BTreeSet<Oid>,
) -> Result<String, Failure> {
    let sql = statement::fingerprint(tables, parents);
    answer::fingerprint(&session.fetch(Statement::Kept(&sql), LIMIT).await?)
}

fn oids(trees: &Trees) -> impl Iterator<Item = Oid> {
    trees.values().flat_map(Tree::leaves).map(|(oid, _)| oid)
}
