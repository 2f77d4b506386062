//! How an instance goes: within two seconds whatever hangs, with the lease given back and nothing left behind.

use std::{
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use rowcount::proto::v1::{
    self, collection, instance::Role, lease::State, row_count_service_client::RowCountServiceClient,
};
use rustix::process::Signal;
use tokio::{net::UnixDatagram, task::JoinHandle, time::timeout};
use tokio_stream::StreamExt;
use tonic::{Code, Response, Status, transport::Channel};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::fleet::{Fleet, Instance, PATIENCE, eventually, http_get};

/// The longest that a stop may take.
const BOUND: Duration = Duration::from_secs(2);

type Client = RowCountServiceClient<Channel>;
type Call = JoinHandle<Result<Response<v1::TriggerCollectionResponse>, Status>>;

/// Told at the first signal.
const STOPPING: &str = "stopping; a second signal ends the process at once";

#[tokio::test]
async fn a_stop_in_the_middle_of_a_long_query_is_short_and_leaves_nothing_behind() {
    let fleet = sleepy().await;
    let mut alice = fleet.instance("alice").await;
    runs(&fleet, &alice).await;
    let bob = fleet.instance("bob").await;
    let mut client = alice.client().await;
    let mut counts = client.watch_row_counts(v1::WatchRowCountsRequest::default()).await.unwrap().into_inner();
    let mut leases = client.watch_lease(v1::WatchLeaseRequest {}).await.unwrap().into_inner();
    counts.next().await.unwrap().unwrap();
    leases.next().await.unwrap().unwrap();
    // The first begins and waits for the run in progress; the second waits for the first.
    let running = triggered(&mut client, collection::State::Running).await;
    let pending = triggered(&mut client, collection::State::Pending).await;

    alice.signal(Signal::TERM);
    let asked = Instant::now();
    let (status, counts, leases) = tokio::join!(alice.exit(), last(&mut counts), last(&mut leases));
    let took = asked.elapsed();
    println!("stop while a query runs: {took:?}");
    assert_eq!(status.code(), Some(0), "{}", alice.log().join("\n"));
    assert!(took < BOUND, "{took:?}");
    for late in ["Connections to the database did not close in time", "Tasks did not end in time"] {
        assert!(alice.lines(late).is_empty(), "{}", alice.log().join("\n"));
    }
    let (_, running) = running;
    let running = running.await.unwrap().unwrap().into_inner().collection.unwrap();
    assert_eq!(running.state(), collection::State::Cancelled, "{running:?}");
    let (asked_for, pending) = pending;
    for end in [counts, leases, pending.await.unwrap().unwrap_err()] {
        assert_eq!(end.code(), Code::Unavailable, "{end}");
        assert_eq!(end.get_details_error_info().unwrap().reason, "SHUTTING_DOWN", "{end}");
        assert!(end.get_details_retry_info().unwrap().retry_delay.is_some(), "{end}");
    }
    eventually("no backend of it is left", async || (backends(&fleet, "alice").await == 0).then_some(())).await;
    println!("stop asked -> no backend left: {:?}", asked.elapsed());
    eventually("the other one holds", async || {
        let status = bob.lease().await;
        (status.instance.unwrap().role() == Role::Holder).then_some(())
    })
    .await;
    // The lease would have gone on for a minute.
    println!("stop asked -> the other one holds: {:?}", asked.elapsed());
    // Whoever tries again there gets the collection that was accepted here.
    let again = v1::TriggerCollectionRequest { wait_timeout: None, ..asked_for };
    let again = bob.client().await.trigger_collection(again).await.unwrap().into_inner();
    assert!(again.joined);
    let again = again.collection.unwrap();
    assert_ne!(again.collection_id, running.collection_id);
    eventually("the new holder begins it", async || {
        let request = v1::GetCollectionRequest { collection_id: again.collection_id.clone(), wait_timeout: None };
        let found = bob.client().await.get_collection(request).await.unwrap().into_inner().collection.unwrap();
        (found.state() == collection::State::Running && found.instance_id == "bob").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_whose_redis_hangs_says_that_it_is_not_ready_and_stops_in_time() {
    let fleet = sleepy().await;
    let mut alice = fleet.instance("alice").await;
    runs(&fleet, &alice).await;
    assert_eq!(alice.get("/readyz").await.0, 200);
    fleet.redis.pause();
    alice.signal(Signal::TERM);
    let asked = Instant::now();
    let addr = alice.http.clone();
    let readiness = tokio::spawn(async move {
        let mut said = Vec::new();
        while let Ok((status, _)) = http_get(&addr, "/readyz").await {
            said.push(status);
        }
        said
    });
    assert_eq!(alice.exit().await.code(), Some(0), "{}", alice.log().join("\n"));
    let took = asked.elapsed();
    println!("stop while Redis hangs: {took:?}");
    assert!(took < BOUND, "{took:?}");
    let mut said = readiness.await.unwrap();
    said.dedup();
    assert!(said == [200, 503] || said == [503], "{said:?}");
    assert_eq!(backends(&fleet, "alice").await, 0);
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    for (second, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let fleet = sleepy().await;
        let mut alice = fleet.instance("alice").await;
        runs(&fleet, &alice).await;
        // So that the stop would take its time.
        fleet.redis.pause();
        alice.signal(Signal::TERM);
        alice.logged(STOPPING).await;
        alice.signal(second);
        let asked = Instant::now();
        assert_eq!(alice.exit().await.code(), Some(code), "{}", alice.log().join("\n"));
        println!("second signal -> end: {:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn a_standby_stops_at_once_and_nobody_notices() {
    let mut fleet = Fleet::start().await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "60s");
    let alice = fleet.instance("alice").await;
    fleet.holder(&[&alice]).await;
    let mut bob = fleet.instance("bob").await;
    let before = bob.lease().await.lease.unwrap();
    bob.signal(Signal::TERM);
    let asked = Instant::now();
    assert_eq!(bob.exit().await.code(), Some(0), "{}", bob.log().join("\n"));
    println!("stop of a standby: {:?}", asked.elapsed());
    assert!(asked.elapsed() < BOUND, "{:?}", asked.elapsed());
    let after = alice.lease().await.lease.unwrap();
    assert_eq!((after.state(), after.holder_id, after.epoch), (State::Held, before.holder_id, before.epoch));
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for (variable, setting) in [("ROWCOUNT_GRPC_ADDR", "grpc.addr"), ("ROWCOUNT_HTTP_ADDR", "http.addr")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowcount"));
        command.arg("serve").env_clear().env("ROWCOUNT_DATABASE_METRICS_ENABLED", "false");
        command.env("ROWCOUNT_GRPC_ADDR", "127.0.0.1:0").env("ROWCOUNT_HTTP_ADDR", "127.0.0.1:0");
        let output = command.env("ROWCOUNT_LOG_LEVEL", "error").env(variable, &addr).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        let want = format!("error: cannot listen on {setting} {addr}: Address already in use (os error 98)\n");
        assert_eq!((told, output.stdout.len()), (want, 0));
    }
}

/// A fleet whose one query sleeps for 20 s, under a lease that lets it.
async fn sleepy() -> Fleet {
    let mut fleet = Fleet::servers().await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "60s");
    fleet.set("ROWCOUNT_CATALOG", "none");
    fleet.set("ROWCOUNT_QUERIES_SLEEPS_SQL", "SELECT 1 FROM (SELECT pg_sleep(20)) AS slept");
    fleet.set("ROWCOUNT_QUERIES_SLEEPS_TIMEOUT", "30s");
    fleet
}

/// Waits until an instance runs the query that sleeps.
async fn runs(fleet: &Fleet, instance: &Instance) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rowcount/{}' AND wait_event = 'PgSleep'",
        instance.id
    );
    eventually("the query runs", async || (fleet.scalar(&sql).await == 1).then_some(())).await;
}

/// A call that waits for a collection in this state.
async fn triggered(client: &mut Client, state: collection::State) -> (v1::TriggerCollectionRequest, Call) {
    let request = v1::TriggerCollectionRequest {
        request_id: Uuid::new_v4().to_string(),
        wait_timeout: Some(Duration::from_secs(60).try_into().unwrap()),
        ..Default::default()
    };
    let (mut asks, asked) = (client.clone(), request.clone());
    let call = tokio::spawn(async move { asks.trigger_collection(asked).await });
    eventually("the trigger is on the board", async || {
        let collections = client.list_collections(v1::ListCollectionsRequest::default()).await.unwrap().into_inner();
        let is_it = |one: &v1::Collection| one.trigger() == collection::Trigger::Request && one.state() == state;
        collections.collections.iter().any(is_it).then_some(())
    })
    .await;
    (request, call)
}

async fn backends(fleet: &Fleet, id: &str) -> i64 {
    fleet.scalar(&format!("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'rowcount/{id}%'")).await
}

/// How a stream ends.
async fn last<T>(stream: &mut tonic::Streaming<T>) -> Status {
    loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(end)) => return end,
            None => panic!("the stream ended without a status"),
        }
    }
}

#[tokio::test]
async fn a_service_manager_is_told_of_the_start_and_of_the_stop() {
    let fleet = Fleet::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let told = async || {
        let mut message = [0; 64];
        let length = timeout(PATIENCE, socket.recv(&mut message)).await.expect("it is told").unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let mut alice = fleet.instance_with("alice", &[("NOTIFY_SOCKET", path.to_str().unwrap())]).await;
    assert_eq!(told().await.trim(), "READY=1");
    assert_eq!(http_get(&alice.http, "/readyz").await.unwrap().0, 200);
    alice.signal(Signal::TERM);
    assert_eq!(told().await.trim(), "STOPPING=1");
    assert_eq!(alice.exit().await.code(), Some(0));
}
