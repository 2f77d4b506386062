//! One claim from its beginning to its end: what is counted under it, and what of that is on the board.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    board::{self, Begun, Pending, Written},
    claim::{Claim, Grant},
    clock::BootTime,
    collection::{Collection, CollectionId, CollectionState, Trigger},
    counting::Run,
    failure::{Failure, FailureReason},
    follow::{Counted, Oid, Reading, Support, Ticket},
    query::{Query, QueryName},
    snapshot::Count,
};

use super::{
    Collector,
    following::Following,
    outbox::{Batch, Outbox, RETRY_WAIT},
    plan::Plan,
    report::Report,
    spans::Spans,
};

mod follows;
mod requests;
mod runs;
mod takeover;
mod writer;
mod writes;

/// The longest sleep when nothing is due: a bound, not a poll of anything remote.
const IDLE_WAIT: Duration = Duration::from_secs(60);

/// What is counted under one grant.
pub struct Holding<'a> {
    collector: &'a Collector,
    grant: Grant,
    plan: Plan,
    following: Following,
    counts: BTreeMap<QueryName, Count>,
    /// Of the last snapshot seen or made.
    revision: i64,
    last_collection: Option<CollectionId>,
    outbox: Outbox,
    report: Report,
    spans: Spans,
    /// Runs, and at most one write and one begin. Each is bounded in time by what it calls.
    tasks: JoinSet<Done>,
    /// What the write under way carries; kept until the board has it.
    writing: Option<Batch>,
    is_beginning: bool,
    /// What to ask for before the view's: what was pending when this began; later a begin that was not answered, which
    /// the board may have carried out and whose repetition it answers alike.
    unanswered: Option<Pending>,
    /// Ends the runs in progress; made anew when they are told to end.
    cancel_runs: CancellationToken,
    /// What the next collection that nobody asked for is due to.
    next_trigger: Trigger,
    /// No requested collection begins before this.
    next_request: BootTime,
    /// Whether the board refused the last write: told once.
    board_fails: bool,
    /// Collections since anything could be counted.
    failed_in_a_row: u32,
}

/// A task that ended.
enum Done {
    Run {
        query: Query,
        estimate: Option<i64>,
        run: Run,
    },
    /// It would have been a run, but its table is so large that it is to be followed.
    Large {
        query: Query,
        rows: i64,
        attempt_time: SystemTime,
    },
    Probed(Result<Support, Failure>),
    Statistics(Statistics),
    Leaf(Leaf),
    Write(Result<Written, board::Error>),
    Begin {
        pending: Pending,
        running: Collection,
        result: Result<Begun, board::Error>,
    },
    /// The lease was told something.
    Told,
}

/// A reading of the statistics that ended; `None` when it is to be taken again.
struct Statistics {
    begun: BootTime,
    took: Duration,
    result: Result<Option<Box<Reading>>, Failure>,
}

/// An exact count of a leaf that ended.
struct Leaf {
    oid: Oid,
    ticket: Ticket,
    name: String,
    took: Duration,
    result: Result<Counted, Failure>,
}

// === impl Holding ===

impl Holding<'_> {
    fn stale_after(&self, interval: Duration) -> Duration {
        interval * self.collector.config.stale_after
    }

    /// Counts until the claim is over or `stop`.
    pub async fn run(mut self, stop: &CancellationToken) {
        let mut role = self.collector.lease.subscribe();
        let mut view = self.collector.view.subscribe();
        while let Some(claim) = self.claim() {
            self.act(&claim);
            let wait = self.next_wake(&claim).saturating_since(self.now());
            tokio::select! {
                biased;
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
    fn act(&mut self, claim: &Claim) {
        let now = self.now();
        if let Some(time_left) = claim.time_to_work(now) {
            if self.following.is_settled(now) || !self.plan.may_follow() {
                self.open_due(now);
                self.begin_pending(now);
                self.start_runs(now, time_left);
            }
            self.follow(now, time_left);
        } else {
            std::mem::take(&mut self.cancel_runs).cancel();
            self.cancel_waiting(&Failure::new(FailureReason::Cancelled, "the lease is about to end"));
        }
        self.write(now);
    }

    /// When there is something to do again if nothing happens meanwhile.
    fn next_wake(&self, claim: &Claim) -> BootTime {
        let now = self.now();
        let idle = now + IDLE_WAIT;
        let working = claim.time_to_work(now).is_some();
        let follow = self.following.next_wake(now, self.plan.may_follow()).filter(|_| working);
        let due = self.plan.next_due().filter(|_| working).map(|due| due.max(self.following.settles_at(now)));
        let soft = Some(claim.soft_deadline).filter(|_| working);
        let write = self.outbox.due().filter(|_| self.writing.is_none());
        let request = Some(self.next_request).filter(|at| *at > now);
        [follow, due, soft, write, request, Some(claim.deadline)].into_iter().flatten().fold(idle, BootTime::min)
    }

    fn open_due(&mut self, now: BootTime) {
        let (due, skipped) = self.plan.take_due(now);
        for name in skipped {
            self.collector.metrics.query.skipped(&name);
        }
        if due.is_empty() {
            return;
        }
        let at = SystemTime::now();
        let trigger = std::mem::replace(&mut self.next_trigger, Trigger::Schedule);
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

    fn take(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Run { query, estimate, run }) => self.statement_ended(&query, estimate, run),
            Ok(Done::Large { query, rows, attempt_time }) => self.found_large(query, rows, attempt_time),
            Ok(Done::Probed(answer)) => self.probed(answer),
            Ok(Done::Statistics(done)) => self.statistics_read(done),
            Ok(Done::Leaf(done)) => self.leaf_counted(done),
            Ok(Done::Write(result)) => self.write_ended(result),
            Ok(Done::Begin { pending, running, result }) => self.begin_ended(pending, running, result),
            Ok(Done::Told) => {}
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }
}
