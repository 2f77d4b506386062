//! `rowcount trigger`: has a collection made, and waits for its end when asked to.

use std::time::{Duration, SystemTime};

use anyhow::{anyhow, bail};
use indicatif::ProgressBar;
use tokio::time::Instant;

use super::{
    client::{Client, ClientArgs},
    collections,
    output::{Output, note},
    text,
};
use crate::proto::v1::{
    Collection, GetCollectionRequest, TriggerCollectionRequest, TriggerCollectionResponse, collection::State,
    row_count_service_client::RowCountServiceClient,
};

/// How long a server waits in one call; a longer wait takes several.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Between two calls, should a server answer before its wait is over.
const BETWEEN_CALLS: Duration = Duration::from_millis(100);

/// Arguments of `trigger`.
#[derive(Debug, clap::Args)]
pub struct TriggerArgs {
    /// Only these queries
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Wait this long for the end; exit 1 when it is not done by then
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    /// The same id returns the same collection, so a repeated call makes no second one
    #[arg(long, value_name = "UUID")]
    request_id: Option<uuid::Uuid>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the collection; fails when it did, or is not done at the end of a wait.
pub async fn run(args: TriggerArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client.connection).await?;
    let spinner = args.wait.map(|_| spinner()).unwrap_or_else(ProgressBar::hidden);
    let answer = ask(&client, &args).await;
    spinner.finish_and_clear();

    let answer = answer?;
    let mut output = Output::new(args.client.output);
    let collection = answer.collection.as_ref().ok_or_else(|| anyhow!("the server answered with no collection"))?;
    if output.is_table() {
        output.lines(collections::block(collection, SystemTime::now()).lines())?;
    } else {
        output.object(&answer)?;
    }
    if answer.joined {
        note("another call had asked for this collection before");
    }
    judge(collection, args.wait)
}

async fn ask(client: &Client, args: &TriggerArgs) -> anyhow::Result<TriggerCollectionResponse> {
    let wait = args.wait.unwrap_or_default();
    let until = Instant::now() + wait;
    let turn = wait.min(LONGEST_WAIT);
    let request = TriggerCollectionRequest {
        request_id: args.request_id.map(|id| id.to_string()).unwrap_or_default(),
        query_names: args.names.clone(),
        wait_timeout: Some(turn.try_into()?),
    };
    let mut answer = client
        .call(request, turn, async |service, request| {
            RowCountServiceClient::new(service).trigger_collection(request).await
        })
        .await?;
    while let Some(collection) = answer.collection.as_ref().filter(|collection| !is_done(collection)) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        tokio::time::sleep(left.min(BETWEEN_CALLS)).await;
        let turn = until.saturating_duration_since(Instant::now()).min(LONGEST_WAIT);
        let request = GetCollectionRequest {
            collection_id: collection.collection_id.clone(),
            wait_timeout: Some(turn.try_into()?),
        };
        answer.collection = client
            .call(request, turn, async |service, request| {
                RowCountServiceClient::new(service).get_collection(request).await
            })
            .await?
            .collection;
    }
    Ok(answer)
}

fn judge(collection: &Collection, wait: Option<Duration>) -> anyhow::Result<()> {
    let id = &collection.collection_id;
    let state = collections::state(collection);
    match (collection.state(), wait) {
        (State::Failed | State::Cancelled, _) => {
            let why = collection.error.as_ref().map(|error| format!(": {}", text::one_line(&text::error(error))));
            bail!("collection {id} ended as {state}{}; `rowcount counts` tells each error", why.unwrap_or_default())
        }
        (_, Some(wait)) if !is_done(collection) => {
            let wait = humantime::format_duration(wait);
            bail!("collection {id} is {state} after {wait}; `rowcount collections {id}` tells when it ends")
        }
        _ => Ok(()),
    }
}

fn is_done(collection: &Collection) -> bool {
    !matches!(collection.state(), State::Unspecified | State::Pending | State::Running)
}

/// On stderr, and only on a terminal.
fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message("waiting for the collection to end");
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(state: State, wait: Option<Duration>) -> Result<(), String> {
        let collection = Collection { collection_id: "c1".into(), state: state.into(), ..Collection::default() };
        judge(&collection, wait).map_err(|error| error.to_string())
    }

    #[test]
    fn an_end_that_is_no_success_fails_with_or_without_a_wait() {
        for wait in [None, Some(Duration::from_secs(5))] {
            for state in [State::Failed, State::Cancelled] {
                assert!(judged(state, wait).unwrap_err().starts_with("collection c1 ended as "));
            }
            for state in [State::Succeeded, State::PartiallySucceeded] {
                assert_eq!(judged(state, wait), Ok(()));
            }
        }
    }

    #[test]
    fn only_a_wait_asks_for_the_end() {
        assert_eq!(judged(State::Running, None), Ok(()));
        let told = judged(State::Running, Some(Duration::from_secs(5))).unwrap_err();
        assert_eq!(told, "collection c1 is running after 5s; `rowcount collections c1` tells when it ends");
    }
}
