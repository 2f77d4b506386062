//! The four SQL operations, and one value for each.

use std::ops::{Index, IndexMut};

/// An SQL operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// SELECT.
    Select,
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
}

/// One value for each operation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PerOperation<T>([T; 4]);

// === impl Operation ===

impl Operation {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Select, Self::Insert, Self::Update, Self::Delete];

    /// As in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

// === impl PerOperation ===

impl<T> PerOperation<T> {
    /// The value that `of` gives for each operation.
    pub fn from_fn(of: impl FnMut(Operation) -> T) -> Self {
        Self(Operation::ALL.map(of))
    }

    /// Each operation with its value.
    pub fn iter(&self) -> impl Iterator<Item = (Operation, &T)> {
        Operation::ALL.into_iter().zip(&self.0)
    }
}

impl<T> Index<Operation> for PerOperation<T> {
    type Output = T;

    fn index(&self, operation: Operation) -> &T {
        &self.0[operation as usize]
    }
}

impl<T> IndexMut<Operation> for PerOperation<T> {
    fn index_mut(&mut self, operation: Operation) -> &mut T {
        &mut self.0[operation as usize]
    }
}
