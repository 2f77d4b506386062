//! TriggerCollection and the collections it makes, on fleets whose queries run only when somebody asks: their intervals
//! are an hour.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use rowcount::proto::v1::{self, collection::State, row_count_service_client::RowCountServiceClient};
use sqlx::{Connection, PgConnection};
use tokio::sync::Mutex;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

use crate::fleet::{Fleet, Instance, eventually, sample, span};

mod faults;
mod handover;
mod listing;
mod waiting;

/// Longer than any wait here should be.
pub const LONG: Duration = Duration::from_secs(25);

/// `pass` returns as soon as nothing lies in the gate. Whoever waits there has its snapshot already.
const SCHEMA: &str = "
    CREATE TABLE calls (caller int);
    CREATE TABLE gate (closed bool);
    CREATE FUNCTION pass() RETURNS bigint LANGUAGE plpgsql AS $$
      BEGIN
        WHILE EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP;
        RETURN 0;
      END $$";
const CLOSE_GATE: &str = "INSERT INTO gate VALUES (true)";
const OPEN_GATE: &str = "DELETE FROM gate";

/// Two queries over the table `calls`: `calls`, and `gated`, which ends only while the gate is open.
pub async fn fleet() -> Fleet {
    let mut fleet = Fleet::servers().await;
    fleet.sql(SCHEMA).await;
    for (variable, value) in [
        ("ROWCOUNT_CATALOG", "none"),
        ("ROWCOUNT_QUERIES_CALLS_TABLE", "calls"),
        ("ROWCOUNT_QUERIES_CALLS_INTERVAL", "1h"),
        ("ROWCOUNT_QUERIES_GATED_SQL", "SELECT (SELECT count(*) FROM calls) + pass FROM pass()"),
        ("ROWCOUNT_QUERIES_GATED_INTERVAL", "1h"),
        ("ROWCOUNT_QUERIES_GATED_TIMEOUT", "25s"),
        // A run gets no more time than is left of the lease.
        ("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "40s"),
        ("ROWCOUNT_COLLECTION_TRIGGERINTERVAL", "10ms"),
    ] {
        fleet.set(variable, value);
    }
    fleet
}

/// The holder, once everything was counted a first time: nothing runs any more.
pub async fn settled<'a>(fleet: &Fleet, instances: &[&'a Instance]) -> &'a Instance {
    let holder = fleet.holder(instances).await;
    let done = r#"rowcount_collections_total{result="succeeded",trigger="leadership"}"#;
    eventually("the first collection ends", async || {
        (sample(&holder.metrics().await, done) == Some(1.0)).then_some(())
    })
    .await;
    holder
}

/// A call for `names`, everything when there are none.
pub fn request(names: &[&str], wait: Duration) -> v1::TriggerCollectionRequest {
    v1::TriggerCollectionRequest {
        request_id: String::new(),
        query_names: names.iter().map(ToString::to_string).collect(),
        wait_timeout: Some(span(wait)),
    }
}

pub type Client = RowCountServiceClient<Channel>;

pub async fn trigger(
    client: &mut Client,
    request: v1::TriggerCollectionRequest,
) -> Result<(v1::Collection, bool), Status> {
    let answer = client.trigger_collection(request).await?.into_inner();
    Ok((answer.collection.expect("an answer has a collection"), answer.joined))
}

async fn collection(client: &mut Client, id: &str, wait: Duration) -> v1::Collection {
    let request = v1::GetCollectionRequest { collection_id: id.to_owned(), wait_timeout: Some(span(wait)) };
    let answer = client.get_collection(request).await.expect("it is remembered").into_inner();
    answer.collection.expect("an answer has a collection")
}

async fn list(client: &mut Client, page_size: i32, page_token: &str) -> (Vec<String>, String) {
    let request = v1::ListCollectionsRequest { page_size, page_token: page_token.to_owned() };
    let page = client.list_collections(request).await.expect("answers").into_inner();
    (page.collections.into_iter().map(|one| one.collection_id).collect(), page.next_page_token)
}

/// How often the holder has run a query.
async fn runs(holder: &Instance, name: &str) -> f64 {
    let series = format!(r#"registry_database_queries_total{{name="count_{name}"}}"#);
    sample(&holder.metrics().await, &series).unwrap_or(0.0)
}

fn time(stamp: Option<prost_types::Timestamp>) -> SystemTime {
    stamp.expect("it is set").try_into().expect("it is a time")
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[tokio::test]
async fn sixty_four_calls_at_once_cost_two_runs_and_each_gets_counts_read_after_it_arrived() {
    let mut fleet = fleet().await;
    // Long enough for every call to arrive before the second run.
    fleet.set("ROWCOUNT_COLLECTION_TRIGGERINTERVAL", "3s");
    let (a, b, c) = tokio::join!(fleet.instance("a"), fleet.instance("b"), fleet.instance("c"));
    let instances = [&a, &b, &c];
    let holder = settled(&fleet, &instances).await;
    let before = [runs(holder, "calls").await, runs(holder, "gated").await];
    let clients = join_all(instances.map(Instance::client)).await;
    let url = fleet.postgres.url("registry");
    let inserters: Vec<Mutex<PgConnection>> =
        join_all((0..4).map(async |_| Mutex::new(PgConnection::connect(&url).await.expect("connects")))).await;

    let answers = join_all((0..64).map(async |caller: usize| {
        let mut client = clients[caller % 3].clone();
        let inserted: i64 = {
            let mut inserter = inserters[caller % 4].lock().await;
            sqlx::raw_sql("INSERT INTO calls VALUES (1)").execute(&mut *inserter).await.expect("inserts");
            sqlx::query_scalar("SELECT count(*) FROM calls").fetch_one(&mut *inserter).await.expect("counts")
        };
        let called = SystemTime::now();
        let (done, joined) = trigger(&mut client, request(&[], LONG)).await.expect("triggers");
        assert_eq!(done.state(), State::Succeeded, "{done:?}");
        let counts = client.get_row_counts(v1::GetRowCountsRequest::default()).await.expect("answers").into_inner();
        for count in &counts.row_counts {
            assert!(count.row_count() >= inserted, "caller {caller} had inserted {inserted}: {count:?}");
            assert!(time(count.observe_time) >= called, "caller {caller}: {count:?}");
        }
        assert_eq!(counts.row_counts.len(), 2);
        (done.collection_id, joined)
    }))
    .await;

    let ids: std::collections::BTreeSet<_> = answers.iter().map(|(id, _)| id).collect();
    let made = answers.iter().filter(|(_, joined)| !joined).count();
    assert_eq!(ids.len(), made, "each collection was made once");
    for (name, before) in ["calls", "gated"].into_iter().zip(before) {
        let cost = runs(holder, name).await - before;
        assert!((1.0..=2.0).contains(&cost), "{name} ran {cost} times");
    }
}

#[tokio::test]
async fn a_request_id_is_one_collection_on_every_instance_and_wrong_requests_say_what_is_wrong() {
    let fleet = fleet().await;
    let (a, b) = tokio::join!(fleet.instance("a"), fleet.instance("b"));
    settled(&fleet, &[&a, &b]).await;
    let (mut a, mut b) = tokio::join!(a.client(), b.client());
    let id = "5f0c5b4e-8d39-4f38-9d55-1d1f1a3a52c5";
    let with_id = |names: &[&str]| v1::TriggerCollectionRequest { request_id: id.to_owned(), ..request(names, LONG) };

    let (first, joined) = trigger(&mut a, with_id(&["calls"])).await.unwrap();
    assert!(!joined);
    for client in [&mut b, &mut a] {
        let (again, joined) = trigger(client, with_id(&["calls"])).await.unwrap();
        assert_eq!((again.collection_id, joined), (first.collection_id.clone(), true));
        let other = trigger(client, with_id(&["gated"])).await.unwrap_err();
        assert_eq!((other.code(), reason(&other).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    }
    let (next, _) = trigger(&mut b, request(&["calls"], LONG)).await.unwrap();
    assert_ne!(next.collection_id, first.collection_id);

    let no_uuid = v1::TriggerCollectionRequest { request_id: "mine".to_owned(), ..request(&[], LONG) };
    let back = prost_types::Duration { seconds: -1, nanos: 0 };
    let negative = v1::TriggerCollectionRequest { wait_timeout: Some(back), ..request(&[], LONG) };
    for (wrong, field) in [(no_uuid, "request_id"), (negative, "wait_timeout")] {
        let refused = trigger(&mut a, wrong).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
        let violations = refused.get_details_bad_request().expect("says which field").field_violations;
        assert_eq!(violations.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), [field]);
    }
    let unknown = trigger(&mut a, request(&["calls", "nobody"], LONG)).await.unwrap_err();
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::NotFound, "UNKNOWN_QUERY"));
    let gone = v1::GetCollectionRequest { collection_id: id.to_owned(), wait_timeout: None };
    let gone = a.get_collection(gone).await.unwrap_err();
    assert_eq!((gone.code(), reason(&gone).as_str()), (Code::NotFound, "COLLECTION_NOT_FOUND"));
}

#[tokio::test]
async fn calls_are_bound_by_their_own_interval_and_not_by_the_ten_minutes_of_large_tables() {
    let mut fleet = fleet().await;
    fleet.sql("CREATE TABLE large AS SELECT n FROM generate_series(1, 100001) AS n").await;
    fleet.set("ROWCOUNT_QUERIES_LARGE_TABLE", "large");
    fleet.set("ROWCOUNT_QUERIES_LARGE_METHOD", "exact");
    fleet.set("ROWCOUNT_COLLECTION_TRIGGERINTERVAL", "1s");
    let instance = fleet.instance("a").await;
    settled(&fleet, &[&instance]).await;
    let mut client = instance.client().await;

    let mut starts = Vec::new();
    for rows in 100_002..=100_004 {
        fleet.sql("INSERT INTO large VALUES (0)").await;
        let (done, _) = trigger(&mut client, request(&["large"], LONG)).await.unwrap();
        assert_eq!(done.state(), State::Succeeded);
        let count = instance.count("large").await;
        assert_eq!((count.row_count(), count.collection_id), (rows, done.collection_id));
        starts.push(time(done.start_time));
    }
    for pair in starts.windows(2) {
        let apart = pair[1].duration_since(pair[0]).expect("one after the other");
        assert!(apart >= Duration::from_secs(1), "{apart:?}");
    }
    // Half a second is its interval, and seconds have passed: the schedule was bound.
    assert_eq!(runs(&instance, "large").await, 4.0);
}
