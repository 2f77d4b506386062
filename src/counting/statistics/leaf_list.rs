//! The leaves of the followed tables as last looked up. Whether they are still the same is asked twice in each reading;
//! which they are, and what each of them is called, takes longer to ask and hardly changes.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::follow::{Oid, Trees};

/// Names, estimates and kinds are asked again after so long: before an exact count that began meanwhile is worth anything, so
/// that no leaf is followed whose access method has become another.
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
}

// === impl LeafList ===

impl LeafList {
    /// Looked up now.
    pub fn new(tables: BTreeSet<String>, parents: BTreeSet<Oid>, fingerprint: String, trees: Trees) -> Self {
        Self { tables, parents, fingerprint, trees, at: Instant::now() }
    }

    /// Whether it is of these tables.
    pub fn is_of(&self, tables: &BTreeSet<String>) -> bool {
        self.tables == *tables
    }

    /// Whether it is still right, by the same fingerprint taken now, and nothing of it is too old.
    pub fn holds(&self, parents: &BTreeSet<Oid>, fingerprint: &str) -> bool {
        self.parents == *parents && self.fingerprint == fingerprint && self.at.elapsed() < LASTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_as_long_as_the_fingerprint_is_the_same_and_not_for_long() {
        let tables = BTreeSet::from(["tags".to_owned()]);
        let parents = BTreeSet::from([7]);
        let mut list = LeafList::new(tables.clone(), parents.clone(), "a".to_owned(), Trees::new());
        assert!(list.is_of(&tables) && !list.is_of(&["blobs".to_owned()].into()));
        assert!(list.holds(&parents, "a"));
        assert!(!list.holds(&parents, "b"), "a leaf came");
        assert!(!list.holds(&[8].into(), "a"), "it says nothing of these");
        list.at = list.at.checked_sub(LASTS).unwrap();
        assert!(!list.holds(&parents, "a"), "a name may have changed");
    }
}
