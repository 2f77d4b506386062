//! What is followed under one claim, as a value: when the statistics are read, which leaf is counted exactly next, and
//! which runs wait for which reading. It knows no clock and no database.
//!
//! What must stay true: a run is answered from a reading that began after it, so a requested count is read after its
//! request; at most one reading and one exact count are under way; exact counts take no more than their part of the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use crate::{
    clock::BootTime,
    counting,
    failure::{Failure, FailureReason},
    follow::{
        Bounds, Counted, Follower, LeafName, Note, Oid, Reading, Refusal, Rows, ServerTime, State, Support, Ticket,
    },
    query::{Method, Query, QueryName},
};

#[cfg(test)]
mod tests;

/// How often the statistics of leaves that move are read. Between two readings VACUUM or ANALYZE may hide what was
/// aborted, so the fewer happen in between, the nearer the bounds.
const READ_INTERVAL: Duration = Duration::from_secs(1);

/// After a reading that failed, unless a run asks for one.
const RETRY_WAIT: Duration = Duration::from_secs(5);

/// How often it is asked whether tables can be followed: while they cannot be, and while they are.
const PROBE_REFUSED: Duration = Duration::from_secs(30);
const PROBE_SUPPORTED: Duration = Duration::from_secs(300);

/// Runs wait so long for the first answer to that: a large table must not be counted for want of it.
const FIRST_PROBE: Duration = Duration::from_secs(1);

/// The duty cycle of exact counts, 5 %: so many times as long as one took nothing is counted after it.
const REST: u32 = 19;

/// How often the state is written for whoever comes next.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);

/// What is followed under one claim.
pub struct Following {
    follower: Follower,
    support: Standing,
    /// When it is asked next whether tables can be followed, when statistics are read, when a leaf may be counted, when
    /// the state is written.
    probe_at: BootTime,
    read_at: BootTime,
    count_at: BootTime,
    save_at: BootTime,
    began: BootTime,
    is_probing: bool,
    is_reading: bool,
    is_counting: bool,
    /// The last reading.
    last: Option<Taken>,
    waiting: BTreeMap<QueryName, Waiting>,
    /// Leaves that our role may not count, and what the server said; until they are counted.
    denied: BTreeMap<Oid, Failure>,
}

/// Whether tables can be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has answered yet.
    Unknown,
    /// They can.
    Supported,
    /// They cannot, and why.
    Refused(Refusal),
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask whether tables can be followed.
    Probe,
    /// Read the statistics of these tables, without those of leaves that rest.
    Read { tables: BTreeSet<String>, resting: BTreeSet<Oid> },
    /// Count this leaf, for at most so long.
    Count { oid: Oid, ticket: Ticket, name: String, limit: Duration },
}

/// A run that waits for a reading.
#[derive(Debug)]
pub struct Waiting {
    /// What it counts.
    pub query: Query,
    /// When it began.
    pub since: BootTime,
    /// The same by the wall clock.
    pub attempt_time: SystemTime,
}

/// A run that need not wait any longer.
#[derive(Debug)]
pub enum Settled {
    /// It has ended.
    Ended(Waiting, Result<counting::Reading, Failure>),
    /// The table cannot be followed: it is to be counted.
    Unfollowed(Waiting),
}

/// When a reading was taken.
struct Taken {
    begun: BootTime,
    observe_time: SystemTime,
    complete_until_time: Option<SystemTime>,
    /// A moment by the server's clock, and by ours.
    end: (ServerTime, SystemTime),
}

// === impl Following ===

impl Following {
    /// Goes on from `state`, where there is one.
    pub fn new(state: Option<State>, now: BootTime) -> Self {
        Self {
            follower: state.map(Follower::resume).unwrap_or_default(),
            support: Standing::Unknown,
            probe_at: now,
            read_at: now,
            count_at: now,
            save_at: now + SAVE_INTERVAL,
            began: now,
            is_probing: false,
            is_reading: false,
            is_counting: false,
            last: None,
            waiting: BTreeMap::new(),
            denied: BTreeMap::new(),
        }
    }

    /// Whether runs may begin: it is known whether tables can be followed, or that was waited for long enough.
    pub fn is_settled(&self, now: BootTime) -> bool {
        let is_asked = self.support != Standing::Unknown || self.probe_at > self.began;
        is_asked || now >= self.began + FIRST_PROBE
    }

    /// Whether nobody has answered yet whether tables can be followed.
    pub fn is_unknown(&self) -> bool {
        self.support == Standing::Unknown
    }

    /// Until when runs are not to begin, at the latest.
    pub fn settles_at(&self, now: BootTime) -> BootTime {
        if self.is_settled(now) { now } else { self.began + FIRST_PROBE }
    }

    /// Why a table is not followed that would be; `None` when it can be, as far as is known.
    pub fn refusal(&self, table: &str) -> Option<String> {
        match &self.support {
            Standing::Unknown => Some("it is not known yet whether tables can be followed".to_owned()),
            Standing::Refused(why) => Some(why.to_string()),
            Standing::Supported => {
                let denied = self.denial(table).map(|failure| failure.message.clone());
                self.follower.refusal(table).map(str::to_owned).or(denied)
            }
        }
    }

    /// A run of `query` begins.
    pub fn wait_for(&mut self, query: Query, now: BootTime, attempt_time: SystemTime) {
        self.waiting.insert(query.name.clone(), Waiting { query, since: now, attempt_time });
    }

    /// The next thing to do now; `tables` are those to follow, with the longest that a count of one of their leaves may
    /// take.
    pub fn next(&mut self, now: BootTime, tables: &BTreeMap<String, Duration>) -> Option<Step> {
        let is_asked = self.unserved().next().is_some();
        if !self.is_probing && (now >= self.probe_at || (self.support == Standing::Unknown && is_asked)) {
            self.is_probing = true;
            return Some(Step::Probe);
        }
        if self.support != Standing::Supported || tables.is_empty() {
            return None;
        }
        if !self.is_reading && (is_asked || now >= self.read_at) {
            self.is_reading = true;
            let wanted = self.waiting.values().filter_map(|waiting| waiting.query.table()).collect();
            let resting = self.follower.resting(&wanted);
            return Some(Step::Read { tables: tables.keys().cloned().collect(), resting });
        }
        if self.is_counting || now < self.count_at {
            return None;
        }
        let oid = self.follower.wanted_anchor()?;
        let limit = *tables.get(self.follower.table_of(oid)?)?;
        let (ticket, LeafName { name, .. }) = self.follower.begin_anchor(oid)?;
        self.is_counting = true;
        Some(Step::Count { oid, ticket, name, limit })
    }

    /// When there is something to do if nothing happens meanwhile.
    pub fn next_wake(&self, now: BootTime, follows: bool) -> Option<BootTime> {
        let probe = Some(self.probe_at).filter(|_| !self.is_probing);
        let works = follows && self.support == Standing::Supported;
        let read = Some(self.read_at).filter(|_| works && !self.is_reading);
        let count = Some(self.count_at).filter(|at| works && !self.is_counting && *at > now);
        let patience = self.waiting.values().map(Waiting::until).min();
        [probe, read, count, patience].into_iter().flatten().min()
    }

    /// Whether tables can be followed was answered, or could not be asked. Returns what is news of it.
    pub fn probed(&mut self, answer: &Result<Support, Failure>, now: BootTime) -> Option<&Standing> {
        self.is_probing = false;
        let standing = match answer {
            Ok(support) => support.refusal().map_or(Standing::Supported, Standing::Refused),
            Err(_) => self.support.clone(),
        };
        let wait = match standing {
            Standing::Supported if answer.is_ok() => PROBE_SUPPORTED,
            Standing::Unknown => RETRY_WAIT,
            _ => PROBE_REFUSED,
        };
        self.probe_at = now + wait;
        let is_news = standing != self.support;
        self.support = standing;
        is_news.then_some(&self.support)
    }

    /// A reading that began at `begun` has ended; `None`: leaves came or went meanwhile, and it is to be taken again.
    pub fn read(&mut self, begun: BootTime, reading: Option<&Reading>, now: BootTime) -> Vec<Note> {
        self.is_reading = false;
        let Some(reading) = reading else {
            self.read_at = now;
            return Vec::new();
        };
        self.read_at = begun + READ_INTERVAL;
        let notes = self.follower.take(reading);
        let follower = &self.follower;
        self.denied.retain(|oid, _| follower.table_of(*oid).is_some());
        if reading.sentinels.in_recovery {
            self.support = Standing::Refused(Refusal::Standby);
            self.probe_at = now + PROBE_REFUSED;
        }
        self.last = Some(Taken {
            begun,
            observe_time: reading.observe_time(),
            complete_until_time: reading.complete_until_time(),
            end: (reading.end, reading.local_end.asked),
        });
        notes
    }

    /// A reading failed: so have the runs that wait for it.
    pub fn read_failed(&mut self, failure: &Failure, now: BootTime) -> Vec<Settled> {
        self.is_reading = false;
        self.read_at = now + RETRY_WAIT;
        self.fail_waiting(failure)
    }

    /// An exact count ended after it had taken so long.
    pub fn counted(
        &mut self,
        oid: Oid,
        ticket: Ticket,
        outcome: Result<Counted, &Failure>,
        took: Duration,
        now: BootTime,
    ) {
        self.is_counting = false;
        self.count_at = now + took * REST;
        match outcome {
            Ok(counted) => {
                self.follower.counted(oid, ticket, counted);
                self.denied.remove(&oid);
            }
            Err(failure) => {
                // A right that is missing is noticed before anything is read.
                let is_denied = failure.reason == FailureReason::Permission;
                self.follower.abandon_anchor(oid, ticket, !is_denied);
                if is_denied {
                    self.denied.insert(oid, failure.clone());
                }
            }
        }
    }

    /// The runs that the last reading answers, and those that have waited for too long.
    pub fn settle(&mut self, now: BootTime) -> Vec<Settled> {
        let mut settled = Vec::new();
        for (name, waiting) in std::mem::take(&mut self.waiting) {
            match self.outcome(&waiting, now) {
                Some(Ok(outcome)) => settled.push(Settled::Ended(waiting, outcome)),
                Some(Err(Unfollowed)) => settled.push(Settled::Unfollowed(waiting)),
                None => _ = self.waiting.insert(name, waiting),
            }
        }
        settled
    }

    /// Ends every run that waits.
    pub fn fail_waiting(&mut self, failure: &Failure) -> Vec<Settled> {
        let waiting = std::mem::take(&mut self.waiting).into_values();
        waiting.map(|waiting| Settled::Ended(waiting, Err(failure.clone()))).collect()
    }

    /// What whoever comes next needs to go on, when it is time to write it.
    pub fn state_to_save(&mut self, now: BootTime) -> Option<State> {
        if now < self.save_at {
            return None;
        }
        self.save_at = now + SAVE_INTERVAL;
        self.state()
    }

    /// What whoever comes next needs to go on.
    pub fn state(&self) -> Option<State> {
        // Without a reading of ours the board has nothing newer to learn.
        self.last.as_ref()?;
        self.follower.state()
    }

    /// Sessions that have not been seen idle for over a minute; `None` while nothing is read.
    pub fn restless_sessions(&self) -> Option<usize> {
        self.last.as_ref().map(|_| self.follower.restless_sessions())
    }

    /// Waiting runs that began after the last reading did.
    fn unserved(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values().filter(|waiting| !self.serves(waiting))
    }

    /// What the server said to the count of a leaf of `table` that our role may not count.
    fn denial(&self, table: &str) -> Option<&Failure> {
        let is_of_it = |oid: &Oid| self.follower.table_of(*oid) == Some(table);
        self.denied.iter().find(|(oid, _)| is_of_it(oid)).map(|(_, failure)| failure)
    }

    fn serves(&self, waiting: &Waiting) -> bool {
        self.last.as_ref().is_some_and(|last| last.begun >= waiting.since)
    }

    fn outcome(
        &self,
        waiting: &Waiting,
        now: BootTime,
    ) -> Option<Result<Result<counting::Reading, Failure>, Unfollowed>> {
        let table = waiting.query.table()?;
        let refused = |why: &str, reason| match waiting.query.method {
            Method::Auto => Some(Err(Unfollowed)),
            _ => Some(Ok(Err(Failure::new(reason, why)))),
        };
        let is_late = now >= waiting.until();
        let late = |message: String| is_late.then(|| Ok(Err(Failure::new(FailureReason::Timeout, message))));
        if let Standing::Refused(why) = &self.support {
            let is_hidden = matches!(why, Refusal::Hidden(_));
            return refused(&why.to_string(), if is_hidden { FailureReason::Permission } else { FailureReason::Sql });
        }
        if let Some(denied) = self.denial(table) {
            return refused(&denied.message, FailureReason::Permission);
        }
        let last = self.last.as_ref().filter(|_| self.serves(waiting));
        let Some((rows, last)) = self.follower.rows(table).zip(last) else {
            return late("the statistics were not read in time".to_owned());
        };
        match rows {
            Rows::Missing => {
                let message = format!("relation \"{table}\" does not exist");
                Some(Ok(Err(Failure::new(FailureReason::TableMissing, message))))
            }
            Rows::Refused(why) => refused(&format!("{table} cannot be followed: {why}"), FailureReason::Sql),
            Rows::Followed { bounds, anchored_at } => Some(Ok(Ok(last.followed(bounds.published(), anchored_at)))),
            Rows::Estimated(rows) => Some(Ok(Ok(counting::Reading::estimated(rows, last.observe_time)))),
            // Whatever is not known is counted first, so it is worth the wait.
            Rows::Unknown(leaf) => late(format!("{leaf} was never analyzed, and is not counted yet")),
        }
    }
}

/// The table cannot be followed, and need not be.
struct Unfollowed;

// === impl Waiting ===

impl Waiting {
    /// When it has waited for long enough.
    fn until(&self) -> BootTime {
        self.since + self.query.timeout
    }
}

// === impl Taken ===

impl Taken {
    fn followed(&self, bounds: Bounds, anchored_at: Option<ServerTime>) -> counting::Reading {
        let (end, local_end) = self.end;
        counting::Reading {
            value: bounds.value,
            method: Method::Followed,
            lower_bound: Some(bounds.lower),
            upper_bound: Some(bounds.upper),
            observe_time: self.observe_time,
            complete_until_time: self.complete_until_time,
            anchor_time: anchored_at.and_then(|at| local_end.checked_sub(end.since(at))),
        }
    }
}
