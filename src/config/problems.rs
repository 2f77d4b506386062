//! What is wrong with the settings: everything at once, each with its path and where it was given. No problem shows a
//! secret.

use std::fmt;

use super::origin::Origin;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key; of a file that cannot be read, the flag that names it.
    pub path: String,
    /// What is wrong, and what to do.
    pub message: String,
    /// Where it was given; `None` when the message says so, or when nothing was given.
    pub origin: Option<Origin>,
}

/// Everything that is wrong; never empty.
#[derive(Debug, thiserror::Error)]
#[error("wrong configuration:\n{}", .0.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n"))]
pub struct Problems(pub Vec<Problem>);

// === impl Problem ===

impl Problem {
    /// A problem with what was given at `origin`.
    pub fn at(path: impl Into<String>, message: impl Into<String>, origin: Origin) -> Self {
        Self { path: path.into(), message: message.into(), origin: Some(origin) }
    }

    /// A problem with more than one setting, or with none at all.
    pub fn of(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), origin: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        match &self.origin {
            Some(origin) => write!(f, " ({origin})"),
            None => Ok(()),
        }
    }
}
