//! The leaves of the followed tables as last looked up. Which relations they consist of is asked twice in each reading;
//! what each of them is called, and its estimate, takes longer to ask and hardly changes.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::follow::{Oid, Trees};

/// The relations of tables, each with the place of its table in their list.
pub type Members = BTreeSet<(i32, Oid)>;

/// Names and estimates are asked again after so long.
const LASTS: Duration = Duration::from_secs(10);

/// What was looked up.
pub struct LeafList {
    tables: BTreeSet<String>,
    members: Members,
    trees: Trees,
    at: Instant,
}

// === impl LeafList ===

impl LeafList {
    /// Looked up now.
    pub fn new(tables: BTreeSet<String>, members: Members, trees: Trees) -> Self {
        Self { tables, members, trees, at: Instant::now() }
    }

    /// The leaves of `tables`, when these still consist of `members` and nothing of it is too old.
    pub fn trees(&self, tables: &BTreeSet<String>, members: &Members) -> Option<&Trees> {
        let holds = self.tables == *tables && self.members == *members && self.at.elapsed() < LASTS;
        holds.then_some(&self.trees)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::Tree;

    #[test]
    fn it_holds_for_the_same_tables_of_the_same_relations_and_not_for_long() {
        let tables = BTreeSet::from(["tags".to_owned()]);
        let members = Members::from([(0, 7)]);
        let trees = Trees::from([("tags".to_owned(), Tree::Missing)]);
        let mut list = LeafList::new(tables.clone(), members.clone(), trees.clone());
        assert_eq!(list.trees(&tables, &members), Some(&trees));
        assert_eq!(list.trees(&tables, &[(0, 7), (0, 8)].into()), None, "a leaf came");
        assert_eq!(list.trees(&["blobs".to_owned()].into(), &members), None, "of another table");
        list.at = list.at.checked_sub(LASTS).unwrap();
        assert_eq!(list.trees(&tables, &members), None, "a name may have changed");
    }
}
