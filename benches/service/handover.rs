//! How long nobody holds the lease: after a resignation, after a stop, after a crash. By Redis' clock, of the messages
//! that a release and a grant send in the very scripts that make them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rowcount::proto::v1::{ResignLeaseRequest, instance::Role};
use rustix::process::Signal;

use super::{
    fleet::{Fleet, Instance, eventually},
    monitor::Monitor,
    report::{Report, span},
    rounds,
    stats::Sorted,
    steady,
};

const RESIGNATIONS: usize = 100;
const STOPS: usize = 20;
const CRASHES: usize = 5;

/// Beside the holder.
const STANDBYS: [usize; 3] = [1, 5, 50];

/// Of the lease: a crash is waited out so often.
const TTL: &str = "2s";

/// Keeps the holder that resigned from winning again at once.
const HOLD_OFF: prost_types::Duration = prost_types::Duration { seconds: 0, nanos: 50_000_000 };

/// What a lease is stored under.
const RECORD: &str = "{rowcount:default}:lease";

/// Instances with a view of the lease from Redis.
struct Race {
    fleet: Fleet,
    instances: Vec<Instance>,
    monitor: Monitor,
}

pub async fn measure(mut report: Report) -> Report {
    for standbys in STANDBYS {
        let mut race = Race::start(standbys, Messages::Come).await;
        let mut gaps = Vec::new();
        for _ in 0..rounds(RESIGNATIONS) {
            gaps.push(race.resign().await);
        }
        let what = format!("release → next grant, {} × ResignLease, {standbys} standbys", gaps.len());
        report.row(what, Sorted::new(gaps).spread(), "p50 ≤ 1 ms, p99 ≤ 20 ms");
    }
    for standbys in STANDBYS {
        let mut race = Race::start(standbys, Messages::AreLost).await;
        let mut gaps = Vec::new();
        for _ in 0..rounds(STOPS) {
            let (_, release, grant) = race.stop().await;
            gaps.push(grant - release);
        }
        let what = format!("the same without messages, {} × SIGTERM, lease of {TTL}, {standbys} standbys", gaps.len());
        report.row(what, Sorted::new(gaps).spread(), "≤ the lease");
    }

    let mut race = Race::start(1, Messages::Come).await;
    let (mut gaps, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..rounds(STOPS) {
        let (stop, release, grant) = race.stop().await;
        gaps.push(grant - release);
        whole.push(grant - stop);
    }
    let measured =
        format!("p50 {}; from the signal: {}", span(Sorted::new(gaps).median()), Sorted::new(whole).spread());
    report.row(format!("release → next grant, {} × SIGTERM, 1 standby", rounds(STOPS)), measured, "");

    let (mut late, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..rounds(CRASHES) {
        let (kill, expiry, grant) = race.crash().await;
        late.push(grant.saturating_sub(expiry));
        whole.push(grant - kill);
    }
    let what = format!("{} × SIGKILL, lease of {TTL}: end of the lease → next grant", late.len());
    let (late, whole) = (Sorted::new(late), Sorted::new(whole));
    let measured = format!("max {}; from the kill: max {}", span(late.max()), span(whole.max()));
    report.row(what, measured, "≤ 50 ms");
    report
}

/// Whether the fleet hears of what happens.
#[derive(Clone, Copy, PartialEq)]
enum Messages {
    Come,
    /// Nobody may subscribe.
    AreLost,
}

// === impl Race ===

impl Race {
    async fn start(standbys: usize, messages: Messages) -> Self {
        let fleet = steady::fleet("1s", TTL).await;
        if messages == Messages::AreLost {
            fleet.redis.cli(&["ACL", "SETUSER", "default", "-subscribe"]).await.expect("Redis answers");
        }
        let mut instances = Vec::new();
        for index in 0..=standbys {
            instances.push(fleet.instance(&format!("instance-{index}")).await);
        }
        let monitor = Monitor::start(&fleet.redis).await;
        let race = Self { fleet, instances, monitor };
        race.settled().await;
        race
    }

    /// The holder's index, once every other instance stands by.
    async fn settled(&self) -> usize {
        eventually("one instance holds, all others stand by", async || {
            let mut roles = Vec::new();
            for instance in &self.instances {
                roles.push(instance.lease().await.instance.expect("it is told").role());
            }
            let standbys = roles.iter().filter(|role| **role == Role::Standby).count();
            (standbys + 1 == roles.len()).then(|| roles.iter().position(|role| *role == Role::Holder)).flatten()
        })
        .await
    }

    /// From the release to the next grant.
    async fn resign(&mut self) -> Duration {
        let holder = self.settled().await;
        let other = (holder + 1) % self.instances.len();
        let mut client = self.instances[other].client().await;
        let request = ResignLeaseRequest { hold_off_duration: Some(HOLD_OFF) };
        client.resign_lease(request).await.expect("the holder resigns");
        let release = self.monitor.told("released").await;
        self.monitor.told("granted").await - release
    }

    /// The times of the signal, of the release and of the next grant.
    async fn stop(&mut self) -> (Duration, Duration, Duration) {
        let holder = self.settled().await;
        let stop = now();
        self.instances[holder].signal(Signal::TERM);
        let release = self.monitor.told("released").await;
        let grant = self.monitor.told("granted").await;
        self.restart(holder).await;
        (stop, release, grant)
    }

    /// The times of the kill, of the end of the lease and of the next grant.
    async fn crash(&mut self) -> (Duration, Duration, Duration) {
        let holder = self.settled().await;
        self.instances[holder].signal(Signal::KILL);
        let kill = now();
        let until: u64 = self.fleet.redis.query(&["HGET", RECORD, "until_us"]).await.expect("the lease has an end");
        let grant = self.monitor.told("granted").await;
        self.restart(holder).await;
        (kill, Duration::from_micros(until), grant)
    }

    async fn restart(&mut self, index: usize) {
        self.instances[index].exit().await;
        self.instances[index] = self.fleet.instance(&format!("instance-{index}")).await;
    }
}

/// The clock that Redis has too.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970")
}
