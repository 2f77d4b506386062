//! The pages of the ops port.

use std::{collections::HashMap, error::Error, fmt::Write};

use axum::{
    Extension,
    extract::{Query, State},
    http::{
        HeaderMap, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};

use crate::{
    credentials::Role,
    incoming::Peer,
    metrics::{Exporter, build},
    ops::{OpsState, Part, page},
};

pub async fn index() -> Response {
    page::shell(StatusCode::OK)
}

/// For the page: made anew at each look, and no longer than that.
pub async fn status(State(state): State<OpsState>, Query(query): Query<HashMap<String, String>>) -> Response {
    let Ok(after) = query.get("after").map_or(Ok(0), |after| after.parse()) else {
        return (StatusCode::BAD_REQUEST, "after: want the revision of the history that is known\n").into_response();
    };
    match (state.status)(after) {
        Ok(status) => {
            let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
            (headers, status.to_string() + "\n").into_response()
        }
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the status cannot be made");
            (StatusCode::INTERNAL_SERVER_ERROR, "the status cannot be made: see the log\n").into_response()
        }
    }
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
    (StatusCode::NOT_FOUND, "no such page: / links to them\n")
}

/// As Kubernetes' own components list theirs.
fn write_part(body: &mut String, part: &Part) {
    let Part { name, ok, detail } = part;
    let (sign, word) = if *ok { ('+', "ok") } else { ('-', "failed") };
    let separator = if detail.is_empty() { "" } else { ": " };
    let _ = writeln!(body, "[{sign}]{name} {word}{separator}{detail}");
}
