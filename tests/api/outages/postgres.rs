//! PostgreSQL away: old values age and go, the lease stays.

use std::time::{Duration, Instant};

use rowcount::{
    demo::server::free_port,
    proto::v1::{collection, lease::State},
};
use tonic::Code;

use super::{Outage, counted_anew, exports, fleet, gauge, part, trigger};
use crate::fleet::{eventually, sample, told};

#[tokio::test]
async fn without_postgres_an_instance_starts_and_counts_once_it_comes() {
    let mut fleet = fleet().await;
    fleet.postgres.stop().await.unwrap();
    let instance = fleet.instance("alice").await;
    let count =
        eventually("the count fails", async || Some(instance.count("t").await).filter(|c| c.error.is_some())).await;
    let (code, reason, message) = told(&count.error.unwrap());
    assert_eq!((code, &*reason, count.row_count), (Code::Unavailable, "CONNECTION", None));
    assert!(message.starts_with("cannot connect to the database: Connection refused"), "{message}");
    assert_eq!((instance.get("/livez").await.0, instance.get("/readyz").await.0), (200, 200));
    let page = instance.metrics().await;
    assert_eq!((exports(&page), gauge(&page, "rowcount_postgres_up")), (false, 0.0));
    assert!(part(&instance, "postgres").await.starts_with("[-]postgres failed: cannot connect"));

    fleet.postgres.restart().await.unwrap();
    assert_eq!(counted_anew(&instance).await.row_count, Some(3));
    assert_eq!(gauge(&instance.metrics().await, "rowcount_postgres_up"), 1.0);
    assert_eq!(part(&instance, "postgres").await, "[+]postgres ok");
}

/// Old values age and go, calls end as failed, and counting goes on by itself.
async fn postgres_goes_and_comes(outage: Outage) {
    let mut fleet = fleet().await;
    let instance = fleet.instance("alice").await;
    counted_anew(&instance).await;
    match outage {
        Outage::Dead => fleet.postgres.kill().await.unwrap(),
        Outage::Silent => fleet.postgres.pause(),
    }
    let gone = Instant::now();
    let failed =
        eventually("the count fails", async || Some(instance.count("t").await).filter(|c| c.error.is_some())).await;
    let noticed = gone.elapsed();
    let (code, reason, message) = told(failed.error.as_ref().unwrap());
    let expected = match (code, &*reason) {
        (Code::Unavailable, "CONNECTION") => true,
        // A statement was under way.
        (Code::DeadlineExceeded, "TIMEOUT") => outage == Outage::Silent,
        _ => false,
    };
    assert!(expected, "{reason}: {message}");
    assert_eq!(failed.row_count, Some(3), "the last value");
    eventually("PostgreSQL is down", async || {
        let page = instance.metrics().await;
        (gauge(&page, "rowcount_postgres_up") == 0.0 && !exports(&page)).then_some(())
    })
    .await;
    assert!(instance.count("t").await.stale);
    assert!(part(&instance, "postgres").await.starts_with("[-]postgres failed: "));
    let asked = Instant::now();
    let collection = trigger(&instance).await.unwrap().collection.unwrap();
    assert_eq!((collection.state(), collection.failed_query_names), (collection::State::Failed, vec!["t".to_owned()]));
    println!("{outage:?}: noticed after {noticed:?}; a requested collection failed within {:?}", asked.elapsed());
    assert_eq!(instance.lease().await.lease.unwrap().state(), State::Held, "the lease is none of its business");

    match outage {
        Outage::Dead => fleet.postgres.restart().await.unwrap(),
        Outage::Silent => fleet.postgres.resume(),
    }
    let back = Instant::now();
    let count = counted_anew(&instance).await;
    let took = back.elapsed();
    println!("{outage:?}: counted again after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!((count.row_count, count.stale), (Some(3), false));
    assert_eq!(part(&instance, "postgres").await, "[+]postgres ok");
    let ours = "SELECT 1 / (count(*) < 3)::int FROM pg_stat_activity WHERE application_name LIKE 'rowcount/%'";
    eventually("no more backends than allowed", async || fleet.postgres.execute("registry", ours).await.ok()).await;
}

#[tokio::test]
async fn counting_goes_on_after_a_crash_of_postgres() {
    postgres_goes_and_comes(Outage::Dead).await;
}

#[tokio::test]
async fn counting_goes_on_after_postgres_was_silent() {
    postgres_goes_and_comes(Outage::Silent).await;
}

#[tokio::test]
async fn a_holder_that_can_count_nothing_lets_another_one_try_and_goes_on_while_it_is_alone() {
    let fleet = fleet().await;
    let nowhere = format!("postgres://postgres@127.0.0.1:{}/registry", free_port().unwrap());
    let alice = fleet.instance_with("alice", &[("ROWCOUNT_DATABASE_URL", &nowhere)]).await;
    let failed = r#"rowcount_collections_total{result="failed",trigger="schedule"}"#;
    eventually("it has tried more often than a holder beside others would", async || {
        (sample(&alice.metrics().await, failed) > Some(4.0)).then_some(())
    })
    .await;
    let lease = alice.lease().await;
    assert_eq!((lease.lease.unwrap().state(), lease.instance.unwrap().acquire_count), (State::Held, 1));

    let bob = fleet.instance("bob").await;
    assert_eq!(counted_anew(&alice).await.row_count, Some(3), "told by the one that reaches nothing");
    assert_eq!(bob.lease().await.lease.unwrap().holder_id, "bob");
    let page = alice.metrics().await;
    assert_eq!(gauge(&page, r#"rowcount_lease_transitions_total{reason="gave_up"}"#), 1.0);
}
