//! What was true, by the journal, and whether what was told agrees with it.

use std::collections::BTreeMap;

use rowcount::follow::Oid;
use sqlx::{Connection, PgConnection};

use super::recording::Told;

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
        let judge = |told: &Told| {
            let commits = self.0.get(&told.oid).unwrap_or(&none);
            let sure = told.complete_until.map_or(0, |until| commits.partition_point(|commit| commit.at <= until.us()));
            let past = commits.partition_point(|commit| commit.at <= told.end.us());
            let rows: i64 = commits[..sure].iter().map(|commit| commit.delta).sum();
            let mut sessions: BTreeMap<&str, [i64; 3]> = BTreeMap::new();
            for commit in &commits[sure..past.max(sure)] {
                let [sum, least, most] = sessions.entry(&commit.session).or_default();
                *sum += commit.delta;
                *least = (*sum).min(*least);
                *most = (*sum).max(*most);
            }
            let least = rows + sessions.values().map(|[_, least, _]| least).sum::<i64>();
            let most = rows + sessions.values().map(|[.., most]| most).sum::<i64>();
            let agrees = told.bounds.lower <= most && told.bounds.upper >= least;
            (!agrees).then_some(Violation { told: *told, least, most })
        };
        told.iter().filter_map(judge).collect()
    }
}
