//! How a rate a second becomes one a minute, an hour, … a year.

use std::str::FromStr;

use super::Invalid;

/// A set of factors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnitFactors {
    /// A month of 30 days, a year of 365.
    #[default]
    Calendar,
    /// Those of the tables published in 2020: a month of 30 weeks and a year of 12 such months, which is 7 times too
    /// much. Only there to reproduce them.
    Published2020,
}

/// A unit of time that rates are told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A second.
    Second,
    /// 60 seconds.
    Minute,
    /// 3,600 seconds.
    Hour,
    /// 86,400 seconds.
    Day,
    /// 604,800 seconds.
    Week,
    /// See `UnitFactors`.
    Month,
    /// See `UnitFactors`.
    Year,
}

const DAY: f64 = 86_400.0;

// === impl UnitFactors ===

impl UnitFactors {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Calendar, Self::Published2020];

    /// Its name in requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calendar => "calendar",
            Self::Published2020 => "published-2020",
        }
    }

    /// Seconds of a unit.
    pub fn seconds(self, unit: Unit) -> f64 {
        match (unit, self) {
            (Unit::Second, _) => 1.0,
            (Unit::Minute, _) => 60.0,
            (Unit::Hour, _) => 3_600.0,
            (Unit::Day, _) => DAY,
            (Unit::Week, _) => 7.0 * DAY,
            (Unit::Month, Self::Calendar) => 30.0 * DAY,
            (Unit::Year, Self::Calendar) => 365.0 * DAY,
            (Unit::Month, Self::Published2020) => 30.0 * 7.0 * DAY,
            (Unit::Year, Self::Published2020) => 12.0 * 30.0 * 7.0 * DAY,
        }
    }
}

impl FromStr for UnitFactors {
    type Err = Invalid;

    /// Empty means the default.
    fn from_str(name: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|factors| factors.as_str() == name);
        found.or(name.is_empty().then(Self::default)).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            Invalid::new("unit_factors", format!("{name:?} is not one of {known}"))
        })
    }
}

// === impl Unit ===

impl Unit {
    /// All of them, the shortest first.
    pub const ALL: [Self; 7] = [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];
}
