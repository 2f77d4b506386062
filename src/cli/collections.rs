//! `rowcount collections`: the runs that are remembered.

use std::time::{Duration, SystemTime};

use clap::builder::styling::{AnsiColor, Style};

use super::{
    client::{Client, ClientArgs},
    output::Output,
    table::{Pairs, Table},
    text,
};
use crate::proto::v1::{
    Collection, GetCollectionRequest, ListCollectionsRequest, collection::State,
    row_count_service_client::RowCountServiceClient,
};

/// The most that a page may have; more than a server remembers.
const PAGE_SIZE: i32 = 1000;

/// Arguments of `collections`.
#[derive(Debug, clap::Args)]
pub struct CollectionsArgs {
    /// Only this one, with everything about it
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints one collection or all that are remembered.
pub async fn run(args: CollectionsArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client.connection).await?;
    let mut output = Output::new(args.client.output);
    let now = SystemTime::now();
    if let Some(id) = args.id {
        let request = GetCollectionRequest { collection_id: id, wait_timeout: None };
        let answer = client
            .call(request, Duration::ZERO, async |service, request| {
                RowCountServiceClient::new(service).get_collection(request).await
            })
            .await?;
        return match output.is_table() {
            true => Ok(output.lines(block(&answer.collection.unwrap_or_default(), now).lines())?),
            false => output.object(&answer),
        };
    }
    let request = ListCollectionsRequest { page_size: PAGE_SIZE, page_token: String::new() };
    let answer = client
        .call(request, Duration::ZERO, async |service, request| {
            RowCountServiceClient::new(service).list_collections(request).await
        })
        .await?;
    match output.is_table() {
        true => Ok(output.lines(table(&answer.collections, now).lines())?),
        false => output.object(&answer),
    }
}

/// The collection as names and values.
pub fn block(collection: &Collection, now: SystemTime) -> Pairs {
    let at = |time| {
        let ago = text::age(text::since(time, now)?);
        Some(format!("{} ({ago} ago)", text::time(text::moment(time)?)))
    };
    let mut pairs = Pairs::default();
    pairs.add("collection", collection.collection_id.clone());
    pairs.add("state", state(collection));
    pairs.add("trigger", trigger(collection));
    pairs.add("created", at(collection.create_time));
    pairs.add("started", at(collection.start_time));
    pairs.add("ended", at(collection.end_time));
    pairs.add("took", took(collection).map(text::span));
    pairs.add("instance", collection.instance_id.clone());
    pairs.add("epoch", (collection.epoch > 0).then(|| collection.epoch.to_string()));
    pairs.add("queries", collection.query_names.join(" "));
    pairs.add("failed", collection.failed_query_names.join(" "));
    pairs.add("error", collection.error.as_ref().map(text::error));
    pairs
}

/// Its state's name.
pub fn state(collection: &Collection) -> String {
    text::word(collection.state().as_str_name(), "STATE_")
}

fn table(collections: &[Collection], now: SystemTime) -> Table {
    let right = ["AGE", "TOOK", "OK", "FAILED"];
    let mut table = Table::new(&["ID", "STATE", "TRIGGER", "AGE", "TOOK", "OK", "FAILED", "INSTANCE"], &right);
    for collection in collections {
        let failed = collection.failed_query_names.len();
        // While it runs, nobody can tell which of the others have succeeded.
        let ok = took(collection).map(|_| collection.query_names.len().saturating_sub(failed).to_string());
        let or_none = |text: Option<String>| text.unwrap_or_else(|| text::NONE.to_owned());
        table.row(
            style(collection.state()),
            vec![
                collection.collection_id.clone(),
                state(collection),
                trigger(collection),
                or_none(text::since(collection.create_time, now).map(text::age)),
                or_none(took(collection).map(text::span)),
                or_none(ok),
                failed.to_string(),
                or_none(Some(collection.instance_id.clone()).filter(|id| !id.is_empty())),
            ],
        );
    }
    table
}

fn style(state: State) -> Style {
    match state {
        State::Failed | State::Cancelled => AnsiColor::Red.on_default(),
        State::PartiallySucceeded => AnsiColor::Yellow.on_default(),
        State::Unspecified | State::Pending | State::Running | State::Succeeded => Style::new(),
    }
}

fn trigger(collection: &Collection) -> String {
    text::word(collection.trigger().as_str_name(), "TRIGGER_")
}

fn took(collection: &Collection) -> Option<Duration> {
    text::since(collection.start_time, text::moment(collection.end_time)?)
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;
    use crate::proto::v1::collection;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn collection(state: State) -> Collection {
        let ago = |seconds: i64, nanos| Some(Timestamp { seconds: 1_700_000_000 - seconds, nanos });
        Collection {
            collection_id: "c1".into(),
            state: state.into(),
            trigger: collection::Trigger::Request.into(),
            create_time: ago(65, 0),
            start_time: ago(64, 0),
            end_time: ago(64, 250_000_000),
            query_names: vec!["blobs".into(), "tags".into()],
            failed_query_names: vec!["tags".into()],
            instance_id: "alice".into(),
            epoch: 3,
            ..Collection::default()
        }
    }

    fn lines(collection: Collection) -> Vec<String> {
        table(&[collection], now()).lines().map(|line| anstream::adapter::strip_str(&line).to_string()).collect()
    }

    #[test]
    fn a_row_counts_what_succeeded_and_what_failed() {
        assert_eq!(
            lines(collection(State::PartiallySucceeded)),
            [
                "ID  STATE                TRIGGER  AGE   TOOK  OK  FAILED  INSTANCE",
                "c1  partially_succeeded  request   1m  250ms   1       1  alice",
            ]
        );
    }

    #[test]
    fn what_has_not_begun_claims_nothing() {
        let pending = Collection {
            start_time: None,
            end_time: None,
            failed_query_names: Vec::new(),
            instance_id: String::new(),
            epoch: 0,
            ..collection(State::Pending)
        };
        assert_eq!(lines(pending.clone())[1], "c1  pending  request   1m     -   -       0  -");
        let names: Vec<String> = block(&pending, now()).lines().map(|line| line[..10].trim_end().to_owned()).collect();
        assert_eq!(names, ["collection", "state", "trigger", "created", "queries"]);
    }
}
