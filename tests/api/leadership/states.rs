//! A fleet in each state that a lease can be in, as every instance tells it: by GetLeaseStatus, WatchLease, /metrics and
//! the command line.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use rowcount::proto::v1::{self, instance::Role, lease::State};
use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{LEASE, at, calm};
use crate::fleet::{Instance, eventually, sample};

/// A `rowcount lease --watch` and what it has printed.
struct Watch {
    lines: Arc<Mutex<Vec<String>>>,
    _child: Child,
}

impl Watch {
    fn of(instance: &Instance) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowcount"));
        command.args(["lease", "--watch", "--server", &format!("http://{}", instance.grpc)]).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines = Arc::<Mutex<Vec<_>>>::default();
        let printed = lines.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = stdout.next_line().await {
                printed.lock().unwrap().push(line);
            }
        });
        Self { lines, _child: child }
    }

    /// Its last line, as soon as that tells `what`.
    async fn shows(&self, what: &str) -> String {
        eventually(&format!("a line with {what:?}"), async || {
            let lines = self.lines.lock().unwrap();
            lines.last().filter(|line| line.contains(what)).cloned()
        })
        .await
    }
}

/// GetLeaseStatus, as soon as it tells `state`, which /metrics must tell too.
async fn shows(instance: &Instance, state: State) -> v1::GetLeaseStatusResponse {
    let word = state.as_str_name().trim_start_matches("STATE_").to_lowercase();
    eventually(&format!("{} tells {word}", instance.id), async || {
        let status = instance.lease().await;
        (status.lease.as_ref().unwrap().state() == state).then_some(())?;
        let page = instance.metrics().await;
        let told = ["held", "free", "quarantined", "unknown"].map(|name| {
            let series = format!("rowcount_lease_state{{state=\"{name}\"}}");
            sample(&page, &series).unwrap_or_else(|| panic!("no {series}"))
        });
        assert_eq!(told.iter().sum::<f64>(), 1.0, "{told:?}");
        // The page may be of a moment later.
        (sample(&page, &format!("rowcount_lease_state{{state=\"{word}\"}}")) == Some(1.0)).then_some(status)
    })
    .await
}

async fn gauge(instance: &Instance, name: &str) -> f64 {
    sample(&instance.metrics().await, name).unwrap_or_else(|| panic!("no {name}"))
}

async fn command_line(fleet: &crate::fleet::Fleet, instance: &Instance) -> String {
    let output = fleet.run(&["lease", "--server", &format!("http://{}", instance.grpc)], &[]).await;
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn each_state_is_told_as_it_is_by_whoever_is_asked() {
    const QUARANTINE: Duration = Duration::from_secs(10);
    const LEFT: &str = "rowcount_lease_quarantine_remaining_seconds";
    const OBSERVED: &str = "rowcount_lease_observed_timestamp_seconds";
    let mut fleet = calm().await;
    fleet.set("ROWCOUNT_LEASE_FIRSTSTART", "wait");
    fleet.set("ROWCOUNT_LEASE_QUARANTINE", format!("{}s", QUARANTINE.as_secs()));
    let carol = fleet.instance_with("carol", &[("ROWCOUNT_DATABASE_METRICS_ENABLED", "false")]).await;
    let watch = Watch::of(&carol);

    // Of a past that nobody knows; the wait begins with whoever competes first.
    let mut alice = fleet.instance("alice").await;
    for instance in [&alice, &carol] {
        let lease = shows(instance, State::Quarantined).await.lease.unwrap();
        let left = Duration::try_from(lease.quarantine_remaining_duration.unwrap()).unwrap();
        assert!(left <= QUARANTINE && !left.is_zero(), "{left:?}");
        assert_eq!((lease.holder_id.as_str(), lease.epoch, lease.expire_time), ("", 0, None));
        assert_eq!(instance.lease().await.instance.unwrap().acquire_count, 0);
    }
    let (before, after) = (
        gauge(&alice, LEFT).await,
        eventually("less is left", async || {
            Some(gauge(&alice, LEFT).await).filter(|left| *left < QUARANTINE.as_secs_f64() - 1.0)
        })
        .await,
    );
    assert!(after < before, "{before} {after}");
    assert!(watch.shows("quarantined").await.contains("let in after "));
    assert!(command_line(&fleet, &carol).await.contains("\nlet in after  "));

    for instance in [&alice, &carol] {
        let status = shows(instance, State::Held).await;
        let lease = status.lease.unwrap();
        assert_eq!((lease.holder_id.as_str(), &lease.holder_address), ("alice", &alice.grpc));
        let left = Duration::try_from(lease.remaining_duration.unwrap()).unwrap();
        assert!(left <= LEASE, "{left:?}");
        assert!(at(lease.renew_time) >= at(lease.acquire_time) && at(lease.expire_time) > at(lease.renew_time));
        let role = if instance.id == "alice" { Role::Holder } else { Role::Observer };
        assert_eq!(status.instance.unwrap().role(), role);
        assert_eq!(gauge(instance, LEFT).await, 0.0);
        assert_eq!(gauge(instance, "rowcount_lease_epoch").await, lease.epoch as f64);
        assert_eq!(gauge(instance, "rowcount_lease_held").await, f64::from(instance.id == "alice"));
    }
    assert!(watch.shows("held").await.contains("holder alice"));

    fleet.redis.pause();
    for instance in [&alice, &carol] {
        let status = shows(instance, State::Unknown).await;
        let lease = status.lease.unwrap();
        assert_eq!(lease.holder_id, "alice", "the last observation");
        let observed = gauge(instance, OBSERVED).await;
        let age = |now: SystemTime| now.duration_since(at(lease.observe_time)).unwrap();
        let before = age(SystemTime::now());
        eventually("the observation grows older", async || {
            (age(SystemTime::now()) > before + Duration::from_secs(1)).then_some(())
        })
        .await;
        assert_eq!(gauge(instance, OBSERVED).await, observed);
        assert_eq!(instance.lease().await.lease.unwrap().observe_time, lease.observe_time);
        assert!(status.instance.unwrap().error.is_some());
    }
    assert!(watch.shows("unknown").await.contains("observed "));
    assert!(command_line(&fleet, &carol).await.contains("\nstate          unknown\nlast holder    alice\n"));
    fleet.redis.resume();

    for instance in [&alice, &carol] {
        shows(instance, State::Held).await;
    }
    watch.shows("held").await;
    alice.signal(Signal::TERM);
    alice.exit().await;
    let lease = shows(&carol, State::Free).await.lease.unwrap();
    assert_eq!((lease.holder_id.as_str(), lease.remaining_duration), ("alice", None), "the last holder");
    watch.shows("free").await;
    let lines = watch.lines.lock().unwrap().clone();
    // Between the end of a lease or a quarantine and the next grant it is free for a moment, which may be seen.
    let mut words: Vec<_> = lines.iter().filter_map(|line| line.split_whitespace().nth(1)).collect();
    words.retain(|word| *word != "free");
    words.dedup();
    // The first answer of the store may come after the watch has begun.
    let words = words.strip_prefix(&["unknown"]).unwrap_or(&words);
    assert_eq!(words, ["quarantined", "held", "unknown", "held"], "{lines:#?}");
}

#[tokio::test]
async fn a_process_that_wakes_from_a_long_stop_does_not_tell_a_lease_that_has_passed_on() {
    let mut fleet = calm().await;
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "2s");
    let alice = fleet.instance("alice").await;
    fleet.holder(&[&alice]).await;
    let bob = fleet.instance_with("bob", &[("ROWCOUNT_DATABASE_METRICS_ENABLED", "false")]).await;
    shows(&bob, State::Held).await;
    let before = bob.lease().await.lease.unwrap();
    bob.signal(Signal::STOP);
    alice.signal(Signal::STOP);
    let over = at(before.expire_time) + Duration::from_secs(4);
    eventually("the lease has passed on", async || (SystemTime::now() > over).then_some(())).await;
    // With Redis silent nobody can know better.
    fleet.redis.pause();
    let asked = tokio::spawn({
        let http = bob.http.clone();
        async move { crate::fleet::http_get(&http, "/metrics").await.unwrap().1 }
    });
    bob.signal(Signal::CONT);
    let page = asked.await.unwrap();
    assert_eq!(sample(&page, r#"rowcount_lease_state{state="unknown"}"#), Some(1.0), "{page}");
    let staleness = v1::GetLeaseStatusRequest { max_staleness: Some(crate::fleet::span(Duration::from_secs(3600))) };
    let told = bob.client().await.get_lease_status(staleness).await.unwrap().into_inner().lease.unwrap();
    assert_eq!((told.state(), told.holder_id.as_str()), (State::Unknown, "alice"));
    fleet.redis.resume();
    alice.signal(Signal::CONT);
    shows(&bob, State::Held).await;
}
