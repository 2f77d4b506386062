//! `rowcount counts`: the newest counts that the fleet has.

use std::time::{Duration, SystemTime};

use clap::builder::styling::{AnsiColor, Style};
use tonic_types::RpcStatusExt;

use super::{
    client::{Client, ClientArgs},
    output::{Output, note},
    table::Table,
    text,
};
use crate::proto::v1::{
    GetRowCountsRequest, GetRowCountsResponse, RowCount, row_count_service_client::RowCountServiceClient,
};

/// Arguments of `counts`.
#[derive(Debug, clap::Args)]
pub struct CountsArgs {
    /// Only these queries
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Fail when a value is older than this
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    max_age: Option<Duration>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the counts.
pub async fn run(args: CountsArgs) -> anyhow::Result<()> {
    let request = GetRowCountsRequest {
        query_names: args.names,
        max_age: args.max_age.map(prost_types::Duration::try_from).transpose()?,
    };
    let answer = Client::connect(&args.client.connection)
        .await?
        .call(request, Duration::ZERO, async |service, request| {
            RowCountServiceClient::new(service).get_row_counts(request).await
        })
        .await?;
    let mut output = Output::new(args.client.output);
    if !output.is_table() {
        return output.object(&answer);
    }
    let now = SystemTime::now();
    output.lines(table(&answer.row_counts, now).lines())?;
    note(&footer(&answer, now));
    Ok(())
}

/// Counts as a table; the column of bounds is only there when one has any.
pub fn table(counts: &[RowCount], now: SystemTime) -> Table {
    let bounded = counts.iter().any(|count| bounds(count).is_some());
    let header: Vec<&str> = ["QUERY", "ROWS", "AGE", "METHOD", "BOUNDS", "ERROR"]
        .into_iter()
        .filter(|name| bounded || *name != "BOUNDS")
        .collect();
    let mut table = Table::new(&header, &["ROWS", "AGE"]);
    for count in counts {
        let mut cells = vec![count.query_name.clone(), rows(count), age(count, now), method(count)];
        if bounded {
            cells.push(bounds(count).unwrap_or_default());
        }
        cells.push(count.error.as_ref().map(text::error).unwrap_or_default());
        table.row(style(count), cells);
    }
    table
}

/// Bounds that say more than the number itself, as those of an exact count do not.
pub fn bounds(count: &RowCount) -> Option<String> {
    let is_exact =
        count.row_count.is_some() && count.lower_bound == count.upper_bound && count.lower_bound == count.row_count;
    if is_exact { None } else { text::bounds(count.lower_bound, count.upper_bound) }
}

/// The rows, when there are any to tell.
pub fn rows(count: &RowCount) -> String {
    count.row_count.map_or(text::NONE.to_owned(), text::number)
}

/// How it was counted.
pub fn method(count: &RowCount) -> String {
    text::word(count.method().as_str_name(), "METHOD_")
}

/// Red when the last run failed, yellow when the value is old, faint when there is nothing to count.
pub fn style(count: &RowCount) -> Style {
    let missing =
        |error| RpcStatusExt::get_details_error_info(error).is_some_and(|info| info.reason == "TABLE_MISSING");
    match &count.error {
        Some(error) if missing(error) => Style::new().dimmed(),
        Some(_) => AnsiColor::Red.on_default(),
        None if count.stale => AnsiColor::Yellow.on_default(),
        None => Style::new(),
    }
}

fn age(count: &RowCount, now: SystemTime) -> String {
    match text::since(count.observe_time, now) {
        Some(age) if count.stale => format!("{} stale", text::age(age)),
        Some(age) => text::age(age),
        None => text::NONE.to_owned(),
    }
}

fn footer(answer: &GetRowCountsResponse, now: SystemTime) -> String {
    let mut parts = vec![format!("revision {}", answer.revision)];
    if let Some(age) = text::since(answer.read_time, now) {
        parts.push(format!("heard from the board {} ago", text::age(age)));
    }
    match &answer.last_collection {
        Some(last) => parts.push(format!(
            "last collected by {} under epoch {} {} ago",
            last.instance_id,
            last.epoch,
            text::since(last.end_time, now).map_or(text::NONE.to_owned(), text::age)
        )),
        None => parts.push("nothing collected yet".to_owned()),
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;
    use crate::proto::v1::Method;

    fn count(name: &str, rows: i64) -> RowCount {
        RowCount {
            query_name: name.into(),
            row_count: Some(rows),
            method: Method::Exact.into(),
            observe_time: Some(Timestamp { seconds: 97, nanos: 0 }),
            ..RowCount::default()
        }
    }

    fn lines(counts: &[RowCount]) -> Vec<String> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        table(counts, now).lines().map(|line| anstream::adapter::strip_str(&line).to_string()).collect()
    }

    #[test]
    fn bounds_have_a_column_only_when_a_count_has_some() {
        assert_eq!(
            lines(&[count("blobs", 12_345)]),
            ["QUERY    ROWS  AGE  METHOD  ERROR", "blobs  12,345   3s  exact"]
        );
        let exact = RowCount { lower_bound: Some(1), upper_bound: Some(1), ..count("blobs", 1) };
        let bounded = RowCount {
            method: Method::Followed.into(),
            lower_bound: Some(7),
            upper_bound: Some(9),
            ..count("tags", 8)
        };
        assert_eq!(
            lines(&[exact, bounded]),
            [
                "QUERY  ROWS  AGE  METHOD    BOUNDS  ERROR",
                "blobs     1   3s  exact",
                "tags      8   3s  followed  7..9"
            ]
        );
    }

    #[test]
    fn a_query_that_never_succeeded_has_no_number() {
        let never = RowCount { row_count: None, observe_time: None, ..count("tags", 0) };
        assert_eq!(lines(&[never])[1], "tags      -    -  exact");
    }

    #[test]
    fn an_old_value_says_so() {
        let stale = RowCount { stale: true, ..count("tags", 5) };
        assert_eq!(lines(std::slice::from_ref(&stale))[1], "tags      5  3s stale  exact");
        assert_eq!(style(&stale), AnsiColor::Yellow.on_default());
    }
}
