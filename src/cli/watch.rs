//! `rowcount watch`: all counts at once, then each change as a line of its own.

use std::{cell::Cell, collections::BTreeMap, time::SystemTime};

use super::{
    client::{Client, ClientArgs},
    counts,
    output::Output,
    text,
};
use crate::proto::v1::{
    RowCount, WatchRowCountsRequest, WatchRowCountsResponse, row_count_service_client::RowCountServiceClient,
};

/// Arguments of `watch`.
#[derive(Debug, clap::Args)]
pub struct WatchArgs {
    /// Only these queries
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// What has been shown, to tell a change by.
#[derive(Default)]
struct Shown(BTreeMap<String, RowCount>);

/// Prints changes until the stream ends or the user interrupts.
pub async fn run(args: WatchArgs) -> anyhow::Result<()> {
    let mut output = Output::new(args.client.output);
    let mut shown = Shown::default();
    // Where to go on when the stream has to be called again.
    let revision = Cell::new(0);
    Client::connect(&args.client.connection)
        .await?
        .follow(
            || WatchRowCountsRequest { query_names: args.names.clone(), start_revision: revision.get() },
            async |service, request| RowCountServiceClient::new(service).watch_row_counts(request).await,
            |message: WatchRowCountsResponse| {
                revision.set(message.revision);
                match output.is_table() {
                    true => Ok(output.lines(shown.lines(message, SystemTime::now()))?),
                    false => output.object_line(&message),
                }
            },
        )
        .await
}

// === impl Shown ===

impl Shown {
    /// Lines for a message: a table for the first counts, none for a heartbeat.
    fn lines(&mut self, message: WatchRowCountsResponse, now: SystemTime) -> Vec<String> {
        let mut lines = Vec::new();
        if self.0.is_empty() {
            if !message.row_counts.is_empty() {
                lines.extend(counts::table(&message.row_counts, now).lines());
            }
        } else {
            lines.extend(message.row_counts.iter().filter_map(|count| self.change(count, now)));
        }
        for name in &message.removed_query_names {
            self.0.remove(name);
            lines.push(format!("{}  {name}  removed", text::time(now)));
        }
        self.0.extend(message.row_counts.into_iter().map(|count| (count.query_name.clone(), count)));
        lines
    }

    /// The line for a count; `None` when only its times have changed.
    fn change(&self, count: &RowCount, now: SystemTime) -> Option<String> {
        let before = self.0.get(&count.query_name);
        let seen = |count: &RowCount| {
            let RowCount { row_count, method, lower_bound, upper_bound, stale, .. } = *count;
            (row_count, method, lower_bound, upper_bound, stale, count.error.clone())
        };
        if before.is_some_and(|before| seen(before) == seen(count)) {
            return None;
        }
        let width = self.0.keys().map(String::len).max().unwrap_or_default();
        let step = match (before.and_then(|before| before.row_count), count.row_count) {
            (Some(before), Some(after)) => text::change(after.saturating_sub(before)),
            _ => String::new(),
        };
        let mut line = format!(
            "{}  {:width$}  {:>12}  {step:>8}  {}",
            text::time(now),
            count.query_name,
            counts::rows(count),
            counts::method(count)
        );
        let stale = count.stale.then(|| "stale".to_owned());
        for part in [counts::bounds(count), stale, count.error.as_ref().map(text::error)].into_iter().flatten() {
            line += &format!("  {}", text::one_line(&part));
        }
        let style = counts::style(count);
        Some(format!("{style}{line}{style:#}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::v1::Method;

    fn message(counts: &[(&str, i64)]) -> WatchRowCountsResponse {
        let count = |&(name, rows): &(&str, i64)| RowCount {
            query_name: name.into(),
            row_count: Some(rows),
            method: Method::Exact.into(),
            ..RowCount::default()
        };
        WatchRowCountsResponse { row_counts: counts.iter().map(count).collect(), ..WatchRowCountsResponse::default() }
    }

    fn lines(shown: &mut Shown, message: WatchRowCountsResponse) -> Vec<String> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        shown.lines(message, now).iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn a_table_comes_first_and_then_only_what_changed() {
        let mut shown = Shown::default();
        assert_eq!(lines(&mut shown, message(&[("blobs", 1_000), ("tags", 7)])).len(), 3);
        assert_eq!(
            lines(&mut shown, message(&[("blobs", 1_000), ("tags", 5)])),
            ["2023-11-14T22:13:20Z  tags              5        -2  exact"]
        );
    }

    #[test]
    fn a_heartbeat_is_silent() {
        let mut shown = Shown::default();
        assert!(lines(&mut shown, WatchRowCountsResponse::default()).is_empty());
        lines(&mut shown, message(&[("blobs", 1)]));
        assert!(lines(&mut shown, WatchRowCountsResponse::default()).is_empty());
    }

    #[test]
    fn a_removed_query_is_told_once() {
        let mut shown = Shown::default();
        lines(&mut shown, message(&[("blobs", 1), ("tags", 2)]));
        let removed = WatchRowCountsResponse { removed_query_names: vec!["tags".into()], ..message(&[]) };
        assert_eq!(lines(&mut shown, removed), ["2023-11-14T22:13:20Z  tags  removed"]);
        assert!(!shown.0.contains_key("tags"));
    }
}
