//! What a registry does for one request, step by step. A script is written by hand for each kind of request: it is the
//! truth that an estimate is judged by, so it is never made from a table of costs.

use super::query::Query;
#[cfg(test)]
use super::sent::Operations;

/// The steps of one request, in their order.
pub type Script = Vec<Step>;

/// One step.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Opens a transaction.
    Begin,
    /// Ends it.
    Commit,
    /// A function of the registry that counts itself beside the statements in it: a name, no statement.
    Wrapper(&'static str),
    /// One statement.
    Send {
        query: &'static Query,
        /// Which layer or child it is about, of requests with several.
        nth: usize,
        /// How many rows it finds or changes. Anything else is a fault of the load: it would play another kind of
        /// request than it says.
        rows: Rows,
    },
}

/// The rows that a statement finds or changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// At least one.
    Some,
    None,
    /// It depends on what came before.
    Any,
}

/// How large manifests are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Layers of an image.
    pub layers: usize,
    /// Children of an index.
    pub children: usize,
}

// === impl Step ===

impl Step {
    /// A statement that finds or changes something.
    pub fn found(query: &'static Query) -> Self {
        Self::Send { query, nth: 0, rows: Rows::Some }
    }

    /// A statement that finds nothing.
    pub fn absent(query: &'static Query) -> Self {
        Self::Send { query, nth: 0, rows: Rows::None }
    }

    /// A statement that finds something or nothing.
    pub fn sent(query: &'static Query) -> Self {
        Self::Send { query, nth: 0, rows: Rows::Any }
    }

    /// The same about the layer or child of this number.
    pub fn nth(self, nth: usize) -> Self {
        match self {
            Self::Send { query, rows, .. } => Self::Send { query, nth, rows },
            other => other,
        }
    }

    /// Under which the registry counts it.
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Begin | Self::Commit => None,
            Self::Wrapper(name) => Some(name),
            Self::Send { query, .. } => Some(query.name),
        }
    }
}

/// The statements of a script.
#[cfg(test)]
pub fn operations(script: &[Step]) -> Operations {
    let mut operations = Operations::default();
    for step in script {
        if let Step::Send { query, .. } = step {
            operations.add(query.verb);
        }
    }
    operations
}
