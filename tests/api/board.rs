//! The board: the same promises in memory and in Redis, and what only a store that can fail has to keep.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rowcount::{
    board::{Begun, Event, Pending, Publication, Resign, TriggerRequest, Triggered, Written},
    claim::Proof,
    collection::{Collection, CollectionId, CollectionState, Trigger},
    snapshot::Snapshot,
};
use tokio::{sync::broadcast::Receiver, task::JoinSet, time::timeout};
use uuid::Uuid;

use bench::{Bench, PATIENCE};

pub mod bench;
mod faults;
mod waiting;

fn snapshot(proof: &Proof, revision: i64) -> Snapshot {
    let Proof { token, epoch, .. } = proof.clone();
    let publish_time = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    Snapshot { epoch, token, revision, publish_time, last_collection: None, counts: [].into() }
}

fn of_snapshot(snapshot: Snapshot) -> Publication {
    Publication { snapshot: Some(snapshot), ..Publication::default() }
}

fn of_collections<const N: usize>(collections: [Collection; N]) -> Publication {
    Publication { collections: collections.into(), ..Publication::default() }
}

fn collection(id: CollectionId, state: CollectionState, proof: &Proof) -> Collection {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    Collection {
        id,
        state,
        trigger: Trigger::Request,
        create_time: now,
        start_time: Some(now),
        end_time: state.is_done().then_some(now),
        query_names: ["tags".parse().unwrap()].into(),
        failed_query_names: BTreeSet::new(),
        instance_id: "one".to_owned(),
        epoch: proof.epoch,
        failure: None,
    }
}

fn request(queries: &[&str]) -> TriggerRequest {
    let query_names = queries.iter().map(|name| name.parse().unwrap()).collect();
    TriggerRequest { request_id: Uuid::new_v4(), query_names, new_id: CollectionId::generate() }
}

/// The next event that is not about the subscription.
async fn next_event(events: &mut Receiver<Event>) -> Event {
    let next = async {
        loop {
            match events.recv().await.unwrap() {
                Event::Subscribed | Event::Alive => {}
                event => return event,
            }
        }
    };
    timeout(PATIENCE, next).await.expect("an event should have come")
}

#[tokio::test]
async fn the_guard_refuses_whoever_does_not_hold() {
    for bench in Bench::both().await {
        let alice = bench.hold("alice").await;
        let publication = of_snapshot(snapshot(&alice, alice.epoch));
        assert_eq!(bench.board.publish(&alice, publication).await.unwrap(), Written::Accepted, "{bench}");
        let before = bench.board.load().await.unwrap();

        let later = Proof { epoch: alice.epoch + 1, ..alice.clone() };
        let bob = Proof { token: "bob".to_owned(), ..alice.clone() };
        let nobody = Proof { token: String::new(), ..alice.clone() };
        // Who has not heard that the store had forgotten something wrote before it did.
        let unaware = Proof { mark_us: alice.mark_us - 1, ..alice.clone() };
        for stranger in [later, bob, nobody, unaware] {
            let mut publication = of_snapshot(snapshot(&stranger, alice.epoch + 5));
            publication.collections.push(collection(CollectionId::generate(), CollectionState::Failed, &stranger));
            assert_eq!(bench.board.publish(&stranger, publication).await.unwrap(), Written::NotHolder, "{bench}");
            let publication =
                of_collections([collection(CollectionId::generate(), CollectionState::Failed, &stranger)]);
            assert_eq!(bench.board.publish(&stranger, publication).await.unwrap(), Written::NotHolder, "{bench}");
        }
        assert_eq!(bench.board.load().await.unwrap(), before, "{bench}");

        let bob = bench.hold("bob").await;
        let late = of_snapshot(snapshot(&alice, alice.epoch + 9));
        assert_eq!(bench.board.publish(&alice, late).await.unwrap(), Written::NotHolder, "{bench}");
        let first = of_snapshot(snapshot(&bob, bob.epoch));
        assert_eq!(bench.board.publish(&bob, first).await.unwrap(), Written::Accepted, "{bench}");
    }
}

#[tokio::test]
async fn a_revision_is_published_once_and_never_goes_back() {
    for bench in Bench::both().await {
        let proof = bench.hold("alice").await;
        let revision = proof.epoch + 3;
        let done = collection(CollectionId::generate(), CollectionState::Succeeded, &proof);
        let mut first = of_snapshot(snapshot(&proof, revision));
        first.collections.push(done.clone());
        for _ in 0..2 {
            // The second stands for the retry of a write whose reply was lost.
            assert_eq!(bench.board.publish(&proof, first.clone()).await.unwrap(), Written::Accepted, "{bench}");
        }
        let mut other = snapshot(&proof, revision);
        other.last_collection = Some(done.id);
        let older = snapshot(&proof, revision - 1);
        for refused in [other, older] {
            let mut publication = of_snapshot(refused);
            publication.forget.push(done.id);
            assert_eq!(bench.board.publish(&proof, publication).await.unwrap(), Written::NotHolder, "{bench}");
        }
        let state = bench.board.load().await.unwrap();
        assert_eq!(state.snapshot, first.snapshot, "{bench}");
        assert_eq!(state.collections, [(done.id, done.clone())].into(), "{bench}");

        let mut next = of_snapshot(snapshot(&proof, revision + 1));
        next.forget.push(done.id);
        assert_eq!(bench.board.publish(&proof, next.clone()).await.unwrap(), Written::Accepted, "{bench}");
        let state = bench.board.load().await.unwrap();
        assert_eq!((state.snapshot, state.collections.len()), (next.snapshot, 0), "{bench}");
    }
}

#[tokio::test]
async fn any_number_of_triggers_make_one_pending_collection() {
    for bench in Bench::both().await {
        let mut calls = JoinSet::new();
        for number in 0..64 {
            let board = Arc::clone(&bench.board);
            let request = request(&["tags", &format!("query_{}", number % 7)]);
            calls.spawn(async move { board.trigger(request).await.unwrap() });
        }
        let answers = calls.join_all().await;
        let created = answers.iter().filter_map(|answer| match answer {
            Triggered::Created(id) => Some(*id),
            _ => None,
        });
        let [id] = created.collect::<Vec<_>>()[..] else { panic!("{bench}: {answers:?}") };
        assert_eq!(answers.iter().filter(|answer| **answer == Triggered::Joined(id)).count(), 63, "{bench}");

        let pending = bench.board.load().await.unwrap().pending.unwrap();
        assert_eq!((pending.id, pending.query_names.len()), (id, 8), "{bench}");
        assert_eq!(pending.version, 7, "{bench}: one for the first call, and one for each name that was added");
        let age = SystemTime::now().duration_since(pending.create_time).unwrap_or_default();
        assert!(age < PATIENCE, "{bench}: {age:?}");
    }
}

#[tokio::test]
async fn a_request_id_stands_for_one_collection() {
    for bench in Bench::both().await {
        let proof = bench.hold("alice").await;
        let first = request(&["tags"]);
        let id = first.new_id;
        let again = TriggerRequest { new_id: CollectionId::generate(), ..first.clone() };
        let other = TriggerRequest { query_names: request(&["blobs"]).query_names, ..again.clone() };
        assert_eq!(bench.board.trigger(first).await.unwrap(), Triggered::Created(id), "{bench}");
        assert_eq!(bench.board.trigger(again.clone()).await.unwrap(), Triggered::Joined(id), "{bench}");
        assert_eq!(bench.board.trigger(other.clone()).await.unwrap(), Triggered::Reused, "{bench}");
        let joiner = request(&["blobs"]);
        assert_eq!(bench.board.trigger(joiner.clone()).await.unwrap(), Triggered::Joined(id), "{bench}");

        let pending = bench.board.load().await.unwrap().pending.unwrap();
        let running = collection(id, CollectionState::Running, &proof);
        assert_eq!(bench.board.begin(&proof, &pending, running).await.unwrap(), Begun::Accepted, "{bench}");
        for repeated in [again, joiner] {
            assert_eq!(bench.board.trigger(repeated).await.unwrap(), Triggered::Joined(id), "{bench}");
        }
        assert_eq!(bench.board.trigger(other).await.unwrap(), Triggered::Reused, "{bench}");
        assert_eq!(bench.board.load().await.unwrap().pending, None, "{bench}");
    }
}

#[tokio::test]
async fn a_collection_begins_only_as_its_holder_has_seen_it() {
    for bench in Bench::both().await {
        let proof = bench.hold("alice").await;
        let first = request(&["tags"]);
        let id = first.new_id;
        bench.board.trigger(first).await.unwrap();
        let seen = bench.board.load().await.unwrap().pending.unwrap();
        bench.board.trigger(request(&["tags"])).await.unwrap();
        assert_eq!(bench.board.load().await.unwrap().pending.as_ref(), Some(&seen), "{bench}: nothing was added");
        bench.board.trigger(request(&["blobs"])).await.unwrap();

        let running = collection(id, CollectionState::Running, &proof);
        let begun = bench.board.begin(&proof, &seen, running.clone()).await.unwrap();
        let Begun::Changed(Some(joined)) = begun else { panic!("{bench}: {begun:?}") };
        assert_eq!(joined.query_names, request(&["blobs", "tags"]).query_names, "{bench}");
        let bob = Proof { token: "bob".to_owned(), ..proof.clone() };
        let unaware = Proof { mark_us: proof.mark_us - 1, ..proof.clone() };
        for stranger in [bob, unaware] {
            let begun = bench.board.begin(&stranger, &joined, running.clone()).await.unwrap();
            assert_eq!(begun, Begun::NotHolder, "{bench}");
        }
        assert_eq!(bench.board.begin(&proof, &joined, running.clone()).await.unwrap(), Begun::Accepted, "{bench}");

        // A repetition is answered as the first was, but does not undo the end.
        let done = collection(id, CollectionState::Succeeded, &proof);
        bench.board.publish(&proof, of_collections([done.clone()])).await.unwrap();
        assert_eq!(bench.board.begin(&proof, &joined, running.clone()).await.unwrap(), Begun::Accepted, "{bench}");
        let state = bench.board.load().await.unwrap();
        assert_eq!((state.collections.get(&id), state.pending), (Some(&done), None), "{bench}");

        let next = request(&["tags"]);
        assert_eq!(bench.board.trigger(next.clone()).await.unwrap(), Triggered::Created(next.new_id), "{bench}");
        let never = Pending { id: CollectionId::generate(), ..joined };
        let begun = bench.board.begin(&proof, &never, running).await.unwrap();
        assert!(matches!(&begun, Begun::Changed(Some(now)) if now.id == next.new_id), "{bench}: {begun:?}");
    }
}

#[tokio::test]
async fn events_carry_the_data_in_the_order_of_the_writes() {
    for bench in Bench::both().await {
        let mut events = bench.events().await;
        let proof = bench.hold("alice").await;
        let asked = request(&["tags", "blobs"]);
        bench.board.trigger(asked.clone()).await.unwrap();
        let Event::Pending(pending) = next_event(&mut events).await else { panic!("{bench}") };
        assert_eq!(Some(&pending), bench.board.load().await.unwrap().pending.as_ref(), "{bench}");
        assert_eq!(pending.query_names, asked.query_names, "{bench}");

        let running = collection(pending.id, CollectionState::Running, &proof);
        bench.board.begin(&proof, &pending, running.clone()).await.unwrap();
        let event = next_event(&mut events).await;
        assert!(matches!(&event, Event::Collection(told) if **told == running), "{bench}: {event:?}");

        let done = collection(pending.id, CollectionState::Succeeded, &proof);
        let mut publication = of_snapshot(snapshot(&proof, proof.epoch));
        publication.collections.push(done.clone());
        bench.board.publish(&proof, publication.clone()).await.unwrap();
        let event = next_event(&mut events).await;
        assert!(matches!(&event, Event::Snapshot(told) if Some(&**told) == publication.snapshot.as_ref()), "{event:?}");
        let event = next_event(&mut events).await;
        assert!(matches!(&event, Event::Collection(told) if **told == done), "{bench}: {event:?}");

        let forget = Publication { forget: vec![done.id], ..Publication::default() };
        bench.board.publish(&proof, forget).await.unwrap();
        let event = next_event(&mut events).await;
        assert!(matches!(&event, Event::Forgotten(ids) if *ids == [done.id]), "{bench}: {event:?}");

        let until = SystemTime::now() + Duration::from_secs(60);
        bench.board.resign(proof.epoch, Duration::from_secs(60)).await.unwrap();
        let Event::Resign(resign) = next_event(&mut events).await else { panic!("{bench}") };
        let Resign { epoch, until: told } = resign;
        assert_eq!(epoch, proof.epoch, "{bench}");
        assert!(told.duration_since(until).unwrap_or_default() < PATIENCE, "{bench}");
        assert!(until.duration_since(told).unwrap_or_default() < PATIENCE, "{bench}");
        assert_eq!(bench.board.load().await.unwrap().resign, Some(resign), "{bench}");
    }
}
