//! Runs: from the wish to a count, and to the end of the collections that wanted it.

use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use tracing::{Instrument, debug};

use crate::{
    clock::BootTime,
    collection::{Collection, CollectionState},
    collector::{pace, plan::Start},
    counting::Run,
    failure::{Failure, FailureReason},
    query::{Query, QueryName, Source},
};

use super::{Done, Holding};

/// After so many collections in a row with which everything failed another instance may try.
const UNABLE_AFTER: u32 = 3;

/// Cancelled runs get this long to tell their outcome.
const LAST_OUTCOMES: Duration = Duration::from_millis(50);

impl Holding<'_> {
    pub(super) fn start_runs(&mut self, now: BootTime, time_left: Duration) {
        while let Some(Start { query, rows, follows, may_follow }) = self.plan.start_next() {
            if follows {
                self.following.wait_for(query, now, SystemTime::now());
            } else {
                self.spawn_run(query, rows, may_follow, time_left);
            }
        }
    }

    pub(super) fn spawn_run(&mut self, query: Query, rows: Option<i64>, may_follow: bool, time_left: Duration) {
        let counting = self.collector.counting.clone();
        let cancel = self.cancel_runs.clone();
        let span = self.spans.of(self.plan.run_is_for(&query.name));
        let run = async move {
            let began = tokio::time::Instant::now();
            let attempt_time = SystemTime::now();
            let estimate = match (&query.source, rows) {
                // Nobody knows how large it is: ask the planner, so that a table that is to be followed is not counted
                // first, and a count that fails is not tried again at the pace of a small table.
                (Source::Table(table), None) if pace::counts_all(&query) => {
                    match counting.estimate_rows(table, time_left, &cancel).await {
                        Ok(rows) => Some(rows),
                        // A database that is out of reach need not be waited for twice.
                        Err(failure) if is_final(&failure) => {
                            let run = Run { outcome: Err(failure), attempt_time, duration: began.elapsed() };
                            return Done::Run { query, estimate: None, run };
                        }
                        Err(_) => None,
                    }
                }
                (_, rows) => rows,
            };
            match estimate {
                Some(rows) if may_follow && pace::is_large(&query, rows) => Done::Large { query, rows, attempt_time },
                estimate => {
                    let run = counting.count(&query, time_left.saturating_sub(began.elapsed()), &cancel).await;
                    Done::Run { query, estimate, run }
                }
            }
        };
        self.tasks.spawn(run.instrument(span));
    }

    /// A run found its table to be so large that it is to be followed.
    pub(super) fn found_large(&mut self, query: Query, rows: i64, attempt_time: SystemTime) {
        let now = self.now();
        if self.plan.found_rows(&query.name, rows) {
            self.following.wait_for(query, now, attempt_time);
        } else {
            self.count_instead(&query.name, now);
        }
    }

    /// A run that waits for the follower, or would, is made by a statement of its own.
    pub(super) fn count_instead(&mut self, name: &QueryName, now: BootTime) {
        let Some((query, rows)) = self.plan.counts_instead(name) else { return };
        // None when the claim is over: then its end ends the run too.
        let time_left = self.claim().and_then(|claim| claim.time_to_work(now)).unwrap_or_default();
        self.spawn_run(query, rows, false, time_left);
    }

    /// A run of a statement of its own ended.
    pub(super) fn statement_ended(&mut self, query: &Query, estimate: Option<i64>, run: Run) {
        self.collector.metrics.query.asked(&query.name, run.duration);
        self.run_ended(query, estimate, run);
    }

    pub(super) fn run_ended(&mut self, query: &Query, estimate: Option<i64>, run: Run) {
        let now = self.now();
        let collection_id = self.plan.run_is_for(&query.name);
        let value = run.outcome.as_ref().ok().map(|reading| reading.value);
        let failure = run.outcome.as_ref().err().cloned();
        let reason = failure.as_ref().map(|failure| failure.reason).filter(|reason| query.is_failed_by(*reason));
        self.collector.metrics.query.ended(&query.name, reason);
        match (&failure, value) {
            (Some(failure), _) => self.report.failed(query, failure),
            (None, Some(value)) => self.report.collected(&query.name, value),
            (None, None) => {}
        }

        let done = self.plan.finish(&query.name, value.or(estimate), run.duration, failure.as_ref());
        let interval = self.plan.interval(&query.name).unwrap_or(query.interval);
        let stale_after = self.stale_after(interval);
        if let Some(count) = self.counts.get_mut(&query.name) {
            count.attempt_time = Some(run.attempt_time);
            count.query_duration = Some(run.duration);
            count.failure = failure;
            count.interval = interval;
            count.stale_after = stale_after;
            if let Ok(reading) = run.outcome {
                count.value = Some(reading.value);
                count.method = reading.method;
                count.lower_bound = reading.lower_bound;
                count.upper_bound = reading.upper_bound;
                count.complete_until_time = reading.complete_until_time;
                count.anchor_time = reading.anchor_time;
                count.observe_time = Some(reading.observe_time);
                count.collection_id = collection_id;
                count.epoch = self.grant.epoch;
            }
        }
        self.outbox.counts_changed(now);
        for collection in done {
            self.ended(collection);
        }
    }

    pub(super) fn ended(&mut self, collection: Collection) {
        let began = collection.start_time.unwrap_or(collection.create_time);
        let duration = collection.end_time.and_then(|end| end.duration_since(began).ok()).unwrap_or_default();
        self.collector.metrics.collector.collection_ended(&collection, duration);
        self.report.ended(&collection);
        self.spans.ended(&collection);
        self.give_up_if_unable(&collection);
        self.last_collection = Some(collection.id);
        let now = self.now();
        self.outbox.collection(collection, now);
    }

    /// Lets another instance try when nothing can be counted here: it may reach the database. Broken queries alone prove
    /// nothing while any other one works.
    fn give_up_if_unable(&mut self, collection: &Collection) {
        let nothing_works = || {
            self.collector.config.queries.iter().all(|query| {
                let failure = self.counts.get(&query.name).and_then(|count| count.failure.as_ref());
                failure.is_some_and(|failure| query.is_failed_by(failure.reason))
            })
        };
        match collection.state {
            CollectionState::Failed if nothing_works() => self.failed_in_a_row += 1,
            CollectionState::Cancelled => {}
            _ => self.failed_in_a_row = 0,
        }
        if self.failed_in_a_row == UNABLE_AFTER {
            self.failed_in_a_row = 0;
            let lease = self.collector.lease.clone();
            self.tasks.spawn(async move {
                lease.give_up().await;
                Done::Told
            });
        }
    }

    /// Ends what runs, on the server too.
    pub(super) async fn end_runs(&mut self, why: &str) {
        self.cancel_runs.cancel();
        debug!(why, runs = self.tasks.len(), "Ending the runs in progress");
        let failure = Failure::new(FailureReason::Cancelled, why);
        self.cancel_waiting(&failure);
        for collection in self.plan.cancel_all(&failure) {
            self.ended(collection);
        }
        // A cancelled run returns at once, and its outcome counts; what else is under way is not waited for.
        let outcomes = async {
            while let Some(done) = self.tasks.join_next().await {
                if let Ok(Done::Run { query, estimate, run }) = done {
                    self.statement_ended(&query, estimate, run);
                }
            }
        };
        // Whether all came or not, the rest is aborted.
        _ = timeout(LAST_OUTCOMES, outcomes).await;
        self.tasks.shutdown().await;
    }
}

/// Whether a count that followed would end alike.
fn is_final(failure: &Failure) -> bool {
    matches!(failure.reason, FailureReason::Connection | FailureReason::Cancelled)
}
