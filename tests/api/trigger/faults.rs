//! What becomes of a requested collection when something else dies.

use std::time::Duration;

use rowcount::proto::v1::collection::{State, Trigger};
use rustix::process::Signal;
use tonic::Code;

use super::{CLOSE_GATE, LONG, OPEN_GATE, collection, fleet, list, request, settled, trigger};
use crate::fleet::{eventually, sample};

#[tokio::test]
async fn with_the_database_down_the_collection_fails_and_the_call_does_not() {
    let mut fleet = fleet().await;
    let instance = fleet.instance("a").await;
    settled(&fleet, &[&instance]).await;
    let mut client = instance.client().await;

    fleet.postgres.stop().await.unwrap();
    let (failed, _) = trigger(&mut client, request(&[], LONG)).await.unwrap();
    assert_eq!((failed.state(), &failed.failed_query_names), (State::Failed, &failed.query_names), "{failed:?}");
    let count = instance.count("calls").await;
    assert_eq!(count.error.map(|error| error.code), Some(Code::Unavailable as i32));
    assert_eq!(count.row_count, Some(0), "the value of before is still told");
    assert_ne!(count.collection_id, failed.collection_id);

    fleet.postgres.restart().await.unwrap();
    let (done, _) = trigger(&mut client, request(&[], LONG)).await.unwrap();
    assert_eq!(done.state(), State::Succeeded, "{done:?}");
    assert_eq!(instance.count("calls").await.error, None);
}

#[tokio::test]
async fn the_next_holder_cancels_what_ran_and_carries_out_once_what_was_pending() {
    let mut fleet = fleet().await;
    // A crashed holder is waited for as long as its lease.
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "6s");
    let (mut a, mut b) = tokio::join!(fleet.instance("a"), fleet.instance("b"));
    let holds_a = settled(&fleet, &[&a, &b]).await.id == a.id;
    let (holder, standby) = if holds_a { (&mut a, &b) } else { (&mut b, &a) };
    let mut client = standby.client().await;

    fleet.sql(CLOSE_GATE).await;
    let (running, _) = trigger(&mut client, request(&["gated"], Duration::ZERO)).await.unwrap();
    eventually("it runs", async || {
        let now = collection(&mut client.clone(), &running.collection_id, Duration::ZERO).await;
        (now.state() == State::Running).then_some(())
    })
    .await;
    let waiter = tokio::spawn({
        let (mut client, id) = (client.clone(), running.collection_id.clone());
        async move { collection(&mut client, &id, LONG).await }
    });
    let (pending, _) = trigger(&mut client, request(&["calls"], Duration::ZERO)).await.unwrap();
    assert_eq!(pending.state(), State::Pending);

    holder.signal(Signal::KILL);
    holder.exit().await;
    fleet.sql(OPEN_GATE).await;
    let cancelled = waiter.await.unwrap();
    assert_eq!(cancelled.state(), State::Cancelled, "{cancelled:?}");
    assert_eq!(cancelled.error.as_ref().map(|error| error.code), Some(Code::Cancelled as i32));
    assert_eq!(cancelled.instance_id, holder.id);
    let done = collection(&mut client, &pending.collection_id, LONG).await;
    assert_eq!((done.state(), done.instance_id.as_str()), (State::Succeeded, standby.id.as_str()), "{done:?}");
    assert_eq!(done.trigger(), Trigger::Request);
    assert!(done.epoch > cancelled.epoch);

    let (ids, _) = list(&mut client, 0, "").await;
    assert_eq!(ids.iter().filter(|id| **id == done.collection_id).count(), 1);
    let carried_out = r#"rowcount_collections_total{result="succeeded",trigger="request"}"#;
    assert_eq!(sample(&standby.metrics().await, carried_out), Some(1.0));
}
