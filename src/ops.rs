//! The ops port: probes, the metrics page, the status page, the version, the settings. Every answer is made from memory:
//! no request waits for PostgreSQL, for Redis or for the lease.

use std::sync::Arc;

use axum::{Router, middleware, routing::get};
use tokio_util::sync::CancellationToken;

use crate::{access::Access, incoming::Incoming, metrics::Exporter};

mod connections;
mod guard;
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
    /// What readers are asked for.
    pub access: Access,
}

/// Serves the ops port until `stop`, then for a second more at most what has begun.
pub async fn serve(incoming: Incoming, state: OpsState, stop: CancellationToken) {
    connections::serve(incoming, router(state), connections::LIMITS, stop).await;
}

/// Probes ask for nothing; everything that tells something wants a reader.
fn router(state: OpsState) -> Router {
    let probes = Router::new().route("/livez", get(pages::livez)).route("/readyz", get(pages::readyz));
    let read = Router::new()
        .route("/", get(pages::index))
        .route("/status", get(pages::status))
        .route("/version", get(pages::version))
        .route("/config", get(pages::config))
        .route("/metrics", get(pages::metrics))
        .route_layer(middleware::from_fn_with_state(state.access.clone(), guard::readers));
    probes.merge(read).fallback(pages::not_found).with_state(state)
}
