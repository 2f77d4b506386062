//! The leaves of the followed tables as last looked up. Whether they are still the same is asked at the end of each
//! reading; which they are, and what each of them is called, takes longer to ask and hardly changes.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::follow::{Oid, Trees};

/// Names, estimates and kinds are asked again after so long: before an exact count that began meanwhile is worth
/// anything, so that no leaf is followed whose access method has become another.
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

    /// Whether something of it may have changed that its fingerprint does not show.
    pub fn is_old(&self) -> bool {
        self.at.elapsed() >= LASTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_of_the_same_tables_and_not_for_long() {
        let tables = BTreeSet::from(["tags".to_owned()]);
        let mut list = LeafList::new(tables.clone(), [7].into(), "a".to_owned(), Trees::new());
        assert!(list.is_of(&tables) && !list.is_of(&["blobs".to_owned()].into()));
        assert!(!list.is_old());
        list.at = list.at.checked_sub(LASTS).unwrap();
        assert!(list.is_old());
    }
}
