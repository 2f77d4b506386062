//! The beginning of a claim: what earlier holders left on the board goes on from there.

use std::{collections::BTreeMap, time::SystemTime};

use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    board,
    claim::Grant,
    clock::BootTime,
    collection::{Collection, CollectionState, Trigger},
    collector::{Collector, following::Following, outbox::Outbox, plan::Plan, report::Report, spans::Spans},
    failure::{Failure, FailureReason},
    snapshot::{Count, Snapshot},
};

use super::{Holding, RETRY_WAIT};

impl<'a> Holding<'a> {
    /// Takes over what is on the board: counts go on from there, and collections of earlier holders are cancelled.
    /// `None` when the claim ended first.
    pub async fn load(collector: &'a Collector, grant: Grant, stop: &CancellationToken) -> Option<Self> {
        let mut is_told = false;
        let state = loop {
            match collector.board.load().await {
                Ok(state) => break state,
                // Written by a newer version: what this instance has seen is what there is to go on from.
                Err(error @ board::Error::Malformed(_)) => {
                    warn!(%error, "Cannot read the board to take over, going on from this instance's copy");
                    break board::State::default();
                }
                Err(error) if !is_told => warn!(%error, "Cannot read the board to take over, trying again"),
                Err(_) => {}
            }
            is_told = true;
            tokio::select! {
                () = stop.cancelled() => return None,
                () = sleep(RETRY_WAIT) => {}
            }
            if collector.gate.current_claim()?.grant != grant {
                return None;
            }
        };
        let followed = collector.board.followed().await.unwrap_or_else(|error| {
            warn!(%error, "Cannot read what was followed, counting it anew");
            None
        });
        let now = collector.clock.now();
        let mut holding = Self {
            following: Following::new(followed, now),
            plan: Plan::new(&collector.config.queries, collector.connections, now),
            collector,
            grant,
            counts: BTreeMap::new(),
            revision: 0,
            last_collection: None,
            outbox: Outbox::default(),
            report: Report::new(collector.collected_level),
            spans: Spans::default(),
            tasks: JoinSet::new(),
            writing: None,
            is_beginning: false,
            // Seen here even where the news of it were lost.
            unanswered: state.pending,
            cancel_runs: CancellationToken::new(),
            next_trigger: Trigger::Leadership,
            next_request: now,
            board_fails: false,
            failed_in_a_row: 0,
        };
        let seen = collector.view.now();
        let newest = state.snapshot.into_iter().chain(seen.state.snapshot.clone());
        holding.carry_over(newest.max_by_key(|snapshot| (snapshot.epoch, snapshot.revision)), now);
        for collection in state.collections.into_values() {
            // Of our own epoch too: nothing runs here yet, so one that began under this grant has been left behind.
            if collection.state == CollectionState::Running && collection.epoch <= holding.grant.epoch {
                let lost = Failure::new(FailureReason::Cancelled, "its holder lost the lease before the end");
                let end_time = Some(SystemTime::now());
                let state = CollectionState::Cancelled;
                holding.outbox.collection(Collection { state, end_time, failure: Some(lost), ..collection }, now);
            }
        }
        collector.metrics.follow.restless(None);
        // At once under our own epoch: a hand-over leaves no gap that a scrape sees.
        holding.outbox.write_at(now);
        Some(holding)
    }

    fn carry_over(&mut self, snapshot: Option<Snapshot>, now: BootTime) {
        let mut earlier = snapshot.map_or_else(BTreeMap::new, |snapshot| {
            self.revision = snapshot.revision;
            self.last_collection = snapshot.last_collection;
            snapshot.counts
        });
        for query in &self.collector.config.queries {
            let count = earlier.remove(&query.name);
            if let Some(count) = &count
                && let Some((value, age)) = count.value.zip(count.age(SystemTime::now()))
            {
                self.plan.carry_over(&query.name, value, count.method, age, now);
            }
            let interval = self.plan.interval(&query.name).unwrap_or(query.interval);
            let stale_after = self.stale_after(interval);
            let count = count.map_or_else(
                || Count::never_run(query.method, interval, stale_after),
                |count| Count { interval, stale_after, ..count },
            );
            self.counts.insert(query.name.clone(), count);
        }
    }
}
