//! What is followed: readings of the statistics, exact counts of single leaves, and the runs that they answer.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::{
    clock::BootTime,
    collector::following::{Settled, Standing, Step, Waiting},
    counting::Run,
    failure::Failure,
    follow::{Note, Support, Void},
    query::{Method, QueryName},
};

use super::{Done, Holding, Leaf, Statistics};

impl Holding<'_> {
    /// Does what following wants done now.
    pub(super) fn follow(&mut self, now: BootTime, time_left: Duration) {
        let settled = self.following.settle(now);
        self.settled(settled, now);
        if !self.plan.may_follow() {
            return;
        }
        let tables = self.plan.followed_tables();
        while let Some(step) = self.following.next(now, &tables) {
            let counting = self.collector.counting.clone();
            let cancel = self.cancel_runs.clone();
            self.tasks.spawn(async move {
                let began = tokio::time::Instant::now();
                match step {
                    Step::Probe => Done::Probed(counting.follow_support(time_left, &cancel).await),
                    Step::Read { tables, resting } => {
                        let result = counting.read_statistics(&tables, &resting, time_left, &cancel).await;
                        let result = result.map(|reading| reading.map(Box::new));
                        Done::Statistics(Statistics { begun: now, took: began.elapsed(), result })
                    }
                    Step::Count { oid, ticket, name, limit } => {
                        let result = counting.count_leaf(oid, &name, limit, time_left, &cancel).await;
                        Done::Leaf(Leaf { oid, ticket, name, took: began.elapsed(), result })
                    }
                }
            });
        }
    }

    pub(super) fn probed(&mut self, answer: Result<Support, Failure>) {
        let now = self.now();
        match self.following.probed(&answer, now) {
            Some(Standing::Supported) => info!("Large tables are followed by the server's statistics"),
            Some(Standing::Refused(why)) => {
                warn!(reason = %why, "Tables are not followed, large ones are counted seldom")
            }
            Some(Standing::Unknown) | None => {}
        }
        match answer {
            Ok(support) => self.report.untracked(support.untracked),
            // Once it is known, readings answer the runs that wait, or time does.
            Err(failure) if self.following.is_unknown() => self.cancel_waiting(&failure),
            Err(failure) => debug!(%failure, "Cannot ask whether tables can be followed"),
        }
        self.learn_refusals();
    }

    pub(super) fn statistics_read(&mut self, done: Statistics) {
        let Statistics { begun, took, result } = done;
        let now = self.now();
        match result {
            Ok(reading) => {
                self.collector.metrics.follow.read(took);
                for note in self.following.read(begun, reading.as_deref(), now) {
                    self.tell(&note);
                }
                self.collector.metrics.follow.restless(self.following.restless_sessions());
                self.learn_refusals();
            }
            Err(failure) => {
                debug!(%failure, "Cannot read the statistics");
                let settled = self.following.read_failed(&failure, now);
                self.settled(settled, now);
            }
        }
    }

    pub(super) fn leaf_counted(&mut self, done: Leaf) {
        let Leaf { oid, ticket, name, took, result } = done;
        self.collector.metrics.follow.anchored(result.is_ok(), took);
        match &result {
            Ok(counted) => self.report.leaf_counted(&name, counted.rows, took),
            Err(failure) => self.report.leaf_failed(&name, failure),
        }
        let now = self.now();
        self.following.counted(oid, ticket, result.as_ref().map(|counted| *counted), took, now);
        self.learn_refusals();
    }

    /// Ends the runs that wait for a reading.
    pub(super) fn cancel_waiting(&mut self, failure: &Failure) {
        let now = self.now();
        let settled = self.following.fail_waiting(failure);
        self.settled(settled, now);
    }

    fn settled(&mut self, settled: Vec<Settled>, now: BootTime) {
        for settled in settled {
            match settled {
                Settled::Ended(Waiting { query, since, attempt_time }, outcome) => {
                    let run = Run { outcome, attempt_time, duration: now.saturating_since(since) };
                    self.run_ended(&query, None, run);
                }
                Settled::Unfollowed(waiting) => self.count_instead(&waiting.query.name, now),
            }
        }
    }

    /// A table that cannot be followed is counted, and one that can be again is not.
    fn learn_refusals(&mut self) {
        let (following, counts, now) = (&self.following, &self.counts, self.now());
        // An estimate is a stop-gap until the table is followed: it must not stand in for a count until the next one.
        let is_guess = |name: &QueryName| counts.get(name).is_some_and(|count| count.method == Method::Estimated);
        for (table, is_refused) in self.plan.learn_refusals(|table| following.refusal(table).is_some()) {
            match following.refusal(&table).filter(|_| is_refused) {
                Some(reason) => {
                    info!(table, reason, "The table is not followed");
                    self.plan.count_at_once(&table, now, is_guess);
                }
                None => debug!(table, "The table is followed"),
            }
        }
    }

    fn tell(&self, note: &Note) {
        let (why, leaves) = match note {
            Note::AllVoided(why, leaves) => {
                info!(leaves, reason = %why, "Leaves are counted anew");
                (*why, *leaves)
            }
            Note::Voided(why @ Void::Contradiction, leaf) => {
                error!(leaf, reason = %why, "The bounds of a leaf were wrong, it is counted anew");
                (*why, 1)
            }
            Note::Voided(why, leaf) => {
                info!(leaf, reason = %why, "A leaf is counted anew");
                (*why, 1)
            }
        };
        self.collector.metrics.follow.voided(why, leaves);
    }
}
