//! Of many values, the few that say something.

use std::time::Duration;

/// Values in order.
pub struct Sorted<T>(Vec<T>);

// === impl Sorted ===

impl<T: PartialOrd + Copy> Sorted<T> {
    /// At least one value.
    pub fn new(mut values: Vec<T>) -> Self {
        assert!(!values.is_empty(), "nothing was measured");
        values.sort_by(|a, b| a.partial_cmp(b).expect("no value is NaN"));
        Self(values)
    }

    /// The value that this share of the values does not exceed.
    pub fn quantile(&self, share: f64) -> T {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    pub fn median(&self) -> T {
        self.quantile(0.5)
    }

    pub fn max(&self) -> T {
        self.quantile(1.0)
    }
}

impl Sorted<Duration> {
    /// For a cell of the table.
    pub fn spread(&self) -> String {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| super::report::span(self.quantile(share)));
        format!("p50 {p50}, p99 {p99}, max {max}")
    }
}
