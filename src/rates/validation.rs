//! The estimate against what ran: rates of both, side by side, and their ratio. What was observed is what the registry
//! asked of its database for requests: statements of ours and of the registry's background are told apart, never mixed in.

use std::time::{Duration, SystemTime};

use super::{
    costs::Range,
    estimate::Estimate,
    operation::{Operation, PerOperation},
};

pub mod purpose;
pub mod sql;
pub mod statements;
pub mod tables;
pub mod verb;

/// Where what ran is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// pg_stat_statements: statements by verb.
    Statements,
    /// The registry's own counter in Prometheus: statements, no verb.
    RegistryQueries,
    /// Table statistics: rows, not statements.
    TableStatistics,
}

/// What ran within a span.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Where it was read.
    pub source: Source,
    /// How long it was counted; shorter than asked for when the statistics were reset meanwhile.
    pub span: Duration,
    /// When the counting ended.
    pub end_time: SystemTime,
    /// How much ran, a second.
    pub rates: Rates,
    /// When the statistics were reset, when that fell within the span.
    pub reset_time: Option<SystemTime>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// How much ran, a second.
#[derive(Clone, Debug, PartialEq)]
pub enum Rates {
    /// By operation.
    ByOperation(PerOperation<f64>),
    /// The source tells no operations apart.
    Total(f64),
}

/// An estimate against an observation, a second.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// `None`: all of them.
    pub operation: Option<Operation>,
    /// What was estimated.
    pub estimated: Range,
    /// What was observed.
    pub observed: f64,
    /// Observed by estimated; `None` when nothing was estimated.
    pub ratio: Option<f64>,
}

/// The statistics were reset so shortly before the second reading that nothing can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the statistics were reset {} before the end, which leaves too little to compare", humantime::format_duration(*.0))]
pub struct TooShort(pub Duration);

/// Rates of less would say nothing.
const SHORTEST_SPAN: Duration = Duration::from_millis(500);

// === impl Source ===

impl Source {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Statements => "pg_stat_statements",
            Self::RegistryQueries => "the registry's query counter in Prometheus",
            Self::TableStatistics => "table statistics",
        }
    }
}

// === impl Comparison ===

impl Comparison {
    fn new(operation: Option<Operation>, estimated: Range, observed: f64) -> Self {
        let ratio = (estimated.expected > 0.0).then(|| observed / estimated.expected);
        Self { operation, estimated, observed, ratio }
    }
}

/// One comparison an operation, or one of all where the source tells no operations apart.
pub fn compare(estimate: &Estimate, observed: &Rates) -> Vec<Comparison> {
    match observed {
        Rates::Total(total) => vec![Comparison::new(None, Estimate::total(&estimate.totals).range, *total)],
        Rates::ByOperation(rates) => {
            let of = |(operation, rate): (Operation, &f64)| {
                Comparison::new(Some(operation), estimate.totals[operation].range, *rate)
            };
            rates.iter().map(of).collect()
        }
    }
}

/// What the reader of the comparison should know of its estimate, besides the estimate's own warnings.
pub fn warnings(estimate: &Estimate, growth: f64, source: Source) -> Vec<String> {
    let mut warnings = Vec::new();
    if estimate.unmapped_share > 0.0 {
        let (requests, share) = (sum(&estimate.unmapped), estimate.unmapped_share * 100.0);
        let told = told(requests);
        warnings.push(format!("{told} requests a second ({share:.1} %) have no cost: nothing is estimated for them"));
    }
    if growth != 1.0 {
        warnings.push(format!("the estimate is of {growth} times the requests, and what ran is of those there were"));
    }
    let nested = Estimate::total(&estimate.nested_totals).range.expected;
    if source == Source::TableStatistics && nested > 0.0 {
        let told = told(nested);
        warnings.push(format!(
            "by the estimate, triggers and foreign keys run {told} more statements a second; their rows are in what is \
             observed and they are not in what is estimated"
        ));
    }
    warnings
}

/// What is left of a span of `measured` from a reset on; both times are by the server's clock.
fn left(reset_time: SystemTime, now: SystemTime, measured: Duration) -> Result<Duration, TooShort> {
    let left = now.duration_since(reset_time).unwrap_or_default().min(measured);
    if left < SHORTEST_SPAN { Err(TooShort(left)) } else { Ok(left) }
}

/// A rate for people.
pub fn told(per_second: f64) -> String {
    let digits = match per_second {
        rate if rate >= 10.0 => 1,
        rate if rate >= 0.1 => 2,
        0.0 => 0,
        _ => 4,
    };
    format!("{per_second:.digits$}")
}

fn sum(rates: &[super::request::RequestRate]) -> f64 {
    rates.iter().map(|rate| rate.per_second).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::{
        ceiling::Outlook, costs::Costs, estimate::Growth, model::ModelName, parameters::Parameters,
        request::RequestRate,
    };

    fn estimate(rates: &[(&str, &str, f64)]) -> Estimate {
        let rate = |(handler, method, per_second): &(&str, &str, f64)| RequestRate {
            handler: (*handler).to_owned(),
            method: (*method).to_owned(),
            code: "200".to_owned(),
            per_second: *per_second,
            peak_per_second: None,
        };
        let rates: Vec<_> = rates.iter().map(rate).collect();
        let costs = Costs::new(ModelName::Registry432.model(), &Parameters::default(), &[]).unwrap();
        Estimate::new(&rates, &costs, Growth::new(1.0).unwrap(), &Outlook::default(), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn each_operation_has_its_ratio_unless_nothing_was_estimated() {
        let mut ran = PerOperation::default();
        ran[Operation::Select] = 30.0;
        ran[Operation::Delete] = 1.0;
        let compared = compare(&estimate(&[("manifest", "GET", 10.0)]), &Rates::ByOperation(ran));
        let ratios: Vec<_> = compared.iter().map(|one| (one.operation.unwrap(), one.observed, one.ratio)).collect();
        let want = [
            (Operation::Select, 30.0, Some(1.5)),
            (Operation::Insert, 0.0, None),
            (Operation::Update, 0.0, None),
            (Operation::Delete, 1.0, None),
        ];
        assert_eq!(ratios, want);
        assert_eq!(compared[0].estimated, Range { low: 20.0, expected: 20.0, high: 20.0 });
    }

    #[test]
    fn a_total_is_compared_with_the_sum_of_the_operations() {
        let compared = compare(&estimate(&[("manifest", "GET", 10.0), ("tags", "GET", 1.0)]), &Rates::Total(46.0));
        assert_eq!(compared.len(), 1);
        assert_eq!((compared[0].operation, compared[0].ratio), (None, Some(2.0)));
    }

    #[test]
    fn traffic_without_a_cost_and_growth_are_told() {
        let told = warnings(&estimate(&[("manifest", "GET", 3.0), ("import", "GET", 1.0)]), 2.0, Source::Statements);
        assert_eq!(told[0], "1.00 requests a second (25.0 %) have no cost: nothing is estimated for them");
        assert!(told[1].contains("2 times the requests"), "{told:?}");
        assert_eq!(warnings(&estimate(&[("manifest", "GET", 3.0)]), 1.0, Source::Statements), Vec::<String>::new());
    }
}
