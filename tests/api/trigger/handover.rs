//! What was accepted is carried out once or told to be cancelled, whoever dies and whenever: never lost, never run under
//! two epochs.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use rowcount::{
    board::{Board, Event, redis::RedisBoard},
    collection::{Collection, CollectionState},
    proto::v1::{self, collection::State},
    redis_link::Route,
};
use rustix::process::Signal;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status};
use uuid::Uuid;

use super::{CLOSE_GATE, Client, LONG, OPEN_GATE, collection, fleet, list, request, runs, settled, trigger};
use crate::{
    board::bench::{config, wait_for},
    fleet::{Fleet, Instance, eventually, sample, span},
};

/// Of the lease: a crash is waited out. Long enough for a holder on a loaded machine.
const LEASE: &str = "8s";

/// Every collection that the fleet told of, as it told it.
struct History {
    told: Arc<Mutex<Vec<Collection>>>,
    _stop: DropGuard,
}

impl History {
    async fn of(fleet: &Fleet) -> Self {
        let board = RedisBoard::new(&Route::new(config(fleet.redis.port()), "default"));
        let stop = CancellationToken::new();
        let mut events = board.events();
        tokio::spawn(board.run_subscription(stop.clone()));
        wait_for(&mut events, |event| matches!(event, Event::Subscribed)).await;
        let told = Arc::<Mutex<Vec<_>>>::default();
        let heard = told.clone();
        tokio::spawn(async move {
            while let Ok(event) = events.recv().await {
                if let Event::Collection(collection) = event {
                    heard.lock().unwrap().push(*collection);
                }
            }
        });
        Self { told, _stop: stop.drop_guard() }
    }

    /// The epochs under which a collection ran, as soon as its end was heard.
    async fn epochs(&self, id: &str) -> Vec<i64> {
        eventually("its end is heard", async || {
            let told = self.told.lock().unwrap();
            let of_it = || told.iter().filter(|one| one.id.to_string() == id);
            of_it().any(|one| one.state.is_done()).then_some(())?;
            let ran = of_it().filter(|one| one.state == CollectionState::Running);
            Some(ran.map(|one| one.epoch).collect::<BTreeSet<_>>().into_iter().collect())
        })
        .await
    }
}

async fn runs_on_the_board(client: &mut Client, id: &str) -> v1::Collection {
    eventually("it runs", async || {
        let now = collection(&mut client.clone(), id, Duration::ZERO).await;
        (now.state() == State::Running).then_some(now)
    })
    .await
}

/// How many requested collections an instance has carried out.
async fn carried_out(instance: &Instance) -> Option<f64> {
    sample(&instance.metrics().await, r#"rowcount_collections_total{result="succeeded",trigger="request"}"#)
}

fn is_cancelled_by_the_next(told: &v1::Collection, ran: &v1::Collection) {
    assert_eq!((told.state(), told.epoch, &told.instance_id), (State::Cancelled, ran.epoch, &ran.instance_id));
    let error = told.error.as_ref().expect("the reason");
    assert_eq!(error.code, Code::Cancelled as i32);
    assert!(error.message.contains("its holder lost the lease before the end"), "{error:?}");
}

async fn two(lease: &str) -> (Fleet, Instance, Instance) {
    let mut fleet = fleet().await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", lease);
    let holder = fleet.instance("holder").await;
    settled(&fleet, &[&holder]).await;
    let standby = fleet.instance("standby").await;
    standby.logged("database row count metrics lock already obtained by another instance").await;
    (fleet, holder, standby)
}

#[tokio::test]
async fn what_was_accepted_before_the_holder_died_and_had_not_begun_is_carried_out_once_by_the_next() {
    let (fleet, mut holder, standby) = two(LEASE).await;
    let history = History::of(&fleet).await;
    let mut client = standby.client().await;
    // It lives and holds, and begins nothing any more.
    holder.signal(Signal::STOP);
    let asked = request(&["calls"], Duration::ZERO);
    let id = Uuid::new_v4().to_string();
    let asked = v1::TriggerCollectionRequest { request_id: id, ..asked };
    let (accepted, _) = trigger(&mut client, asked.clone()).await.unwrap();
    assert_eq!(accepted.state(), State::Pending);
    holder.signal(Signal::KILL);
    holder.exit().await;

    let done = collection(&mut client, &accepted.collection_id, LONG).await;
    assert_eq!((done.state(), done.instance_id.as_str()), (State::Succeeded, "standby"), "{done:?}");
    assert_eq!(history.epochs(&done.collection_id).await, [done.epoch]);
    let (again, joined) = trigger(&mut client, asked).await.unwrap();
    assert_eq!((again.collection_id, joined), (done.collection_id, true));
    assert_eq!(carried_out(&standby).await, Some(1.0));
}

#[tokio::test]
async fn what_was_counted_and_not_published_when_the_holder_died_is_cancelled_and_its_counts_are_not_told() {
    let (fleet, mut holder, standby) = two("10s").await;
    let history = History::of(&fleet).await;
    let mut client = standby.client().await;
    fleet.sql(CLOSE_GATE).await;
    let (asked, _) = trigger(&mut client, request(&["gated"], Duration::ZERO)).await.unwrap();
    let ran = runs_on_the_board(&mut client, &asked.collection_id).await;

    // Redis takes no write while the last query ends; the holder knows the count and cannot publish it.
    let before = runs(&holder, "gated").await;
    fleet.redis.cli(&["CLIENT", "PAUSE", "60000", "WRITE"]).await.unwrap();
    fleet.sql("INSERT INTO calls VALUES (1)").await;
    fleet.sql(OPEN_GATE).await;
    eventually("the last query ended", async || (runs(&holder, "gated").await > before).then_some(())).await;
    holder.signal(Signal::KILL);
    holder.exit().await;
    fleet.redis.cli(&["CLIENT", "UNPAUSE"]).await.unwrap();

    let cancelled = collection(&mut client, &asked.collection_id, LONG).await;
    is_cancelled_by_the_next(&cancelled, &ran);
    assert_eq!(history.epochs(&asked.collection_id).await, [ran.epoch]);
    assert_ne!(standby.count("gated").await.collection_id, asked.collection_id);
    assert_eq!(carried_out(&standby).await, Some(0.0));
}

#[tokio::test]
async fn who_resigns_in_the_middle_leaves_the_rest_to_the_next() {
    let (fleet, _holder, standby) = two("40s").await;
    let history = History::of(&fleet).await;
    let mut client = standby.client().await;
    fleet.sql(CLOSE_GATE).await;
    let (asked, _) = trigger(&mut client, request(&["gated"], Duration::ZERO)).await.unwrap();
    let ran = runs_on_the_board(&mut client, &asked.collection_id).await;
    let (pending, _) = trigger(&mut client, request(&["calls"], Duration::ZERO)).await.unwrap();
    assert_eq!(pending.state(), State::Pending);

    let hold_off_duration = Some(span(Duration::from_secs(60)));
    client.resign_lease(v1::ResignLeaseRequest { hold_off_duration }).await.unwrap();
    let cancelled = collection(&mut client, &asked.collection_id, LONG).await;
    is_cancelled_by_the_next(&cancelled, &ran);
    let done = collection(&mut client, &pending.collection_id, LONG).await;
    assert_eq!((done.state(), done.instance_id.as_str()), (State::Succeeded, "standby"), "{done:?}");
    assert_eq!(history.epochs(&asked.collection_id).await, [ran.epoch]);
    assert_eq!(history.epochs(&done.collection_id).await, [done.epoch]);
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rowcount/holder' AND state = 'active'";
    eventually("its query ended on the server", async || (fleet.scalar(busy).await == 0).then_some(())).await;
    fleet.sql(OPEN_GATE).await;
}

/// A caller that wants its collection done: it asks again, with the same id and of another instance, until it hears how
/// its collection ended.
async fn insists(clients: &[Client], caller: usize, names: &[&str]) -> v1::Collection {
    let asked = v1::TriggerCollectionRequest { request_id: Uuid::new_v4().to_string(), ..request(names, LONG) };
    for attempt in 0.. {
        let answer: Result<_, Status> =
            trigger(&mut clients[(caller + attempt) % clients.len()].clone(), asked.clone()).await;
        match answer {
            Ok((one, _)) if !matches!(one.state(), State::Pending | State::Running) => return one,
            Ok((one, _)) => assert!(attempt < 20, "never ends: {one:?}"),
            // What becomes of a call to a process that is killed meanwhile has several names.
            Err(lost) => {
                let is_passing =
                    matches!(lost.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled);
                assert!(attempt < 200 && is_passing, "{lost}");
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    unreachable!("it returns or fails")
}

#[tokio::test]
async fn of_many_calls_at_any_instance_each_ends_once_though_holders_die_and_resign() {
    let mut fleet = fleet().await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "4s");
    let mut first = fleet.instance("first").await;
    settled(&fleet, &[&first]).await;
    let (second, third) = tokio::join!(fleet.instance("second"), fleet.instance("third"));
    let history = History::of(&fleet).await;
    let clients = join_all([&first, &second, &third].map(Instance::client)).await;
    fleet.sql(CLOSE_GATE).await;
    let (gated, _) = trigger(&mut clients[1].clone(), request(&["gated"], Duration::ZERO)).await.unwrap();
    runs_on_the_board(&mut clients[1].clone(), &gated.collection_id).await;

    let calls = join_all((0..24).map(async |caller: usize| {
        tokio::time::sleep(Duration::from_millis(u64::try_from(caller).unwrap() * 250)).await;
        insists(&clients, caller, if caller.is_multiple_of(3) { &["calls", "gated"] } else { &["calls"] }).await
    }));
    let faults = async {
        eventually("a call waits behind the gate", async || {
            let now = clients[1].clone().list_collections(v1::ListCollectionsRequest::default()).await.unwrap();
            now.into_inner().collections.iter().any(|one| one.state() == State::Pending).then_some(())
        })
        .await;
        first.signal(Signal::KILL);
        first.exit().await;
        fleet.sql(OPEN_GATE).await;
        let next = fleet.holder(&[&second, &third]).await;
        let hold_off_duration = Some(span(Duration::from_secs(1)));
        let wish = v1::ResignLeaseRequest { hold_off_duration };
        // Whether it obeys in time is not the question here.
        _ = next.client().await.resign_lease(wish).await;
    };
    let (ended, ()) = tokio::join!(calls, faults);

    let mut kinds = [0, 0];
    for one in &ended {
        match one.state() {
            State::Succeeded => kinds[0] += 1,
            State::Cancelled => kinds[1] += 1,
            other => panic!("{other:?}: {one:?}"),
        }
        assert_eq!(history.epochs(&one.collection_id).await, [one.epoch], "{one:?}");
    }
    println!("{} calls succeeded and {} were cancelled", kinds[0], kinds[1]);
    let first_one = collection(&mut clients[1].clone(), &gated.collection_id, LONG).await;
    assert_eq!(first_one.state(), State::Cancelled);
    eventually("nothing is left open", async || {
        let asked = v1::ListCollectionsRequest { page_size: 1000, ..Default::default() };
        let listed = clients[1].clone().list_collections(asked).await.unwrap().into_inner().collections;
        let is_open = |one: &v1::Collection| matches!(one.state(), State::Pending | State::Running);
        (!listed.iter().any(is_open)).then_some(())
    })
    .await;
    let (ids, _) = list(&mut clients[2].clone(), 1000, "").await;
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}
