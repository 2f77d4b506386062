//! What the board in Redis does when Redis goes, comes, forgets or holds what this version does not know.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use prost::Message;
use rowcount::{
    board::{Begun, Board, Event, TriggerRequest, Triggered, Written, redis::RedisBoard, view::View},
    claim::Proof,
    collection::{CollectionId, CollectionState},
    config::{Acquire as Mode, FirstStart, LeaseConfig, RedisConfig},
    lease::{Backend, redis::RedisBackend},
    lease_protocol::{Acquire, Command, Renew, Reply},
    proto::board::{CollectionRecord, SnapshotRecord},
    redis_link::Route,
};
use tokio_util::sync::CancellationToken;

use super::{
    bench::{Bench, CLUSTER, PATIENCE, config, until, wait_for},
    collection, next_event, of_collections, of_snapshot, request, snapshot,
};

#[tokio::test]
async fn what_was_sent_before_a_loss_is_refused_after_it() {
    let bench = Bench::redis().await;
    let minute = Duration::from_secs(60);
    let lease = LeaseConfig {
        enabled: true,
        duration: minute,
        quarantine: 2 * minute,
        acquire: Mode::Standby,
        first_start: FirstStart::Immediate,
    };
    let backend = RedisBackend::new(&Route::new(config(bench.server().port()), CLUSTER), &lease);
    let ask = async |command: Command| backend.ask(&command, PATIENCE).await.unwrap().reply;
    let (ttl_us, [token, holder, address]) = (60_000_000, ["alice", "a", "a:1"].map(str::to_owned));
    let bid = Acquire { token: token.clone(), holder: holder.clone(), address: address.clone(), ttl_us, floor: 0 };
    let granted = ask(Command::Acquire(bid)).await;
    let Reply::Granted { epoch, until_us, since_us, mark_us } = granted else { panic!("{granted:?}") };
    let before = Proof { token: token.clone(), epoch, mark_us };
    let publish = async |proof: &Proof, revision| {
        bench.board.publish(proof, of_snapshot(snapshot(proof, revision))).await.unwrap()
    };
    assert_eq!(publish(&before, epoch + 5).await, Written::Accepted);

    bench.server().cli(&["FLUSHALL"]).await.unwrap();
    let call = request(&["tags"]);
    let id = call.new_id;
    bench.board.trigger(call).await.unwrap();
    let pending = bench.board.load().await.unwrap().pending.unwrap();
    let renewal = Renew { token: token.clone(), epoch, holder, address, since_us, ttl_us, until_seen_us: until_us };
    let renewed = ask(Command::Renew(renewal)).await;
    let Reply::Reclaimed { mark_us, .. } = renewed else { panic!("{renewed:?}") };
    let after = Proof { token, epoch, mark_us };

    assert_eq!(publish(&before, epoch + 4).await, Written::NotHolder, "the board does not know of the fifth any more");
    let running = collection(id, CollectionState::Running, &after);
    assert_eq!(bench.board.begin(&before, &pending, running.clone()).await.unwrap(), Begun::NotHolder);
    assert_eq!(publish(&after, epoch + 6).await, Written::Accepted);
    assert_eq!(bench.board.begin(&after, &pending, running).await.unwrap(), Begun::Accepted);
}

#[tokio::test]
async fn the_subscription_comes_back_after_a_restart() {
    let mut bench = Bench::redis().await;
    let mut events = bench.events().await;
    let view = bench.view().await;
    bench.server_mut().kill().await.unwrap();
    wait_for(&mut events, |event| matches!(event, Event::Unsubscribed)).await;
    until(|| !view.now().connected).await;
    assert!(view.now().last_error.is_some());
    bench.server_mut().restart().await.unwrap();
    wait_for(&mut events, |event| matches!(event, Event::Subscribed)).await;

    // The first call may still find the connection that died with the server.
    bench.load().await;
    let proof = bench.hold("alice").await;
    bench.board.publish(&proof, of_snapshot(snapshot(&proof, proof.epoch))).await.unwrap();
    until(|| view.now().revision() == proof.epoch && view.now().connected).await;
    assert_eq!(view.now().last_error, None);
}

#[tokio::test]
async fn a_killed_subscription_stands_again_and_what_was_missed_is_loaded() {
    let bench = Bench::redis().await;
    let mut events = bench.events().await;
    let view = bench.view().await;
    let loads = view.now().load_count;
    assert_eq!(bench.server().cli(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap(), "1");
    wait_for(&mut events, |event| matches!(event, Event::Unsubscribed)).await;
    wait_for(&mut events, |event| matches!(event, Event::Subscribed)).await;
    until(|| view.now().load_count > loads).await;
    let asked = request(&["tags"]);
    bench.board.trigger(asked.clone()).await.unwrap();
    until(|| view.now().collection(asked.new_id).is_some()).await;
}

#[tokio::test]
async fn a_board_that_starts_without_its_redis_finds_it_later() {
    let mut bench = Bench::redis().await;
    bench.server_mut().stop().await.unwrap();
    let board = RedisBoard::new(&Route::new(config(bench.server().port()), "test"));
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let mut events = board.events();
    let view = View::new();
    tokio::spawn(Arc::clone(&board).run_subscription(stop.clone()));
    tokio::spawn(rowcount::board::mirror::mirror(Arc::clone(&board) as Arc<dyn Board>, Arc::clone(&view), stop));
    until(|| view.now().last_error.is_some()).await;
    assert_eq!((view.now().load_count, view.read_time()), (0, None));
    bench.server_mut().restart().await.unwrap();
    wait_for(&mut events, |event| matches!(event, Event::Subscribed)).await;
    until(|| view.now().connected).await;
}

#[tokio::test]
async fn nothing_listens_where_the_board_should_be_and_it_says_so() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let board = RedisBoard::new(&Route::new(config(port), "test"));
    let error = board.trigger(request(&["tags"])).await.unwrap_err();
    assert!(matches!(error, rowcount::board::Error::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn scripts_are_loaded_again_when_redis_has_dropped_them() {
    let bench = Bench::redis().await;
    let proof = bench.hold("alice").await;
    for revision in [proof.epoch, proof.epoch + 1] {
        let publication = of_snapshot(snapshot(&proof, revision));
        assert_eq!(bench.board.publish(&proof, publication).await.unwrap(), Written::Accepted);
        assert_eq!(bench.board.load().await.unwrap().snapshot, Some(snapshot(&proof, revision)));
        assert_eq!(bench.server().cli(&["SCRIPT", "FLUSH"]).await.unwrap(), "OK");
    }
}

#[tokio::test]
async fn a_record_of_a_newer_version_leaves_the_copy_as_it_is() {
    let bench = Bench::redis().await;
    let mut events = bench.events().await;
    let view = bench.view().await;
    let proof = bench.hold("alice").await;
    bench.board.publish(&proof, of_snapshot(snapshot(&proof, proof.epoch))).await.unwrap();
    until(|| view.now().revision() == proof.epoch).await;

    let newer = SnapshotRecord { version: 99, epoch: proof.epoch, revision: proof.epoch + 1, ..Default::default() };
    let record = newer.encode_to_vec();
    let mut connection = bench.server().connect().await.unwrap();
    let store = redis::cmd("HSET").arg(bench.key("snapshot")).arg("record").arg(&record).to_owned();
    store.exec_async(&mut connection).await.unwrap();
    let message = [b"snapshot:".as_slice(), &record].concat();
    let tell = redis::cmd("PUBLISH").arg(bench.key("events")).arg(message).to_owned();
    tell.exec_async(&mut connection).await.unwrap();
    wait_for(&mut events, |event| matches!(event, Event::Unreadable(reason) if reason.contains("version 99"))).await;
    until(|| view.now().last_error.is_some()).await;

    // Redis answers, so it is up; what it holds is not understood.
    let loads = view.now().load_count;
    bench.server().cli(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
    until(|| view.now().load_count > loads).await;
    let seen = view.now();
    assert!(seen.connected && seen.last_error.as_ref().unwrap().contains("version 99"), "{seen:?}");
    assert_eq!(seen.state.snapshot, Some(snapshot(&proof, proof.epoch)));

    // The first load of what is understood makes it whole.
    bench.board.publish(&proof, of_snapshot(snapshot(&proof, proof.epoch + 2))).await.unwrap();
    bench.server().cli(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
    until(|| view.now().connected && view.now().last_error.is_none()).await;
    assert_eq!(view.now().revision(), proof.epoch + 2);
}

#[tokio::test]
async fn a_new_holder_takes_over_from_a_board_of_a_newer_version() {
    let bench = Bench::redis().await;
    let alice = bench.hold("alice").await;
    let known = collection(CollectionId::generate(), CollectionState::Running, &alice);
    let mut publication = of_collections([known.clone()]);
    publication.snapshot = Some(snapshot(&alice, alice.epoch));
    bench.board.publish(&alice, publication).await.unwrap();
    let (collection_id, state) = (CollectionId::generate().to_string(), "dreaming".to_owned());
    let strange = CollectionRecord { version: 1, collection_id, state, ..Default::default() };
    let newer = SnapshotRecord { version: 99, epoch: alice.epoch, revision: alice.epoch, ..Default::default() };
    let mut connection = bench.server().connect().await.unwrap();
    let mut put = redis::pipe();
    put.hset(bench.key("snapshot"), "record", newer.encode_to_vec());
    put.hset(bench.key("collections"), "strange", strange.encode_to_vec());
    put.exec_async(&mut connection).await.unwrap();

    let state = bench.board.load().await.unwrap();
    assert!(state.unreadable.as_ref().unwrap().contains("version 99"), "{state:?}");
    assert_eq!((state.snapshot, state.collections), (None, [(known.id, known)].into()));
    let bob = bench.hold("bob").await;
    let first = snapshot(&bob, bob.epoch);
    assert_eq!(bench.board.publish(&bob, of_snapshot(first.clone())).await.unwrap(), Written::Accepted);
    let state = bench.board.load().await.unwrap();
    assert_eq!(state.snapshot, Some(first));
    assert!(state.unreadable.unwrap().contains("dreaming"), "the collection is skipped");
}

#[tokio::test]
async fn fleets_of_two_databases_do_not_hear_each_other() {
    let bench = Bench::redis().await;
    let mut events = bench.events().await;
    let config = RedisConfig { db: 3, ..config(bench.server().port()) };
    let elsewhere = RedisBoard::new(&Route::new(config, "test"));
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let mut other_events = elsewhere.events();
    tokio::spawn(Arc::clone(&elsewhere).run_subscription(stop));
    wait_for(&mut other_events, |event| matches!(event, Event::Subscribed)).await;
    let (here, there) = (request(&["tags"]), request(&["blobs"]));
    elsewhere.trigger(there.clone()).await.unwrap();
    bench.board.trigger(here.clone()).await.unwrap();
    for (events, own) in [(&mut events, here), (&mut other_events, there)] {
        let Event::Pending(pending) = next_event(events).await else { panic!("not a pending collection") };
        assert_eq!(pending.id, own.new_id, "the first that is heard is its own");
    }
}

#[tokio::test]
async fn a_replica_does_not_answer_and_the_next_call_finds_the_new_master() {
    let (bench, master) = (Bench::redis().await, Bench::redis().await);
    bench.board.trigger(request(&["tags"])).await.unwrap();
    // Those of the board: others run no scripts.
    let clients = async || {
        let listed = bench.server().cli(&["CLIENT", "LIST", "TYPE", "normal"]).await.unwrap();
        let own = listed.lines().filter(|line| line.contains("cmd=evalsha"));
        own.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect::<BTreeSet<_>>()
    };
    let before = clients().await;
    let port = master.server().port().to_string();
    bench.server().cli(&["REPLICAOF", "127.0.0.1", &port]).await.unwrap();
    // What is refused on the way to being a replica depends on the moment; that it is refused does not.
    let error = bench.board.load().await.unwrap_err();
    assert!(matches!(error, rowcount::board::Error::Unavailable(_)), "{error}");
    let begin = Instant::now();
    while !bench.board.load().await.unwrap_err().to_string().contains("not the master") {
        assert!(begin.elapsed() < PATIENCE, "never said so");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.server().cli(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    bench.board.load().await.unwrap();
    let after = clients().await;
    assert!(before.len() == 1 && after.len() == 1 && before != after, "{before:?} {after:?}");
}

#[tokio::test]
async fn many_old_request_ids_are_forgotten_a_few_a_call() {
    const MANY: usize = 6_000;
    let bench = Bench::redis().await;
    let triggers = bench.key("triggers");
    let mut connection = bench.server().connect().await.unwrap();
    let mut fill = redis::cmd("HSET");
    fill.arg(&triggers);
    for number in 0..MANY {
        let expire_us = if number % 2 == 0 { 1_000_000 } else { i64::MAX / 1024 };
        fill.arg(format!("req:{number}")).arg(format!("{expire_us} {} tags", CollectionId::generate()));
    }
    fill.exec_async(&mut connection).await.unwrap();
    let left = async || bench.server().query::<usize>(&["HLEN", &triggers]).await.unwrap();
    bench.board.trigger(request(&["tags"])).await.unwrap();
    assert!(left().await > MANY - 200, "a call does a bounded amount of work");
    for _ in 0..MANY / 50 + 100 {
        bench.board.trigger(request(&["tags"])).await.unwrap();
    }
    let kept = bench.server().query::<Vec<String>>(&["HKEYS", &triggers]).await.unwrap();
    let numbers = kept.iter().filter_map(|field| field.strip_prefix("req:")?.parse::<usize>().ok());
    let (even, odd): (Vec<_>, Vec<_>) = numbers.partition(|number| number % 2 == 0);
    assert_eq!((even.len(), odd.len()), (0, MANY / 2), "those whose time is over are gone, the others are not");
}

#[tokio::test]
async fn request_ids_are_forgotten_only_when_their_time_is_over() {
    let bench = Bench::redis().await;
    let first = request(&["tags"]);
    let id = first.new_id;
    bench.board.trigger(first.clone()).await.unwrap();
    let triggers = bench.key("triggers");
    let field = format!("req:{}", first.request_id);
    let known = bench.server().cli(&["HGET", &triggers, &field]).await.unwrap();
    let expire_us: i64 = known.split(' ').next().unwrap().parse().unwrap();
    let now: Vec<i64> = bench.server().query(&["TIME"]).await.unwrap();
    let left = expire_us - now[0] * 1_000_000 - now[1];
    assert!((590_000_000..=600_000_000).contains(&left), "{left}");

    // As if the time was over.
    let old = format!("1000000 {id} tags");
    let expire = ["HSET", &triggers, &field, &old, "req:other", &old];
    bench.server().cli(&expire).await.unwrap();
    let again = TriggerRequest { query_names: request(&["blobs"]).query_names, ..first };
    assert_eq!(bench.board.trigger(again.clone()).await.unwrap(), Triggered::Joined(id), "no REUSED after its time");
    assert_eq!(bench.server().cli(&["HEXISTS", &triggers, "req:other"]).await.unwrap(), "0");
    assert_eq!(bench.board.trigger(again).await.unwrap(), Triggered::Joined(id));
}

#[tokio::test]
async fn a_holder_of_before_a_loss_of_data_is_refused() {
    let bench = Bench::redis().await;
    let proof = bench.hold("alice").await;
    bench.server().cli(&["HSET", &bench.key("lease"), "holder_generation", "another"]).await.unwrap();
    let publication = of_collections([collection(CollectionId::generate(), CollectionState::Failed, &proof)]);
    assert_eq!(bench.board.publish(&proof, publication).await.unwrap(), Written::NotHolder);
}
