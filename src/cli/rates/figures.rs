//! The rates of the four operations, and their sum, as an answer holds them.

use crate::{
    proto::v1::{OperationRate, SqlOperation},
    rates::units::Unit,
};

/// The four, in the order in which they are listed.
pub const OPERATIONS: [SqlOperation; 4] =
    [SqlOperation::Select, SqlOperation::Insert, SqlOperation::Update, SqlOperation::Delete];

/// The rates of the four operations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures([OperationRate; 4]);

// === impl Figures ===

impl Figures {
    /// From a list of an answer; an operation that is not in it has no rate.
    pub fn of(rates: &[OperationRate]) -> Self {
        let rate = |operation: SqlOperation| rates.iter().find(|rate| rate.operation() == operation).copied();
        Self(OPERATIONS.map(|operation| {
            rate(operation).unwrap_or(OperationRate { operation: operation.into(), ..OperationRate::default() })
        }))
    }

    /// Each operation's.
    pub fn each(&self) -> &[OperationRate; 4] {
        &self.0
    }

    /// The sum, which is of no operation.
    pub fn total(&self) -> OperationRate {
        let sum = |of: fn(&OperationRate) -> f64| self.0.iter().map(of).sum::<f64>();
        // An operation that happens and has no peak is one whose peak is not known.
        let is_peak_known = self.0.iter().all(|rate| rate.per_second == 0.0 || rate.peak_per_second > 0.0);
        OperationRate {
            operation: SqlOperation::Unspecified.into(),
            per_second: sum(|rate| rate.per_second),
            per_minute: sum(|rate| rate.per_minute),
            per_hour: sum(|rate| rate.per_hour),
            per_day: sum(|rate| rate.per_day),
            per_week: sum(|rate| rate.per_week),
            per_month: sum(|rate| rate.per_month),
            per_year: sum(|rate| rate.per_year),
            low_per_second: sum(|rate| rate.low_per_second),
            high_per_second: sum(|rate| rate.high_per_second),
            peak_per_second: if is_peak_known { sum(|rate| rate.peak_per_second) } else { 0.0 },
        }
    }

    /// Whether there is anything.
    pub fn are_any(&self) -> bool {
        self.0.iter().any(|rate| rate.high_per_second > 0.0)
    }
}

/// A rate in a unit.
pub fn per(rate: &OperationRate, unit: Unit) -> f64 {
    match unit {
        Unit::Second => rate.per_second,
        Unit::Minute => rate.per_minute,
        Unit::Hour => rate.per_hour,
        Unit::Day => rate.per_day,
        Unit::Week => rate.per_week,
        Unit::Month => rate.per_month,
        Unit::Year => rate.per_year,
    }
}

/// The peak, where it is known.
pub fn peak(rate: &OperationRate) -> Option<f64> {
    Some(rate.peak_per_second).filter(|peak| *peak > 0.0)
}

/// `SELECT`; the sum, which is of no operation, is called `Total`.
pub fn name(operation: SqlOperation) -> &'static str {
    match operation {
        SqlOperation::Unspecified => "Total",
        operation => operation.as_str_name().trim_start_matches("SQL_OPERATION_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(operation: SqlOperation, per_second: f64, peak_per_second: f64) -> OperationRate {
        let high_per_second = 2.0 * per_second;
        let operation = operation.into();
        OperationRate { operation, per_second, high_per_second, peak_per_second, ..OperationRate::default() }
    }

    #[test]
    fn operations_are_in_their_order_whatever_the_answer_has() {
        let figures = Figures::of(&[rate(SqlOperation::Delete, 1.0, 0.0), rate(SqlOperation::Select, 2.0, 0.0)]);
        let rates = figures.each().map(|rate| (name(rate.operation()), rate.per_second));
        assert_eq!(rates, [("SELECT", 2.0), ("INSERT", 0.0), ("UPDATE", 0.0), ("DELETE", 1.0)]);
        assert_eq!((name(figures.total().operation()), figures.total().per_second), ("Total", 3.0));
        assert!(figures.are_any() && !Figures::of(&[]).are_any());
    }

    #[test]
    fn the_peak_of_a_sum_is_known_when_that_of_each_part_is() {
        let known = Figures::of(&[rate(SqlOperation::Select, 2.0, 5.0), rate(SqlOperation::Insert, 0.0, 0.0)]);
        assert_eq!(peak(&known.total()), Some(5.0));
        let unknown = Figures::of(&[rate(SqlOperation::Select, 2.0, 5.0), rate(SqlOperation::Insert, 1.0, 0.0)]);
        assert_eq!(peak(&unknown.total()), None);
    }
}
