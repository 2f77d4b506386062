//! Rows of large tables without counting them: an exact count of each leaf, carried on by the server's cumulative
//! statistics. Plain arithmetic over readings; it knows no database and no clock but the server's.
//!
//! What is promised, leaf by leaf, with F = the transactions whose counters have been flushed: every commit up to
//! `Activity::complete_until` is in F, none after the end of the reading is, and count(F) lies within the bounds. F need
//! not be a state that the table ever had: the insert of one session may still be pending while the delete of another
//! is in. So bounds may be negative; they are cut at zero only when they are published.
//!
//! Every condition below stands for a way in which the counters were seen to mislead. What voids a leaf is listed in
//! `step`, and nothing else does.

pub use activity::{Activity, FLUSHED_AFTER, Session, SessionId, SessionKind, SessionState};
pub use anchor::{Counted, Ticket};
pub use bounds::Bounds;
pub use follower::{Follower, Note, Rows, SavedLeaf, State};
pub use reading::{Counters, LocalTimes, Reading, Sample, Sentinels};
pub use step::Void;
pub use support::{Refusal, Support};
pub use time::ServerTime;
pub use tree::{LeafName, Oid, Tree, Trees};

mod activity;
mod anchor;
mod bounds;
mod follower;
mod leaf;
mod reading;
mod restless;
mod step;
mod support;
mod time;
mod tree;

#[cfg(test)]
mod simulation;
