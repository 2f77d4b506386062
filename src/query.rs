//! What is counted: names, methods and queries as plain values. A `QueryName` is always a valid label value.

use std::{borrow::Borrow, fmt, str::FromStr, time::Duration};

use crate::failure::FailureReason;

/// Name of a query: the `query_name` label, `[a-z][a-z0-9_]*`, at most 63 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryName(String);

/// Why a text is no query name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a query name: want a lower-case letter, then lower-case letters, digits and _, at most 63 in all"
)]
pub struct InvalidQueryName(String);

/// How a count is obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Counted: exact at its snapshot.
    Exact,
    /// Counted up to a cap; at the cap only a lower bound.
    ExactCapped,
    /// An exact count followed by the statistics counters, with bounds.
    Followed,
    /// The planner's or the statistics' estimate; no bounds.
    Estimated,
    /// Chosen by the table's size; of a query only, never of a count.
    Auto,
}

/// Where the rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// All rows of one table, its partitions included.
    Table(String),
    /// The integer that a statement returns.
    Statement {
        /// One statement that returns one row of one integer.
        sql: String,
        /// The table it counts, when it is one of the catalogue's; `None` for SQL of the user's.
        table: Option<String>,
    },
}

/// A configured query, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Unique in the configuration.
    pub name: QueryName,
    /// What is counted, for people.
    pub description: String,
    /// Where the rows are.
    pub source: Source,
    /// How it is configured to be counted; of a statement always `Exact`.
    pub method: Method,
    /// No more rows than this are counted; there exactly with `Method::ExactCapped`.
    pub cap: Option<i64>,
    /// How often the schedule counts it; a large table less often (see `collector::pace`).
    pub interval: Duration,
    /// How long one run may take on the database.
    pub timeout: Duration,
    /// From the catalogue: a missing table is then no failure, only reported.
    pub builtin: bool,
}

// === impl QueryName ===

impl QueryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for QueryName {
    type Err = InvalidQueryName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = text.len() <= 63
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidQueryName(text.to_owned())) }
    }
}

impl fmt::Display for QueryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for QueryName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

// === impl Method ===

impl Method {
    /// Every method, in the order of the API.
    pub const ALL: [Self; 5] = [Self::Exact, Self::ExactCapped, Self::Followed, Self::Estimated, Self::Auto];

    /// The name in labels and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::ExactCapped => "exact_capped",
            Self::Followed => "followed",
            Self::Estimated => "estimated",
            Self::Auto => "auto",
        }
    }
}

// === impl Query ===

impl Query {
    /// The table that is counted; `None` for SQL of the user's.
    pub fn table(&self) -> Option<&str> {
        match &self.source {
            Source::Table(table) => Some(table),
            Source::Statement { table, .. } => table.as_deref(),
        }
    }

    /// Whether a run that ended for `reason` failed: a built-in whose table this schema lacks did not.
    pub fn is_failed_by(&self, reason: FailureReason) -> bool {
        !(self.builtin && reason == FailureReason::TableMissing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_name_is_a_label_value() {
        for good in ["tags", "gc_blob_review_queue", "a1"] {
            assert_eq!(good.parse::<QueryName>().unwrap().as_str(), good);
        }
        for bad in ["", "Tags", "1tags", "_tags", "ta gs", "tags-old", "é", &"a".repeat(64)] {
            assert!(bad.parse::<QueryName>().is_err(), "{bad:?}");
        }
    }
}
