//! Whether what is in use is what is on disk.

use std::{sync::Arc, time::SystemTime};

use opentelemetry::{
    KeyValue,
    metrics::{Gauge, Meter},
};

use crate::{credentials::Port, metrics::unix_seconds};

/// The end of each port's certificate; `None`: it has none. Called at every scrape; must not block.
pub type NotAfterSource = Arc<dyn Fn(Port) -> Option<SystemTime> + Send + Sync>;

/// Metrics of loading.
pub struct ReloadMetrics {
    successful: Gauge<u64>,
    success_timestamp: Gauge<f64>,
}

// === impl ReloadMetrics ===

impl ReloadMetrics {
    /// Loaded, now: a process that runs has a configuration.
    pub fn new(meter: &Meter) -> Self {
        let metrics = Self {
            successful: meter
                .u64_gauge("rowcount_config_last_reload_successful")
                .with_description(
                    "Whether the last load of the configuration and of the files that it names was successful.",
                )
                .build(),
            success_timestamp: meter
                .f64_gauge("rowcount_config_last_reload_success_timestamp_seconds")
                .with_description("When the configuration and the files that it names were last loaded successfully.")
                .build(),
        };
        metrics.loaded();
        metrics
    }

    /// What is on disk is in use.
    pub fn loaded(&self) {
        self.successful.record(1, &[]);
        self.success_timestamp.record(unix_seconds(SystemTime::now()), &[]);
    }

    /// What is on disk cannot be used.
    pub fn failed(&self) {
        self.successful.record(0, &[]);
    }
}

/// Exports when the certificates end.
pub fn export_not_after(meter: &Meter, not_after: NotAfterSource) {
    meter
        .f64_observable_gauge("rowcount_tls_certificate_not_after_timestamp_seconds")
        .with_description("When the certificate of a port ends, by port; absent without TLS.")
        .with_callback(move |gauge| {
            for port in Port::ALL {
                if let Some(end) = not_after(port) {
                    gauge.observe(unix_seconds(end), &[KeyValue::new("port", port.as_str())]);
                }
            }
        })
        .build();
}
