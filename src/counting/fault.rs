//! Why a session failed, as a `Failure`. No message holds a secret, SQL text or data of the user's: the server's own
//! words are passed on only for the classes of errors whose words are about names and resources.

use std::time::Duration;

use humantime::format_duration;
use sqlx::{
    error::DatabaseError,
    postgres::{PgDatabaseError, PgErrorPosition, PgSeverity},
};

use crate::{
    counting::statement,
    failure::{Failure, FailureReason},
};

/// What is left of a session after a statement that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// The server refused the statement and waits for the next one.
    Usable,
    /// The server has ended the session.
    Gone,
    /// Not known.
    Unknown,
}

/// Longest text of the server's that is passed on, in characters.
const LONGEST_TEXT: usize = 200;

/// Classes of SQLSTATE whose messages name objects, settings and resources, never values.
const PASSED_ON: [&str; 8] = ["0A", "25", "40", "42", "53", "54", "55", "57"];

/// A connection that was not made.
pub fn of_connecting(error: &sqlx::Error) -> Failure {
    let cause = match error {
        sqlx::Error::Database(error) => brief(error.message()),
        sqlx::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    Failure::new(FailureReason::Connection, format!("cannot connect to the database: {cause}"))
}

/// A statement that failed after `elapsed`, with `limit` on the server. An undefined table is `TableMissing`; whoever
/// asked knows whether that is a failure.
pub fn of_statement(error: &sqlx::Error, limit: Duration, elapsed: Duration) -> (Failure, Remains) {
    let connection = |cause: String| Failure::new(FailureReason::Connection, format!("the connection broke: {cause}"));
    match error {
        sqlx::Error::Database(error) => {
            let fatal = error
                .try_downcast_ref::<PgDatabaseError>()
                .is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic));
            if fatal {
                (connection(brief(error.message())), Remains::Gone)
            } else {
                (of_server(&**error, limit, elapsed), Remains::Usable)
            }
        }
        sqlx::Error::Io(error) => (connection(error.to_string()), Remains::Gone),
        other => (connection(other.to_string()), Remains::Unknown),
    }
}

fn of_server(error: &dyn DatabaseError, limit: Duration, elapsed: Duration) -> Failure {
    let code = error.code().unwrap_or_default();
    let reason = match &*code {
        // We never cancel a statement by its process id, so before its time it was somebody else who did.
        "57014" if elapsed >= limit => FailureReason::Timeout,
        "55P03" => FailureReason::Locked,
        "42501" => FailureReason::Permission,
        "42P01" => FailureReason::TableMissing,
        "22003" => FailureReason::WrongResult,
        _ => FailureReason::Sql,
    };
    let text = match reason {
        FailureReason::Timeout => format!("not done within {}", format_duration(limit)),
        FailureReason::WrongResult => "a number is out of its type's range".to_owned(),
        _ if code == "42601" => match syntax_error_at(error) {
            Some(character) => format!("syntax error at character {character}"),
            None => "syntax error".to_owned(),
        },
        _ if is_passed_on(&code) => brief(error.message()),
        _ => "the statement failed; the server's log has the message".to_owned(),
    };
    Failure::new(reason, format!("{text} (SQLSTATE {code})"))
}

/// Where in the user's SQL, from 1.
fn syntax_error_at(error: &dyn DatabaseError) -> Option<usize> {
    match error.try_downcast_ref::<PgDatabaseError>()?.position()? {
        PgErrorPosition::Original(position) => position.checked_sub(statement::OFFSET),
        PgErrorPosition::Internal { .. } => None,
    }
}

fn is_passed_on(code: &str) -> bool {
    PASSED_ON.iter().any(|class| code.starts_with(class))
}

fn brief(message: &str) -> String {
    message.lines().next().unwrap_or_default().chars().take(LONGEST_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_about_values_are_not_passed_on() {
        assert!(is_passed_on("42703") && is_passed_on("25006"));
        for code in ["22P02", "P0001", "38000", "XX000", ""] {
            assert!(!is_passed_on(code), "{code}");
        }
    }

    #[test]
    fn a_message_is_cut_to_its_first_line_and_a_length() {
        assert_eq!(brief("a\nb"), "a");
        assert_eq!(brief(&"é".repeat(300)).chars().count(), 200);
    }
}
