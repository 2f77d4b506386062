//! Counts as plain values. A count without a value never succeeded; a failure beside a value means that the value is
//! older than the last attempt.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::{
    collection::CollectionId,
    failure::{Failure, FailureReason},
    query::{Method, QueryName},
};

/// The count of one query with its age, exactness and last error.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// Rows at `observe_time`; `None` when the query never succeeded.
    pub value: Option<i64>,
    /// How `value` was obtained; how it will be when there is none.
    pub method: Method,
    /// At least this many rows; `None` when nothing is promised.
    pub lower_bound: Option<i64>,
    /// At most this many rows; `None` when nothing is promised.
    pub upper_bound: Option<i64>,
    /// No commit after this is counted in. `None` exactly when `value` is.
    pub observe_time: Option<SystemTime>,
    /// Every commit before this is counted in, where that is known.
    pub complete_until_time: Option<SystemTime>,
    /// Of a followed value: when the part that was counted exactly the longest ago was.
    pub anchor_time: Option<SystemTime>,
    /// When the query last ran, successful or not.
    pub attempt_time: Option<SystemTime>,
    /// How long the last run took.
    pub query_duration: Option<Duration>,
    /// Why the last run failed; `None` when it succeeded or never ran.
    pub failure: Option<Failure>,
    /// The collection that produced `value`.
    pub collection_id: Option<CollectionId>,
    /// The lease's epoch under which `value` was published.
    pub epoch: i64,
    /// How often the holder counts it now.
    pub interval: Duration,
    /// From this age on the value is stale.
    pub stale_after: Duration,
}

/// All counts as of one publication. Orders by (epoch, revision); readers never go back.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Epoch of the claim that published it.
    pub epoch: i64,
    /// Token of the claim that published it.
    pub token: String,
    /// max(last seen + 1, epoch): grows even over a loss of the board's data.
    pub revision: i64,
    /// When it was published.
    pub publish_time: SystemTime,
    /// The last finished collection.
    pub last_collection: Option<CollectionId>,
    /// One entry a query.
    pub counts: BTreeMap<QueryName, Count>,
}

// === impl Count ===

impl Count {
    /// A query that never ran.
    pub fn never_run(method: Method, interval: Duration, stale_after: Duration) -> Self {
        Self {
            value: None,
            method,
            lower_bound: None,
            upper_bound: None,
            observe_time: None,
            complete_until_time: None,
            anchor_time: None,
            attempt_time: None,
            query_duration: None,
            failure: None,
            collection_id: None,
            epoch: 0,
            interval,
            stale_after,
        }
    }

    /// Age of the value; zero when the clock says that it is of the future.
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        self.observe_time.map(|at| now.duration_since(at).unwrap_or_default())
    }

    /// Whether the value is too old to be shown as current; false when there is none.
    pub fn is_stale(&self, now: SystemTime) -> bool {
        self.age(now).is_some_and(|age| age > self.stale_after)
    }

    /// Until when the value is not stale; `None` when there is none.
    pub fn fresh_until(&self) -> Option<SystemTime> {
        self.observe_time?.checked_add(self.stale_after)
    }

    /// Whether the schema lacks the table: there is nothing to count, and that is no failure.
    pub fn is_table_missing(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.reason == FailureReason::TableMissing)
    }
}
