//! What the collector tells in the log. The lines of the registry's own collector keep their words and fields; since
//! its users complain about six of them every ten seconds, each is debug after the first success, and a collection is
//! told at info only when its outcome differs from the one before or something failed.

use std::{collections::BTreeSet, time::Duration};

use tracing::{Level, debug, error, info, trace, warn};

use crate::{
    collection::{Collection, CollectionState},
    failure::{Failure, FailureReason},
    query::{Query, QueryName},
};

/// Remembers what was told last.
pub struct Report {
    collected_level: Level,
    succeeded: BTreeSet<QueryName>,
    failing: BTreeSet<QueryName>,
    failing_leaves: BTreeSet<String>,
    /// Whose changes are not counted.
    untracked: Option<String>,
    last_outcome: Option<(CollectionState, BTreeSet<QueryName>)>,
}

// === impl Report ===

impl Report {
    /// A report that has told nothing yet.
    pub fn new(collected_level: Level) -> Self {
        Self {
            collected_level,
            succeeded: BTreeSet::new(),
            failing: BTreeSet::new(),
            failing_leaves: BTreeSet::new(),
            untracked: None,
            last_outcome: None,
        }
    }

    /// A query succeeded.
    pub fn collected(&mut self, name: &QueryName, count: i64) {
        let first = self.succeeded.insert(name.clone()) | self.failing.remove(name);
        let level = if first { self.collected_level.min(Level::INFO) } else { self.collected_level };
        macro_rules! line {
            ($log:ident) => {
                $log!(query_name = name.as_str(), count, "database row count metric collected")
            };
        }
        match level {
            Level::ERROR => line!(error),
            Level::WARN => line!(warn),
            Level::INFO => line!(info),
            Level::DEBUG => line!(debug),
            Level::TRACE => line!(trace),
        }
    }

    /// A query failed: told when it begins to fail, and at debug while it goes on.
    pub fn failed(&mut self, query: &Query, failure: &Failure) {
        let Failure { reason, message } = failure;
        let (query_name, reason_name) = (query.name.as_str(), reason.as_str());
        let first = self.failing.insert(query.name.clone());
        match reason {
            FailureReason::Cancelled => debug!(query_name, reason = reason_name, error = message, "Count ended"),
            reason if first && !query.is_failed_by(*reason) => {
                info!(query_name, reason = reason_name, error = message, "No such table in this schema version");
            }
            _ if first => warn!(query_name, reason = reason_name, error = message, "Count failed"),
            _ => debug!(query_name, reason = reason_name, error = message, "Count failed again"),
        }
    }

    /// A leaf was counted exactly.
    pub fn leaf_counted(&mut self, leaf: &str, rows: i64, took: Duration) {
        self.failing_leaves.remove(leaf);
        debug!(leaf, rows, duration_s = took.as_secs_f64(), "Leaf counted");
    }

    /// A leaf could not be counted exactly: told when it begins, and at debug while it goes on.
    pub fn leaf_failed(&mut self, leaf: &str, failure: &Failure) {
        let Failure { reason, message } = failure;
        let first = *reason != FailureReason::Cancelled && self.failing_leaves.insert(leaf.to_owned());
        let reason = reason.as_str();
        if first {
            warn!(leaf, reason, error = message, "Leaf not counted, its table is estimated meanwhile");
        } else {
            debug!(leaf, reason, error = message, "Leaf not counted");
        }
    }

    /// Changes by `who` are not in the statistics.
    pub fn untracked(&mut self, who: Option<String>) {
        if let Some(who) = who.as_ref().filter(|who| self.untracked.as_ref() != Some(who)) {
            warn!(who, "track_counts is switched off for some: rows that they change are not followed");
        }
        self.untracked = who;
    }

    /// A collection ended.
    pub fn ended(&mut self, collection: &Collection) {
        let Collection { state, trigger, query_names, failed_query_names, .. } = collection;
        let outcome = (*state, failed_query_names.clone());
        let changed = self.last_outcome.replace(outcome).as_ref() != self.last_outcome.as_ref();
        let names = |names: &BTreeSet<QueryName>| names.iter().map(QueryName::as_str).collect::<Vec<_>>().join(",");
        let (id, state, trigger) = (collection.id.to_string(), state.as_str(), trigger.as_str());
        let (queries, failed) = (query_names.len(), names(failed_query_names));
        if changed || !failed_query_names.is_empty() {
            info!(collection_id = id, state, trigger, queries, failed, "Collection ended");
        } else {
            debug!(collection_id = id, state, trigger, queries, failed, "Collection ended");
        }
    }
}
