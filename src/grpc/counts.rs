//! GetRowCounts, WatchRowCounts and ListQueries: answered from this instance's copy of the board, without a round trip
//! to anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use tonic::Status;

use crate::{
    board::view::{Seen, View},
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
    sent: BTreeMap<QueryName, Count>,
    revision: i64,
    /// The caller has this revision and needs no full message while it is the newest.
    resumes_from: Option<i64>,
    is_first: bool,
}

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
        let read_time = self.view.read_time().map(Into::into);
        if only.is_empty() && max_age.is_none() {
            let response = self.kept.response(&seen, now, || response(&seen, &self.select(&seen, &only), now));
            return Ok(v1::GetRowCountsResponse { read_time, ..response });
        }
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

    /// The state of a new WatchRowCounts.
    pub fn watch(&self, request: &v1::WatchRowCountsRequest) -> Result<Watch, Status> {
        if request.start_revision < 0 {
            return Err(status::invalid_field("start_revision", "must not be negative"));
        }
        let only = self.names(&request.query_names, &self.view.now())?;
        let resumes_from = Some(request.start_revision).filter(|revision| *revision > 0);
        let sent = BTreeMap::new();
        Ok(Watch { counts: self.clone(), only, sent, revision: 0, resumes_from, is_first: true })
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
    fn select(&self, seen: &Seen, only: &BTreeSet<QueryName>) -> BTreeMap<QueryName, Count> {
        let mut counts = seen.state.snapshot.as_ref().map_or_else(BTreeMap::new, |snapshot| snapshot.counts.clone());
        for query in self.queries.iter() {
            // The limit of staleness does not matter while there is no value.
            let unknown = || Count::never_run(query.method, query.interval, query.interval);
            counts.entry(query.name.clone()).or_insert_with(unknown);
        }
        if !only.is_empty() {
            counts.retain(|name, _| only.contains(name));
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
        let newest = revision(seen);
        let counts = self.counts.select(seen, &self.only);
        // Whoever resumes from the newest revision has it all. From a higher one, it comes from a board that is gone.
        let has_all = is_first && self.resumes_from == Some(newest);
        let changed = |(name, count): &(&QueryName, &Count)| !has_all && self.sent.get(*name) != Some(*count);
        let now = SystemTime::now();
        let row_counts: Vec<_> =
            counts.iter().filter(changed).map(|(name, count)| convert::row_count(name, count, now)).collect();
        let removed_query_names: Vec<_> =
            self.sent.keys().filter(|name| !counts.contains_key(*name)).map(ToString::to_string).collect();
        self.sent = counts;
        self.revision = newest;
        let is_empty = row_counts.is_empty() && removed_query_names.is_empty();
        (!is_empty).then_some(v1::WatchRowCountsResponse { row_counts, revision: newest, removed_query_names })
    }

    fn heartbeat(&self) -> Option<v1::WatchRowCountsResponse> {
        let (row_counts, removed_query_names) = (Vec::new(), Vec::new());
        Some(v1::WatchRowCountsResponse { row_counts, revision: self.revision, removed_query_names })
    }
}

/// Without a `read_time`, which changes more often than the board.
fn response(seen: &Seen, counts: &BTreeMap<QueryName, Count>, now: SystemTime) -> v1::GetRowCountsResponse {
    let last = seen.state.snapshot.as_ref().and_then(|snapshot| snapshot.last_collection);
    v1::GetRowCountsResponse {
        row_counts: counts.iter().map(|(name, count)| convert::row_count(name, count, now)).collect(),
        last_collection: last.and_then(|id| seen.collection(id)).map(|done| convert::collection(&done)),
        revision: revision(seen),
        read_time: None,
    }
}

fn revision(seen: &Seen) -> i64 {
    seen.state.snapshot.as_ref().map_or(0, |snapshot| snapshot.revision)
}
