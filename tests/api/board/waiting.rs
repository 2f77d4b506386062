//! Waiting for the end of a collection on the view of any instance.

use std::{sync::Arc, time::Duration};

use rowcount::{
    board::{Event, Publication, WaitOutcome, view::View, wait_for_end},
    collection::{CollectionId, CollectionState},
};
use tokio::time::Instant;

use super::{
    bench::{Bench, PATIENCE, until, wait_for},
    collection, of_snapshot, request, snapshot,
};

/// A wait that began before what follows.
fn wait(view: &Arc<View>, id: CollectionId) -> tokio::task::JoinHandle<WaitOutcome> {
    let view = Arc::clone(view);
    tokio::spawn(async move { wait_for_end(&view, id, Instant::now() + PATIENCE).await })
}

#[tokio::test]
async fn whoever_waits_hears_the_end_and_finds_its_counts() {
    for bench in Bench::both().await {
        let view = bench.view().await;
        let proof = bench.hold("alice").await;
        let asked = request(&["tags"]);
        let id = asked.new_id;
        let waiter = wait(&view, id);
        bench.board.trigger(asked).await.unwrap();
        until(|| view.now().collection(id).is_some_and(|one| one.state == CollectionState::Pending)).await;

        let pending = bench.board.load().await.unwrap().pending.unwrap();
        let running = collection(id, CollectionState::Running, &proof);
        bench.board.begin(&proof, &pending, running.clone()).await.unwrap();
        until(|| view.now().collection(id) == Some(running.clone())).await;
        assert_eq!(view.now().state.pending, None, "{bench}");
        let time_up = wait_for_end(&view, id, Instant::now() + Duration::from_millis(1)).await;
        assert_eq!(time_up, WaitOutcome::NotYet(Some(running)), "{bench}");

        let done = collection(id, CollectionState::Succeeded, &proof);
        let mut publication = of_snapshot(snapshot(&proof, proof.epoch));
        publication.collections.push(done.clone());
        bench.board.publish(&proof, publication).await.unwrap();
        assert_eq!(waiter.await.unwrap(), WaitOutcome::Done(done), "{bench}");
        assert_eq!(view.now().revision(), proof.epoch, "{bench}");

        let forget = Publication { forget: vec![id], ..Publication::default() };
        bench.board.publish(&proof, forget).await.unwrap();
        until(|| view.now().collection(id).is_none()).await;
    }
}

#[tokio::test]
async fn a_collection_that_redis_has_lost_is_not_waited_for() {
    let bench = Bench::redis().await;
    let view = bench.view().await;
    let asked = request(&["tags"]);
    let (known, never_heard_of) = (asked.new_id, CollectionId::generate());
    bench.board.trigger(asked).await.unwrap();
    until(|| view.now().collection(known).is_some()).await;
    let waiters = [known, never_heard_of].map(|id| wait(&view, id));

    bench.server().cli(&["FLUSHALL"]).await.unwrap();
    // Until a lease reply tells another revision, or the fallback's time is over; here a broken subscription does.
    for _ in 0..2 {
        let loads = view.now().load_count;
        let mut events = bench.board.events();
        bench.server().cli(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
        wait_for(&mut events, |event| matches!(event, Event::Unsubscribed)).await;
        wait_for(&mut events, |event| matches!(event, Event::Subscribed)).await;
        until(|| view.now().load_count > loads).await;
    }
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap(), WaitOutcome::Vanished);
    }
}
