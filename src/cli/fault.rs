//! What an RPC's error says to people, on one line: code, where, message, reason, what to do.

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::metrics::rpc::code_name;

use super::{handshake, text};

/// What tonic says on both sides when the time in `grpc-timeout` is over, under a code that means something else.
const TIMEOUT_EXPIRED: &str = "Timeout expired";

/// The server of a call, as far as its errors tell of it.
#[derive(Clone, Debug)]
pub struct Server {
    /// As it was given.
    pub url: String,
    /// Whether it is shown a certificate.
    pub has_certificate: bool,
}

// === impl Server ===

impl Server {
    /// What helps when a connection ended without an answer. A server that does not believe a certificate closes it, and
    /// so does one that was not spoken to as it speaks.
    fn transport_hint(&self) -> Option<&'static str> {
        if self.url.starts_with("http:") {
            Some("if the server speaks TLS there, use an https:// URL")
        } else if self.has_certificate {
            Some("the server may not believe the certificate of --tls-cert")
        } else {
            None
        }
    }
}

/// The line for an error that `server` answered with, or that calling it ended with.
pub fn line(status: &Status, server: &Server) -> String {
    let code = code(status);
    let mut line = format!("{} from {}", code_name(code), server.url);
    if !status.message().is_empty() {
        line += &format!(": {}", text::one_line(status.message()));
    }
    if let Some(cause) = std::error::Error::source(status).map(root) {
        line += &format!(": {cause}");
    }
    if let Some(info) = status.get_details_error_info() {
        line += &format!(" ({})", info.reason);
    }
    if let Some(delay) = status.get_details_retry_info().and_then(|retry| retry.retry_delay) {
        line += &format!("; try again in {}", text::span(delay));
    } else if let Some(hint) = hint(status, code, server) {
        line += &format!("; {hint}");
    }
    line
}

/// The line for a `server` that no connection could be made to.
pub fn unreachable(server: &str, why: &(dyn std::error::Error + 'static)) -> String {
    let cause = text::one_line(&root(why).to_string());
    let hint = handshake::hint(why).unwrap_or(if server.starts_with("https:") {
        "is `rowcount serve` running there, with TLS? set --server or ROWCOUNT_SERVER"
    } else {
        "is `rowcount serve` running there? set --server or ROWCOUNT_SERVER"
    });
    format!("cannot reach {server}: {cause}; {hint}")
}

/// The last cause, which is the one that says something: "connection refused".
pub fn root<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    std::iter::successors(Some(error), |error| error.source()).last().unwrap_or(error)
}

fn code(status: &Status) -> Code {
    match status.code() {
        Code::Cancelled if status.message() == TIMEOUT_EXPIRED => Code::DeadlineExceeded,
        code => code,
    }
}

fn hint(status: &Status, code: Code, server: &Server) -> Option<&'static str> {
    let reason = status.get_details_error_info().map(|info| info.reason);
    match reason.as_deref() {
        Some("CERTIFICATE_REQUIRED") => return Some("give one with --tls-cert and --tls-key"),
        Some("NAME_NOT_ALLOWED") => return Some("use a certificate with a name of the server's grpc.tls.allowednames"),
        _ => {}
    }
    let cause = std::error::Error::source(status).filter(|_| code != Code::DeadlineExceeded);
    if let Some(cause) = cause {
        return handshake::hint(cause).or_else(|| server.transport_hint());
    }
    match code {
        Code::DeadlineExceeded => Some("raise --timeout"),
        Code::Unauthenticated => Some("name a token that the server knows with --token-file"),
        Code::PermissionDenied => Some("use a token of the role that the call needs"),
        Code::Unimplemented => Some("is this a rowcount server, and of this version?"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use tonic_types::ErrorDetails;

    use super::*;

    fn line(status: &Status, url: &str) -> String {
        super::line(status, &Server { url: url.to_owned(), has_certificate: false })
    }

    #[test]
    fn code_place_message_and_reason_are_told() {
        let details = ErrorDetails::with_error_info("UNKNOWN_QUERY", "rowcount.v1", HashMap::new());
        let status = Status::with_error_details(Code::NotFound, "no query\nis named x", details);
        assert_eq!(line(&status, "http://a:1"), "NOT_FOUND from http://a:1: no query is named x (UNKNOWN_QUERY)");
    }

    #[test]
    fn a_delay_is_told() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(2)));
        let status = Status::with_error_details(Code::Unavailable, "stopping", details);
        assert_eq!(line(&status, "http://a:1"), "UNAVAILABLE from http://a:1: stopping; try again in 2s");
    }

    #[test]
    fn the_end_of_the_time_is_called_by_its_name() {
        let told = line(&Status::cancelled(TIMEOUT_EXPIRED), "http://a:1");
        assert_eq!(told, "DEADLINE_EXCEEDED from http://a:1: Timeout expired; raise --timeout");
        assert_eq!(line(&Status::cancelled("stopped"), "http://a:1"), "CANCELLED from http://a:1: stopped");
    }
}
