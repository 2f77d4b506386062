//! Runs of single queries: the registry's two families, and why and since when runs fail.

use std::time::{Duration, SystemTime};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter},
};

use crate::{failure::FailureReason, metrics::unix_seconds, query::QueryName};

/// The registry's own buckets.
const DURATION_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Metrics of the runs of queries.
pub struct QueryMetrics {
    runs: Counter<u64>,
    duration: Histogram<f64>,
    failures: Counter<u64>,
    skipped: Counter<u64>,
    last_success: Gauge<f64>,
}

// === impl QueryMetrics ===

impl QueryMetrics {
    /// Our own families at 0 for the configured `names`; the registry's have no sample before the first run.
    pub fn new<'a>(meter: &Meter, names: impl IntoIterator<Item = &'a QueryName>) -> Self {
        let metrics = Self {
            runs: meter
                .u64_counter("registry_database_queries_total")
                .with_description("A counter for database queries.")
                .build(),
            duration: meter
                .f64_histogram("registry_database_query_duration_seconds")
                .with_description("A histogram of latencies for database queries.")
                .with_boundaries(DURATION_BUCKETS.to_vec())
                .build(),
            failures: meter
                .u64_counter("rowcount_query_failures_total")
                .with_description("Runs of a query that failed, by reason.")
                .build(),
            skipped: meter
                .u64_counter("rowcount_query_skipped_total")
                .with_description("Times that a query was due and did not run, its last run being still in progress.")
                .build(),
            last_success: meter
                .f64_gauge("rowcount_query_last_success_timestamp_seconds")
                .with_description("When a query last succeeded on this instance; 0 before the first time.")
                .build(),
        };
        for name in names {
            for reason in FailureReason::ALL {
                metrics.failures.add(0, &[query_name(name), KeyValue::new("reason", reason.as_str())]);
            }
            metrics.skipped.add(0, &[query_name(name)]);
            metrics.last_success.record(0.0, &[query_name(name)]);
        }
        metrics
    }

    /// The database was asked: not so for a run that readings of the statistics answer.
    pub fn asked(&self, name: &QueryName, took: Duration) {
        let registry_name = [KeyValue::new("name", format!("count_{name}"))];
        self.runs.add(1, &registry_name);
        self.duration.record(took.as_secs_f64(), &registry_name);
    }

    /// A run ended. `failure` is `None` for a built-in without its table too: there was nothing to count.
    pub fn ended(&self, name: &QueryName, failure: Option<FailureReason>) {
        match failure {
            Some(reason) => self.failures.add(1, &[query_name(name), KeyValue::new("reason", reason.as_str())]),
            None => self.last_success.record(unix_seconds(SystemTime::now()), &[query_name(name)]),
        }
    }

    /// A query was due and did not run.
    pub fn skipped(&self, name: &QueryName) {
        self.skipped.add(1, &[query_name(name)]);
    }
}

fn query_name(name: &QueryName) -> KeyValue {
    KeyValue::new("query_name", name.to_string())
}
