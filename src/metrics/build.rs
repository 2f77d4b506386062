//! What is running.

use opentelemetry::{KeyValue, metrics::Meter};

/// The crate's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The revision that it was built from, when the build said so in ROWCOUNT_REVISION.
pub const REVISION: &str = match option_env!("ROWCOUNT_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Exports `rowcount_build_info`.
pub fn export(meter: &Meter) {
    meter
        .u64_gauge("rowcount_build_info")
        .with_description("A constant 1 with the version and revision that is running.")
        .build()
        .record(1, &[KeyValue::new("version", VERSION), KeyValue::new("revision", REVISION)]);
}
