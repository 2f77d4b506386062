//! Readings of the server's statistics for `follow`, and the exact counts of single leaves that they carry on. A
//! reading takes no lock on any table, so it answers while one is being rewritten; a count holds its snapshot no longer
//! than one leaf takes.

use std::{
    collections::BTreeSet,
    sync::PoisonError,
    time::{Duration, SystemTime},
};

use tokio_util::sync::CancellationToken;
use tracing::instrument;

use super::{Counting, pool::Lent};
use crate::{
    failure::{Failure, FailureReason},
    follow::{Counted, LocalTimes, Oid, Reading, Support, Tree, Trees},
};
use leaf_list::{LeafList, Members};

pub mod answer;
pub mod leaf_list;
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
        let members = statement::members(tables);
        let mut session = self.pool.lend(time_left, cancel).await?;
        let before = answer::members(&session.fetch(&members, LIMIT).await?)?;
        let Some(trees) = self.leaves(&mut session, tables, &before).await? else { return Ok(None) };
        let oids: BTreeSet<Oid> = oids(&trees).filter(|oid| !resting.contains(oid)).collect();

        let activity = answer::activity(&session.fetch(statement::ACTIVITY, LIMIT).await?)?;
        let counters = answer::counters(&session.fetch(&statement::counters(&oids), LIMIT).await?)?;
        let asked = SystemTime::now();
        let sentinels = session.fetch(statement::SENTINELS, LIMIT).await?;
        let answered = SystemTime::now();
        let (sentinels, end) = answer::sentinels(&sentinels)?;
        let filenodes = answer::filenodes(&session.fetch(&statement::filenodes(&oids), LIMIT).await?)?;

        let after = answer::members(&session.fetch(&members, LIMIT).await?)?;
        let local_end = LocalTimes { asked, answered };
        Ok((before == after).then_some(Reading { activity, counters, sentinels, end, local_end, filenodes, trees }))
    }

    /// The leaves of these tables, which consist of `members`; `None` when they do not any more.
    async fn leaves(
        &self,
        session: &mut Lent<'_>,
        tables: &BTreeSet<String>,
        members: &Members,
    ) -> Result<Option<Trees>, Failure> {
        let known = || self.leaf_list.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trees) = known().as_ref().and_then(|known| known.trees(tables, members)) {
            return Ok(Some(trees.clone()));
        }
        let rows = session.fetch(&statement::leaves(tables), LIMIT).await?;
        if answer::members(&rows)? != *members {
            return Ok(None);
        }
        let trees = answer::trees(tables, &rows)?;
        *known() = Some(LeafList::new(tables.clone(), members.clone(), trees.clone()));
        Ok(Some(trees))
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
    /// Those of these leaves that our role may not count, by name: it has no SELECT on them, or a policy hides rows.
    pub async fn uncountable(&self, leaves: &BTreeSet<Oid>, time_left: Duration) -> Result<Vec<String>, Failure> {
        let sql = statement::uncountable(leaves);
        answer::names(&self.pool.run(&sql, LIMIT, time_left, &CancellationToken::new()).await.rows?)
    }
}

fn oids(trees: &Trees) -> impl Iterator<Item = Oid> {
    trees.values().flat_map(Tree::leaves).map(|(oid, _)| oid)
}
