//! What was sent: the load's own count, taken where each statement is sent and each request is done.

use std::{
    collections::BTreeMap,
    ops::Sub,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    mix::Kind,
    player::Role,
    query::{Query, Verb},
};

/// A request that begins this long after it was due is late.
pub const LATE: Duration = Duration::from_millis(50);

/// Top-level statements by what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    pub select: u64,
    pub insert: u64,
    pub update: u64,
    pub delete: u64,
}

/// Everything that was sent so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Requests that are done, of each kind that is played.
    pub requests: BTreeMap<Kind, u64>,
    /// Statements, without those that begin and end transactions.
    pub statements: Operations,
    /// What the registry would count: each statement by its name, and the functions that count themselves beside them.
    pub queries: BTreeMap<&'static str, u64>,
    /// Requests that began late.
    pub late: u64,
    /// The longest that a request began after it was due.
    pub lag: Duration,
}

/// Counts for all connections. The lock is held for one addition, never across an await.
#[derive(Debug)]
pub(super) struct Tally(Mutex<Sent>);

// === impl Operations ===

impl Operations {
    /// Of one verb.
    pub fn of(&self, verb: Verb) -> u64 {
        match verb {
            Verb::Select => self.select,
            Verb::Insert => self.insert,
            Verb::Update => self.update,
            Verb::Delete => self.delete,
        }
    }

    /// Of all verbs.
    pub fn total(&self) -> u64 {
        self.select + self.insert + self.update + self.delete
    }

    pub(super) fn add(&mut self, verb: Verb) {
        match verb {
            Verb::Select => self.select += 1,
            Verb::Insert => self.insert += 1,
            Verb::Update => self.update += 1,
            Verb::Delete => self.delete += 1,
        }
    }
}

impl From<[u64; 4]> for Operations {
    /// In the order of `Verb::ALL`.
    fn from([select, insert, update, delete]: [u64; 4]) -> Self {
        Self { select, insert, update, delete }
    }
}

impl Sub for Operations {
    type Output = Self;

    /// What came between two counts, the earlier one on the right.
    fn sub(self, earlier: Self) -> Self {
        Self::from(Verb::ALL.map(|verb| self.of(verb) - earlier.of(verb)))
    }
}

// === impl Sent ===

impl Sent {
    /// Requests of all kinds.
    pub fn total_requests(&self) -> u64 {
        self.requests.values().sum()
    }
}

// === impl Tally ===

impl Tally {
    /// Nothing was sent for these roles yet.
    pub(super) fn new(roles: &[Role]) -> Self {
        let requests = roles.iter().map(|role| (role.kind, 0)).collect();
        let names = roles.iter().flat_map(|role| &role.script).filter_map(|step| step.name());
        let queries = names.map(|name| (name, 0)).collect();
        Self(Mutex::new(Sent { requests, queries, ..Sent::default() }))
    }

    /// A request begins this long after it was due.
    pub(super) fn began(&self, lag: Duration) {
        let mut sent = self.lock();
        sent.lag = sent.lag.max(lag);
        sent.late += u64::from(lag > LATE);
    }

    /// A statement is sent.
    pub(super) fn statement(&self, query: &Query) {
        let mut sent = self.lock();
        sent.statements.add(query.verb);
        *sent.queries.entry(query.name).or_default() += 1;
    }

    /// A function counts itself.
    pub(super) fn wrapper(&self, name: &'static str) {
        *self.lock().queries.entry(name).or_default() += 1;
    }

    /// A request is done.
    pub(super) fn done(&self, kind: Kind) {
        *self.lock().requests.entry(kind).or_default() += 1;
    }

    pub(super) fn sent(&self) -> Sent {
        self.lock().clone()
    }

    /// Every addition leaves the counts whole, so a panic elsewhere takes nothing from them.
    fn lock(&self) -> MutexGuard<'_, Sent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
