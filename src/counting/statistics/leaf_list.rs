//! The leaves of the followed tables as last looked up. Whether they are still the same is asked at the end of each
//! reading; which they are, and what each of them is called, takes longer to ask and hardly changes.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::follow::{Oid, Trees};

/// A list is used for less time than changes take to be told at the latest (`FLUSHED_AFTER`): a leaf that went and came
/// back between two looks did so later than what a reading is complete until, and one whose access method has become
/// another is found out before an exact count that began meanwhile is worth anything.
const LASTS: Duration = Duration::from_secs(10);

/// What was looked up.
pub struct LeafList {
    tables: BTreeSet<String>,
    /// The relations among them and what they consist of that may have children.
    pub parents: BTreeSet<Oid>,
    /// Of the tables and of the children of `parents`, when this was looked up.
    pub fingerprint: String,
    /// The tables and their leaves.
    pub trees: Trees,
    at: Instant,
    is_outdated: AtomicBool,
}

// === impl LeafList ===

impl LeafList {
    /// Looked up since `at`.
    pub fn new(
        tables: BTreeSet<String>,
        parents: BTreeSet<Oid>,
        fingerprint: String,
        trees: Trees,
        at: Instant,
    ) -> Self {
        Self { tables, parents, fingerprint, trees, at, is_outdated: AtomicBool::new(false) }
    }

    /// Leaves came or went.
    pub fn outdate(&self) {
        self.is_outdated.store(true, Ordering::Relaxed);
    }

    /// Whether it is of these tables.
    pub fn is_of(&self, tables: &BTreeSet<String>) -> bool {
        self.tables == *tables
    }

    /// Whether it is to be looked up anew.
    pub fn is_old(&self) -> bool {
        self.is_outdated.load(Ordering::Relaxed) || self.at.elapsed() >= LASTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::FLUSHED_AFTER;

    #[test]
    fn it_is_of_the_same_tables_and_not_for_long() {
        let tables = BTreeSet::from(["tags".to_owned()]);
        let list = |at| LeafList::new(tables.clone(), [7].into(), "a".to_owned(), Trees::new(), at);
        let new = list(Instant::now());
        assert!(new.is_of(&tables) && !new.is_of(&["blobs".to_owned()].into()));
        assert!(!new.is_old());
        new.outdate();
        assert!(new.is_old(), "leaves came or went");
        assert!(list(Instant::now().checked_sub(LASTS).unwrap()).is_old());
        assert!(LASTS < FLUSHED_AFTER);
    }
}
