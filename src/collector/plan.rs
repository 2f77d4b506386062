//! What to run next, as a pure value: which query is due, which collection waits for which run, when a collection is
//! done. It knows no clock and no database.
//!
//! What must stay true: a query has at most one run at a time; a run serves exactly the collections that wanted it
//! before it began, so a requested count is always read after its request; a tick that finds its query wanted or
//! running is skipped, never queued.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use crate::{
    clock::BootTime,
    collection::{Collection, CollectionId, CollectionState, Trigger},
    failure::{Failure, FailureReason},
    query::{Method, Query, QueryName},
};

use super::pace;

mod follows;

#[cfg(test)]
mod tests;

/// The queries and the open collections of one holder.
pub struct Plan {
    entries: BTreeMap<QueryName, Entry>,
    open: BTreeMap<CollectionId, Open>,
    /// Runs that may go on side by side: the ceiling on database connections.
    slots: usize,
}

/// One query.
struct Entry {
    query: Query,
    /// Rows of its table, counted or estimated.
    rows: Option<i64>,
    /// Its table is to be followed, and whether it cannot be.
    wants_following: bool,
    refused: bool,
    /// When the schedule wants it next.
    due: BootTime,
    /// Collections that want a run that begins from now on.
    wanted_by: BTreeSet<CollectionId>,
    /// Collections that the run in progress is for; `None` when none is.
    running_for: Option<BTreeSet<CollectionId>>,
    /// The run in progress has a statement of its own, and so a connection.
    has_slot: bool,
    /// How long its last run took: short ones go first.
    last_duration: Duration,
    /// Its last run did not end in time, so it never gets the last slot.
    suspect: bool,
}

/// A run that begins.
#[derive(Debug)]
pub struct Start {
    /// What is counted.
    pub query: Query,
    /// Rows of its table, where they are known.
    pub rows: Option<i64>,
    /// It waits for the follower, and for no connection.
    pub follows: bool,
    /// It would, were its table found to be large.
    pub may_follow: bool,
}

/// A collection that is not done.
struct Open {
    collection: Collection,
    outstanding: BTreeSet<QueryName>,
    /// Why the last of its runs that failed did; a run that was cancelled outweighs one that failed by itself.
    failure: Option<Failure>,
}

// === impl Plan ===

impl Plan {
    /// A plan in which every query is due at once.
    pub fn new(queries: &[Query], slots: usize, now: BootTime) -> Self {
        let entry = |query: &Query| Entry {
            query: query.clone(),
            rows: None,
            wants_following: pace::wants_following(query, None, false),
            refused: true,
            due: now,
            wanted_by: BTreeSet::new(),
            running_for: None,
            has_slot: false,
            last_duration: Duration::ZERO,
            suspect: false,
        };
        let entries = queries.iter().map(|query| (query.name.clone(), entry(query))).collect();
        Self { entries, open: BTreeMap::new(), slots: slots.max(1) }
    }

    /// Carries over that `name` had `rows` when they were told `age` ago by `method`: a large table is not counted
    /// again because of a new holder.
    pub fn carry_over(&mut self, name: &QueryName, rows: i64, method: Method, age: Duration, now: BootTime) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.rows = Some(rows);
            let was = matches!(method, Method::Followed | Method::Estimated);
            entry.wants_following = pace::wants_following(&entry.query, Some(rows), was);
            if pace::is_large(&entry.query, rows) && !entry.follows() {
                entry.due = now + entry.interval().saturating_sub(age);
            }
        }
    }

    /// Takes the queries that are due and moves each on to its next time; returns those to count now and those whose
    /// tick is skipped because they are still wanted or running.
    pub fn take_due(&mut self, now: BootTime) -> (BTreeSet<QueryName>, Vec<QueryName>) {
        let (mut take, mut skip) = (BTreeSet::new(), Vec::new());
        for (name, entry) in &mut self.entries {
            if entry.due > now {
                continue;
            }
            entry.advance(now);
            if entry.running_for.is_some() || !entry.wanted_by.is_empty() {
                skip.push(name.clone());
            } else {
                take.insert(name.clone());
            }
        }
        (take, skip)
    }

    /// When the schedule wants the next query.
    pub fn next_due(&self) -> Option<BootTime> {
        self.entries.values().map(|entry| entry.due).min()
    }

    /// Opens a collection: each of its queries gets a run that begins from now on. Names that are not configured here
    /// fail at once. Returns the collection when nothing is left to run.
    pub fn open(&mut self, mut collection: Collection) -> Option<Collection> {
        let mut outstanding = BTreeSet::new();
        for name in &collection.query_names {
            if let Some(entry) = self.entries.get_mut(name) {
                entry.wanted_by.insert(collection.id);
                outstanding.insert(name.clone());
            } else {
                collection.failed_query_names.insert(name.clone());
            }
        }
        let open = Open { collection, outstanding, failure: None };
        if open.outstanding.is_empty() {
            return Some(open.ended());
        }
        self.open.insert(open.collection.id, open);
        None
    }

    /// Whether a requested collection is open: the next one waits for its end.
    pub fn has_requested(&self) -> bool {
        self.open.values().any(|open| open.collection.trigger == Trigger::Request)
    }

    /// The next query to run, marked as running; `None` when nothing is wanted or no slot is left for what needs one.
    /// Requested ones go before scheduled ones, short before long. A suspect leaves the last slot to the others, so that
    /// one slow or locked table never holds them up.
    pub fn start_next(&mut self) -> Option<Start> {
        let running = self.entries.values().filter(|entry| entry.running_for.is_some() && entry.has_slot).count();
        let has_slot = running < self.slots;
        let last_slot = self.slots > 1 && running + 1 == self.slots;
        let suspects_run = self.entries.values().any(|entry| entry.suspect && entry.running_for.is_some());
        let open = &self.open;
        let is_requested =
            |entry: &Entry| entry.wanted_by.iter().any(|id| open[id].collection.trigger == Trigger::Request);
        let next = self
            .entries
            .values()
            .filter(|entry| !entry.wanted_by.is_empty() && entry.running_for.is_none())
            .filter(|entry| entry.follows() || (has_slot && !(entry.suspect && last_slot && suspects_run)))
            .min_by_key(|entry| (!entry.follows(), !is_requested(entry), entry.suspect, entry.last_duration))?
            .query
            .name
            .clone();
        let entry = self.entries.get_mut(&next)?;
        entry.running_for = Some(std::mem::take(&mut entry.wanted_by));
        let follows = entry.follows();
        entry.has_slot = !follows;
        let may_follow = entry.query.method == Method::Auto && !entry.refused;
        Some(Start { query: entry.query.clone(), rows: entry.rows, follows, may_follow })
    }

    /// The collection that the run in progress of `name` is for: a requested one before a scheduled one.
    pub fn run_is_for(&self, name: &QueryName) -> Option<CollectionId> {
        let ids = self.entries.get(name)?.running_for.as_ref()?;
        let is_scheduled =
            |id: &CollectionId| self.open.get(id).map(|open| open.collection.trigger != Trigger::Request);
        ids.iter().min_by_key(|id| is_scheduled(id)).copied()
    }

    /// The run of `name` has ended; returns the collections that are done with it.
    pub fn finish(
        &mut self,
        name: &QueryName,
        rows: Option<i64>,
        duration: Duration,
        failure: Option<&Failure>,
    ) -> Vec<Collection> {
        let Some(entry) = self.entries.get_mut(name) else { return Vec::new() };
        let slow = |failure: &Failure| matches!(failure.reason, FailureReason::Timeout | FailureReason::Locked);
        entry.suspect = entry.has_slot && failure.is_some_and(slow);
        entry.last_duration = duration;
        entry.learn_rows(rows);
        let failed = failure.filter(|failure| entry.query.is_failed_by(failure.reason));

        let mut done = Vec::new();
        for id in entry.running_for.take().unwrap_or_default() {
            let Some(open) = self.open.get_mut(&id) else { continue };
            open.outstanding.remove(name);
            if let Some(failure) = failed {
                open.collection.failed_query_names.insert(name.clone());
                open.failed(failure);
            }
            if open.outstanding.is_empty() {
                done.extend(self.open.remove(&id).map(Open::ended));
            }
        }
        done
    }

    /// The interval at which the schedule counts `name` now.
    pub fn interval(&self, name: &QueryName) -> Option<Duration> {
        self.entries.get(name).map(Entry::interval)
    }

    /// Ends every open collection as cancelled.
    pub fn cancel_all(&mut self, failure: &Failure) -> Vec<Collection> {
        let cancelled = |open: Open| Collection {
            state: CollectionState::Cancelled,
            end_time: Some(SystemTime::now()),
            failure: Some(failure.clone()),
            ..open.collection
        };
        std::mem::take(&mut self.open).into_values().map(cancelled).collect()
    }
}

// === impl Entry ===

impl Entry {
    /// Whether a run that begins now waits for the follower. One that must be followed does even where it cannot be, to
    /// hear why.
    fn follows(&self) -> bool {
        self.wants_following && (!self.refused || self.query.method == Method::Followed)
    }

    fn interval(&self) -> Duration {
        if self.follows() { self.query.interval } else { pace::interval(&self.query, self.rows) }
    }

    /// The next time on this query's own grid: ticks that were missed are gone, not made up for.
    fn advance(&mut self, now: BootTime) {
        let interval = self.interval();
        let next = self.due + interval;
        self.due = if next > now { next } else { now + interval };
    }

    /// A table found to be large is put off from the tick that found it, unless it is followed; one found to be small
    /// comes back to its own interval.
    fn learn_rows(&mut self, rows: Option<i64>) {
        let Some(rows) = rows else { return };
        let before = self.interval();
        self.rows = Some(rows);
        self.wants_following = pace::wants_following(&self.query, Some(rows), self.wants_following);
        self.reschedule(before);
    }

    /// The interval was `before` until now.
    fn reschedule(&mut self, before: Duration) {
        self.due = self.due - before + self.interval();
    }
}

// === impl Open ===

impl Open {
    fn ended(self) -> Collection {
        let Collection { query_names, failed_query_names, .. } = &self.collection;
        let is_cancelled = self.failure.as_ref().is_some_and(is_cancelled);
        let state = if failed_query_names.is_empty() {
            CollectionState::Succeeded
        } else if is_cancelled {
            CollectionState::Cancelled
        } else if failed_query_names.len() < query_names.len() {
            CollectionState::PartiallySucceeded
        } else {
            CollectionState::Failed
        };
        // Of a part that failed, each count tells its own error.
        let failure = self.failure.filter(|_| state != CollectionState::PartiallySucceeded);
        Collection { state, end_time: Some(SystemTime::now()), failure, ..self.collection }
    }

    fn failed(&mut self, failure: &Failure) {
        if !self.failure.as_ref().is_some_and(is_cancelled) {
            self.failure = Some(failure.clone());
        }
    }
}

fn is_cancelled(failure: &Failure) -> bool {
    failure.reason == FailureReason::Cancelled
}
