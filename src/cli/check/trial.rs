//! A trial of one query: its plan, the rights it needs, and the method by which the service would count it. What would
//! cost much is not run; it is told what it would cost.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{Checked, line};
use crate::{
    cli::text,
    collector::pace,
    counting::Counting,
    failure::{Failure, FailureReason},
    follow::{Oid, Refusal, Support, Tree},
    query::{Method, Query},
};

/// What counting a row takes, warm and by one process: 0.11 to 0.19 us were measured.
const ROW: Duration = Duration::from_nanos(150);

/// The text of what is well, or of what is wrong.
type Outcome = Result<String, String>;

/// Tries queries on one server.
pub struct Trials<'a> {
    counting: &'a Counting,
    support: Support,
    /// Our role, for a GRANT.
    role: String,
    /// For a connection that has to be made anew.
    slack: Duration,
}

/// Why a table cannot be followed.
enum Unfollowed {
    /// Whoever grants it a right changes that.
    RightMissing(String),
    /// It is so on this server, or of this table.
    Impossible(String),
}

// === impl Trials ===

impl<'a> Trials<'a> {
    /// Trials by this role.
    pub async fn new(counting: &'a Counting, role: String, slack: Duration) -> Result<Self, Failure> {
        let support = counting.follow_support(Duration::MAX, &CancellationToken::new()).await?;
        Ok(Self { counting, support, role, slack })
    }

    /// Whose changes no statistics tell.
    pub fn untracked(&self) -> Option<&str> {
        self.support.untracked.as_deref()
    }

    /// Tries `query`.
    pub async fn run(&self, query: &Query) -> Checked {
        let began = Instant::now();
        let outcome = self.outcome(query).await;
        Checked::new(query.name.to_string(), began, outcome)
    }

    async fn outcome(&self, query: &Query) -> Outcome {
        let cost = match self.counting.planned_cost(query, query.timeout + self.slack).await {
            Ok(cost) => cost,
            // The statement itself fails alike, and tells where.
            Err(_) => return self.counted(query, None).await,
        };
        let Some(table) = query.table().filter(|_| pace::counts_all(query) || query.method == Method::Followed) else {
            return self.counted(query, Some(cost)).await;
        };
        let cancel = CancellationToken::new();
        let rows = self.counting.estimate_rows(table, query.timeout + self.slack, &cancel).await;
        let rows = rows.map_err(|failure| line(&failure))?;
        if query.method == Method::Followed {
            return self.followed(table, rows, query).await.map_err(|why| format!("not followed: {}", why.text()));
        }
        if !pace::is_large(query, rows) {
            return self.counted(query, Some(cost)).await;
        }
        let time = text::span(ROW * u32::try_from(rows).unwrap_or(u32::MAX));
        let large = format!("about {} rows, exact at most every 10m, about {time} a count", text::number(rows));
        match query.method {
            Method::Auto => match self.followed(table, rows, query).await {
                Ok(told) => Ok(told),
                Err(Unfollowed::RightMissing(why)) => Err(format!("{large}; not followed: {why}")),
                Err(Unfollowed::Impossible(why)) => Ok(format!("{large}; not followed: {why}")),
            },
            _ => Ok(large),
        }
    }

    /// Runs it as the service does.
    async fn counted(&self, query: &Query, cost: Option<f64>) -> Outcome {
        let run = self.counting.count(query, query.timeout + self.slack, &CancellationToken::new()).await;
        match run.outcome {
            Ok(reading) => {
                let method = reading.method.as_str();
                let cost = cost.map(|cost| format!(", planned cost {cost:.0}")).unwrap_or_default();
                Ok(format!("{} rows, {method}{cost}", text::number(reading.value)))
            }
            Err(failure) if !query.is_failed_by(failure.reason) => Ok(format!("not counted: {}", failure.message)),
            Err(failure) => Err(match query.table() {
                Some(table) if failure.reason == FailureReason::Permission => {
                    format!("{}; run GRANT SELECT ON {table} TO {}", line(&failure), self.role)
                }
                _ => line(&failure),
            }),
        }
    }

    /// Reads its statistics once, and sees whether its leaves may be counted.
    async fn followed(&self, table: &str, rows: i64, query: &Query) -> Result<String, Unfollowed> {
        match self.support.refusal() {
            Some(why @ Refusal::Hidden(_)) => return Err(Unfollowed::RightMissing(why.to_string())),
            Some(why) => return Err(Unfollowed::Impossible(why.to_string())),
            None => {}
        }
        let impossible = |failure: Failure| Unfollowed::Impossible(line(&failure));
        let (cancel, time) = (CancellationToken::new(), query.timeout + self.slack);
        let began = Instant::now();
        let reading = self.counting.read_statistics(&[table.to_owned()].into(), &BTreeSet::new(), time, &cancel).await;
        let took = began.elapsed();
        let come_and_go = || Unfollowed::Impossible("its leaves come and go, try again".to_owned());
        let reading = reading.map_err(impossible)?.ok_or_else(come_and_go)?;
        let leaves: BTreeSet<Oid> = match &reading.trees[table] {
            Tree::Missing => return Err(Unfollowed::Impossible("there is no such table".to_owned())),
            Tree::Refused(why) => return Err(Unfollowed::Impossible(why.clone())),
            tree @ Tree::Leaves(_) => tree.leaves().map(|(oid, _)| oid).collect(),
        };
        if let Some(remedy) = self.counting.obstacles(&leaves, time).await.map_err(impossible)?.remedy(&self.role) {
            return Err(Unfollowed::RightMissing(format!("its leaves cannot all be counted: {remedy}")));
        }
        let count = ROW * u32::try_from(rows).unwrap_or(u32::MAX);
        Ok(format!(
            "about {} rows, followed: a reading of its {} leaves took {:.1} ms, their exact counts about {} in all",
            text::number(rows),
            leaves.len(),
            took.as_secs_f64() * 1000.0,
            text::span(count)
        ))
    }
}

// === impl Unfollowed ===

impl Unfollowed {
    fn text(self) -> String {
        let (Self::RightMissing(why) | Self::Impossible(why)) = self;
        why
    }
}
