//! Whether the configuration in use is the one on disk.

use std::time::SystemTime;

use opentelemetry::metrics::Meter;

use crate::metrics::unix_seconds;

/// Says that the configuration was loaded, now: a process that runs has one, and takes no other.
pub fn loaded(meter: &Meter) {
    meter
        .u64_gauge("rowcount_config_last_reload_successful")
        .with_description("Whether the last load of the configuration was successful.")
        .build()
        .record(1, &[]);
    meter
        .f64_gauge("rowcount_config_last_reload_success_timestamp_seconds")
        .with_description("When the configuration was last loaded successfully.")
        .build()
        .record(unix_seconds(SystemTime::now()), &[]);
}
