//! The status page: one document with its style and its script in it, the same for everybody. It holds no data, so it
//! may be shown to whoever lacks a token: its script fetches `/status`, and asks for a token when that wants one.

use std::sync::LazyLock;

use axum::{
    http::{
        HeaderName, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

const DOCUMENT: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");

/// One module: each part uses what comes before it.
const SCRIPT: &str = concat!(
    include_str!("page/format.js"),
    include_str!("page/view.js"),
    include_str!("page/counts.js"),
    include_str!("page/poll.js"),
);

static PAGE: LazyLock<String> =
    LazyLock::new(|| DOCUMENT.replace("/* style */", STYLE).replace("/* script */", SCRIPT));

/// What the page may do: run and use what is in it, and fetch from where it came from. Nothing that is fetched can
/// become a script or a style, whatever a name or an error message holds.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        hash(SCRIPT),
        hash(STYLE)
    )
});

/// The page, as the body of an answer of this status.
pub fn shell(status: StatusCode) -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, &POLICY),
        (CACHE_CONTROL, "no-cache"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, PAGE.as_str()).into_response()
}
