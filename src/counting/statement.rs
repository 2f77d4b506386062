//! The statements that are sent, and what may be taken for their answer: exactly one row of exactly one integer.

use std::time::Duration;

use sqlx::{Column, Row, TypeInfo, postgres::PgRow};

use crate::{
    failure::{Failure, FailureReason},
    query::{Query, Source},
    rates::validation::purpose::MARK,
};

/// How many characters `count` puts before the user's SQL.
pub const OFFSET: usize = BEFORE.len();

/// The statement that counts runs inside ours, so that it can only be one that reads, and an answer of any number of
/// rows costs no more than two. Beside the answer stands its time on the server, see `count_of`. It begins with `MARK`
/// behind its first word.
const BEFORE: &str = "SELECT /* rowcount */ counted.*, (extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000000)::int8\
     \nFROM (\n";
const AFTER: &str = "\n) AS counted LIMIT 2";

/// The statement that counts for `query`.
pub fn count(query: &Query) -> String {
    match &query.source {
        Source::Table(table) => match query.cap {
            Some(cap) => {
                format!("{BEFORE}SELECT count(*) FROM (SELECT FROM {} LIMIT {cap}) AS rows{AFTER}", quoted(table))
            }
            None => format!("{BEFORE}SELECT count(*) FROM {}{AFTER}", quoted(table)),
        },
        Source::Statement { sql, .. } => {
            format!("{BEFORE}{}{AFTER}", sql.trim_end_matches(|c: char| c == ';' || c.is_whitespace()))
        }
    }
}

/// The statement that asks the planner how many rows `table` has.
pub fn estimate(table: &str) -> String {
    format!("EXPLAIN {MARK} SELECT FROM {}", quoted(table))
}

/// The statement that asks the planner what `count` would cost.
pub fn plan(query: &Query) -> String {
    format!("EXPLAIN {MARK} {}", count(query))
}

/// The integer in the answer to `count`, and how long before the answer its statement began.
///
/// The server takes the snapshot when it binds the statement and sets statement_timestamp() after that, when it
/// executes it; so no commit after the moment that lies this long before the arrival of the answer is counted in. That
/// holds by the clock of whoever got the answer, whatever the server's clock says.
pub fn count_of(rows: &[PgRow]) -> Result<(i64, Duration), Failure> {
    let row = match rows {
        [row] => row,
        [] => return Err(wrong("no row")),
        [..] => return Err(wrong("several rows")),
    };
    match row.len() - 1 {
        1 => {}
        0 => return Err(wrong("no column")),
        columns => return Err(wrong(&format!("{columns} columns"))),
    }
    let value = match row.column(0).type_info().name() {
        "INT2" => row.try_get::<Option<i16>, _>(0).map(|value| value.map(i64::from)),
        "INT4" => row.try_get::<Option<i32>, _>(0).map(|value| value.map(i64::from)),
        "INT8" => row.try_get::<Option<i64>, _>(0),
        other => return Err(wrong(&format!("a value of type {}; cast it to bigint", other.to_lowercase()))),
    };
    let since = row.try_get::<i64, _>(1).ok().and_then(|micros| u64::try_from(micros).ok());
    match (value, since) {
        (Ok(Some(value)), Some(since)) => Ok((value, Duration::from_micros(since))),
        (Ok(None), _) => Err(wrong("NULL")),
        _ => Err(wrong("a value that cannot be read")),
    }
}

/// The estimate in the answer to `estimate`: the `rows=` of the top line.
pub fn estimate_of(rows: &[PgRow]) -> Result<i64, Failure> {
    let top: Option<&str> = rows.first().and_then(|row| row.try_get(0).ok());
    top.and_then(rows_in).ok_or_else(|| wrong("a plan without an estimate"))
}

/// The cost in the answer to `plan`, in the planner's units: that of the top line.
pub fn cost_of(rows: &[PgRow]) -> Result<f64, Failure> {
    let top: Option<&str> = rows.first().and_then(|row| row.try_get(0).ok());
    top.and_then(cost_in).ok_or_else(|| wrong("a plan without a cost"))
}

fn cost_in(line: &str) -> Option<f64> {
    let (_, after) = line.split_once("..")?;
    let (number, _) = after.split_once(' ')?;
    number.parse().ok()
}

fn rows_in(line: &str) -> Option<i64> {
    let (_, after) = line.split_once(" rows=")?;
    let (number, _) = after.split_once(' ')?;
    number.parse().ok()
}

/// The table as an identifier, with its schema before a dot.
fn quoted(table: &str) -> String {
    let part = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    table.splitn(2, '.').map(part).collect::<Vec<_>>().join(".")
}

fn wrong(got: &str) -> Failure {
    Failure::new(FailureReason::WrongResult, format!("got {got}, want one row of one integer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_quoted_with_its_schema() {
        assert_eq!(quoted("tags"), r#""tags""#);
        assert_eq!(quoted("public.Tags"), r#""public"."Tags""#);
        assert_eq!(quoted(r#"t"; DROP TABLE t"#), r#""t""; DROP TABLE t""#);
    }

    #[test]
    fn every_statement_is_marked_as_ours() {
        let source = Source::Table("tags".to_owned());
        let second = Duration::from_secs(1);
        let query = Query {
            name: "tags".parse().unwrap(),
            description: String::new(),
            source,
            method: crate::query::Method::Exact,
            cap: None,
            interval: second,
            timeout: second,
            builtin: true,
        };
        assert!(count(&query).starts_with(&format!("SELECT {MARK} ")));
        assert!(estimate("tags").starts_with(&format!("EXPLAIN {MARK} ")));
    }

    #[test]
    fn the_estimate_is_the_top_lines() {
        assert_eq!(rows_in("Append  (cost=0.00..46.60 rows=1773 width=0)"), Some(1773));
        assert_eq!(rows_in("Result"), None);
        assert_eq!(cost_in("Limit  (cost=46.60..1173.51 rows=2 width=16)"), Some(1173.51));
        assert_eq!(cost_in("Result"), None);
    }
}
