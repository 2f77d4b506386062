//! The two systems that the service leans on, as it last saw them: a scrape asks neither.

use std::sync::Arc;

use opentelemetry::{KeyValue, metrics::Meter};

/// Whether the last contact was a success; `None` before the first. Called at every scrape; must not block.
pub type UpSource = Arc<dyn Fn() -> Option<bool> + Send + Sync>;

/// The pool of database connections as it is. Called at every scrape; must not block.
pub type PoolSource = Arc<dyn Fn() -> Pool + Send + Sync>;

/// How the database connections are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Connections that run something.
    pub in_use: u64,
    /// Connections that are open and wait for work.
    pub idle: u64,
    /// The hard ceiling.
    pub max: u64,
}

/// Exports whether PostgreSQL is up, and the connections to it.
pub fn export_postgres(meter: &Meter, up: UpSource, pool: PoolSource) {
    export_up(
        meter,
        "rowcount_postgres_up",
        "Whether the last contact with PostgreSQL was a success; absent before the first.",
        up,
    );
    let connections = pool.clone();
    meter
        .u64_observable_gauge("rowcount_postgres_connections")
        .with_description("Connections to PostgreSQL, by state.")
        .with_callback(move |gauge| {
            let Pool { in_use, idle, max: _ } = connections();
            gauge.observe(in_use, &[KeyValue::new("state", "in_use")]);
            gauge.observe(idle, &[KeyValue::new("state", "idle")]);
        })
        .build();
    meter
        .u64_observable_gauge("rowcount_postgres_connections_max")
        .with_description("The most connections to PostgreSQL that there may be.")
        .with_callback(move |gauge| gauge.observe(pool().max, &[]))
        .build();
}

/// Exports whether Redis is up; not to be called where there is none.
pub fn export_redis(meter: &Meter, up: UpSource) {
    export_up(meter, "rowcount_redis_up", "Whether the last contact with Redis was a success.", up);
}

fn export_up(meter: &Meter, name: &'static str, help: &'static str, up: UpSource) {
    meter
        .u64_observable_gauge(name)
        .with_description(help)
        .with_callback(move |gauge| {
            if let Some(up) = up() {
                gauge.observe(up.into(), &[]);
            }
        })
        .build();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Exporter;

    #[test]
    fn whoever_was_never_asked_is_neither_up_nor_down() {
        let exporter = Exporter::new().unwrap();
        export_postgres(&exporter.meter(), Arc::new(|| None), Arc::new(|| Pool { in_use: 0, idle: 0, max: 2 }));
        let page = exporter.page().unwrap();
        assert!(
            !page.contains("rowcount_postgres_up") && page.contains("rowcount_postgres_connections_max 2"),
            "{page}"
        );
    }
}
