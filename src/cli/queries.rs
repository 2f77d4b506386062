//! `rowcount queries`: what this deployment is configured to count.

use std::time::Duration;

use clap::builder::styling::Style;

use super::{
    client::{Client, ClientArgs},
    output::Output,
    table::Table,
    text,
};
use crate::proto::v1::{ListQueriesRequest, Method, Query, row_count_service_client::RowCountServiceClient};

/// Prints the queries.
pub async fn run(args: ClientArgs) -> anyhow::Result<()> {
    let answer = Client::connect(&args.connection)
        .await?
        .call(ListQueriesRequest {}, Duration::ZERO, async |service, request| {
            RowCountServiceClient::new(service).list_queries(request).await
        })
        .await?;
    let mut output = Output::new(args.output);
    if !output.is_table() {
        return output.object(&answer);
    }
    let mut table =
        Table::new(&["QUERY", "METHOD", "TABLE", "INTERVAL", "TIMEOUT", "DESCRIPTION"], &["INTERVAL", "TIMEOUT"]);
    for query in &answer.queries {
        let span = |span| text::length(span).map_or(text::NONE.to_owned(), text::span);
        let counted = if query.table.is_empty() { text::NONE } else { &query.table };
        table.row(
            Style::new(),
            vec![
                query.query_name.clone(),
                method(query),
                counted.to_owned(),
                span(query.interval),
                span(query.statement_timeout),
                query.description.clone(),
            ],
        );
    }
    Ok(output.lines(table.lines())?)
}

/// The configured method, and what `auto` came to.
fn method(query: &Query) -> String {
    let word = |method: Method| text::word(method.as_str_name(), "METHOD_");
    match query.chosen_method() {
        Method::Unspecified => word(query.method()),
        chosen if chosen == query.method() => word(chosen),
        chosen => format!("{}: {}", word(query.method()), word(chosen)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_auto_came_to_is_told() {
        let query = |method: Method, chosen: Method| Query {
            method: method.into(),
            chosen_method: chosen.into(),
            ..Query::default()
        };
        assert_eq!(method(&query(Method::Auto, Method::Followed)), "auto: followed");
        assert_eq!(method(&query(Method::Auto, Method::Unspecified)), "auto");
        assert_eq!(method(&query(Method::Exact, Method::Exact)), "exact");
    }
}
