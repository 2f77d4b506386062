//! rowcount beside the database: the release binary at its defaults.

use std::time::{Duration, SystemTime};

use rowcount::proto::v1::{Method, RowCount};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::{
    database::Database,
    fleet::{Instance, PATIENCE},
    process,
    report::{Report, span},
    stats::Sorted,
};

/// For all leaves to be counted: longer than any database that fits this machine takes.
const LONG: Duration = Duration::from_secs(1800);

/// Queries of the catalogue whose tables the schema has.
const QUERIES: usize = 16;

/// For bounds to come together once nothing changes any more.
const QUIET: Duration = Duration::from_secs(180);

/// Who counts, while it does.
#[derive(Default)]
pub struct Collector {
    instance: Option<Instance>,
    started: usize,
    /// The tables that it follows.
    pub followed: Vec<String>,
    /// Of each followed count that was told: how far its bounds were apart, as a part of it.
    widths: Vec<f64>,
}

/// Starts it on a database that it has never seen.
pub async fn cold_start(database: &Database, report: &mut Report) -> Collector {
    let begun = Instant::now();
    let mut collector = Collector::default();
    collector.start(database).await;
    let counts = collector.until(LONG, "everything is followed or exact", |_| true).await;
    report.row("cold start: all tables exact or followed", span(begun.elapsed()), "");
    let followed = counts.iter().filter(|count| count.method() == Method::Followed);
    collector.followed = followed.map(|count| count.query_name.clone()).collect();
    report.row("of these followed", format!("{} of {}", collector.followed.len(), counts.len()), "");
    collector
}

// === impl Collector ===

impl Collector {
    async fn start(&mut self, database: &Database) {
        self.started += 1;
        self.instance = Some(database.fleet.instance(&format!("alice-{}", self.started)).await);
    }

    /// Waits until it goes on as before.
    pub async fn resume(&mut self, database: &Database) {
        self.start(database).await;
        self.until(LONG, "it goes on", |_| true).await;
    }

    pub async fn stop(&mut self) {
        if let Some(mut instance) = self.instance.take() {
            instance.signal(Signal::TERM);
            instance.exit().await;
        }
    }

    /// Looks at what it tells, each second, for so long.
    pub async fn watch(&mut self, for_long: Duration) {
        let end = Instant::now() + for_long;
        while Instant::now() < end {
            sleep(Duration::from_secs(1)).await;
            let Some(instance) = &self.instance else { continue };
            for count in instance.counts().await.row_counts {
                if let (Method::Followed, Some(lower), Some(upper), Some(rows)) =
                    (count.method(), count.lower_bound, count.upper_bound, count.row_count)
                {
                    self.widths.push((upper - lower) as f64 / rows.max(1) as f64);
                }
            }
        }
    }

    /// Waits for quiet, and whether everything is exact then.
    pub async fn settle(mut self, mut database: Database, report: &mut Report) {
        self.resume(&database).await;
        let widths = Sorted::new(std::mem::take(&mut self.widths));
        let percent = |share: f64| format!("{:.5} %", widths.quantile(share) * 100.0);
        report.row(
            "width of the bounds under load, relative",
            format!("median {}, p99 {}", percent(0.5), percent(0.99)),
            "",
        );
        let (begun, ended) = (Instant::now(), SystemTime::now());
        let is_exact = |count: &RowCount| {
            let complete = count.complete_until_time.and_then(|time| SystemTime::try_from(time).ok());
            let bounds = (count.lower_bound, count.upper_bound);
            bounds == (count.row_count, count.row_count) && complete.is_some_and(|complete| complete > ended)
        };
        let counts = self.until(QUIET, "bounds come together", is_exact).await;
        let settled = begun.elapsed();
        let mut wrong = Vec::new();
        for count in counts.iter().filter(|count| count.method() == Method::Followed) {
            let rows = database.count(&count.query_name).await;
            if count.row_count != Some(rows) {
                wrong.push(format!("{}: {:?}, and there are {rows}", count.query_name, count.row_count));
            }
        }
        let measured = format!("{} wrong {wrong:?}, after {}", wrong.len(), span(settled));
        report.row("after the load: lower bound = number = upper bound = COUNT(*)", measured, "0 wrong");
        let instance = self.instance.as_ref().expect("it runs");
        report.row("resident memory", format!("{:.1} MiB", process::resident(instance.pid()) as f64 / 1024.0), "");
        self.stop().await;
    }

    /// Waits until every count is exact or followed, and as `is_so` wants it.
    async fn until(&self, patience: Duration, what: &str, is_so: impl Fn(&RowCount) -> bool) -> Vec<RowCount> {
        let instance = self.instance.as_ref().expect("it runs");
        let begun = Instant::now();
        loop {
            let counts = instance.counts().await.row_counts;
            // Some are of newer versions of the schema only.
            let there: Vec<_> = counts.into_iter().filter(|count| count.row_count.is_some()).collect();
            let is_known = |count: &RowCount| matches!(count.method(), Method::Exact | Method::Followed);
            if there.len() >= QUERIES
                && there.iter().all(|count| is_known(count) && (count.method() == Method::Exact || is_so(count)))
            {
                return there;
            }
            assert!(begun.elapsed() < patience, "not within {patience:?}: {what}: {there:?}");
            sleep(PATIENCE / 300).await;
        }
    }
}
