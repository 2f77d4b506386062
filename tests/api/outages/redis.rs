//! Redis away: nobody counts, everybody answers.

use std::time::{Duration, Instant, SystemTime};

use rowcount::proto::v1::{instance::Role, lease::State};
use tonic::Code;
use tonic_types::StatusExt;

use super::{Outage, QUICK, TTL, counted_anew, exports, fleet, gauge, observed, part, trigger};
use crate::fleet::{eventually, told};

#[tokio::test]
async fn without_redis_an_instance_starts_answers_and_says_so_and_counts_once_it_comes() {
    let mut fleet = fleet().await;
    fleet.redis.stop().await.unwrap();
    let instance = fleet.instance("alice").await;
    for path in ["/livez", "/readyz", "/version", "/config", "/", "/status"] {
        assert_eq!(instance.get(path).await.0, 200, "{path}");
    }
    let page = instance.metrics().await;
    assert_eq!(
        (exports(&page), gauge(&page, "rowcount_redis_up"), gauge(&page, "rowcount_lease_held")),
        (false, 0.0, 0.0)
    );
    eventually("the page says why", async || {
        part(&instance, "redis").await.starts_with("[-]redis failed: the board is out of reach").then_some(())
    })
    .await;

    let count = instance.count("t").await;
    assert_eq!((count.row_count, count.observe_time, count.error), (None, None, None));
    let lease = instance.lease().await;
    let (seen, own) = (lease.lease.unwrap(), lease.instance.unwrap());
    assert_eq!((seen.state(), seen.observe_time), (State::Unknown, None), "never an invented FREE");
    assert_eq!(own.role(), Role::Standby);
    let (code, reason, _) = told(&own.error.unwrap());
    assert_eq!((code, &*reason), (Code::Unavailable, "LEASE_STORE_UNAVAILABLE"));
    let refused = trigger(&instance).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "LEASE_STORE_UNAVAILABLE");
    assert!(refused.get_details_retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);

    fleet.redis.restart().await.unwrap();
    assert_eq!(counted_anew(&instance).await.row_count, Some(3));
    let page = instance.metrics().await;
    assert!(exports(&page), "{page}");
    eventually("Redis is up everywhere", async || {
        let up = gauge(&instance.metrics().await, "rowcount_redis_up") == 1.0;
        (up && part(&instance, "redis").await == "[+]redis ok").then_some(())
    })
    .await;
    assert_eq!(instance.lease().await.lease.unwrap().state(), State::Held);
}

/// The holder exports until its own deadline and not after it; both instances go on answering.
async fn redis_goes_and_comes(outage: Outage) {
    let mut fleet = fleet().await;
    // Otherwise half of the standby's attempts would wait longer than the outage takes.
    fleet.set("ROWCOUNT_REDIS_CACHE_DIALTIMEOUT", "1s");
    let (alice, bob) = (fleet.instance("alice").await, fleet.instance("bob").await);
    let (holder, standby) = match &*fleet.holder(&[&alice, &bob]).await.id {
        "alice" => (&alice, &bob),
        _ => (&bob, &alice),
    };
    eventually("the standby has the copy", async || {
        Some(standby.count("t").await).filter(|count| count.row_count == Some(3))
    })
    .await;
    match outage {
        Outage::Dead => fleet.redis.kill().await.unwrap(),
        Outage::Silent => fleet.redis.pause(),
    }
    let gone = Instant::now();
    assert!(exports(&holder.metrics().await), "the lease is not over yet");
    let (mut page_took, mut answer_took) = (Duration::ZERO, Duration::ZERO);
    let exported_for = eventually("the holder exports nothing", async || {
        let asked = Instant::now();
        let page = holder.metrics().await;
        page_took = page_took.max(asked.elapsed());
        let still = exports(&page);
        // Judged by the moment of the question: what comes later may have waited in a queue of the test.
        assert!(!still || asked.duration_since(gone) < TTL, "exports {:?} after the store went", gone.elapsed());
        let asked = Instant::now();
        assert_eq!(standby.count("t").await.row_count, Some(3));
        assert_eq!(standby.get("/status").await.0, 200);
        answer_took = answer_took.max(asked.elapsed());
        (!still).then_some(gone.elapsed())
    })
    .await;
    println!(
        "{outage:?}: exports ended after {exported_for:?}; a page took {page_took:?}, an answer {answer_took:?} at most"
    );
    assert!(page_took < QUICK && answer_took < QUICK);

    for instance in [holder, standby] {
        let told_state = eventually("the store is out of reach for it", async || {
            let asked = instance.lease().await;
            (asked.lease.as_ref().unwrap().state() == State::Unknown).then_some(asked)
        })
        .await;
        let (seen, own) = (told_state.lease.unwrap(), told_state.instance.unwrap());
        assert_eq!((&seen.holder_id, own.role()), (&holder.id, Role::Standby), "the last observation");
        assert!(
            SystemTime::try_from(seen.observe_time.unwrap()).unwrap() < SystemTime::now() - Duration::from_millis(1)
        );
        let count = instance.count("t").await;
        assert_eq!(count.row_count, Some(3));
        let stale =
            eventually("its age shows", async || Some(instance.count("t").await).filter(|count| count.stale)).await;
        assert_eq!((stale.row_count, observed(&stale)), (Some(3), observed(&count)));
        eventually("Redis is down for it", async || {
            let down = gauge(&instance.metrics().await, "rowcount_redis_up") == 0.0;
            (down && part(instance, "redis").await.starts_with("[-]redis failed: ")).then_some(())
        })
        .await;
    }

    fleet.sql("INSERT INTO t VALUES (4)").await;
    match outage {
        Outage::Dead => fleet.redis.restart().await.unwrap(),
        Outage::Silent => fleet.redis.resume(),
    }
    let back = Instant::now();
    let holder = fleet.holder(&[&alice, &bob]).await;
    let took = back.elapsed();
    println!("{outage:?}: somebody exports again after {took:?}");
    // L3: a quarantine, which a killed Redis without its data costs, and a lease; the rest is this machine's.
    assert!(took < 2 * TTL + TTL + Duration::from_secs(6), "{took:?}");
    for instance in [&alice, &bob] {
        eventually("everybody has the new count", async || {
            Some(instance.count("t").await).filter(|count| count.row_count == Some(4) && !count.stale)
        })
        .await;
        eventually("Redis is up for it", async || {
            (gauge(&instance.metrics().await, "rowcount_redis_up") == 1.0).then_some(())
        })
        .await;
    }
    assert_eq!(holder.lease().await.lease.unwrap().holder_id, holder.id);
}

#[tokio::test]
async fn a_holder_exports_nothing_after_its_deadline_when_redis_dies_and_somebody_holds_when_it_is_back() {
    redis_goes_and_comes(Outage::Dead).await;
}

#[tokio::test]
async fn a_holder_exports_nothing_after_its_deadline_when_redis_falls_silent_and_somebody_holds_when_it_speaks() {
    redis_goes_and_comes(Outage::Silent).await;
}
