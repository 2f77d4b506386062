//! Request rates times costs: the rates of SQL operations, by handler and method and in total.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::AddAssign,
    time::SystemTime,
};

use super::{
    Invalid,
    ceiling::Outlook,
    costs::{Costs, Range},
    handler::Pair,
    operation::{Operation, PerOperation},
    request::RequestRate,
};

/// The rate of an SQL operation, a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Between the cheapest and the dearest kinds of requests.
    pub range: Range,
    /// In the busiest five minutes of each handler and method, which need not be the same five minutes: at most this
    /// much. `None` when a part of it is not known.
    pub peak: Option<f64>,
}

/// The estimate of one handler and method.
#[derive(Clone, Debug, PartialEq)]
pub struct PairEstimate {
    /// Its requests after growth; with a code when all of them have the same.
    pub request: RequestRate,
    /// Its top-level statements.
    pub operations: PerOperation<Rate>,
}

/// The whole estimate.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// One a handler and method, in the order of the rates.
    pub pairs: Vec<PairEstimate>,
    /// Sums of the top-level statements.
    pub totals: PerOperation<Rate>,
    /// Sums of the statements inside triggers and foreign-key checks.
    pub nested_totals: PerOperation<Rate>,
    /// What has traffic and no cost; not in the sums.
    pub unmapped: Vec<RequestRate>,
    /// The part of the requests that is unmapped.
    pub unmapped_share: f64,
    /// Totals so many months ahead.
    pub projections: Vec<(u32, PerOperation<Rate>)>,
    /// When the expected total meets the ceiling.
    pub ceiling_time: Option<SystemTime>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// What every request rate is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth(f64);

// === impl Growth ===

impl Default for Growth {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Growth {
    /// Zero means 1.
    pub fn new(factor: f64) -> Result<Self, Invalid> {
        let factor = super::non_negative("growth_factor", factor)?;
        Ok(Self(if factor == 0.0 { 1.0 } else { factor }))
    }

    /// The factor.
    pub fn factor(self) -> f64 {
        self.0
    }
}

// === impl Rate ===

impl Rate {
    /// No operations.
    const NONE: Self = Self { range: Range { low: 0.0, expected: 0.0, high: 0.0 }, peak: Some(0.0) };

    fn times(self, factor: f64) -> Self {
        Self { range: self.range.times(factor), peak: self.peak.map(|peak| peak * factor) }
    }
}

impl AddAssign for Rate {
    fn add_assign(&mut self, other: Self) {
        self.range.low += other.range.low;
        self.range.expected += other.range.expected;
        self.range.high += other.range.high;
        self.peak = self.peak.zip(other.peak).map(|(one, other)| one + other);
    }
}

// === impl Estimate ===

impl Estimate {
    /// The estimate for `rates`, each of which is finite and not negative.
    pub fn new(rates: &[RequestRate], costs: &Costs, growth: Growth, outlook: &Outlook, now: SystemTime) -> Self {
        let mut estimate = Self {
            pairs: Vec::new(),
            totals: PerOperation::from_fn(|_| Rate::NONE),
            nested_totals: PerOperation::from_fn(|_| Rate::NONE),
            unmapped: Vec::new(),
            unmapped_share: 0.0,
            projections: Vec::new(),
            ceiling_time: None,
            warnings: Vec::new(),
        };
        // Each pair's place in `pairs`.
        let mut places: HashMap<Pair, usize> = HashMap::new();
        let mut unmapped = 0.0;
        let mut without_code = Vec::new();
        for rate in rates {
            let rate = grown(rate, growth);
            let pair = Pair::new(&rate.handler, &rate.method);
            let Some(cost) = costs.find(&pair, &rate.code) else {
                unmapped += rate.per_second;
                estimate.unmapped.push(rate);
                continue;
            };
            if cost.is_of_several_codes {
                without_code.push(format!("{} {}", rate.method, rate.handler));
            }
            let operations = PerOperation::from_fn(|operation| of(&rate, cost.operations[operation]));
            for operation in Operation::ALL {
                estimate.totals[operation] += operations[operation];
                estimate.nested_totals[operation] += of(&rate, cost.nested[operation]);
            }
            match places.entry(pair) {
                Entry::Vacant(place) => {
                    place.insert(estimate.pairs.len());
                    estimate.pairs.push(PairEstimate { request: rate, operations });
                }
                Entry::Occupied(place) => estimate.pairs[*place.get()].add(rate, operations),
            }
        }
        let mapped: f64 = estimate.pairs.iter().map(|pair| pair.request.per_second).sum();
        if unmapped > 0.0 {
            estimate.unmapped_share = unmapped / (mapped + unmapped);
        }
        if !without_code.is_empty() {
            let listed = without_code.join(", ");
            estimate
                .warnings
                .push(format!("no code is given for {listed}: codes of success are taken by assumed weights"));
        }
        estimate.look_ahead(outlook, now);
        estimate
    }

    /// Sum of all operations.
    pub fn total(operations: &PerOperation<Rate>) -> Rate {
        let mut total = Rate::NONE;
        for (_, rate) in operations.iter() {
            total += *rate;
        }
        total
    }

    fn look_ahead(&mut self, outlook: &Outlook, now: SystemTime) {
        let totals = self.totals;
        let ahead = |months: &u32| {
            let factor = outlook.factor(*months);
            (*months, PerOperation::from_fn(|operation| totals[operation].times(factor)))
        };
        self.projections = outlook.horizon_months().iter().map(ahead).collect();
        let total = Self::total(&totals);
        self.ceiling_time = outlook.ceiling_time(total.range.expected, now);
        if let (Some(ceiling), Some(peak)) = (outlook.ceiling_per_second(), total.peak)
            && peak >= ceiling
            && total.range.expected < ceiling
        {
            let told = format!("the mean is below the ceiling of {ceiling} a second, but the busiest minutes may come");
            self.warnings.push(format!("{told} to {peak:.0} already"));
        }
    }
}

// === impl PairEstimate ===

impl PairEstimate {
    /// Takes in another code of the same pair.
    fn add(&mut self, rate: RequestRate, operations: PerOperation<Rate>) {
        self.request.per_second += rate.per_second;
        // Peaks of two codes need not be at the same time: at most this much.
        let peaks = self.request.peak_per_second.zip(rate.peak_per_second);
        self.request.peak_per_second = peaks.map(|(one, other)| one + other);
        if self.request.code != rate.code {
            self.request.code.clear();
        }
        for (operation, more) in operations.iter() {
            self.operations[operation] += *more;
        }
    }
}

fn grown(rate: &RequestRate, growth: Growth) -> RequestRate {
    RequestRate {
        per_second: rate.per_second * growth.factor(),
        peak_per_second: rate.peak_per_second.map(|peak| peak * growth.factor()),
        ..rate.clone()
    }
}

fn of(rate: &RequestRate, cost: Range) -> Rate {
    let peak = rate.peak_per_second.map(|peak| peak * cost.expected);
    Rate { range: cost.times(rate.per_second), peak }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::{csv, model::ModelName, parameters::Parameters, units::UnitFactors};

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn rate(handler: &str, method: &str, code: &str, per_second: f64) -> RequestRate {
        let (handler, method, code) = (handler.to_owned(), method.to_owned(), code.to_owned());
        RequestRate { handler, method, code, per_second, peak_per_second: None }
    }

    fn estimate(rates: &[RequestRate], growth: f64, outlook: &Outlook) -> Estimate {
        let costs = Costs::new(ModelName::Registry432.model(), &Parameters::default(), &[]).unwrap();
        Estimate::new(rates, &costs, Growth::new(growth).unwrap(), outlook, NOW)
    }

    #[test]
    fn codes_of_a_pair_come_to_one_entry_and_unmapped_ones_are_listed() {
        let rates = [
            rate("manifest", "GET", "200", 6.0),
            rate("Manifest", "get", "404", 2.0),
            rate("manifest", "GET", "503", 1.0),
            rate("import", "PUT", "", 1.0),
        ];
        let estimate = estimate(&rates, 2.0, &Outlook::default());
        assert_eq!(estimate.pairs.len(), 1);
        assert_eq!(estimate.pairs[0].request, rate("manifest", "GET", "", 16.0));
        assert_eq!(estimate.totals[Operation::Select].range.expected, 32.0);
        assert_eq!(estimate.unmapped, [rate("manifest", "GET", "503", 2.0), rate("import", "PUT", "", 2.0)]);
        assert_eq!(estimate.unmapped_share, 0.2);
    }

    #[test]
    fn statements_of_triggers_are_a_sum_of_their_own() {
        let estimate =
            estimate(&[rate("blob", "DELETE", "202", 1.0), rate("tag", "DELETE", "", 1.0)], 1.0, &Outlook::default());
        assert_eq!(estimate.totals[Operation::Delete].range.expected, 2.0);
        assert_eq!(estimate.nested_totals[Operation::Select].range.expected, 5.0);
    }

    #[test]
    fn a_peak_is_known_when_that_of_every_part_is() {
        let peak = |peak| RequestRate { peak_per_second: Some(peak), ..rate("blob", "GET", "200", 1.0) };
        let known = estimate(&[peak(10.0), RequestRate { code: "404".into(), ..peak(1.0) }], 1.0, &Outlook::default());
        assert_eq!(known.totals[Operation::Select].peak, Some(22.0));
        assert_eq!(known.pairs[0].request.peak_per_second, Some(11.0));
        let unknown = estimate(&[peak(10.0), rate("tags", "GET", "", 1.0)], 1.0, &Outlook::default());
        assert_eq!(unknown.totals[Operation::Select].peak, None);
    }

    #[test]
    fn growth_is_looked_at_months_ahead_and_against_the_ceiling() {
        let outlook = Outlook::new(0.1, &[1, 2], 24.2).unwrap();
        let estimate = estimate(&[rate("blob", "GET", "200", 10.0)], 1.0, &outlook);
        let ahead: Vec<_> = estimate
            .projections
            .iter()
            .map(|(months, totals)| (*months, (totals[Operation::Select].range.expected * 10.0).round()))
            .collect();
        assert_eq!(ahead, [(1, 220.0), (2, 242.0)]);
        let days = estimate.ceiling_time.unwrap().duration_since(NOW).unwrap().as_secs() / 86_400;
        assert_eq!(days, 60, "two months");
    }

    #[test]
    fn a_mean_below_the_ceiling_with_a_peak_above_it_is_warned_of() {
        let busy = RequestRate { peak_per_second: Some(20.0), ..rate("blob", "GET", "200", 10.0) };
        let estimate = estimate(&[busy], 1.0, &Outlook::new(0.0, &[], 30.0).unwrap());
        assert_eq!(estimate.ceiling_time, None);
        assert!(estimate.warnings[0].contains("may come to 40 already"), "{:?}", estimate.warnings);
    }

    #[test]
    fn the_sum_of_the_published_rates_is_the_published_sum() {
        let rates = csv::read(include_str!("../../examples/published-2020.csv")).unwrap();
        let costs = Costs::new(ModelName::Published2020.model(), &Parameters::default(), &[]).unwrap();
        let estimate = Estimate::new(&rates, &costs, Growth::new(0.0).unwrap(), &Outlook::default(), NOW);
        let day = UnitFactors::Published2020.seconds(crate::rates::units::Unit::Day);
        let sums: Vec<_> = estimate.totals.iter().map(|(_, rate)| (rate.range.expected * day).round()).collect();
        assert_eq!(sums, [63_943_613.0, 1_862_569.0, 0.0, 5_445.0]);
    }
}
