//! When a growing load meets a ceiling.

use std::time::{Duration, SystemTime};

use super::{Invalid, non_negative};

/// A twelfth of a year of 365 days, so that twelve months of growth are a year's.
const MONTH: Duration = Duration::from_secs(365 * 86_400 / 12);

/// Nobody plans further, and no date is.
const FURTHEST_MONTHS: u32 = 1_200;

/// How the load is expected to grow, and what it may come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outlook {
    /// 0.05 for five per cent a month.
    monthly_growth: f64,
    /// Months ahead to look at.
    horizon_months: Vec<u32>,
    /// Statements a second that the database can bear.
    ceiling_per_second: Option<f64>,
}

// === impl Outlook ===

impl Outlook {
    /// Looks one, two and three years ahead when a growth is given without months. A ceiling of zero is none.
    pub fn new(monthly_growth: f64, horizon_months: &[i32], ceiling_per_second: f64) -> Result<Self, Invalid> {
        let monthly_growth = non_negative("monthly_growth_rate", monthly_growth)?;
        let ceiling = non_negative("ceiling_per_second", ceiling_per_second)?;
        let mut months = Vec::new();
        for (index, month) in horizon_months.iter().enumerate() {
            let month = u32::try_from(*month).ok().filter(|month| (1..=FURTHEST_MONTHS).contains(month));
            let month = month.ok_or_else(|| {
                let problem =
                    format!("{} is not a number of months from 1 to {FURTHEST_MONTHS}", horizon_months[index]);
                Invalid::new(format!("horizon_months[{index}]"), problem)
            })?;
            if !months.contains(&month) {
                months.push(month);
            }
        }
        if months.is_empty() && monthly_growth > 0.0 {
            months = vec![12, 24, 36];
        }
        let ceiling_per_second = Some(ceiling).filter(|ceiling| *ceiling > 0.0);
        let outlook = Self { monthly_growth, horizon_months: months, ceiling_per_second };
        let furthest = outlook.horizon_months.iter().max().copied().unwrap_or_default();
        non_negative("monthly_growth_rate", outlook.factor(furthest)).map_err(|_| {
            let problem = format!("{monthly_growth} comes to no load that there can be in {furthest} months");
            Invalid::new("monthly_growth_rate", problem)
        })?;
        Ok(outlook)
    }

    /// Growth a month.
    pub fn monthly_growth(&self) -> f64 {
        self.monthly_growth
    }

    /// The months ahead that are looked at, as they were given or by default.
    pub fn horizon_months(&self) -> &[u32] {
        &self.horizon_months
    }

    /// The ceiling, when there is one.
    pub fn ceiling_per_second(&self) -> Option<f64> {
        self.ceiling_per_second
    }

    /// What a rate is multiplied with so many months ahead.
    pub fn factor(&self, months: u32) -> f64 {
        (1.0 + self.monthly_growth).powf(f64::from(months))
    }

    /// When a load of `per_second` now meets the ceiling; `None` when there is none, or not within a century.
    pub fn ceiling_time(&self, per_second: f64, now: SystemTime) -> Option<SystemTime> {
        let ceiling = self.ceiling_per_second?;
        if per_second >= ceiling {
            return Some(now);
        }
        let months = (ceiling / per_second).ln() / self.monthly_growth.ln_1p();
        let is_near = months.is_finite() && months <= f64::from(FURTHEST_MONTHS);
        is_near.then(|| now + MONTH.mul_f64(months))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn a_load_that_doubles_in_a_year_meets_twice_itself_in_a_year() {
        let outlook = Outlook::new(2_f64.powf(1.0 / 12.0) - 1.0, &[], 200.0).unwrap();
        let met = outlook.ceiling_time(100.0, NOW).unwrap().duration_since(NOW).unwrap();
        assert!(met.abs_diff(Duration::from_secs(365 * 86_400)) < Duration::from_secs(1), "{met:?}");
        assert!((outlook.factor(12) - 2.0).abs() < 1e-9);
        assert_eq!(outlook.horizon_months(), [12, 24, 36]);
    }

    #[test]
    fn a_ceiling_that_is_passed_is_met_now_and_one_out_of_reach_never() {
        assert_eq!(Outlook::new(0.0, &[], 50.0).unwrap().ceiling_time(50.0, NOW), Some(NOW));
        assert_eq!(Outlook::new(0.0, &[], 50.0).unwrap().ceiling_time(49.0, NOW), None);
        assert_eq!(Outlook::new(1e-9, &[], 50.0).unwrap().ceiling_time(1.0, NOW), None);
        assert_eq!(Outlook::new(0.05, &[], 50.0).unwrap().ceiling_time(0.0, NOW), None);
        assert_eq!(Outlook::new(0.05, &[], 0.0).unwrap().ceiling_time(1.0, NOW), None);
    }

    #[test]
    fn what_cannot_be_is_refused_by_the_name_of_its_field() {
        let field = |growth, months: &[i32], ceiling| Outlook::new(growth, months, ceiling).unwrap_err().field;
        assert_eq!(field(f64::NAN, &[], 0.0), "monthly_growth_rate");
        assert_eq!(field(-0.1, &[], 0.0), "monthly_growth_rate");
        assert_eq!(field(0.0, &[12, 0], 0.0), "horizon_months[1]");
        assert_eq!(field(1e3, &[1_200], 0.0), "monthly_growth_rate");
        assert_eq!(field(0.0, &[], f64::INFINITY), "ceiling_per_second");
    }
}
