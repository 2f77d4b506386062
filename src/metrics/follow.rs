//! Following: readings of the server's statistics, exact counts of leaves, and what voided them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter},
};

use crate::{follow::Void, metrics::rows::RowsSource};

/// From a few leaves on this machine to thousands over a network.
const READ_SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5];

/// From a small leaf to the longest that a query may take.
const ANCHOR_SECONDS: [f64; 8] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// No number of sessions.
const UNKNOWN: i64 = -1;

/// Metrics of following.
pub struct FollowMetrics {
    read_duration: Histogram<f64>,
    anchors: Counter<u64>,
    anchor_duration: Histogram<f64>,
    voided: Counter<u64>,
    restless: Arc<AtomicI64>,
}

// === impl FollowMetrics ===

impl FollowMetrics {
    /// Everything that is counted at 0; the sessions only while `source` lets anything through.
    pub fn new(meter: &Meter, source: &RowsSource) -> Self {
        let restless = Arc::new(AtomicI64::new(UNKNOWN));
        let (shown, source) = (restless.clone(), source.clone());
        meter
            .i64_observable_gauge("rowcount_follow_restless_sessions")
            .with_description("Sessions not seen idle for over a minute: rows that they change may be counted late.")
            .with_callback(move |gauge| {
                let sessions = shown.load(Ordering::Relaxed);
                if sessions != UNKNOWN && source().is_some() {
                    gauge.observe(sessions, &[]);
                }
            })
            .build();
        let metrics = Self {
            read_duration: meter
                .f64_histogram("rowcount_follow_read_duration_seconds")
                .with_description("Time for a reading of the statistics of all followed tables.")
                .with_boundaries(READ_SECONDS.to_vec())
                .build(),
            anchors: meter
                .u64_counter("rowcount_follow_anchors_total")
                .with_description("Exact counts of single leaves, by result.")
                .build(),
            anchor_duration: meter
                .f64_histogram("rowcount_follow_anchor_duration_seconds")
                .with_description("Time for an exact count of a single leaf.")
                .with_boundaries(ANCHOR_SECONDS.to_vec())
                .build(),
            voided: meter
                .u64_counter("rowcount_follow_voided_leaves_total")
                .with_description("Leaves whose rows were not known any more, by reason.")
                .build(),
            restless,
        };
        for result in ["counted", "failed"] {
            metrics.anchors.add(0, &[KeyValue::new("result", result)]);
        }
        for why in Void::ALL {
            metrics.voided.add(0, &[KeyValue::new("reason", why.as_str())]);
        }
        metrics
    }

    /// A reading was taken.
    pub fn read(&self, took: Duration) {
        self.read_duration.record(took.as_secs_f64(), &[]);
    }

    /// An exact count of a leaf ended.
    pub fn anchored(&self, is_counted: bool, took: Duration) {
        self.anchor_duration.record(took.as_secs_f64(), &[]);
        self.anchors.add(1, &[KeyValue::new("result", if is_counted { "counted" } else { "failed" })]);
    }

    /// Nothing is known of so many leaves any more.
    pub fn voided(&self, why: Void, leaves: usize) {
        self.voided.add(leaves as u64, &[KeyValue::new("reason", why.as_str())]);
    }

    /// So many sessions have not been seen idle for long; `None`: it is not known.
    pub fn restless(&self, sessions: Option<usize>) {
        let sessions = sessions.and_then(|sessions| i64::try_from(sessions).ok());
        self.restless.store(sessions.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }
}
