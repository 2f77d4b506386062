//! Asks for what a reader must have, before the page is made.

use axum::{
    extract::{Request, State},
    http::{
        StatusCode,
        header::{HeaderValue, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::debug;

use crate::{
    access::{Access, Denial},
    credentials::Role,
    incoming::Peer,
};

use super::page;

/// Lets those pass who may read.
pub async fn readers(State(access): State<Access>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    match access.admit(Role::Read, request.headers(), request.extensions().get::<Peer>()) {
        Ok(_) => next.run(request).await,
        Err(denial) => {
            let peer = request.extensions().get::<Peer>().map(|peer| tracing::field::display(peer.addr));
            debug!(path, peer, %denial, "Request denied");
            denied(path, &denial)
        }
    }
}

/// The page at `/` holds no data and can ask for the token itself: who lacks only that gets it, under the same status.
fn denied(path: &str, denial: &Denial) -> Response {
    let status = if denial.is_unknown() { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
    let mut response = if path == "/" && denial.is_of_token() {
        page::shell(status)
    } else {
        (status, format!("{denial}\n")).into_response()
    };
    if denial.is_unknown() {
        let challenge = match denial {
            Denial::UnknownToken => r#"Bearer realm="rowcount", error="invalid_token""#,
            _ => r#"Bearer realm="rowcount""#,
        };
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}
