//! How long a call waits, for what, and how many may.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rowcount::proto::v1::{self, collection::State};
use tonic::{Code, Request};
use tonic_types::StatusExt;

use super::{CLOSE_GATE, Client, LONG, OPEN_GATE, collection, fleet, list, reason, request, runs, settled, trigger};
use crate::fleet::{Fleet, eventually, span};

/// A query of `SCHEMA` waits at the gate.
async fn waits_at_the_gate(fleet: &Fleet) {
    const ACTIVE: &str = "SELECT count(*) FROM pg_stat_activity
        WHERE application_name LIKE 'rowcount/%' AND state = 'active' AND query LIKE '%pass()%'";
    eventually("a run waits at the gate", async || (fleet.scalar(ACTIVE).await == 1).then_some(())).await;
}

#[tokio::test]
async fn the_end_of_a_wait_is_no_error_and_the_end_of_the_collection_can_be_waited_for_later() {
    let fleet = fleet().await;
    let instance = fleet.instance("a").await;
    settled(&fleet, &[&instance]).await;
    let mut client = instance.client().await;
    fleet.sql(CLOSE_GATE).await;

    // The gate stays closed, so whatever answers has not waited for the end.
    let (at_once, _) = trigger(&mut client, request(&["gated"], Duration::ZERO)).await.unwrap();
    assert!(matches!(at_once.state(), State::Pending | State::Running), "{at_once:?}");
    eventually("it runs", async || {
        let now = collection(&mut client.clone(), &at_once.collection_id, Duration::ZERO).await;
        (now.state() == State::Running).then_some(())
    })
    .await;

    let wait = Duration::from_millis(300);
    let began = Instant::now();
    let (later, joined) = trigger(&mut client, request(&["gated"], wait)).await.unwrap();
    assert!(began.elapsed() >= wait, "{:?}", began.elapsed());
    assert_eq!((later.state(), joined), (State::Pending, false), "a call never joins a run that has begun");

    let deadline = Duration::from_secs(1);
    let mut attempts = 0;
    let cut = eventually("an answer before the deadline", async || {
        attempts += 1;
        assert!(attempts < 6, "no answer came before its deadline");
        let mut bounded = Request::new(request(&["gated"], LONG));
        bounded.set_timeout(deadline);
        let began = Instant::now();
        // A machine under load may be late with an answer that has 100 ms to travel.
        let answer = client.trigger_collection(bounded).await.ok()?;
        assert!(began.elapsed() > deadline / 2, "{:?}", began.elapsed());
        answer.into_inner().collection
    })
    .await;
    assert_eq!((cut.state(), cut.collection_id), (State::Pending, later.collection_id.clone()));

    fleet.sql(OPEN_GATE).await;
    for id in [at_once.collection_id, later.collection_id] {
        assert_eq!(collection(&mut client, &id, LONG).await.state(), State::Succeeded);
    }
    let (done, _) = trigger(&mut client, request(&["gated"], LONG)).await.unwrap();
    assert_eq!(done.state(), State::Succeeded);
}

#[tokio::test]
async fn a_scheduled_run_that_is_stuck_holds_no_call_up_and_its_query_runs_again_for_the_call() {
    let fleet = fleet().await;
    fleet.sql(CLOSE_GATE).await;
    let instance = fleet.instance("a").await;
    waits_at_the_gate(&fleet).await;
    let mut client = instance.client().await;

    let (other, _) = trigger(&mut client, request(&["calls"], LONG)).await.unwrap();
    assert_eq!(other.state(), State::Succeeded);

    // The stuck run has its snapshot, so this row can only be in that of a later one.
    fleet.sql("INSERT INTO calls VALUES (1)").await;
    let (asked, _) = trigger(&mut client, request(&["gated"], Duration::ZERO)).await.unwrap();
    waits_at_the_gate(&fleet).await;
    fleet.sql(OPEN_GATE).await;
    assert_eq!(collection(&mut client, &asked.collection_id, LONG).await.state(), State::Succeeded);
    let count = instance.count("gated").await;
    assert_eq!((count.row_count(), count.collection_id), (1, asked.collection_id));
    assert_eq!(runs(&instance, "gated").await, 2.0);
}

#[tokio::test]
async fn without_a_holder_a_call_is_told_so_and_carried_out_later_and_only_so_many_may_wait() {
    let fleet = fleet().await;
    let reader = fleet.instance_with("reader", &[("ROWCOUNT_DATABASE_METRICS_ENABLED", "false")]).await;
    let mut client = reader.client().await;
    let (pending, joined) = trigger(&mut client, request(&[], Duration::from_millis(100))).await.unwrap();
    assert_eq!((pending.state(), joined, pending.instance_id.as_str()), (State::Pending, false, ""));

    // As many as a connection carries, on each of four.
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let client = reader.client().await;
        waiting.extend((0..256).map(|_| tokio::spawn(wait(client.clone(), pending.collection_id.clone()))));
    }
    let refused = eventually("every place is taken", async || {
        trigger(&mut client.clone(), request(&["calls"], Duration::from_millis(1))).await.err()
    })
    .await;
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "TOO_MANY_WAITERS"));
    assert!(refused.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()));
    let (still, _) =
        trigger(&mut client, request(&[], Duration::ZERO)).await.expect("who does not wait needs no place");
    assert_eq!(still.collection_id, pending.collection_id);
    assert_eq!(list(&mut client, 0, "").await.0, std::slice::from_ref(&pending.collection_id));

    let holder = fleet.instance("holder").await;
    for outcome in join_all(waiting).await {
        let done = outcome.expect("no wait panics");
        assert_eq!((done.state(), done.instance_id.as_str()), (State::Succeeded, holder.id.as_str()), "{done:?}");
    }
    trigger(&mut client, request(&["calls"], LONG)).await.expect("the places are free again");
}

/// Waits for the end; again when it is refused, since whoever looks whether the places are taken takes one.
async fn wait(mut client: Client, collection_id: String) -> v1::Collection {
    loop {
        let wait_timeout = Some(span(Duration::from_secs(60)));
        let request = v1::GetCollectionRequest { collection_id: collection_id.clone(), wait_timeout };
        match client.get_collection(request).await {
            Ok(answer) => return answer.into_inner().collection.expect("an answer has a collection"),
            Err(refused) => assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}"),
        }
    }
}
