//! Calls of the gRPC surface, after OpenTelemetry's semantic conventions.

use std::{sync::Arc, time::Duration};

use opentelemetry::{
    KeyValue,
    metrics::{Histogram, Meter, UpDownCounter},
};
use tonic::Code;

/// As the conventions advise: most answers come from memory in microseconds, a waiting call may take a minute.
const DURATION_BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Metrics of calls.
pub struct RpcMetrics {
    duration: Histogram<f64>,
    watch_streams: UpDownCounter<i64>,
}

/// A watch stream that is open; dropping it says that it is not any more.
pub struct OpenWatch(UpDownCounter<i64>);

// === impl RpcMetrics ===

impl RpcMetrics {
    /// No call yet, no stream.
    pub fn new(meter: &Meter) -> Self {
        let metrics = Self {
            duration: meter
                .f64_histogram("rpc_server_call_duration_seconds")
                .with_description("Duration of incoming calls, until their last message.")
                .with_boundaries(DURATION_BUCKETS.to_vec())
                .build(),
            watch_streams: meter
                .i64_up_down_counter("rowcount_watch_streams")
                .with_description("Streams of WatchRowCounts and WatchLease that are open.")
                .build(),
        };
        metrics.watch_streams.add(0, &[]);
        metrics
    }

    /// A call of `method` (`package.Service/Method`) ended. The caller sees to it that `method` is one that exists:
    /// a path that a client made up must not become a label.
    pub fn observe(&self, method: &Arc<str>, code: Code, took: Duration) {
        self.duration.record(
            took.as_secs_f64(),
            &[
                KeyValue::new("rpc.method", method.clone()),
                KeyValue::new("rpc.response.status_code", code_name(code)),
                KeyValue::new("rpc.system.name", "grpc"),
            ],
        );
    }

    /// A watch stream opened.
    pub fn watch_opened(&self) -> OpenWatch {
        self.watch_streams.add(1, &[]);
        OpenWatch(self.watch_streams.clone())
    }
}

// === impl OpenWatch ===

impl Drop for OpenWatch {
    fn drop(&mut self) {
        self.0.add(-1, &[]);
    }
}

/// The code as gRPC's own documents write it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Exporter;

    #[test]
    fn a_dropped_watch_is_no_longer_counted() {
        let exporter = Exporter::new().unwrap();
        let metrics = RpcMetrics::new(&exporter.meter());
        let open = metrics.watch_opened();
        assert!(exporter.page().unwrap().contains("\nrowcount_watch_streams 1\n"));
        drop(open);
        assert!(exporter.page().unwrap().contains("\nrowcount_watch_streams 0\n"));
    }
}
