//! The estimate: what a registry's request load asks of its database. Request rates by handler and method, times the
//! SQL operations that one request of each kind costs.
//!
//! What must stay true: traffic without a known cost is listed, never dropped; what the labels do not tell is a range
//! and a stated assumption, never a hidden one; statements inside triggers and foreign-key checks are never mixed with
//! those that a registry sends.

pub mod ceiling;
pub mod costs;
pub mod csv;
pub mod estimate;
pub mod expression;
pub mod handler;
pub mod model;
pub mod operation;
pub mod parameters;
pub mod request;
pub mod units;
pub mod validation;

/// What somebody gave that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The field, by its path in the request.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

// === impl Invalid ===

impl Invalid {
    /// A problem with `field`.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// The same, of a field within `outer`.
    pub fn within(self, outer: &str) -> Self {
        Self { field: format!("{outer}.{}", self.field), ..self }
    }
}

/// More than anybody means: products of a few such numbers are still numbers.
const LARGEST: f64 = 1e15;

/// `number`, when it can be a rate, a count or a share.
pub fn non_negative(field: &str, number: f64) -> Result<f64, Invalid> {
    if !number.is_finite() || number < 0.0 {
        return Err(Invalid::new(field, format!("{number} is not a number of 0 or more")));
    }
    if number > LARGEST {
        return Err(Invalid::new(field, format!("{number} is more than {LARGEST:e}")));
    }
    Ok(number)
}
