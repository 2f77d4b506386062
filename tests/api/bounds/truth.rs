//! What was true, by the journal, and whether what was told agrees with it.
//!
//! A commit is dated before anybody can see it, and before its session flushes it, by the clock of which the readings'
//! times are. So no tolerance is needed: what is dated after the end of a reading was not flushed to it.

use std::collections::BTreeMap;

use rowcount::follow::{Bounds, Oid};
use sqlx::{Connection, PgConnection};

use super::{recording::Told, sums::Sums};

/// Commits that changed the number of rows of each leaf, in their order.
pub struct Truth(BTreeMap<Oid, Vec<Commit>>);

struct Commit {
    /// Microseconds since 1970 began, by the server's clock.
    at: i64,
    session: String,
    delta: i64,
}

/// Bounds that no set of flushed transactions agrees with.
#[derive(Debug)]
#[expect(dead_code, reason = "shown when it fails")]
pub struct Violation {
    told: Told,
    least: i64,
    most: i64,
}

// === impl Truth ===

impl Truth {
    pub async fn read(url: &str) -> Self {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let commits: Vec<(i64, String, i64, i64)> = sqlx::query_as(
            "SELECT leaf::int8, session, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::int8 AS at, \
             sum(delta)::int8 FROM journal GROUP BY 1, 2, 3 ORDER BY 3",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let mut leaves: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (oid, session, at, delta) in commits {
            leaves.entry(Oid::try_from(oid).unwrap()).or_default().push(Commit { at, session, delta });
        }
        Self(leaves)
    }

    /// Commits there are.
    pub fn commits(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Those that are wrong: every commit up to `complete_until` is flushed and none after `end`; of those in between,
    /// of each session the first so many.
    pub fn violations(&self, told: &[Told]) -> Vec<Violation> {
        let none = Vec::new();
        // What was complete once is so ever after.
        let mut complete_until = None;
        let judge = |told: &Told| {
            let commits = self.0.get(&told.oid).unwrap_or(&none);
            complete_until = complete_until.max(told.complete_until);
            let sure = complete_until.map_or(0, |until| commits.partition_point(|commit| commit.at <= until.us()));
            let past = commits.partition_point(|commit| commit.at <= told.end.us());
            let rows: i64 = commits[..sure].iter().map(|commit| commit.delta).sum();
            let mut sessions: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
            for commit in &commits[sure..past.max(sure)] {
                let sums = sessions.entry(&commit.session).or_insert_with(|| vec![0]);
                sums.push(sums[sums.len() - 1] + commit.delta);
            }
            let mut allowed = Sums::of(rows);
            sessions.into_values().for_each(|sums| allowed.add_one_of(sums));
            let Bounds { lower, value, upper } = told.bounds;
            let agrees = lower <= value && value <= upper && allowed.has_within(lower, upper);
            (!agrees).then(|| Violation { told: *told, least: allowed.least(), most: allowed.most() })
        };
        told.iter().filter_map(judge).collect()
    }
}
