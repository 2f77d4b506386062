//! Instruments, one struct a subject, made from one meter. Label sets are closed, and those that are known from the
//! start exist at 0 from the start; the registry's own families have no sample before the first collection.

use std::time::SystemTime;

pub use exporter::{Error, Exporter};

pub mod build;
pub mod collector;
pub mod estimate;
mod exporter;
pub mod follow;
pub mod lease;
pub mod query;
pub mod reload;
pub mod rows;
pub mod rpc;
pub mod store;

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
