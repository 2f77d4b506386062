//! One reading of the server's statistics, as it was taken: sessions, then counters, then what tells of resets, then
//! filenodes; each in a transaction of its own, all of it between two looks at the list of leaves.

use std::{collections::BTreeMap, time::SystemTime};

use super::{Activity, Oid, ServerTime, Trees};

/// One reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The sessions, read first.
    pub activity: Activity,
    /// Each leaf's counters, read in one statement.
    pub counters: BTreeMap<Oid, Counters>,
    /// Read after the counters.
    pub sentinels: Sentinels,
    /// After the counters were read: they hold no commit that is later.
    pub end: ServerTime,
    /// `end` by the clock of this machine.
    pub local_end: LocalTimes,
    /// Each leaf's filenode, read in a statement after that of the counters; `None`: the relation is gone.
    pub filenodes: BTreeMap<Oid, Option<u32>>,
    /// The tables and their leaves, the same before and after all of the above.
    pub trees: Trees,
}

/// A moment of the server's lies between these two of this machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTimes {
    /// When the server was asked.
    pub asked: SystemTime,
    /// When it had answered.
    pub answered: SystemTime,
}

/// A leaf's cumulative statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Rows inserted, aborted ones too.
    pub inserted: i64,
    /// Rows updated, aborted ones too.
    pub updated: i64,
    /// Rows deleted, aborted ones too.
    pub deleted: i64,
    /// Live rows: without aborted ones, overwritten by VACUUM and ANALYZE, never below zero.
    pub live: i64,
    /// Rows changed by commits since ANALYZE of the whole table.
    pub modified: i64,
    /// How often it was vacuumed, by whomever.
    pub vacuums: i64,
    /// How often it was analyzed, by whomever.
    pub analyzes: i64,
}

/// What stands still as long as no counter was lost or reset unseen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentinels {
    /// When a counter of the database was last reset.
    pub database_reset: Option<ServerTime>,
    /// When the background writer's were; a crash resets them too.
    pub writer_reset: Option<ServerTime>,
    /// When the server started.
    pub server_start: ServerTime,
    /// Which cluster it is.
    pub system: i64,
    /// Whether it is a standby, whose counters count nothing.
    pub in_recovery: bool,
}

/// What one reading tells of one leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its counters.
    pub counters: Counters,
    /// Its filenode after that; `None`: it is gone.
    pub filenode: Option<u32>,
}

// === impl Reading ===

impl Reading {
    /// What it tells of each leaf.
    pub fn samples(&self) -> impl Iterator<Item = (Oid, Sample)> {
        self.counters.iter().map(|(oid, counters)| {
            let filenode = self.filenodes.get(oid).copied().flatten();
            (*oid, Sample { counters: *counters, filenode })
        })
    }

    /// No commit after this is in the counters, by the clock of this machine.
    pub fn observe_time(&self) -> SystemTime {
        self.local_end.answered
    }

    /// Every commit before this is in the counters, by the clock of this machine.
    pub fn complete_until_time(&self) -> Option<SystemTime> {
        self.activity.complete_until().map(|at| self.local(at))
    }

    /// A moment before its end by the clock of this machine: that or a little earlier.
    pub fn local(&self, at: ServerTime) -> SystemTime {
        self.local_end.asked.checked_sub(self.end.since(at)).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}
