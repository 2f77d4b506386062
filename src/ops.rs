//! The ops port: probes, the metrics page, the status page, the version, the settings. Every answer is made from memory: no request
//! waits for PostgreSQL, for Redis or for the lease.

use std::sync::Arc;

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Exporter;

mod connections;
pub mod history;
pub mod page;
mod pages;
pub mod status;

/// Whether this instance takes calls: true once both ports listen, false as soon as it stops.
pub type ReadySource = Arc<dyn Fn() -> bool + Send + Sync>;

/// The parts of the service as they are known now. Must not block.
pub type PartsSource = Arc<dyn Fn() -> Vec<Part> + Send + Sync>;

/// What the status page shows, with the last values after a revision of theirs. Must not block.
pub type StatusSource = Arc<dyn Fn(i64) -> anyhow::Result<serde_json::Value> + Send + Sync>;

/// One part of the service, for people who ask why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// postgres, redis, lease, snapshot.
    pub name: &'static str,
    /// Whether all is well.
    pub ok: bool,
    /// In which state it is; may be empty.
    pub detail: String,
}

/// What the pages are made from.
#[derive(Clone)]
pub struct OpsState {
    /// Decides `/readyz`.
    pub ready: ReadySource,
    /// Listed by `/readyz?verbose`; decides nothing.
    pub parts: PartsSource,
    /// Fetched by the status page.
    pub status: StatusSource,
    /// The effective settings, redacted.
    pub config: Arc<str>,
    /// The metrics page.
    pub metrics: Exporter,
}

/// Serves the ops port until `stop`, then for a second more at most what has begun.
pub async fn serve(listener: TcpListener, state: OpsState, stop: CancellationToken) {
    connections::serve(listener, router(state), connections::LIMITS, stop).await;
}

fn router(state: OpsState) -> Router {
    Router::new()
        .route("/", get(pages::index))
        .route("/status", get(pages::status))
        .route("/livez", get(pages::livez))
        .route("/readyz", get(pages::readyz))
        .route("/version", get(pages::version))
        .route("/config", get(pages::config))
        .route("/metrics", get(pages::metrics))
        .fallback(pages::not_found)
        .with_state(state)
}
