//! The Prometheus page. The only module that knows of the exporter and its registry: the exporter was discontinued once
//! and may be again. A page is made from memory alone, so a scrape waits for no other system.

use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::{error::OTelSdkError, metrics::SdkMeterProvider};
use prometheus::{Registry, TextEncoder, process_collector::ProcessCollector};

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The exporter could not be built.
    #[error("cannot build the metrics exporter")]
    Build(#[from] OTelSdkError),
    /// Two families of one name, or a family that cannot be written.
    #[error("cannot write the metrics page")]
    Prometheus(#[from] prometheus::Error),
}

/// All metrics of one instance, and the page that shows them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Exporter {
    registry: Registry,
    provider: SdkMeterProvider,
}

// === impl Exporter ===

impl Exporter {
    /// The content type of `page`.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// An exporter of its own; `process_*` is on its page from the start.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        // Names are written in full where the instruments are made; with suffixes on, `x_total` becomes
        // `x_total_total`. Scope labels would part our series from those that the registry's dashboards know.
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_units()
            .without_counter_suffixes()
            .without_target_info()
            .scope_info_enabled(false)
            .build()?;
        Ok(Self { registry, provider: SdkMeterProvider::builder().with_reader(reader).build() })
    }

    /// What instruments are made from.
    pub fn meter(&self) -> Meter {
        self.provider.meter("rowcount")
    }

    /// The page, in the text format 0.0.4.
    pub fn page(&self) -> Result<String, Error> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}
