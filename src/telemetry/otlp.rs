//! Traces over OTLP/gRPC, and the parent that a caller sends along. Spans wait in a queue of 2,048 at most and are
//! dropped when it is full; an export has 10 s. Both are OpenTelemetry's defaults, which the OTEL_ variables change.

use http::HeaderMap;
use opentelemetry::{
    KeyValue, Value,
    propagation::{Extractor, TextMapPropagator},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tonic::transport::ClientTlsConfig;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{
    config::TracingConfig,
    metrics::build,
    telemetry::{Error, Identity},
};

struct Headers<'a>(&'a HeaderMap);

/// Makes the span a child of the caller's, which `traceparent` names. Only before the span is first entered.
pub fn parent_from(headers: &HeaderMap, span: &Span) {
    if headers.contains_key("traceparent") {
        // Refused for a span that is not traced, and then there is nothing to do.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(headers)));
    }
}

/// `None` when traces are off.
pub fn provider(config: &TracingConfig, identity: Identity<'_>) -> Result<Option<SdkTracerProvider>, Error> {
    let Some(endpoint) = &config.endpoint else { return Ok(None) };
    let mut exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
    // Without a scheme it is https, says OTLP; and the exporter's own default trusts nobody.
    if !endpoint.starts_with("http://") {
        exporter = exporter.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
    }
    let exporter = exporter.build()?;
    Ok(Some(SdkTracerProvider::builder().with_resource(resource(identity)).with_batch_exporter(exporter).build()))
}

fn resource(identity: Identity<'_>) -> Resource {
    let detected = Resource::builder().build();
    let name = match detected.get(&"service.name".into()) {
        Some(name) if !name.as_str().starts_with("unknown_service") => name,
        _ => Value::from("rowcount"),
    };
    Resource::builder()
        .with_service_name(name)
        .with_attributes([
            KeyValue::new("service.version", build::VERSION),
            KeyValue::new("service.instance.id", identity.instance_id.to_owned()),
            KeyValue::new("rowcount.cluster", identity.cluster.to_owned()),
        ])
        .build()
}

// === impl Headers ===

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
