//! The page that Prometheus scrapes, with the two counters of a registry that tell of its load. They begin at 0 for every
//! kind that is played: they are those of a registry that has run before.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::{Encoder, IntCounterVec, Opts, Registry, TEXT_FORMAT, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::{Error, player::Stage};

/// A listener that answers `/metrics`; dropping it ends it.
pub(super) struct Page {
    addr: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

// === impl Page ===

impl Page {
    /// Listens, then serves.
    pub(super) async fn start(listen: SocketAddr, handler: &'static str, stage: Arc<Stage>) -> Result<Self, Error> {
        let no_listen = |source| Error::Listen { addr: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(no_listen)?;
        let addr = listener.local_addr().map_err(no_listen)?;
        let router = Router::new().route("/metrics", get(metrics)).with_state((handler, stage));
        let serve = async move {
            // It never ends by itself: an error of accepting is waited out.
            let _ = axum::serve(listener, router).await;
        };
        Ok(Self { addr, _task: AbortOnDropHandle::new(tokio::spawn(serve)) })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn metrics(State((handler, stage)): State<(&'static str, Arc<Stage>)>) -> Response {
    match text(handler, &stage) {
        Ok(text) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn text(handler: &str, stage: &Stage) -> Result<Vec<u8>, prometheus::Error> {
    let help = "A counter for requests to the wrapped handler.";
    let requests = IntCounterVec::new(Opts::new("registry_http_requests_total", help), &["code", "method", handler])?;
    let help = "A counter for database queries.";
    let queries = IntCounterVec::new(Opts::new("registry_database_queries_total", help), &["name"])?;
    let sent = stage.tally.sent();
    for (kind, count) in &sent.requests {
        requests.with_label_values(&[kind.code, kind.method, kind.handler]).inc_by(*count);
    }
    for (name, count) in &sent.queries {
        queries.with_label_values(&[*name]).inc_by(*count);
    }
    let registry = Registry::new();
    registry.register(Box::new(requests))?;
    registry.register(Box::new(queries))?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}
