//! What PostgreSQL counted: the top-level statements of a database by verb, as pg_stat_statements has them.

use sqlx::{Connection, PgConnection};

use super::{query::Verb, sent::Operations};

/// Counts of one database since its statistics were reset. Reading them adds nothing that they would count.
pub async fn counted(url: &str) -> Result<Operations, sqlx::Error> {
    let sql = "SELECT lower(substring(query FROM '^\\s*(\\w+)')), sum(calls)::bigint FROM pg_stat_statements \
               WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND toplevel \
               AND query NOT LIKE '%pg_stat_statements%' GROUP BY 1";
    let mut connection = PgConnection::connect(url).await?;
    let rows: Vec<(Option<String>, i64)> = sqlx::query_as(sql).fetch_all(&mut connection).await?;
    connection.close().await?;
    let calls = |verb: Verb| {
        let of_verb = rows
            .iter()
            .filter(|(word, _)| word.as_deref().is_some_and(|word| word.eq_ignore_ascii_case(verb.as_str())));
        of_verb.map(|(_, calls)| calls.unsigned_abs()).sum()
    };
    Ok(Operations::from(Verb::ALL.map(calls)))
}
