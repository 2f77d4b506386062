//! The pages of the ops port.

use std::{collections::HashMap, error::Error, fmt::Write};

use axum::{
    Extension,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse, Response},
};

use crate::{
    credentials::Role,
    incoming::Peer,
    metrics::{Exporter, build},
    ops::{OpsState, Part},
};

const INDEX: &str = r#"<!doctype html>
<html lang="en"><meta charset="utf-8"><title>rowcount</title>
<h1>rowcount</h1>
<ul>
<li><a href="/metrics">/metrics</a></li>
<li><a href="/readyz?verbose">/readyz?verbose</a></li>
<li><a href="/livez">/livez</a></li>
<li><a href="/version">/version</a></li>
<li><a href="/config">/config</a></li>
</ul>
"#;

pub async fn index() -> Html<&'static str> {
    shell()
}

/// The page at `/`, which holds nothing that a reader only may see.
pub fn shell() -> Html<&'static str> {
    Html(INDEX)
}

pub async fn livez() -> &'static str {
    "ok\n"
}

/// For everybody; but what a part has to say may name hosts, and is for those who may read.
pub async fn readyz(
    State(state): State<OpsState>,
    Query(query): Query<HashMap<String, String>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Response {
    let ready = (state.ready)();
    let mut body = String::new();
    if query.contains_key("verbose") {
        let is_reader = state.access.admit(Role::Read, &headers, peer.as_deref()).is_ok();
        for mut part in (state.parts)() {
            if !is_reader {
                part.detail.clear();
            }
            write_part(&mut body, &part);
        }
    }
    body.push_str(if ready { "ready\n" } else { "not ready: starting or stopping\n" });
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, body).into_response()
}

pub async fn version() -> Response {
    let body = serde_json::json!({ "version": build::VERSION, "revision": build::REVISION }).to_string();
    ([(CONTENT_TYPE, "application/json")], body + "\n").into_response()
}

pub async fn config(State(state): State<OpsState>) -> String {
    state.config.to_string()
}

pub async fn metrics(State(state): State<OpsState>) -> Response {
    match state.metrics.page() {
        Ok(page) => ([(CONTENT_TYPE, Exporter::CONTENT_TYPE)], page).into_response(),
        Err(error) => {
            tracing::error!(error = &error as &dyn Error, "the metrics page cannot be made");
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics page cannot be made: see the log\n").into_response()
        }
    }
}

pub async fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "no such page: / lists them\n")
}

/// As Kubernetes' own components list theirs.
fn write_part(body: &mut String, part: &Part) {
    let Part { name, ok, detail } = part;
    let (sign, word) = if *ok { ('+', "ok") } else { ('-', "failed") };
    let separator = if detail.is_empty() { "" } else { ": " };
    let _ = writeln!(body, "[{sign}]{name} {word}{separator}{detail}");
}
