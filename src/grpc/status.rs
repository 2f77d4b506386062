//! The one place that turns what went wrong into a gRPC status: canonical code, `ErrorInfo`, `RetryInfo` where a retry
//! helps, `BadRequest` for what the caller wrote.

use std::{collections::HashMap, fmt::Display, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tracing::{debug, warn};

use crate::{
    access::Denial,
    board, estimator,
    failure::{Failure, FailureReason},
    observer,
    prometheus::{self, Remedy},
    rates::Invalid,
};

/// Of every `ErrorInfo`.
const DOMAIN: &str = "rowcount.v1";

/// When a call that the store or a stop refused may be tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A value in the request that cannot be.
pub fn invalid_field(field: &str, problem: impl Display) -> Status {
    let message = format!("{field}: {problem}");
    let mut details = with_reason("INVALID_FIELD", [("field", field.to_owned())]);
    details.add_bad_request_violation(field, problem.to_string());
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// The same, of an estimate's question.
pub fn of_invalid(error: &Invalid) -> Status {
    invalid_field(&error.field, &error.problem)
}

/// A question for a Prometheus that is not configured.
pub fn no_prometheus(error: &impl Display) -> Status {
    let details = with_reason("PROMETHEUS_NOT_CONFIGURED", []);
    Status::with_error_details(Code::FailedPrecondition, error.to_string(), details)
}

/// Prometheus did not answer, or not with rates: only what may pass by itself is worth a retry. Its address and what is
/// wrong with the settings are for the log: callers have neither.
pub fn prometheus_failed(error: &prometheus::Error) -> Status {
    warn!(%error, "Prometheus gave no rates");
    let (reason, message) = match error.cause.remedy() {
        Remedy::Retry => return unavailable("PROMETHEUS_UNAVAILABLE", &format!("Prometheus {}", error.cause)),
        Remedy::MoreData => ("NO_DATA", format!("Prometheus {}", error.cause)),
        Remedy::Configuration => (
            "PROMETHEUS_UNUSABLE",
            "Prometheus cannot be asked as it is configured; this instance's log says why".into(),
        ),
    };
    Status::with_error_details(Code::FailedPrecondition, message, with_reason(reason, []))
}

/// An estimate that was not made.
pub fn of_estimator(error: &estimator::Error) -> Status {
    match error {
        estimator::Error::Invalid(error) => of_invalid(error),
        estimator::Error::NoPrometheus => no_prometheus(error),
        estimator::Error::Prometheus(error) => prometheus_failed(error),
    }
}

/// What ran was not observed.
pub fn of_observer(error: &observer::Error) -> Status {
    let told = error.to_string();
    let lacks = |reason| Status::with_error_details(Code::FailedPrecondition, told.clone(), with_reason(reason, []));
    match error {
        observer::Error::NoDatabase => lacks("DATABASE_NOT_CONFIGURED"),
        observer::Error::NoPrometheus => no_prometheus(error),
        observer::Error::Unusable(_) => lacks("STATEMENTS_UNAVAILABLE"),
        observer::Error::Prometheus(error) => prometheus_failed(error),
        observer::Error::TooShort(_) => {
            let mut details = with_reason("STATISTICS_RESET", []);
            details.set_retry_info(Some(RETRY_AFTER));
            Status::with_error_details(Code::Aborted, told, details)
        }
        observer::Error::Database(failure) => match failure.reason {
            // Nobody cancels a reading of the statistics but the end of the process.
            FailureReason::Cancelled => shutting_down(),
            FailureReason::Connection | FailureReason::Timeout | FailureReason::Locked => {
                unavailable("DATABASE_UNAVAILABLE", &told)
            }
            _ => lacks("STATISTICS_UNREADABLE"),
        },
    }
}

/// Another validation has the turn, for about this long.
pub fn validation_running(left: Duration) -> Status {
    let mut details = with_reason("VALIDATION_RUNNING", []);
    details.set_retry_info(Some(left.max(RETRY_AFTER)));
    let message = "a validation runs on this instance already, and there is one at a time";
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// A bug of ours; what it is was logged where it was noticed.
pub fn internal() -> Status {
    Status::internal("the server failed; its log tells how")
}

/// Names that no query has.
pub fn unknown_queries(names: &[String]) -> Status {
    let listed = names.join(", ");
    let details = with_reason("UNKNOWN_QUERY", [("query_names", listed.clone())]);
    Status::with_error_details(
        Code::NotFound,
        format!("no such query: {listed}; ListQueries tells those that are configured"),
        details,
    )
}

/// Values older than the caller accepts.
pub fn data_too_old(names: &[&str], max_age: Duration) -> Status {
    let listed = names.join(", ");
    let limit = humantime::format_duration(max_age);
    let details = with_reason("DATA_TOO_OLD", [("query_names", listed.clone()), ("max_age", limit.to_string())]);
    Status::with_error_details(
        Code::FailedPrecondition,
        format!("older than {limit}, or never counted: {listed}"),
        details,
    )
}

/// An id that is not, or no longer, remembered.
pub fn collection_not_found(id: impl Display) -> Status {
    let details = with_reason("COLLECTION_NOT_FOUND", [("collection_id", id.to_string())]);
    Status::with_error_details(Code::NotFound, format!("collection {id} is not remembered"), details)
}

/// A request id that came before with other queries.
pub fn request_id_reused(id: impl Display) -> Status {
    let details = with_reason("REQUEST_ID_REUSED", [("request_id", id.to_string())]);
    let message = format!("request_id {id} was used for other queries; make a new one");
    Status::with_error_details(Code::AlreadyExists, message, details)
}

/// More calls wait than are let in.
pub fn too_many_waiters(limit: usize) -> Status {
    exhausted("TOO_MANY_WAITERS", format!("{limit} calls wait on this instance already"))
}

/// More streams are open than are let in.
pub fn too_many_streams(limit: usize) -> Status {
    exhausted("TOO_MANY_STREAMS", format!("{limit} streams are open on this instance already"))
}

/// This instance is stopping; another one answers.
pub fn shutting_down() -> Status {
    unavailable("SHUTTING_DOWN", "this instance is stopping")
}

/// A stream has been open for as long as one may.
pub fn stream_too_old() -> Status {
    unavailable("STREAM_TOO_OLD", "the stream has reached its age; call again")
}

/// Nobody holds the lease.
pub fn no_leader() -> Status {
    unavailable("NO_LEADER", "nobody holds the lease")
}

/// The store of lease and board is out of reach. The cause may name hosts, so it is logged and not sent; the lease and
/// the mirror tell of the outage once, so here it is a detail.
pub fn store_unavailable(error: &impl Display) -> Status {
    debug!(%error, "A call could not reach the board");
    unavailable("LEASE_STORE_UNAVAILABLE", "the store of lease and board is out of reach")
}

/// What was waited for is gone with the store's data.
pub fn store_lost_data() -> Status {
    unavailable("LEASE_STORE_UNAVAILABLE", "the store lost the collection that was waited for; trigger again")
}

/// The holder did not do in time what the board asked of it.
pub fn not_resigned(waited: Duration) -> Status {
    let limit = humantime::format_duration(waited);
    let details = with_reason("NOT_RESIGNED", []);
    Status::with_error_details(Code::DeadlineExceeded, format!("the holder did not resign within {limit}"), details)
}

/// A caller without what the method needs.
pub fn denied(denial: &Denial) -> Status {
    let (reason, role) = match denial {
        Denial::NoCertificate => ("CERTIFICATE_REQUIRED", None),
        Denial::NameNotAllowed => ("NAME_NOT_ALLOWED", None),
        Denial::NoToken => ("TOKEN_REQUIRED", None),
        Denial::UnknownToken => ("UNKNOWN_TOKEN", None),
        Denial::WeakRole { name: _, has: _, needed } => ("ROLE_REQUIRED", Some(*needed)),
    };
    let details = match role {
        Some(role) => with_reason(reason, [("role", role.as_str().to_owned())]),
        None => with_reason(reason, []),
    };
    let code = if denial.is_unknown() { Code::Unauthenticated } else { Code::PermissionDenied };
    Status::with_error_details(code, denial.to_string(), details)
}

/// The caller's deadline passed.
pub fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the deadline of the call passed")
}

/// The board's error at a call.
pub fn from_board(error: &board::Error) -> Status {
    store_unavailable(error)
}

/// The error of a run, as a part of an answer.
pub fn of_failure(failure: &Failure) -> tonic_types::pb::Status {
    let (code, reason) = match failure.reason {
        FailureReason::TableMissing => (Code::NotFound, "TABLE_MISSING"),
        FailureReason::Timeout => (Code::DeadlineExceeded, "TIMEOUT"),
        FailureReason::Locked => (Code::Aborted, "LOCKED"),
        FailureReason::Permission => (Code::PermissionDenied, "PERMISSION"),
        FailureReason::Sql => (Code::FailedPrecondition, "SQL"),
        FailureReason::WrongResult => (Code::FailedPrecondition, "WRONG_RESULT"),
        FailureReason::Connection => (Code::Unavailable, "CONNECTION"),
        FailureReason::Cancelled => (Code::Cancelled, "CANCELLED"),
    };
    embedded(code, reason, &failure.message)
}

/// An error of the lease store, as a part of an answer.
pub fn of_lease_error(message: &str) -> tonic_types::pb::Status {
    embedded(Code::Unavailable, "LEASE_STORE_UNAVAILABLE", message)
}

fn embedded(code: Code, reason: &str, message: &str) -> tonic_types::pb::Status {
    use prost::Message;
    let status = Status::with_error_details(code, message, with_reason(reason, []));
    // Encoded by tonic-types a line above, so it decodes.
    tonic_types::pb::Status::decode(status.details()).unwrap_or_else(|_| tonic_types::pb::Status {
        code: code as i32,
        message: message.to_owned(),
        details: Vec::new(),
    })
}

fn exhausted(reason: &str, message: String) -> Status {
    let mut details = with_reason(reason, []);
    details.set_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

fn unavailable(reason: &str, message: &str) -> Status {
    let mut details = with_reason(reason, []);
    details.set_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(Code::Unavailable, message, details)
}

fn with_reason<const N: usize>(reason: &str, metadata: [(&str, String); N]) -> ErrorDetails {
    let metadata: HashMap<String, String> = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    ErrorDetails::with_error_info(reason, DOMAIN, metadata)
}
