//! A subscription on which nothing comes any more though its connection stands.

use std::time::Duration;

use rowcount::proto::v1::{
    GetCollectionRequest, ResignLeaseRequest, TriggerCollectionRequest, collection, lease::State,
};
use rustix::process::Signal;

use super::fleet;
use crate::{
    fleet::{eventually, span},
    proxy::Proxy,
};

const STANDS: &str = "Subscribed to the board's events";
const BROKE: &str = "No subscription to the board's events, connecting anew";
const DENIED: &str = "database row count metrics lock already obtained by another instance";

#[tokio::test]
async fn a_half_open_subscription_costs_no_takeover_and_is_found_by_its_ping() {
    let mut fleet = fleet().await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "4s");
    fleet.set("ROWCOUNT_REDIS_CACHE_READTIMEOUT", "1s");
    fleet.set("ROWCOUNT_REDIS_CACHE_WRITETIMEOUT", "1s");
    let mut alice = fleet.instance("alice").await;
    fleet.holder(&[&alice]).await;
    let carol = fleet.instance_with("carol", &[("ROWCOUNT_DATABASE_METRICS_ENABLED", "false")]).await;
    let proxy = Proxy::to(fleet.redis.addr()).await;
    let bob = fleet.instance_with("bob", &[("ROWCOUNT_REDIS_CACHE_ADDR", proxy.addr())]).await;
    bob.logged(STANDS).await;
    bob.logged(DENIED).await;

    // Bob hears neither of what is asked for nor of anything else, and takes over by his timer all the same.
    proxy.silence_subscriptions();
    alice.signal(Signal::STOP);
    let mut client = carol.client().await;
    let asked = client.trigger_collection(TriggerCollectionRequest::default()).await.unwrap().into_inner();
    let asked = asked.collection.unwrap();
    assert_eq!(asked.state(), collection::State::Pending);
    alice.signal(Signal::KILL);
    alice.exit().await;
    let wait =
        GetCollectionRequest { collection_id: asked.collection_id, wait_timeout: Some(span(Duration::from_secs(25))) };
    let done = client.get_collection(wait).await.unwrap().into_inner().collection.unwrap();
    assert_eq!((done.state(), done.instance_id.as_str()), (collection::State::Succeeded, "bob"));
    assert!(bob.lines(BROKE).is_empty(), "what was pending is seen at the takeover, not when the silence is found");

    bob.logged(BROKE).await;
    eventually("a new subscription", async || (bob.lines(STANDS).len() == 2).then_some(())).await;
    // A wish is obeyed in time only by whoever hears of it.
    let hold_off_duration = Some(span(Duration::from_secs(1)));
    let resigned = client.resign_lease(ResignLeaseRequest { hold_off_duration }).await.unwrap().into_inner();
    let lease = resigned.lease.unwrap();
    assert!(lease.state() == State::Free || lease.epoch > done.epoch, "{lease:?}");
}
