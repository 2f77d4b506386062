//! The leaves of a table: the relations that hold its rows.

use std::collections::BTreeMap;

/// A relation's object id.
pub type Oid = u32;

/// The tables that a reading was asked for, by their names as configured.
pub type Trees = BTreeMap<String, Tree>;

/// What a table consists of.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// There is no such table.
    Missing,
    /// It cannot be followed, and why.
    Refused(String),
    /// The relations that hold its rows: itself, its partitions, what inherits from it.
    Leaves(BTreeMap<Oid, LeafName>),
}

/// A leaf as the catalog has it.
#[derive(Clone, Debug, PartialEq)]
pub struct LeafName {
    /// Schema and name, quoted.
    pub name: String,
    /// Rows by the last VACUUM or ANALYZE; `None` when there was none yet. Promises nothing.
    pub estimate: Option<i64>,
}

// === impl Tree ===

impl Tree {
    /// Its leaves; none when there are none to follow.
    pub fn leaves(&self) -> impl Iterator<Item = (Oid, &LeafName)> {
        let leaves = match self {
            Self::Leaves(leaves) => Some(leaves),
            Self::Missing | Self::Refused(_) => None,
        };
        leaves.into_iter().flatten().map(|(oid, name)| (*oid, name))
    }
}
