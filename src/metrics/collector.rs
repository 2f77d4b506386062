//! Collections: how many, how long, with what result.

use std::time::{Duration, SystemTime};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter},
};

use crate::{
    collection::{Collection, CollectionState, Trigger},
    metrics::unix_seconds,
};

/// The registry's own buckets: its dashboards compute quantiles over them.
const DURATION_BUCKETS: [f64; 8] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

/// Metrics of collections.
pub struct CollectorMetrics {
    duration: Histogram<f64>,
    collections: Counter<u64>,
    joined: Counter<u64>,
    in_progress: UpDownCounter<i64>,
    last_success: Gauge<f64>,
}

// === impl CollectorMetrics ===

impl CollectorMetrics {
    /// Everything at 0, but for the histogram, which has no sample before the first collection.
    pub fn new(meter: &Meter) -> Self {
        let metrics = Self {
            duration: meter
                .f64_histogram("registry_database_row_count_collection_duration_seconds")
                .with_description(
                    "A histogram of total duration for collecting all database row count queries in a single run",
                )
                .with_boundaries(DURATION_BUCKETS.to_vec())
                .build(),
            collections: meter
                .u64_counter("rowcount_collections_total")
                .with_description("Collections that ended, by what started them and how they ended.")
                .build(),
            joined: meter
                .u64_counter("rowcount_collections_joined_total")
                .with_description(
                    "Calls that joined a pending collection, or repeated a request id, instead of making one.",
                )
                .build(),
            in_progress: meter
                .i64_up_down_counter("rowcount_collection_in_progress")
                .with_description("Collections that run on this instance now.")
                .build(),
            last_success: meter
                .f64_gauge("rowcount_collection_last_success_timestamp_seconds")
                .with_description("When a collection of this instance last succeeded in full; 0 before the first.")
                .build(),
        };
        for trigger in Trigger::ALL {
            for state in CollectionState::ALL.into_iter().filter(|state| state.is_done()) {
                metrics.collections.add(0, &labels(trigger, state));
            }
        }
        metrics.joined.add(0, &[]);
        metrics.in_progress.add(0, &[]);
        metrics.last_success.record(0.0, &[]);
        metrics
    }

    /// A collection began; `collection_ended` must follow, also when it is cancelled.
    pub fn collection_began(&self) {
        self.in_progress.add(1, &[]);
    }

    /// A collection that had begun is done, `took` after its beginning.
    pub fn collection_ended(&self, collection: &Collection, took: Duration) {
        debug_assert!(collection.state.is_done(), "a collection that ended is done");
        self.in_progress.add(-1, &[]);
        self.duration.record(took.as_secs_f64(), &[]);
        self.collections.add(1, &labels(collection.trigger, collection.state));
        if collection.state == CollectionState::Succeeded {
            self.last_success.record(unix_seconds(collection.end_time.unwrap_or_else(SystemTime::now)), &[]);
        }
    }

    /// A call joined the pending collection, or repeated a request id.
    pub fn joined(&self) {
        self.joined.add(1, &[]);
    }
}

fn labels(trigger: Trigger, state: CollectionState) -> [KeyValue; 2] {
    [KeyValue::new("trigger", trigger.as_str()), KeyValue::new("result", state.as_str())]
}
