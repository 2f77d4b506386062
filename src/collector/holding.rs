//! One claim from its beginning to its end: what is counted under it, and what of that is on the board.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, warn};

use crate::{
    board::{self, Begun, Pending, Publication, Written},
    claim::{Claim, Grant},
    clock::BootTime,
    collection::{Collection, CollectionId, CollectionState, Trigger},
    counting::Run,
    failure::{Failure, FailureReason},
    query::{Query, QueryName, Source},
    snapshot::{Count, Snapshot},
};

use super::{
    Collector,
    outbox::{Batch, Outbox},
    plan::Plan,
    report::Report,
    spans::Spans,
};

/// Between tries while the board does not answer.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// The longest sleep when nothing is due: a bound, not a poll of anything remote.
const IDLE_WAIT: Duration = Duration::from_secs(60);

/// The last words of a stopping holder get this long.
const LAST_WRITE: Duration = Duration::from_millis(400);

/// What is counted under one grant.
pub struct Holding<'a> {
    collector: &'a Collector,
    grant: Grant,
    plan: Plan,
    counts: BTreeMap<QueryName, Count>,
    /// Of the last snapshot seen or made.
    revision: i64,
    last_collection: Option<CollectionId>,
    outbox: Outbox,
    report: Report,
    spans: Spans,
    /// Runs, and at most one write and one begin. Each is bounded in time by what it calls.
    tasks: JoinSet<Done>,
    is_writing: bool,
    is_beginning: bool,
    /// Ends the runs in progress; made anew when they are told to end.
    cancel_runs: CancellationToken,
    /// No requested collection begins before this.
    next_request: BootTime,
    /// Whether the board refused the last write: told once.
    board_fails: bool,
}

/// A task that ended.
enum Done {
    Run { query: Query, estimate: Option<i64>, run: Run },
    Write { batch: Batch, result: Result<Written, board::Error> },
    Begin { running: Collection, result: Result<Begun, board::Error> },
    Renewal,
}

// === impl Holding ===

impl<'a> Holding<'a> {
    /// Takes over what is on the board: counts go on from there, and collections of earlier holders are cancelled.
    /// `None` when the claim ended first.
    pub async fn load(collector: &'a Collector, grant: Grant, stop: &CancellationToken) -> Option<Self> {
        let mut is_told = false;
        let state = loop {
            match collector.board.load().await {
                Ok(state) => break state,
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
        let now = collector.clock.now();
        let mut holding = Self {
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
            is_writing: false,
            is_beginning: false,
            cancel_runs: CancellationToken::new(),
            next_request: now,
            board_fails: false,
        };
        let seen = collector.view.now();
        let newest = state.snapshot.into_iter().chain(seen.state.snapshot.clone());
        holding.carry_over(newest.max_by_key(|snapshot| (snapshot.epoch, snapshot.revision)), now);
        for collection in state.collections.into_values() {
            if collection.state == CollectionState::Running && collection.epoch < holding.grant.epoch {
                let lost = Failure::new(FailureReason::Cancelled, "its holder lost the lease before the end");
                let end_time = Some(SystemTime::now());
                let state = CollectionState::Cancelled;
                holding.outbox.collection(Collection { state, end_time, failure: Some(lost), ..collection }, now);
            }
        }
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
            if let Some((value, age)) = count.as_ref().and_then(|c| Some((c.value?, c.age(SystemTime::now())?))) {
                self.plan.carry_over(&query.name, value, age, now);
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

    fn stale_after(&self, interval: Duration) -> Duration {
        interval * self.collector.config.stale_after
    }

    /// Counts until the claim is over or `stop`.
    pub async fn run(mut self, stop: &CancellationToken) {
        let mut role = self.collector.lease.subscribe();
        let mut view = self.collector.view.subscribe();
        let mut trigger = Trigger::Leadership;
        while let Some(claim) = self.claim() {
            self.act(&claim, trigger);
            trigger = Trigger::Schedule;
            let wait = self.next_wake(&claim).saturating_since(self.now());
            tokio::select! {
                () = stop.cancelled() => return self.stop().await,
                _ = role.changed() => {}
                _ = view.changed() => {}
                Some(done) = self.tasks.join_next() => self.take(done),
                () = sleep(wait) => {}
            }
        }
        // The board's records of what was open are cancelled by the next holder; here they only end.
        self.end_runs("the lease was lost").await;
    }

    fn now(&self) -> BootTime {
        self.collector.clock.now()
    }

    /// The claim, while it is the one that this began under.
    fn claim(&self) -> Option<Claim> {
        self.collector.gate.current_claim().filter(|claim| claim.grant == self.grant)
    }

    /// Does everything that may be done now.
    fn act(&mut self, claim: &Claim, trigger: Trigger) {
        let now = self.now();
        if let Some(time_left) = claim.time_to_work(now) {
            self.open_due(trigger, now);
            self.begin_pending(now);
            self.start_runs(time_left);
        } else {
            std::mem::take(&mut self.cancel_runs).cancel();
        }
        self.write(now);
    }

    /// When there is something to do again if nothing happens meanwhile.
    fn next_wake(&self, claim: &Claim) -> BootTime {
        let now = self.now();
        let idle = now + IDLE_WAIT;
        let working = claim.time_to_work(now).is_some();
        let due = self.plan.next_due().filter(|_| working);
        let soft = Some(claim.soft_deadline).filter(|_| working);
        let write = self.outbox.due().filter(|_| !self.is_writing);
        let request = Some(self.next_request).filter(|at| *at > now);
        [due, soft, write, request, Some(claim.deadline)].into_iter().flatten().fold(idle, BootTime::min)
    }

    fn open_due(&mut self, trigger: Trigger, now: BootTime) {
        let (due, skipped) = self.plan.take_due(now);
        for name in skipped {
            self.collector.metrics.query.skipped(&name);
        }
        if due.is_empty() {
            return;
        }
        let at = SystemTime::now();
        let collection = self.running(CollectionId::generate(), trigger, at, due);
        self.open(collection, now);
    }

    fn running(
        &self,
        id: CollectionId,
        trigger: Trigger,
        create_time: SystemTime,
        query_names: BTreeSet<QueryName>,
    ) -> Collection {
        Collection {
            id,
            state: CollectionState::Running,
            trigger,
            create_time,
            start_time: Some(SystemTime::now()),
            end_time: None,
            query_names,
            failed_query_names: BTreeSet::new(),
            instance_id: self.collector.instance_id.clone(),
            epoch: self.grant.epoch,
            failure: None,
        }
    }

    fn open(&mut self, collection: Collection, now: BootTime) {
        self.collector.metrics.collector.collection_began();
        self.spans.began(&collection);
        self.outbox.collection(collection.clone(), now);
        if let Some(done) = self.plan.open(collection) {
            self.ended(done);
        }
    }

    /// Begins the collection that calls wait for, unless one of its kind runs or began a moment ago.
    fn begin_pending(&mut self, now: BootTime) {
        if self.is_beginning || self.plan.has_requested() || now < self.next_request {
            return;
        }
        let Some(pending) = self.collector.view.now().state.pending.clone() else { return };
        self.is_beginning = true;
        self.spawn_begin(pending);
    }

    fn spawn_begin(&mut self, pending: Pending) {
        let running = self.running(pending.id, Trigger::Request, pending.create_time, pending.query_names.clone());
        let (board, grant) = (self.collector.board.clone(), self.grant.clone());
        self.tasks.spawn(async move {
            let result = board.begin(&grant, &pending, running.clone()).await;
            Done::Begin { running, result }
        });
    }

    fn start_runs(&mut self, time_left: Duration) {
        while let Some((query, rows)) = self.plan.start_next() {
            let counting = self.collector.counting.clone();
            let cancel = self.cancel_runs.clone();
            let span = self.spans.of(self.plan.run_is_for(&query.name));
            let run = async move {
                let began = tokio::time::Instant::now();
                let estimate = match (&query.source, rows) {
                    // Nobody knows how large it is: ask the planner, so that a count that fails is not tried again
                    // at the pace of a small table.
                    (Source::Table(table), None) => counting.estimate_rows(table, time_left, &cancel).await.ok(),
                    (_, rows) => rows,
                };
                let run = counting.count(&query, time_left.saturating_sub(began.elapsed()), &cancel).await;
                Done::Run { query, estimate, run }
            };
            self.tasks.spawn(run.instrument(span));
        }
    }

    /// Sends what is due to readers: first through the gate, so that this instance shows nothing that it may not, then
    /// to the board.
    fn write(&mut self, now: BootTime) {
        if self.is_writing {
            return;
        }
        let Some(batch) = self.outbox.take_due(now) else { return };
        let Some(publication) = self.publication(&batch) else { return };
        self.is_writing = true;
        let (board, grant) = (self.collector.board.clone(), self.grant.clone());
        self.tasks.spawn(async move {
            let result = board.publish(&grant, publication).await;
            Done::Write { batch, result }
        });
    }

    fn publication(&mut self, batch: &Batch) -> Option<Publication> {
        self.revision = (self.revision + 1).max(self.grant.epoch);
        let snapshot = Snapshot {
            epoch: self.grant.epoch,
            token: self.grant.token.clone(),
            revision: self.revision,
            publish_time: SystemTime::now(),
            last_collection: self.last_collection,
            counts: self.counts.clone(),
        };
        if !self.collector.gate.publish(snapshot.clone()) {
            self.collector.metrics.lease.fenced();
            return None;
        }
        self.collector.view.offer(snapshot.clone());
        let forget = board::to_forget(&self.collector.view.now().state, SystemTime::now());
        let collections = batch.collections.values().cloned().collect();
        Some(Publication { snapshot: Some(snapshot), collections, forget })
    }

    fn take(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Run { query, estimate, run }) => self.run_ended(&query, estimate, run),
            Ok(Done::Write { batch, result }) => self.write_ended(batch, result),
            Ok(Done::Begin { running, result }) => self.begin_ended(running, result),
            Ok(Done::Renewal) => {}
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }

    fn run_ended(&mut self, query: &Query, estimate: Option<i64>, run: Run) {
        let now = self.now();
        let collection_id = self.plan.run_is_for(&query.name);
        let value = run.outcome.as_ref().ok().map(|reading| reading.value);
        let failure = run.outcome.as_ref().err().cloned();
        let reason = failure.as_ref().map(|failure| failure.reason).filter(|reason| query.is_failed_by(*reason));
        self.collector.metrics.query.ran(&query.name, run.duration, reason);
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

    fn ended(&mut self, collection: Collection) {
        let began = collection.start_time.unwrap_or(collection.create_time);
        let duration = collection.end_time.and_then(|end| end.duration_since(began).ok()).unwrap_or_default();
        self.collector.metrics.collector.collection_ended(&collection, duration);
        self.report.ended(&collection);
        self.spans.ended(&collection);
        self.last_collection = Some(collection.id);
        let now = self.now();
        self.outbox.collection(collection, now);
    }

    fn write_ended(&mut self, batch: Batch, result: Result<Written, board::Error>) {
        self.is_writing = false;
        let now = self.now();
        match result {
            Ok(Written::Accepted) => self.board_fails = false,
            Ok(Written::NotHolder) => {
                debug!("The board does not know this instance as the holder; renewing");
                self.renew();
                self.outbox.take_back(batch, now);
            }
            Err(error) => {
                self.board_failed(&error);
                self.outbox.take_back(batch, now);
            }
        }
    }

    fn begin_ended(&mut self, running: Collection, result: Result<Begun, board::Error>) {
        let now = self.now();
        match result {
            Ok(Begun::Accepted) => {
                self.is_beginning = false;
                self.next_request = now + self.collector.config.trigger_interval;
                self.open(running, now);
                return;
            }
            // It was joined after we saw it: the union of the queries is what runs.
            Ok(Begun::Changed(Some(pending))) => return self.spawn_begin(pending),
            Ok(Begun::Changed(None)) => {}
            Ok(Begun::NotHolder) => self.renew(),
            Err(error) => self.board_failed(&error),
        }
        self.is_beginning = false;
        self.next_request = now + RETRY_WAIT;
    }

    fn renew(&mut self) {
        let lease = self.collector.lease.clone();
        self.tasks.spawn(async move {
            lease.renew_now().await;
            Done::Renewal
        });
    }

    fn board_failed(&mut self, error: &board::Error) {
        if !std::mem::replace(&mut self.board_fails, true) {
            warn!(%error, "Cannot write to the board; counting goes on and the writes are tried again");
        }
    }

    /// Ends what runs, on the server too.
    async fn end_runs(&mut self, why: &str) {
        self.cancel_runs.cancel();
        debug!(why, runs = self.tasks.len(), "Ending the runs in progress");
        self.tasks.shutdown().await;
        let failure = Failure::new(FailureReason::Cancelled, why);
        for collection in self.plan.cancel_all(&failure) {
            self.ended(collection);
        }
    }

    /// Ends what runs and leaves the board in order, in bounded time.
    async fn stop(mut self) {
        self.end_runs("the instance that ran it was stopped").await;
        let now = self.now();
        self.outbox.write_at(now);
        let Some(batch) = self.outbox.take_due(now) else { return };
        let Some(publication) = self.publication(&batch) else { return };
        match tokio::time::timeout(LAST_WRITE, self.collector.board.publish(&self.grant, publication)).await {
            Ok(Ok(Written::Accepted)) => {}
            outcome => warn!(?outcome, "The last counts did not reach the board"),
        }
    }
}
