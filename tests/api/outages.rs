//! Redis or PostgreSQL away, silent or refusing: the instance lives and answers, shows nothing that it may not, says
//! what is wrong, and is right again by itself.

#![allow(clippy::unwrap_used, reason = "all of it is test code, also what is no test itself")]

use std::time::{Duration, Instant, SystemTime};

use rowcount::proto::v1::{RowCount, TriggerCollectionRequest, TriggerCollectionResponse, lease::State};
use tonic::{Code, Status};

use crate::fleet::{Fleet, Instance, eventually, sample};

mod access;
mod postgres;
mod redis;
mod subscription;
mod survey;
mod user;

/// Of `Fleet`.
const TTL: Duration = Duration::from_secs(2);

/// An answer from memory on a machine that is busy with other tests.
const QUICK: Duration = Duration::from_secs(1);

/// How a server is away.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outage {
    /// Connections are refused.
    Dead,
    /// Connections stay open, new ones are taken, nothing answers.
    Silent,
}

/// A fleet that counts one table `t` of three rows.
pub async fn fleet() -> Fleet {
    let mut fleet = Fleet::servers().await;
    fleet.set("ROWCOUNT_CATALOG", "none");
    fleet.set("ROWCOUNT_QUERIES_T_TABLE", "t");
    fleet.set("ROWCOUNT_DATABASE_CONNECTTIMEOUT", "1s");
    fleet.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2), (3)").await;
    fleet
}

pub async fn trigger(instance: &Instance) -> Result<TriggerCollectionResponse, Status> {
    let wait_timeout = Some(prost_types::Duration { seconds: 20, nanos: 0 });
    let request = TriggerCollectionRequest { wait_timeout, ..Default::default() };
    Ok(instance.client().await.trigger_collection(request).await?.into_inner())
}

fn exports(page: &str) -> bool {
    page.contains("registry_database_rows{")
}

fn gauge(page: &str, name: &str) -> f64 {
    sample(page, name).unwrap_or_else(|| panic!("no {name}"))
}

fn observed(count: &RowCount) -> SystemTime {
    count.observe_time.unwrap().try_into().unwrap()
}

/// A count that was read after this call, as soon as there is one.
pub async fn counted_anew(instance: &Instance) -> RowCount {
    let now = SystemTime::now();
    eventually("t is counted", async || {
        Some(instance.count("t").await)
            .filter(|count| count.error.is_none() && count.observe_time.is_some() && observed(count) > now)
    })
    .await
}

/// The line of a part on `/readyz?verbose`, which answers 200 whatever it says of its parts.
pub async fn part(instance: &Instance, name: &str) -> String {
    let (status, body) = instance.get("/readyz?verbose").await;
    assert_eq!(status, 200, "{body}");
    body.lines().find(|line| line[3..].starts_with(name)).unwrap_or_else(|| panic!("no {name} in {body}")).to_owned()
}

/// Asks for metrics, probes and counts as long as `outage` takes; returns the longest time of a page and of an answer.
async fn asked_during(instance: &Instance, outage: impl Future<Output = ()>) -> (Duration, Duration) {
    let mut outage = std::pin::pin!(outage);
    let (mut page, mut answer) = (Duration::ZERO, Duration::ZERO);
    loop {
        tokio::select! {
            biased;
            () = &mut outage => return (page, answer),
            () = async {
                let began = Instant::now();
                instance.metrics().await;
                assert_eq!((instance.get("/livez").await.0, instance.get("/readyz").await.0), (200, 200));
                page = page.max(began.elapsed());
                let began = Instant::now();
                instance.counts().await;
                answer = answer.max(began.elapsed());
            } => {}
        }
    }
}

#[tokio::test]
async fn with_both_stores_silent_every_answer_comes_at_once() {
    let fleet = fleet().await;
    let instance = fleet.instance("alice").await;
    counted_anew(&instance).await;
    fleet.redis.pause();
    fleet.postgres.pause();
    let outage = async {
        eventually("both are down", async || {
            let page = instance.metrics().await;
            let down = |name| gauge(&page, name) == 0.0;
            (down("rowcount_redis_up") && down("rowcount_lease_held") && instance.count("t").await.stale).then_some(())
        })
        .await;
    };
    let (page, answer) = asked_during(&instance, outage).await;
    println!("both silent: a page and two probes took {page:?} at most, counts over a new connection {answer:?}");
    assert!(page < QUICK && answer < QUICK);
    let asked = Instant::now();
    assert_eq!(instance.lease().await.lease.unwrap().state(), State::Unknown);
    assert!(asked.elapsed() < 2 * QUICK, "it waits a second for the store");
    let asked = Instant::now();
    assert_eq!(trigger(&instance).await.unwrap_err().code(), Code::Unavailable);
    println!("both silent: a trigger is refused after {:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(15));

    fleet.postgres.resume();
    fleet.redis.resume();
    assert_eq!(counted_anew(&instance).await.row_count, Some(3));
}
