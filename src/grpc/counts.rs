//! GetRowCounts, WatchRowCounts and ListQueries: answered from this instance's copy of the board, without a round trip
//! to anything.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tonic::Status;

use crate::{
    board::view::{Seen, View},
    collection::Collection,
    proto::v1,
    query::{Query, QueryName},
    snapshot::Count,
};

use super::{convert, kept::Kept, status, streams::Source};

/// Answers what is about counts.
#[derive(Clone)]
pub struct Counts {
    /// This instance's copy of the board.
    pub view: Arc<View>,
    /// What is configured here.
    pub queries: Arc<[Query]>,
    kept: Arc<Kept>,
}

/// The state of one WatchRowCounts.
pub struct Watch {
    counts: Counts,
    /// What the caller asked for; empty: everything.
    only: BTreeSet<QueryName>,
    sent: BTreeMap<QueryName, Sent>,
    revision: i64,
    /// When the first of what was sent becomes stale; `None`: never.
    fresh_until: Option<SystemTime>,
    /// The caller has this revision and needs no full message while it is the newest.
    resumes_from: Option<i64>,
    is_first: bool,
}

/// What the caller has of a query.
struct Sent {
    count: Count,
    stale: bool,
}

/// The clock that staleness is told by is looked at this much after the moment, which it must have passed by then.
const STALE_SLACK: Duration = Duration::from_millis(1);

// === impl Counts ===

impl Counts {
    /// Answers from `view` for `queries`.
    pub fn new(view: Arc<View>, queries: Arc<[Query]>) -> Self {
        Self { view, queries, kept: Arc::default() }
    }

    /// GetRowCounts.
    pub fn get(&self, request: &v1::GetRowCountsRequest) -> Result<v1::GetRowCountsResponse, Status> {
        let max_age = convert::optional_span("max_age", request.max_age)?;
        let seen = self.view.now();
        let only = self.names(&request.query_names, &seen)?;
        let now = SystemTime::now();
        if only.is_empty() && max_age.is_none() {
            return Ok(self.all(&seen, now));
        }
        let read_time = self.view.read_time().map(Into::into);
        let counts = self.select(&seen, &only);
        if let Some(max_age) = max_age {
            let is_old = |count: &Count| count.age(now).map_or(!count.is_table_missing(), |age| age > max_age);
            let old: Vec<_> = counts.iter().filter(|(_, count)| is_old(count)).map(|(name, _)| name.as_str()).collect();
            if !old.is_empty() {
                return Err(status::data_too_old(&old, max_age));
            }
        }
        Ok(v1::GetRowCountsResponse { read_time, ..response(&seen, &counts, now) })
    }

    /// GetRowCounts of everything in `seen`, as of `now`.
    pub fn all(&self, seen: &Arc<Seen>, now: SystemTime) -> v1::GetRowCountsResponse {
        let make = || response(seen, &self.select(seen, &BTreeSet::new()), now);
        let read_time = self.view.read_time().map(Into::into);
        v1::GetRowCountsResponse { read_time, ..self.kept.response(seen, now, make) }
    }

    /// The state of a new WatchRowCounts.
    pub fn watch(&self, request: &v1::WatchRowCountsRequest) -> Result<Watch, Status> {
        if request.start_revision < 0 {
            return Err(status::invalid_field("start_revision", "must not be negative"));
        }
        let only = self.names(&request.query_names, &self.view.now())?;
        let resumes_from = Some(request.start_revision).filter(|revision| *revision > 0);
        let (counts, sent) = (self.clone(), BTreeMap::new());
        Ok(Watch { counts, only, sent, revision: 0, fresh_until: None, resumes_from, is_first: true })
    }

    /// ListQueries.
    pub fn list(&self) -> v1::ListQueriesResponse {
        let seen = self.view.now();
        let count = |name: &QueryName| seen.state.snapshot.as_ref().and_then(|snapshot| snapshot.counts.get(name));
        let queries = self.queries.iter().map(|query| convert::query(query, count(&query.name))).collect();
        v1::ListQueriesResponse { queries }
    }

    /// The names, each known here or on the board.
    pub fn names(&self, names: &[String], seen: &Seen) -> Result<BTreeSet<QueryName>, Status> {
        let is_known = |name: &QueryName| {
            self.queries.iter().any(|query| query.name == *name)
                || seen.state.snapshot.as_ref().is_some_and(|snapshot| snapshot.counts.contains_key(name))
        };
        let mut known = BTreeSet::new();
        let mut unknown = Vec::new();
        for text in names {
            match text.parse::<QueryName>() {
                Ok(name) if is_known(&name) => _ = known.insert(name),
                _ => unknown.push(text.clone()),
            }
        }
        if unknown.is_empty() { Ok(known) } else { Err(status::unknown_queries(&unknown)) }
    }

    /// Every count that is configured here or on the board, or only those asked for.
    fn select<'a>(&'a self, seen: &'a Seen, only: &BTreeSet<QueryName>) -> BTreeMap<&'a QueryName, Cow<'a, Count>> {
        let is_wanted = |name: &QueryName| only.is_empty() || only.contains(name);
        let shown = seen.state.snapshot.iter().flat_map(|snapshot| &snapshot.counts);
        let shown = shown.filter(|(name, _)| is_wanted(name));
        let mut counts: BTreeMap<_, _> = shown.map(|(name, count)| (name, Cow::Borrowed(count))).collect();
        for query in self.queries.iter().filter(|query| is_wanted(&query.name)) {
            // The limit of staleness does not matter while there is no value.
            let unknown = || Cow::Owned(Count::never_run(query.method, query.interval, query.interval));
            counts.entry(&query.name).or_insert_with(unknown);
        }
        counts
    }
}

// === impl Watch ===

impl Source for Watch {
    type State = Arc<Seen>;
    type Message = v1::WatchRowCountsResponse;

    fn message(&mut self, seen: &Arc<Seen>) -> Option<v1::WatchRowCountsResponse> {
        let is_first = std::mem::take(&mut self.is_first);
        let (newest, now) = (seen.revision(), SystemTime::now());
        // Most changes of the board are of something else.
        if !is_first && newest == self.revision && self.fresh_until.is_none_or(|until| now <= until) {
            return None;
        }
        let Self { counts, only, sent, .. } = self;
        let counts = counts.select(seen, only);
        // Whoever resumes from the newest revision has it all, but may not know what became stale meanwhile. From a
        // higher one, it comes from a board that is gone.
        let has_all = is_first && self.resumes_from == Some(newest);
        let removed: Vec<_> = sent.extract_if(.., |name, _| !counts.contains_key(name)).collect();
        let removed_query_names: Vec<_> = removed.iter().map(|(name, _)| name.to_string()).collect();
        let mut row_counts = Vec::new();
        for (name, count) in counts {
            let stale = count.is_stale(now);
            if sent.get(name).is_some_and(|sent| sent.stale == stale && sent.count == *count) {
                continue;
            }
            if stale || !has_all {
                row_counts.push(convert::row_count(name, &count, now));
            }
            sent.insert(name.clone(), Sent { count: count.into_owned(), stale });
        }
        self.fresh_until = sent.values().filter(|sent| !sent.stale).filter_map(|sent| sent.count.fresh_until()).min();
        self.revision = newest;
        let is_empty = row_counts.is_empty() && removed_query_names.is_empty();
        (!is_empty).then_some(v1::WatchRowCountsResponse { row_counts, revision: newest, removed_query_names })
    }

    fn due(&self) -> Option<Instant> {
        let left = self.fresh_until?.duration_since(SystemTime::now()).unwrap_or_default();
        Instant::now().checked_add(left + STALE_SLACK)
    }

    fn heartbeat(&self) -> Option<v1::WatchRowCountsResponse> {
        let (row_counts, removed_query_names) = (Vec::new(), Vec::new());
        Some(v1::WatchRowCountsResponse { row_counts, revision: self.revision, removed_query_names })
    }
}

/// The last collection that has ended: the snapshot's, or the newest known while the news of that is under way.
fn last_collection(seen: &Seen) -> Option<&Collection> {
    let collections = &seen.state.collections;
    let last = seen.state.snapshot.as_ref().and_then(|snapshot| collections.get(&snapshot.last_collection?));
    let is_done = |one: &&Collection| one.state.is_done();
    last.filter(is_done).or_else(|| collections.values().rev().find(is_done))
}

/// Without a `read_time`, which changes more often than the board.
fn response(seen: &Seen, counts: &BTreeMap<&QueryName, Cow<'_, Count>>, now: SystemTime) -> v1::GetRowCountsResponse {
    v1::GetRowCountsResponse {
        row_counts: counts.iter().map(|(name, count)| convert::row_count(name, count, now)).collect(),
        last_collection: last_collection(seen).map(convert::collection),
        revision: seen.revision(),
        read_time: None,
    }
}
