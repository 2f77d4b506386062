//! Compares what the fleet says with what the database says while nobody writes.

use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{
    catalog::{self, Catalog},
    demo::fleet::{Fleet, Look},
    proto::v1::{Method, RowCount},
    query::Source,
};

/// The longest until every count is right: a followed one takes about 36 s from the last write to its exact value, and
/// 12 s until it has bounds at all.
const PATIENCE: Duration = Duration::from_secs(90);

/// The longest until another instance holds the lease of a killed one.
const HANDOVER: Duration = Duration::from_secs(30);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// Waits until each query of the catalogue has a count of COUNT(*)'s value, read after now and published under
/// `epoch` or a later one. Nobody may write meanwhile. Gives the number of queries.
pub(super) async fn counts(fleet: &mut Fleet, url: &str, epoch: i64) -> anyhow::Result<usize> {
    let quiet = SystemTime::now();
    let mut connection = PgConnection::connect(url).await?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let look = fleet.look().await?;
        let counts = look.counts.as_ref().map_or(&[][..], |counts| &counts.row_counts);
        let truths = truths(&mut connection).await?;
        let wrong: Vec<_> = truths
            .iter()
            .filter_map(|(name, truth)| {
                let count = counts.iter().find(|count| count.query_name == *name);
                let wrong = count.map_or_else(|| Some("missing".into()), |count| wrong(count, *truth, quiet, epoch));
                wrong.map(|wrong| format!("{name}: {wrong}"))
            })
            .collect();
        if wrong.is_empty() {
            return Ok(truths.len());
        }
        ensure!(tokio::time::Instant::now() < deadline, "counts differ from the database:\n  {}", wrong.join("\n  "));
        tokio::time::sleep(LOOK).await;
    }
}

/// Kills the holder and waits until another instance holds the lease under a later epoch.
pub(super) async fn hand_over(fleet: &mut Fleet) -> anyhow::Result<HandOver> {
    let before = fleet.look().await?;
    let from = before.holder().context("nobody holds the lease")?.name.clone();
    fleet.kill(&from).await?;
    let killed = tokio::time::Instant::now();
    loop {
        let look = fleet.look().await?;
        ensure!(look.holders() <= 1, "two instances hold the lease");
        if let Some(to) = taken_over(&before, &look) {
            return Ok(HandOver { from, to, epoch: look.epoch(), took: killed.elapsed() });
        }
        ensure!(killed.elapsed() < HANDOVER, "nobody took the lease over within {HANDOVER:?} of killing {from}");
        tokio::time::sleep(LOOK).await;
    }
}

/// What became of the lease of a killed holder.
pub(super) struct HandOver {
    /// Who was killed.
    pub(super) from: String,
    /// Who holds it now.
    pub(super) to: String,
    /// Under which epoch.
    pub(super) epoch: i64,
    /// From the kill to when it was seen.
    pub(super) took: Duration,
}

fn taken_over(before: &Look, now: &Look) -> Option<String> {
    let holder = now.holder().filter(|_| now.epoch() > before.epoch())?;
    Some(holder.name.clone())
}

/// COUNT(*) of every query of the catalogue.
async fn truths(connection: &mut PgConnection) -> anyhow::Result<Vec<(String, i64)>> {
    let mut truths = Vec::new();
    for query in catalog::queries(Catalog::All, Duration::ZERO, Duration::ZERO) {
        let sql = match query.source {
            Source::Table(table) => format!("SELECT count(*) FROM {table}"),
            Source::Statement { sql, .. } => sql,
        };
        let truth = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *connection).await?;
        truths.push((query.name.to_string(), truth));
    }
    Ok(truths)
}

/// What is wrong with a count; `None` when nothing is.
fn wrong(count: &RowCount, truth: i64, quiet: SystemTime, epoch: i64) -> Option<String> {
    let observed = count.observe_time.and_then(|time| SystemTime::try_from(time).ok());
    let Some((rows, observed)) = count.row_count.zip(observed) else {
        return Some(count.error.as_ref().map_or("never counted".into(), |error| error.message.clone()));
    };
    let bounds = count.lower_bound.zip(count.upper_bound);
    if count.epoch < epoch {
        Some(format!("not counted since the hand-over, epoch {} is before {epoch}", count.epoch))
    } else if observed < quiet {
        Some("not counted since the last write".into())
    } else if count.method() == Method::Estimated {
        Some(format!("{rows} is only an estimate of {truth}"))
    } else if bounds.is_some_and(|(lower, upper)| truth < lower || upper < truth) {
        Some(format!("{truth} is not within {bounds:?}"))
    } else {
        (rows != truth).then(|| format!("{rows}, COUNT(*) says {truth}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(rows: i64, method: Method) -> RowCount {
        let observe_time = Some(SystemTime::now().into());
        RowCount { row_count: Some(rows), method: method.into(), observe_time, epoch: 7, ..Default::default() }
    }

    #[test]
    fn only_a_fresh_exact_count_of_the_epoch_is_right() {
        let quiet = SystemTime::now() - Duration::from_secs(1);
        let late = SystemTime::now() + Duration::from_secs(1);
        assert_eq!(wrong(&count(5, Method::Exact), 5, quiet, 7), None);
        assert!(wrong(&count(5, Method::Exact), 6, quiet, 7).unwrap().contains("COUNT(*) says 6"));
        assert!(wrong(&count(5, Method::Exact), 5, quiet, 8).unwrap().contains("epoch 7 is before 8"));
        assert!(wrong(&count(5, Method::Exact), 5, late, 7).unwrap().contains("last write"));
        assert!(wrong(&count(5, Method::Estimated), 5, quiet, 7).unwrap().contains("estimate"));
        assert!(wrong(&RowCount::default(), 0, quiet, 0).unwrap().contains("never counted"));
        let bounds = RowCount { lower_bound: Some(6), upper_bound: Some(7), ..count(5, Method::Followed) };
        assert!(wrong(&bounds, 5, quiet, 7).unwrap().contains("not within"));
    }

    #[tokio::test]
    async fn a_fleet_that_does_not_answer_is_not_right() {
        let mut fleet = Fleet::start(0, &[]).await.unwrap();
        assert_eq!(hand_over(&mut fleet).await.err().unwrap().to_string(), "nobody holds the lease");
    }
}
