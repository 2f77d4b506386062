//! What the board in Redis does when Redis goes, comes, forgets or holds what this version does not know.

use std::{net::TcpListener, sync::Arc};

use rowcount::{
    board::{Board, Event, TriggerRequest, Triggered, Written, redis::RedisBoard, view::View},
    collection::{CollectionId, CollectionState},
    proto::board::SnapshotRecord,
};
use tokio_util::sync::CancellationToken;

use super::{
    bench::{Bench, config, until, wait_for},
    collection, of_collections, of_snapshot, request, snapshot,
};

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
    let grant = bench.hold("alice").await;
    bench.board.publish(&grant, of_snapshot(snapshot(&grant, grant.epoch))).await.unwrap();
    until(|| view.now().revision() == grant.epoch && view.now().connected).await;
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
    let board = RedisBoard::new(config(bench.server().port()), "test");
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
    let board = RedisBoard::new(config(port), "test");
    let error = board.trigger(request(&["tags"])).await.unwrap_err();
    assert!(matches!(error, rowcount::board::Error::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn scripts_are_loaded_again_when_redis_has_dropped_them() {
    let bench = Bench::redis().await;
    let grant = bench.hold("alice").await;
    for revision in [grant.epoch, grant.epoch + 1] {
        let publication = of_snapshot(snapshot(&grant, revision));
        assert_eq!(bench.board.publish(&grant, publication).await.unwrap(), Written::Accepted);
        assert_eq!(bench.board.load().await.unwrap().snapshot, Some(snapshot(&grant, revision)));
        assert_eq!(bench.server().cli(&["SCRIPT", "FLUSH"]).await.unwrap(), "OK");
    }
}

#[tokio::test]
async fn a_record_of_a_newer_version_leaves_the_copy_as_it_is() {
    let bench = Bench::redis().await;
    let mut events = bench.events().await;
    let view = bench.view().await;
    let grant = bench.hold("alice").await;
    bench.board.publish(&grant, of_snapshot(snapshot(&grant, grant.epoch))).await.unwrap();
    until(|| view.now().revision() == grant.epoch).await;

    let newer = SnapshotRecord { version: 99, epoch: grant.epoch, revision: grant.epoch + 1, ..Default::default() };
    let record = prost::Message::encode_to_vec(&newer);
    let mut connection = bench.server().connect().await.unwrap();
    let store = redis::cmd("HSET").arg(bench.key("snapshot")).arg("record").arg(&record).to_owned();
    store.exec_async(&mut connection).await.unwrap();
    let message = [b"snapshot:".as_slice(), &record].concat();
    let tell = redis::cmd("PUBLISH").arg(bench.key("events")).arg(message).to_owned();
    tell.exec_async(&mut connection).await.unwrap();
    wait_for(&mut events, |event| matches!(event, Event::Unreadable(reason) if reason.contains("version 99"))).await;
    until(|| view.now().last_error.is_some()).await;

    bench.server().cli(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
    until(|| !view.now().connected).await;
    let seen = view.now();
    assert!(seen.last_error.as_ref().unwrap().contains("version 99"), "{seen:?}");
    assert_eq!(seen.state.snapshot, Some(snapshot(&grant, grant.epoch)));

    // The first publication that is understood makes it whole.
    bench.board.publish(&grant, of_snapshot(snapshot(&grant, grant.epoch + 2))).await.unwrap();
    until(|| view.now().connected && view.now().last_error.is_none()).await;
    assert_eq!(view.now().revision(), grant.epoch + 2);
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

    // As if the time was over, and the last look was long ago.
    let old = format!("1000000 {id} tags");
    let expire = ["HSET", &triggers, &field, &old, "req:other", &old, "pruned_us", "0"];
    bench.server().cli(&expire).await.unwrap();
    let again = TriggerRequest { query_names: request(&["blobs"]).query_names, ..first };
    assert_eq!(bench.board.trigger(again.clone()).await.unwrap(), Triggered::Joined(id), "no REUSED after its time");
    assert_eq!(bench.server().cli(&["HEXISTS", &triggers, "req:other"]).await.unwrap(), "0");
    assert_eq!(bench.board.trigger(again).await.unwrap(), Triggered::Joined(id));
}

#[tokio::test]
async fn a_holder_of_before_a_loss_of_data_is_refused() {
    let bench = Bench::redis().await;
    let grant = bench.hold("alice").await;
    bench.server().cli(&["HSET", &bench.key("lease"), "holder_generation", "another"]).await.unwrap();
    let publication = of_collections([collection(CollectionId::generate(), CollectionState::Failed, &grant)]);
    assert_eq!(bench.board.publish(&grant, publication).await.unwrap(), Written::NotHolder);
}
