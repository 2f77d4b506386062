//! Whether the configuration in use is the one on disk.

use std::time::SystemTime;

use opentelemetry::metrics::{Gauge, Meter};

use crate::metrics::unix_seconds;

/// Metrics of loading the configuration.
pub struct ReloadMetrics {
    successful: Gauge<u64>,
    success_time: Gauge<f64>,
}

// === impl ReloadMetrics ===

impl ReloadMetrics {
    /// A process that runs has loaded its configuration: successful, now.
    pub fn new(meter: &Meter) -> Self {
        let metrics = Self {
            successful: meter
                .u64_gauge("rowcount_config_last_reload_successful")
                .with_description("Whether the last load of the configuration was successful.")
                .build(),
            success_time: meter
                .f64_gauge("rowcount_config_last_reload_success_timestamp_seconds")
                .with_description("When the configuration was last loaded successfully.")
                .build(),
        };
        metrics.reloaded(true);
        metrics
    }

    /// The configuration was loaded anew, or refused.
    pub fn reloaded(&self, success: bool) {
        self.successful.record(success.into(), &[]);
        if success {
            self.success_time.record(unix_seconds(SystemTime::now()), &[]);
        }
    }
}
