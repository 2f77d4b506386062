//! Why a Prometheus gave no rates: the URL that was asked, which holds no secret, the cause, and what to do about it.
//! Whatever others wrote is cut short.

use std::{error::Error as StdError, io, time::Duration};

use reqwest::StatusCode;

use super::promql::duration;

/// Longest text of somebody else's that is passed on, in characters.
const LONGEST_TEXT: usize = 300;

/// A Prometheus that gave no rates.
#[derive(Debug, thiserror::Error)]
#[error("Prometheus at {url}: {cause}")]
pub struct Error {
    /// What was asked; holds no secret.
    pub url: String,
    /// Why it was in vain.
    pub cause: Cause,
}

/// Why a Prometheus gave no rates.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// A secret or a file that the configuration names cannot be used.
    #[error("cannot use {setting}: {why}")]
    Setting {
        /// Its key.
        setting: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The libraries refuse the configuration as a whole.
    #[error("cannot make a client: {0}; check rates.prometheus.tls")]
    Client(String),
    /// Nobody answers there.
    #[error("cannot connect: {0}; is it running? check rates.prometheus.url")]
    Connect(String),
    /// One side does not trust the other, or speaks no TLS.
    #[error(
        "no TLS connection: {0}; check rates.prometheus.tls.ca, and certificate and key where the server wants them"
    )]
    Tls(String),
    /// Not all of the answer came within this time.
    #[error(
        "no whole answer within {}; ask for a shorter window or raise rates.prometheus.timeout",
        duration(*.0)
    )]
    Timeout(Duration),
    /// The connection ended before the answer did, or what came is no HTTP.
    #[error("the connection broke: {0}; does rates.prometheus.url name the port of a Prometheus?")]
    Broken(String),
    /// It is elsewhere.
    #[error("answers {status} and leads to {location}, which is not followed; set rates.prometheus.url to where it is")]
    Redirect {
        /// 3xx.
        status: StatusCode,
        /// Where to, without user, query and fragment.
        location: String,
    },
    /// Not for us: 401 or 403.
    #[error("answers {0}; check rates.prometheus.token, or username and password, and tenant")]
    Refused(StatusCode),
    /// An error that is none of Prometheus's own.
    #[error("answers {0}, and not as a Prometheus would; does rates.prometheus.url name one?")]
    Status(StatusCode),
    /// Prometheus itself says no.
    #[error("cannot answer: {kind}: {message}")]
    Api {
        /// Its own word for the class: `bad_data`, `execution`, `timeout`…
        kind: String,
        /// What it says.
        message: String,
    },
    /// More than anybody needs; reading stopped after so many bytes.
    #[error("the answer is longer than {0} bytes and was not read on; are there labels that no registry has?")]
    TooLarge(usize),
    /// HTML, most of the time.
    #[error("the answer is no JSON: {0}; does rates.prometheus.url name a Prometheus?")]
    NotJson(String),
    /// JSON of something else.
    #[error("the answer is JSON, but not a Prometheus's: {0}; does rates.prometheus.url name one?")]
    Shape(String),
    /// An answer to another question: `matrix`, `scalar`, `string` or worse.
    #[error("answers with a {0} where a vector was asked for; is it a Prometheus of version 2 or 3?")]
    ResultType(String),
    /// A rate, a time or a count that cannot be one.
    #[error("answers with the value {value} for {labels}, which is no rate; is the metric a counter?")]
    Value {
        /// Whose.
        labels: String,
        /// What it is.
        value: String,
    },
    /// Nothing to make a rate of.
    #[error(
        "has no series of {what} in the {} before {at}; is the registry scraped, and was it at that time?",
        duration(*.window)
    )]
    NoSeries {
        /// The metric, with what is left out of it.
        what: String,
        /// How far back.
        window: Duration,
        /// From when.
        at: String,
    },
    /// Too little to make a rate of.
    #[error(
        "has at most {samples} samples of a series of {metric} in the {} before {at}, too few for a rate; ask for a \
         longer window, or again when more was scraped",
        duration(*.window)
    )]
    FewSamples {
        /// The metric.
        metric: &'static str,
        /// Of the series that has the most.
        samples: u64,
        /// How far back there are samples, or were asked for.
        window: Duration,
        /// From when.
        at: String,
    },
}

/// What helps against a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Asking again.
    Retry,
    /// Another window or time, or more scrapes.
    MoreData,
    /// Other settings, or another server there.
    Configuration,
}

// === impl Cause ===

impl Cause {
    /// What helps against it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Connect(_) | Self::Timeout(_) | Self::Broken(_) => Remedy::Retry,
            Self::Status(status) if status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS => {
                Remedy::Retry
            }
            Self::Api { kind, .. } if kind != "bad_data" => Remedy::Retry,
            Self::NoSeries { .. } | Self::FewSamples { .. } => Remedy::MoreData,
            Self::Setting { .. }
            | Self::Client(_)
            | Self::Tls(_)
            | Self::Redirect { .. }
            | Self::Refused(_)
            | Self::Status(_)
            | Self::Api { .. }
            | Self::TooLarge(_)
            | Self::NotJson(_)
            | Self::Shape(_)
            | Self::ResultType(_)
            | Self::Value { .. } => Remedy::Configuration,
        }
    }

    /// Of a request that was not answered, or not to its end.
    pub(super) fn of_request(error: &reqwest::Error, timeout: Duration) -> Self {
        if error.is_timeout() {
            return Self::Timeout(timeout);
        }
        if let Some(tls) = causes(error).find_map(as_tls) {
            return Self::Tls(brief(&tls.to_string()));
        }
        let why = root(error);
        if error.is_connect() { Self::Connect(why) } else { Self::Broken(why) }
    }
}

/// The last cause, which is the one that says something: "connection refused".
pub fn root(error: &(dyn StdError + 'static)) -> String {
    brief(&causes(error).last().unwrap_or(error).to_string())
}

/// Somebody else's text on one line, cut short, without what a terminal would act on.
pub fn brief(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => text[..end].chars().map(clean).chain(['…']).collect(),
        None => text.chars().map(clean).collect(),
    }
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// An error of I/O hides the one that it was made of from `source`, and may be made of another one of I/O.
fn as_tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.downcast_ref().or_else(|| as_tls(inner?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_tls_is_found_in_errors_of_io() {
        let tls = rustls::Error::HandshakeNotComplete;
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls.clone()));
        assert_eq!(as_tls(&wrapped), Some(&tls));
        assert_eq!(as_tls(&io::Error::other("reset")), None);
    }

    #[test]
    fn what_others_wrote_is_cut_to_one_short_line() {
        assert_eq!(brief("a\nb\x1b[31m"), "a b [31m");
        let long = brief(&"é".repeat(1000));
        assert_eq!(long.chars().count(), LONGEST_TEXT + 1);
        assert!(long.ends_with('…'));
    }
}
