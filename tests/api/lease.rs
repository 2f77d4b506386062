//! The lease of a fleet on a real Redis: alice and bob, and what may happen to them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use futures_util::StreamExt;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use rowcount::{
    board::{Event, Resign},
    claim::{Claim, LeaseState, Role},
    clock::{BootTime, Clock, SystemClock},
    config::{Acquire, FirstStart, LeaseConfig, RedisAddr, RedisConfig, RedisServers},
    demo::redis::{RedisOptions, RedisServer},
    lease::{self, BoardHints, LeaseHandle, MemoryBackend, Setup, redis::RedisBackend},
    memory_store::MemoryStore,
    metrics::lease::LeaseMetrics,
    redis_link::{Keys, Route},
};
use tokio::{sync::broadcast, task::JoinHandle};
use tokio_util::sync::CancellationToken;

mod scripted;

const TTL: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(15);

/// The machine's clock, which a test may let jump as a long stop does.
#[derive(Default)]
struct JumpClock(AtomicU64);

impl Clock for JumpClock {
    fn now(&self) -> BootTime {
        SystemClock.now() + Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// The lease task of one process, with a subscription of its own.
struct Instance {
    handle: LeaseHandle,
    task: JoinHandle<()>,
    relay: JoinHandle<()>,
    events: broadcast::Sender<Event>,
    clock: Arc<JumpClock>,
    /// What stands on the board.
    resign: Arc<Mutex<Option<Resign>>>,
    stop: CancellationToken,
}

impl Instance {
    async fn start(server: &RedisServer, name: &str) -> Self {
        Self::start_with(server, name, config()).await
    }

    async fn start_with(server: &RedisServer, name: &str, config: LeaseConfig) -> Self {
        let route = Route::new(redis_config(server), "test");
        let (events, _) = broadcast::channel(64);
        let relay = relay(server, route.keys(), events.clone()).await;
        let clock = Arc::new(JumpClock::default());
        let stop = CancellationToken::new();
        let resign = Arc::<Mutex<Option<Resign>>>::default();
        let read = resign.clone();
        let setup = Setup {
            backend: Arc::new(RedisBackend::new(&route, &config)),
            events: events.subscribe(),
            hint: Box::new(|_, _| {}),
            board: Box::new(move || BoardHints { resign: *read.lock().unwrap(), epoch: 0 }),
            config,
            instance_id: name.to_owned(),
            address: format!("{name}:1"),
            clock: clock.clone(),
            metrics: LeaseMetrics::new(&SdkMeterProvider::default().meter("test")),
            collected_level: tracing::Level::DEBUG,
        };
        let (handle, task) = lease::spawn(setup, stop.clone());
        Self { handle, task, relay, events, clock, resign, stop }
    }

    fn claim(&self) -> Option<Claim> {
        self.handle.role().current_claim(self.clock.now()).cloned()
    }

    /// Waits until it holds.
    async fn holds(&self) -> Claim {
        let mut role = self.handle.subscribe();
        let held = role.wait_for(|role| role.current_claim(self.clock.now()).is_some());
        let held = tokio::time::timeout(PATIENCE, held).await.expect("the lease within the patience").unwrap();
        held.current_claim(self.clock.now()).unwrap().clone()
    }

    async fn becomes(&self, role: Role) {
        let mut now = self.handle.subscribe();
        let reached = tokio::time::timeout(PATIENCE, now.wait_for(|now| *now == role)).await;
        assert!(reached.is_ok(), "not {role:?} but {:?}", self.handle.role());
    }

    /// Ends it as a crash does: nothing is released.
    fn kill(&self) {
        self.task.abort();
        self.relay.abort();
    }

    /// Ends it in order.
    async fn leave(self) {
        self.stop.cancel();
        self.handle.release().await;
        self.task.await.unwrap();
        self.relay.abort();
    }
}

fn config() -> LeaseConfig {
    LeaseConfig {
        enabled: true,
        duration: TTL,
        quarantine: TTL + Duration::from_millis(250),
        acquire: Acquire::Standby,
        first_start: FirstStart::Immediate,
    }
}

fn redis_config(server: &RedisServer) -> RedisConfig {
    let second = Duration::from_secs(1);
    RedisConfig {
        servers: RedisServers::Single(RedisAddr { host: "127.0.0.1".to_owned(), port: server.port() }),
        username: None,
        password: None,
        db: 0,
        dial_timeout: second,
        read_timeout: second,
        write_timeout: second,
        tls: None,
    }
}

/// Subscribed when it returns; passes the lease's messages on.
async fn relay(server: &RedisServer, keys: &Keys, events: broadcast::Sender<Event>) -> JoinHandle<()> {
    let mut subscription = redis::Client::open(server.url()).unwrap().get_async_pubsub().await.unwrap();
    subscription.subscribe(&keys.events).await.unwrap();
    tokio::spawn(async move {
        let mut messages = subscription.into_on_message();
        while let Some(message) = messages.next().await {
            let text: String = message.get_payload().unwrap();
            let event = match text.split_once(':') {
                Some(("granted", epoch)) => Event::Granted(epoch.parse().unwrap()),
                Some(("released", epoch)) => Event::Released(epoch.parse().unwrap()),
                _ => panic!("not a message of the lease: {text}"),
            };
            let _ = events.send(event);
        }
    })
}

/// Polls, within the patience.
async fn until<F: AsyncFnMut() -> bool>(what: &str, mut reached: F) {
    let start = Instant::now();
    while !reached().await {
        assert!(start.elapsed() < PATIENCE, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn one_of_two_holds_and_both_know_who() {
    let server = RedisServer::start().await.unwrap();
    let alice = Instance::start(&server, "alice").await;
    let claim = alice.holds().await;
    let bob = Instance::start(&server, "bob").await;
    until("bob heard of alice", async || bob.handle.observation().borrow().is_some()).await;
    assert_eq!(bob.handle.role(), Role::Standby);
    for instance in [&alice, &bob] {
        let seen = instance.handle.status(None).await;
        assert_eq!((seen.state, seen.epoch), (LeaseState::Held, claim.grant.epoch));
        assert_eq!((seen.holder.as_str(), seen.holder_address.as_str()), ("alice", "alice:1"));
        assert_eq!(seen.lease_duration, TTL);
        assert_eq!(seen.acquire_time, Some(claim.acquire_time));
        assert!(seen.remaining > TTL / 4 && seen.remaining <= TTL, "{seen:?}");
    }
    let deadline = claim.deadline;
    until("a renewal", async || alice.claim().is_some_and(|claim| claim.deadline > deadline)).await;
    alice.handle.renew_now().await;
    assert_eq!(alice.claim().unwrap().grant, claim.grant);
    assert_eq!((alice.handle.acquire_count(), bob.handle.acquire_count()), (1, 0));
}

#[tokio::test]
async fn a_release_hands_over_by_message() {
    let server = RedisServer::start().await.unwrap();
    let mut holder = Instance::start(&server, "alice").await;
    let mut epoch = holder.holds().await.grant.epoch;
    let mut took = Vec::new();
    for round in 0..10 {
        let next = Instance::start(&server, &format!("bob-{round}")).await;
        until("a denial", async || next.handle.observation().borrow().is_some()).await;
        let start = Instant::now();
        let leave = tokio::spawn(holder.leave());
        let grant = next.holds().await.grant;
        took.push(start.elapsed());
        leave.await.unwrap();
        assert!(grant.epoch > epoch, "{} after {epoch}", grant.epoch);
        (holder, epoch) = (next, grant.epoch);
    }
    took.sort();
    println!("hand-over: median {:?}, longest {:?}", took[took.len() / 2], took[took.len() - 1]);
    // Far below what a lost message would cost, with room for a busy machine.
    assert!(took[took.len() / 2] < TTL / 10, "{took:?}");
}

#[tokio::test]
async fn a_crashed_holder_is_followed_within_the_ttl() {
    let server = RedisServer::start().await.unwrap();
    let alice = Instance::start(&server, "alice").await;
    let first = alice.holds().await;
    let bob = Instance::start(&server, "bob").await;
    until("a denial", async || bob.handle.observation().borrow().is_some()).await;
    let start = Instant::now();
    alice.kill();
    let second = bob.holds().await;
    println!("crash to grant: {:?}", start.elapsed());
    assert!(start.elapsed() < TTL + Duration::from_millis(300), "{:?}", start.elapsed());
    assert!(second.grant.epoch > first.grant.epoch);
}

#[tokio::test]
async fn a_claim_is_over_when_its_clock_says_so() {
    let server = RedisServer::start().await.unwrap();
    let alice = Instance::start(&server, "alice").await;
    let first = alice.holds().await;
    alice.clock.0.store(60_000, Ordering::SeqCst);
    assert!(matches!(alice.handle.role(), Role::Holder(_)) && alice.claim().is_none(), "judged by who reads");
    let second = alice.holds().await;
    assert!(second.grant.epoch > first.grant.epoch, "a new claim, not the old one revived");
    assert_ne!(second.grant.token, first.grant.token);
}

#[tokio::test]
async fn a_frozen_redis_ends_the_claim_before_the_lease_ends_there() {
    let server = RedisServer::start().await.unwrap();
    let alice = Instance::start(&server, "alice").await;
    let first = alice.holds().await;
    server.pause();
    alice.becomes(Role::Standby).await;
    assert!(alice.claim().is_none());
    server.resume();
    let second = alice.holds().await;
    assert!(second.grant.epoch > first.grant.epoch && second.grant.token != first.grant.token);
    until("an answer", async || alice.handle.last_error().is_none()).await;
}

#[tokio::test]
async fn a_loss_of_data_leaves_the_holder_its_lease_and_its_epoch() {
    let server = RedisServer::start().await.unwrap();
    let alice = Instance::start(&server, "alice").await;
    let claim = alice.holds().await;
    let bob = Instance::start(&server, "bob").await;
    until("a denial", async || bob.handle.observation().borrow().is_some()).await;
    server.cli(&["FLUSHALL"]).await.unwrap();
    bob.events.send(Event::Subscribed).unwrap();
    until("the reclaim", async || {
        let seen = bob.handle.status(None).await;
        seen.state == LeaseState::Held && !seen.quarantine_remaining.is_zero()
    })
    .await;
    let seen = bob.handle.status(None).await;
    assert_eq!((seen.holder.as_str(), seen.epoch), ("alice", claim.grant.epoch));
    until("the quarantine's end", async || bob.handle.status(None).await.quarantine_remaining.is_zero()).await;
    assert_eq!(alice.claim().unwrap().grant, claim.grant);
    assert_eq!((alice.handle.acquire_count(), bob.handle.acquire_count()), (1, 0));
}

#[tokio::test]
async fn a_first_start_waits_the_quarantine_unless_told_otherwise() {
    let server = RedisServer::start().await.unwrap();
    let wait = LeaseConfig { first_start: FirstStart::Wait, ..config() };
    let start = Instant::now();
    let alice = Instance::start_with(&server, "alice", wait.clone()).await;
    until("an answer", async || alice.handle.observation().borrow().is_some()).await;
    assert_eq!(alice.handle.status(None).await.state, LeaseState::Quarantined);
    alice.holds().await;
    assert!(start.elapsed() >= wait.quarantine, "{:?}", start.elapsed());

    let server = RedisServer::start().await.unwrap();
    let start = Instant::now();
    Instance::start(&server, "alice").await.holds().await;
    assert!(start.elapsed() < wait.quarantine / 2, "{:?}", start.elapsed());
}

#[tokio::test]
async fn whoever_acquires_once_observes_after_a_denial() {
    let server = RedisServer::start().await.unwrap();
    let once = LeaseConfig { acquire: Acquire::Once, ..config() };
    let alice = Instance::start_with(&server, "alice", once.clone()).await;
    alice.holds().await;
    let bob = Instance::start_with(&server, "bob", once).await;
    bob.becomes(Role::Observer).await;
    alice.leave().await;
    until("bob heard", async || {
        bob.handle.observation().borrow().as_ref().is_some_and(|seen| seen.state == LeaseState::Free)
    })
    .await;
    bob.events.send(Event::Subscribed).unwrap();
    assert_eq!(bob.handle.status(None).await.state, LeaseState::Free);
    assert_eq!((bob.handle.role(), bob.handle.acquire_count()), (Role::Observer, 0));
}

#[tokio::test]
async fn whoever_is_not_enabled_observes_and_answers() {
    let server = RedisServer::start().await.unwrap();
    let off = LeaseConfig { enabled: false, ..config() };
    let bob = Instance::start_with(&server, "bob", off).await;
    bob.becomes(Role::Observer).await;
    assert_eq!(bob.handle.status(None).await.state, LeaseState::Free);
    let alice = Instance::start(&server, "alice").await;
    alice.holds().await;
    until("bob heard", async || bob.handle.observation().borrow().as_ref().is_some_and(|seen| seen.holder == "alice"))
        .await;
    alice.leave().await;
    until("bob heard", async || {
        bob.handle.observation().borrow().as_ref().is_some_and(|seen| seen.state == LeaseState::Free)
    })
    .await;
    assert_eq!(bob.handle.role(), Role::Observer);
}

#[tokio::test]
async fn who_resigns_stays_out_for_the_hold_off() {
    let server = RedisServer::start().await.unwrap();
    let alice = Instance::start(&server, "alice").await;
    let epoch = alice.holds().await.grant.epoch;
    let bob = Instance::start(&server, "bob").await;
    until("a denial", async || bob.handle.observation().borrow().is_some()).await;
    let wish = |epoch| Event::Resign(Resign { epoch, until: SystemTime::now() + TTL });
    alice.events.send(wish(epoch - 1)).unwrap();
    alice.handle.renew_now().await;
    assert_eq!(alice.claim().unwrap().grant.epoch, epoch, "a wish for another epoch is not obeyed");
    let start = Instant::now();
    alice.events.send(wish(epoch)).unwrap();
    assert!(bob.holds().await.grant.epoch > epoch);
    assert_eq!(alice.handle.role(), Role::Observer);
    alice.becomes(Role::Standby).await;
    assert!(start.elapsed() >= TTL - Duration::from_millis(50), "{:?}", start.elapsed());
    assert!(bob.claim().is_some() && alice.handle.acquire_count() == 1);
}

#[tokio::test]
async fn a_wish_to_resign_is_obeyed_though_its_message_was_lost() {
    let server = RedisServer::start().await.unwrap();
    let alice = Instance::start(&server, "alice").await;
    let epoch = alice.holds().await.grant.epoch;
    *alice.resign.lock().unwrap() = Some(Resign { epoch, until: SystemTime::now() });
    until("a later claim", async || alice.claim().is_some_and(|claim| claim.grant.epoch > epoch)).await;
}

#[tokio::test]
async fn a_redis_that_restarts_empty_takes_the_holder_back_in() {
    let mut server = RedisServer::start().await.unwrap();
    let alice = Instance::start(&server, "alice").await;
    let claim = alice.holds().await;
    server.kill().await.unwrap();
    server.restart().await.unwrap();
    until("the reclaim", async || alice.handle.status(None).await.state == LeaseState::Held).await;
    assert_eq!(alice.handle.status(None).await.epoch, claim.grant.epoch);
    assert_eq!((alice.claim().unwrap().grant, alice.handle.acquire_count()), (claim.grant, 1));
}

#[tokio::test]
async fn a_user_that_may_not_ask_for_info_is_told_so() {
    let options =
        RedisOptions { config: vec!["user default on nopass ~* &* +@all -info".into()], ..Default::default() };
    let server = RedisServer::start_with(options).await.unwrap();
    let alice = Instance::start(&server, "alice").await;
    until("an error", async || alice.handle.last_error().is_some()).await;
    let error = alice.handle.last_error().unwrap();
    assert!(error.contains("give the user of redis.cache the commands +info +time"), "{error}");
}

#[tokio::test]
async fn a_holder_gives_up_only_when_another_one_listens() {
    let server = RedisServer::start().await.unwrap();
    let alice = Instance::start(&server, "alice").await;
    let claim = alice.holds().await;
    alice.handle.give_up().await;
    alice.handle.renew_now().await;
    assert_eq!(alice.claim().unwrap().grant, claim.grant);
    let bob = Instance::start(&server, "bob").await;
    until("a denial", async || bob.handle.observation().borrow().is_some()).await;
    let start = Instant::now();
    alice.handle.give_up().await;
    bob.holds().await;
    assert_eq!(alice.handle.role(), Role::Observer);
    alice.becomes(Role::Standby).await;
    assert!(start.elapsed() >= TTL - Duration::from_millis(50), "out for the length of a lease: {:?}", start.elapsed());
}

#[tokio::test]
async fn a_store_out_of_reach_is_unknown_and_never_free() {
    let mut server = RedisServer::start().await.unwrap();
    let alice = Instance::start(&server, "alice").await;
    let epoch = alice.holds().await.grant.epoch;
    server.kill().await.unwrap();
    let seen = alice.handle.status(None).await;
    assert_eq!((seen.state, seen.holder.as_str(), seen.epoch), (LeaseState::Unknown, "alice", epoch));
    assert!(alice.handle.last_error().is_some());
    alice.becomes(Role::Standby).await;
    assert_eq!(alice.handle.status(Some(Duration::from_secs(60))).await.state, LeaseState::Unknown);
}

#[tokio::test]
async fn a_lease_in_memory_is_granted_at_once_and_released() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = LeaseConfig { first_start: FirstStart::Wait, ..config() };
    let (events, _) = broadcast::channel(1);
    let setup = Setup {
        backend: Arc::new(MemoryBackend::new(Arc::new(MemoryStore::new(clock.clone())), &config)),
        events: events.subscribe(),
        hint: Box::new(|_, _| {}),
        board: Box::new(BoardHints::default),
        config,
        instance_id: "alice".to_owned(),
        address: String::new(),
        clock: clock.clone(),
        metrics: LeaseMetrics::new(&SdkMeterProvider::default().meter("test")),
        collected_level: tracing::Level::DEBUG,
    };
    drop(events);
    let stop = CancellationToken::new();
    let (handle, task) = lease::spawn(setup, stop.clone());
    let mut role = handle.subscribe();
    let held = role.wait_for(|role| role.current_claim(clock.now()).is_some());
    tokio::time::timeout(TTL / 4, held).await.expect("the lease at once").unwrap();
    stop.cancel();
    handle.release().await;
    task.await.unwrap();
    assert_eq!(handle.role(), Role::Observer);
    assert_eq!(handle.status(None).await.state, LeaseState::Free);
}
