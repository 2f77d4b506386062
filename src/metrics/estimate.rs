//! The estimate of what requests ask of the database. It is read at each scrape through a gate, and only what that lets
//! through is exported: no estimate is no sample, never a 0.

use std::{sync::Arc, time::SystemTime};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Meter},
};

use crate::{
    metrics::unix_seconds,
    rates::{costs::Range, operation::PerOperation},
};

/// The estimate while this instance holds the lease and has a recent one, else `None`. Called at every scrape; must not
/// block.
pub type EstimateSource = Arc<dyn Fn() -> Option<Shown> + Send + Sync>;

/// What of an estimate is exported.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shown {
    /// Rates of all requests that have a cost.
    pub totals: PerOperation<Range>,
    /// The part of the requests that has none, so that nobody takes a low rate for little load.
    pub unmapped_share: f64,
}

/// Metrics of the making of estimates.
pub struct EstimateMetrics {
    failures: Counter<u64>,
    last_success: Gauge<f64>,
}

// === impl EstimateMetrics ===

impl EstimateMetrics {
    /// No estimate yet.
    pub fn new(meter: &Meter) -> Self {
        let metrics = Self {
            failures: meter
                .u64_counter("rowcount_estimate_failures_total")
                .with_description("Times that the estimate was due and could not be made.")
                .build(),
            last_success: meter
                .f64_gauge("rowcount_estimate_last_success_timestamp_seconds")
                .with_description("When this instance last made the estimate; 0 before the first time.")
                .build(),
        };
        metrics.failures.add(0, &[]);
        metrics.last_success.record(0.0, &[]);
        metrics
    }

    /// An estimate was made.
    pub fn made(&self) {
        self.last_success.record(unix_seconds(SystemTime::now()), &[]);
    }

    /// An estimate could not be made.
    pub fn failed(&self) {
        self.failures.add(1, &[]);
    }
}

/// Exports the estimate that `source` lets through.
pub fn export(meter: &Meter, source: EstimateSource) {
    let unmapped = source.clone();
    meter
        .f64_observable_gauge("rowcount_estimate_unmapped_ratio")
        .with_description("The part of the requests for which nothing is estimated: no cost of them is known.")
        .with_callback(move |gauge| {
            if let Some(shown) = unmapped() {
                gauge.observe(shown.unmapped_share, &[]);
            }
        })
        .build();
    meter
        .f64_observable_gauge("rowcount_estimated_operations_per_second")
        .with_description("SQL operations a second that the request load asks of the database, by the estimate.")
        .with_callback(move |gauge| {
            let Some(Shown { totals, .. }) = source() else { return };
            for (operation, Range { low, expected, high }) in totals.iter() {
                for (bound, rate) in [("low", low), ("expected", expected), ("high", high)] {
                    let labels = [KeyValue::new("operation", operation.as_str()), KeyValue::new("bound", bound)];
                    gauge.observe(*rate, &labels);
                }
            }
        })
        .build();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Exporter;

    #[test]
    fn each_operation_has_its_three_bounds_and_no_estimate_has_none() {
        let exporter = Exporter::new().unwrap();
        let range = Range { low: 1.0, expected: 2.5, high: 4.0 };
        let shown = Shown { totals: PerOperation::from_fn(|_| range), unmapped_share: 0.25 };
        export(&exporter.meter(), Arc::new(move || Some(shown)));
        let page = exporter.page().unwrap();
        assert_eq!(page.matches("\nrowcount_estimated_operations_per_second{").count(), 12, "{page}");
        let sample = r#"rowcount_estimated_operations_per_second{bound="expected",operation="select"} 2.5"#;
        assert!(page.contains(sample) && page.contains("\nrowcount_estimate_unmapped_ratio 0.25\n"), "{page}");

        let exporter = Exporter::new().unwrap();
        export(&exporter.meter(), Arc::new(|| None));
        assert!(!exporter.page().unwrap().contains("rowcount_estimate"));
    }
}
