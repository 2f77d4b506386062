//! Who counts: the walk that the registry's page tells testers to make, and every way in which a holder goes.

use std::time::{Duration, SystemTime};

use rowcount::proto::v1::{self, collection, instance::Role, lease::State};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_types::StatusExt;

use crate::fleet::{Fleet, Instance, eventually, http_get, sample};
use witness::{Witness, shows_rows};

mod deadlines;
mod states;
mod witness;

const STARTED: &str = "database row count metrics collection started";
const OBTAINED: &str = "obtained database row count metrics lock";
const COLLECTED: &str = "database row count metric collected";
const EXTENDED: &str = "extended database row count metrics lock";
const DENIED: &str = "database row count metrics lock already obtained by another instance";
const RELEASED: &str = "released database row count metrics lock";

/// Long enough that a loaded machine is in time to renew, short enough to wait for its end.
const LEASE: Duration = Duration::from_secs(6);

/// What a loaded machine may add to a time that is otherwise exact.
const SLACK: Duration = Duration::from_secs(3);

/// The query that the tests change the count of.
const QUERY: &str = "applied_pre_migrations";

#[tokio::test]
async fn the_walk_of_the_registrys_page_with_a_standby_that_takes_over_by_itself() {
    let mut fleet = defaults().await;
    fleet.set("ROWCOUNT_LEASE_ACQUIRE", "standby");
    let mut first = fleet.instance("first").await;
    is_the_first_instance_of_the_page(&first).await;
    let second = fleet.instance("second").await;
    is_the_second_instance_of_the_page(&second).await;

    first.signal(Signal::TERM);
    assert_eq!(first.exit().await.code(), Some(0));
    second.logged(OBTAINED).await;
    second.logged(COLLECTED).await;
}

#[tokio::test]
async fn the_walk_of_the_registrys_page_with_a_single_attempt() {
    let mut fleet = defaults().await;
    fleet.set("ROWCOUNT_LEASE_ACQUIRE", "once");
    let mut first = fleet.instance("first").await;
    is_the_first_instance_of_the_page(&first).await;
    let mut second = fleet.instance("second").await;
    is_the_second_instance_of_the_page(&second).await;

    first.signal(Signal::TERM);
    assert_eq!(first.exit().await.code(), Some(0));
    // It hears that the lease is free, and lets it be.
    let mut leases = second.client().await.watch_lease(v1::WatchLeaseRequest {}).await.unwrap().into_inner();
    while leases.next().await.unwrap().unwrap().lease.unwrap().state() != State::Free {}
    assert_eq!(second.lease().await.instance.unwrap().role(), Role::Observer);
    second.signal(Signal::TERM);
    assert_eq!(second.exit().await.code(), Some(0));
    assert!(second.lines(OBTAINED).is_empty() && second.lines(COLLECTED).is_empty(), "{}", second.log().join("\n"));

    let second = fleet.instance("second").await;
    is_the_first_instance_of_the_page(&second).await;
}

#[tokio::test]
async fn a_killed_holder_is_replaced_when_its_lease_is_over_and_not_before() {
    let fleet = calm().await;
    let [mut alice, bob, carol] = three(&fleet).await;
    let witness = Witness::of(&[&alice, &bob, &carol]).await;
    let before = bob.lease().await.lease.unwrap();
    alice.signal(Signal::KILL);
    let killed = SystemTime::now();
    alice.exit().await;

    let after = settled(&fleet, &[&bob, &carol], before.epoch).await;
    assert!(at(after.acquire_time) >= at(before.expire_time), "{before:?} {after:?}");
    let took = at(after.acquire_time).duration_since(killed).unwrap_or_default();
    println!("killed -> next grant: {took:?} with a lease of {LEASE:?}");
    assert!(took < LEASE + SLACK, "{took:?}");
    assert_eq!(witness.exporters(&after).await, ["alice", &after.holder_id]);
}

#[tokio::test]
async fn a_holder_that_stops_in_order_is_replaced_at_once() {
    let mut fleet = calm().await;
    // So long that only the message of the release can be the reason for the next grant.
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "60s");
    let [mut alice, bob, carol] = three(&fleet).await;
    let witness = Witness::of(&[&alice, &bob, &carol]).await;
    let before = bob.lease().await.lease.unwrap();
    alice.signal(Signal::TERM);
    assert_eq!(alice.exit().await.code(), Some(0));

    let after = settled(&fleet, &[&bob, &carol], before.epoch).await;
    let released = humantime::parse_rfc3339(alice.logged(RELEASED).await["time"].as_str().unwrap()).unwrap();
    let took = at(after.acquire_time).duration_since(released).unwrap_or_default();
    let next = if after.holder_id == bob.id { &bob } else { &carol };
    let page = next.metrics().await;
    let told = sample(&page, "rowcount_lease_handover_seconds_sum").unwrap();
    println!("released -> next grant: {took:?} by the clocks, {:.3} ms from the message", told * 1000.0);
    assert_eq!(sample(&page, "rowcount_lease_handover_seconds_count"), Some(1.0));
    assert!(took < SLACK, "{took:?}");
    assert_eq!(witness.exporters(&after).await, ["alice", &after.holder_id]);
}

#[tokio::test]
async fn a_holder_that_was_frozen_past_its_lease_shows_nothing_when_it_wakes() {
    let fleet = calm().await;
    let [alice, bob, carol] = three(&fleet).await;
    let witness = Witness::of(&[&alice, &bob, &carol]).await;
    let before = bob.lease().await.lease.unwrap();
    let mut client = alice.client().await;
    client.get_lease_status(v1::GetLeaseStatusRequest::default()).await.unwrap();
    let mut scrapers = Vec::new();
    for _ in 0..40 {
        scrapers.push(scraper(&alice).await);
    }
    alice.signal(Signal::STOP);
    let after = settled(&fleet, &[&bob, &carol], before.epoch).await;
    assert!(at(after.acquire_time) >= at(before.expire_time), "{before:?} {after:?}");

    // These wait in the frozen process's sockets: nothing that it does comes before them.
    let addr = alice.http.clone();
    let page = tokio::spawn(async move { http_get(&addr, "/metrics").await.unwrap().1 });
    for scraper in &mut scrapers {
        _ = scraper.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await;
    }
    let mut asks = client.clone();
    let counts = tokio::spawn(async move { asks.get_row_counts(v1::GetRowCountsRequest::default()).await });
    let status = tokio::spawn(async move { client.get_lease_status(v1::GetLeaseStatusRequest::default()).await });
    alice.signal(Signal::CONT);

    let mut pages = vec![page.await.unwrap()];
    for mut scraper in scrapers {
        let mut answer = String::new();
        // One that was frozen for longer than the port waits for a request is closed instead.
        _ = scraper.read_to_string(&mut answer).await;
        pages.push(answer);
    }
    for page in pages {
        assert!(!shows_rows(&page), "{page}");
        assert_ne!(sample(&page, "rowcount_lease_held"), Some(1.0), "{page}");
    }
    let counts = counts.await.unwrap().unwrap().into_inner().row_counts;
    let truth = truth(&fleet).await;
    for count in counts {
        // Old values may be told, as such.
        let is_new = count.query_name != QUERY || count.row_count == Some(truth);
        assert!(count.row_count.is_none() || count.stale || is_new, "{count:?}");
    }
    let status = status.await.unwrap().unwrap().into_inner();
    let seen = status.lease.unwrap();
    // Where the store does not answer in time, the last observation may be told, as such.
    assert!(seen.state() == State::Unknown || seen.holder_id == after.holder_id, "{seen:?}");
    assert_ne!(status.instance.unwrap().role(), Role::Holder);

    let still = settled(&fleet, &[&alice, &bob, &carol], before.epoch).await;
    assert_eq!(still.epoch, after.epoch);
    assert_eq!(witness.exporters(&after).await, ["alice", &after.holder_id]);
}

#[tokio::test]
async fn a_loss_of_all_data_changes_neither_holder_nor_epoch_and_the_board_comes_back() {
    let fleet = calm().await;
    let [alice, bob, carol] = three(&fleet).await;
    let witness = Witness::of(&[&alice, &bob, &carol]).await;
    let before = bob.lease().await.lease.unwrap();
    fleet.redis.cli(&["FLUSHALL"]).await.unwrap();
    eventually("the holder takes its lease back", async || {
        sample(&alice.metrics().await, "rowcount_lease_reclaims_total").filter(|count| *count > 0.0)
    })
    .await;

    let after = settled(&fleet, &[&alice, &bob, &carol], before.epoch - 1).await;
    assert_eq!((&after.holder_id, after.epoch), (&alice.id, before.epoch));
    assert_eq!(after.acquire_time, before.acquire_time);
    // Whoever comes now knows only what is on the board.
    let late = fleet.instance_with("late", &[("ROWCOUNT_DATABASE_METRICS_ENABLED", "false")]).await;
    let truth = truth(&fleet).await;
    eventually("a new instance reads the counts", async || {
        (late.count(QUERY).await.row_count == Some(truth)).then_some(())
    })
    .await;
    for instance in [&bob, &carol] {
        assert_eq!(instance.lease().await.instance.unwrap().acquire_count, 0, "{}", instance.id);
    }
    assert_eq!(witness.exporters(&after).await, ["alice"]);
}

#[tokio::test]
async fn a_holder_resigns_on_the_wish_of_any_instance_and_holds_off() {
    const HOLD_OFF: Duration = Duration::from_secs(6);
    let mut fleet = calm().await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "60s");
    let alice = fleet.instance("alice").await;
    fleet.holder(&[&alice]).await;
    let mut bob = fleet.instance("bob").await;
    let carol = fleet.instance_with("carol", &[("ROWCOUNT_DATABASE_METRICS_ENABLED", "false")]).await;
    let witness = Witness::of(&[&alice, &bob]).await;
    let mut leases = carol.client().await.watch_lease(v1::WatchLeaseRequest {}).await.unwrap().into_inner();
    let mut told = Vec::new();
    let mut next = async |want: (State, &str)| loop {
        let lease = leases.next().await.unwrap().unwrap().lease.unwrap();
        told.push((lease.state(), lease.holder_id.clone(), lease.epoch));
        if want == (lease.state(), &lease.holder_id) {
            return;
        }
    };
    next((State::Held, "alice")).await;

    let asked = SystemTime::now();
    let resigned = resign(&bob, HOLD_OFF).await.unwrap();
    assert!(resigned.holder_id != "alice" || resigned.state() == State::Free, "{resigned:?}");
    next((State::Held, "bob")).await;
    let took = at(bob.lease().await.lease.unwrap().acquire_time).duration_since(asked).unwrap_or_default();
    println!("resign asked -> next grant: {took:?}");
    assert!(took < SLACK, "{took:?}");
    assert_eq!(alice.lease().await.instance.unwrap().role(), Role::Observer);

    bob.signal(Signal::TERM);
    assert_eq!(bob.exit().await.code(), Some(0));
    next((State::Free, "bob")).await;
    let refused = resign(&alice, HOLD_OFF).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert_eq!(refused.get_details_error_info().unwrap().reason, "NO_LEADER");
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());

    next((State::Held, "alice")).await;
    let after = carol.lease().await.lease.unwrap();
    let held_off = at(after.acquire_time).duration_since(asked).unwrap();
    println!("hold-off of {HOLD_OFF:?}: the next grant came after {held_off:?}");
    assert!(HOLD_OFF <= held_off && held_off < HOLD_OFF + SLACK, "{held_off:?}");
    assert!(told.windows(2).all(|pair| pair[0] != pair[1] && pair[0].2 <= pair[1].2), "{told:?}");
    assert_eq!(witness.exporters(&after).await, ["alice", "bob", "alice"]);
}

#[tokio::test]
async fn where_nobody_may_compete_nobody_leads_and_what_was_asked_for_waits() {
    let mut fleet = Fleet::start().await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_ENABLED", "false");
    let (alice, bob) = tokio::join!(fleet.instance("alice"), fleet.instance("bob"));
    let asked = v1::TriggerCollectionRequest {
        query_names: vec![QUERY.to_owned()],
        wait_timeout: Some(Duration::from_millis(300).try_into().unwrap()),
        ..Default::default()
    };
    let waiting = alice.client().await.trigger_collection(asked).await.unwrap().into_inner().collection.unwrap();
    assert_eq!(waiting.state(), collection::State::Pending);

    for instance in [&alice, &bob] {
        let status = instance.lease().await;
        let lease = status.lease.unwrap();
        assert_eq!((lease.state(), lease.holder_id.as_str(), lease.epoch), (State::Free, "", 0));
        assert_eq!(status.instance.unwrap().role(), Role::Observer);
        assert!(!shows_rows(&instance.metrics().await));
        assert_eq!(instance.count(QUERY).await.row_count, None);
        assert_eq!(instance.get("/readyz").await.0, 200);
        let refused = resign(instance, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(refused.get_details_error_info().unwrap().reason, "NO_LEADER", "{refused}");
        let fresh = v1::GetRowCountsRequest {
            max_age: Some(Duration::from_secs(3600).try_into().unwrap()),
            ..Default::default()
        };
        let refused = instance.client().await.get_row_counts(fresh).await.unwrap_err();
        assert_eq!(refused.get_details_error_info().unwrap().reason, "DATA_TOO_OLD", "never counted: {refused}");
    }

    let carol = fleet.instance_with("carol", &[("ROWCOUNT_DATABASE_METRICS_ENABLED", "true")]).await;
    let request = v1::GetCollectionRequest {
        collection_id: waiting.collection_id.clone(),
        wait_timeout: Some(Duration::from_secs(30).try_into().unwrap()),
    };
    let done = bob.client().await.get_collection(request).await.unwrap().into_inner().collection.unwrap();
    assert_eq!(done.state(), collection::State::Succeeded, "{done:?}");
    assert_eq!((done.instance_id, done.collection_id), (carol.id, waiting.collection_id));
}

#[tokio::test]
async fn without_redis_one_instance_holds_counts_and_answers_triggers() {
    let fleet = Fleet::start().await;
    let alice = fleet.instance_with("alice", &[("ROWCOUNT_REDIS_CACHE_ENABLED", "false")]).await;
    let in_memory = |line: &String| line.contains(r#""level":"warn""#) && line.contains("one instance only");
    assert!(alice.log().iter().any(in_memory), "{}", alice.log().join("\n"));
    fleet.holder(&[&alice]).await;
    let before = settled(&fleet, &[&alice], 0).await;

    fleet.sql("INSERT INTO schema_migrations VALUES ('one more')").await;
    let asked = v1::TriggerCollectionRequest {
        wait_timeout: Some(Duration::from_secs(30).try_into().unwrap()),
        query_names: vec![QUERY.to_owned()],
        ..Default::default()
    };
    let done = alice.client().await.trigger_collection(asked).await.unwrap().into_inner().collection.unwrap();
    assert_eq!(done.state(), collection::State::Succeeded, "{done:?}");
    assert_eq!(alice.count(QUERY).await.row_count, Some(truth(&fleet).await));

    resign(&alice, Duration::from_millis(500)).await.unwrap();
    settled(&fleet, &[&alice], before.epoch).await;
}

/// A fleet in which nobody loses the lease by being slow.
async fn calm() -> Fleet {
    let mut fleet = Fleet::start().await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", format!("{}s", LEASE.as_secs()));
    fleet.set("ROWCOUNT_CATALOG", "registry");
    fleet
}

/// A fleet of the program's own times, as on the page.
async fn defaults() -> Fleet {
    let mut fleet = Fleet::start().await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_INTERVAL", "10s");
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "30s");
    fleet.set("ROWCOUNT_LOG_LEVEL", "info");
    fleet
}

/// Three instances, of which the first holds.
async fn three(fleet: &Fleet) -> [Instance; 3] {
    let alice = fleet.instance("alice").await;
    fleet.holder(&[&alice]).await;
    let (bob, carol) = tokio::join!(fleet.instance("bob"), fleet.instance("carol"));
    bob.logged(DENIED).await;
    carol.logged(DENIED).await;
    [alice, bob, carol]
}

async fn is_the_first_instance_of_the_page(instance: &Instance) {
    instance.logged(EXTENDED).await;
    let log: Vec<_> = instance.log().iter().map(|line| without_time(line)).collect();
    let mut rest = log.iter();
    for line in [
        format!(r#"{{"level":"info","msg":"{STARTED}","interval_s":10,"lease_duration_s":30}}"#),
        format!(r#"{{"level":"info","msg":"{OBTAINED}""#),
        format!(r#"{{"level":"info","msg":"{COLLECTED}","query_name":"gc_blob_review_queue","count":0}}"#),
        format!(r#"{{"level":"info","msg":"{EXTENDED}""#),
    ] {
        assert!(rest.any(|logged| logged.starts_with(&line)), "no line {line} in its place in\n{}", log.join("\n"));
    }
}

async fn is_the_second_instance_of_the_page(instance: &Instance) {
    instance.logged(DENIED).await;
    let log: Vec<_> = instance.log().iter().map(|line| without_time(line)).collect();
    let started = format!(r#"{{"level":"info","msg":"{STARTED}","interval_s":10,"lease_duration_s":30}}"#);
    let denied = format!(r#"{{"level":"info","msg":"{DENIED}""#);
    assert!(log.contains(&started), "{}", log.join("\n"));
    assert!(log.iter().any(|line| line.starts_with(&denied)), "{}", log.join("\n"));
    assert!(instance.lines(OBTAINED).is_empty(), "{}", log.join("\n"));
}

/// A line as it would be on the page, where no time is shown.
fn without_time(line: &str) -> String {
    let (before, after) = line.split_once(r#""time":""#).expect("each line has its time");
    let (_, after) = after.split_once(r#"","#).expect("a time and more");
    format!("{before}{after}")
}

/// The lease of an epoch after this one, as soon as each instance tells of the same holder, only that one shows rows,
/// and a count made under it is everywhere.
async fn settled(fleet: &Fleet, instances: &[&Instance], epoch: i64) -> v1::Lease {
    let lease = eventually("somebody holds", async || {
        let lease = instances[0].lease().await.lease.unwrap();
        (lease.state() == State::Held && lease.epoch > epoch).then_some(lease)
    })
    .await;
    fleet.sql("INSERT INTO schema_migrations VALUES (gen_random_uuid()::text)").await;
    let truth = truth(fleet).await;
    for instance in instances {
        let holds = instance.id == lease.holder_id;
        eventually(&format!("{} is what the lease says", instance.id), async || {
            let v1::GetLeaseStatusResponse { lease: seen, instance } = instance.lease().await;
            let seen = seen.unwrap();
            assert_eq!((&seen.holder_id, seen.epoch), (&lease.holder_id, lease.epoch));
            ((instance.unwrap().role() == Role::Holder) == holds).then_some(())
        })
        .await;
        eventually(&format!("{} tells {truth}, counted in this epoch", instance.id), async || {
            let count = instance.count(QUERY).await;
            (count.row_count == Some(truth) && count.epoch == lease.epoch && !count.stale).then_some(())
        })
        .await;
        assert_eq!(shows_rows(&instance.metrics().await), holds, "{}", instance.id);
    }
    lease
}

/// A connection that the instance has accepted and answered on.
async fn scraper(instance: &Instance) -> TcpStream {
    let mut stream = TcpStream::connect(&instance.http).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    stream.read_u8().await.unwrap();
    stream
}

async fn truth(fleet: &Fleet) -> i64 {
    fleet.scalar("SELECT count(*) FROM schema_migrations").await
}

async fn resign(instance: &Instance, hold_off: Duration) -> Result<v1::Lease, tonic::Status> {
    let request = v1::ResignLeaseRequest { hold_off_duration: Some(hold_off.try_into().unwrap()) };
    Ok(instance.client().await.resign_lease(request).await?.into_inner().lease.unwrap())
}

fn at(time: Option<prost_types::Timestamp>) -> SystemTime {
    time.expect("a time").try_into().expect("a time that can be")
}
