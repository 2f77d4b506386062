//! A collection: the set of runs that one tick, trigger or new leadership asked for.

use std::{collections::BTreeSet, fmt, str::FromStr, time::SystemTime};

use uuid::Uuid;

use crate::{failure::Failure, query::QueryName};

/// UUIDv7: orders by creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionId(Uuid);

/// Where a collection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CollectionState {
    /// Accepted, not begun.
    Pending,
    /// Running.
    Running,
    /// Every query succeeded, or had no table to count.
    Succeeded,
    /// Some queries failed.
    PartiallySucceeded,
    /// Every query failed.
    Failed,
    /// Ended by a lost lease or a shutdown.
    Cancelled,
}

/// What started a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// The interval.
    Schedule,
    /// A call of TriggerCollection.
    Request,
    /// A lease just won.
    Leadership,
}

/// One run over a set of queries.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    /// Unique in the fleet.
    pub id: CollectionId,
    /// Where it is in its life.
    pub state: CollectionState,
    /// What started it.
    pub trigger: Trigger,
    /// When it was accepted.
    pub create_time: SystemTime,
    /// When its first query began.
    pub start_time: Option<SystemTime>,
    /// When it ended.
    pub end_time: Option<SystemTime>,
    /// The queries in it.
    pub query_names: BTreeSet<QueryName>,
    /// The queries that failed so far; a missing table of a built-in is no failure.
    pub failed_query_names: BTreeSet<QueryName>,
    /// Instance that ran it; empty until it began.
    pub instance_id: String,
    /// The lease's epoch under which it ran; zero until it began.
    pub epoch: i64,
    /// Why it was cancelled or failed as a whole.
    pub failure: Option<Failure>,
}

// === impl CollectionId ===

impl CollectionId {
    /// A new id, later than every one made before in this process.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl FromStr for CollectionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for CollectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl CollectionState ===

impl CollectionState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Succeeded, Self::PartiallySucceeded, Self::Failed, Self::Cancelled];

    /// The name in labels and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::PartiallySucceeded => "partially_succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more happens to it.
    pub fn is_done(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

// === impl Trigger ===

impl Trigger {
    /// Every trigger.
    pub const ALL: [Self; 3] = [Self::Schedule, Self::Request, Self::Leadership];

    /// The name in labels and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Request => "request",
            Self::Leadership => "leadership",
        }
    }
}

// === impl Collection ===

impl Collection {
    /// A collection as it is when it has just been accepted.
    pub fn pending(id: CollectionId, query_names: BTreeSet<QueryName>) -> Self {
        Self {
            id,
            state: CollectionState::Pending,
            trigger: Trigger::Request,
            create_time: SystemTime::now(),
            start_time: None,
            end_time: None,
            query_names,
            failed_query_names: BTreeSet::new(),
            instance_id: String::new(),
            epoch: 0,
            failure: None,
        }
    }
}
