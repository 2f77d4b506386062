//! Why a run of a query failed: a closed set of reasons, and a message that never holds a secret or SQL text of the user's.

use std::fmt;

/// Why a run failed: label values of `rowcount_query_failures_total`, and reasons of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureReason {
    /// Not done in its time.
    Timeout,
    /// Another transaction holds a lock that excludes reading.
    Locked,
    /// The role may not read it.
    Permission,
    /// The server refused the statement.
    Sql,
    /// NULL, no row, several rows, not an integer, overflow.
    WrongResult,
    /// The database is out of reach or closed the connection.
    Connection,
    /// Ended by us: lost lease or shutdown.
    Cancelled,
    /// A built-in on a schema that lacks its table: reported, no failure.
    TableMissing,
}

/// A failure as every reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub reason: FailureReason,
    /// What happened, for people.
    pub message: String,
}

// === impl FailureReason ===

impl FailureReason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Timeout,
        Self::Locked,
        Self::Permission,
        Self::Sql,
        Self::WrongResult,
        Self::Connection,
        Self::Cancelled,
        Self::TableMissing,
    ];

    /// The name in labels and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Locked => "locked",
            Self::Permission => "permission",
            Self::Sql => "sql",
            Self::WrongResult => "wrong_result",
            Self::Connection => "connection",
            Self::Cancelled => "cancelled",
            Self::TableMissing => "table_missing",
        }
    }
}

// === impl Failure ===

impl Failure {
    /// A failure with its message.
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.message)
    }
}
