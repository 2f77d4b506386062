//! A board under test with the lease that guards it, in memory or in a Redis of its own.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rowcount::{
    board::{Board, Event, State, memory::MemoryBoard, mirror::mirror, redis::RedisBoard, view::View},
    claim::Proof,
    clock::SystemClock,
    config::{RedisAddr, RedisConfig, RedisServers},
    demo::redis::RedisServer,
    lease_protocol::{Acquire, Command, Reply, Rules},
    memory_store::MemoryStore,
    redis_link::{self, RedisLink, Route},
};
use tokio::{sync::broadcast::Receiver, time::timeout};
use tokio_util::sync::CancellationToken;

/// The longest that anything here may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const CLUSTER: &str = "test";

const RULES: Rules = Rules { quarantine_us: 600_000_000, immediate: true };

/// When the Redis of a bench lost its past, by its record.
const MARK_US: i64 = 7;

/// Grants the lease to ARGV[2] as the next epoch, whoever holds it.
const GRANT: &str = "
local epoch = int(math.max(lease_number('epoch') + 1, now))
redis.call('HSET', LEASE, 'token', ARGV[2], 'epoch', epoch, 'until_us', int(now + 600000000),
  'generation', generation, 'holder_generation', generation, 'mark_us', 7)
return epoch
";

pub struct Bench {
    pub board: Arc<dyn Board>,
    pub store: Store,
    /// Ends the subscription with the bench.
    stop: CancellationToken,
}

pub enum Store {
    Memory { store: Arc<MemoryStore>, holder: Mutex<Option<Proof>> },
    Redis(RedisServer),
}

impl Bench {
    pub async fn both() -> [Self; 2] {
        [Self::memory(), Self::redis().await]
    }

    pub fn memory() -> Self {
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        let board = MemoryBoard::new(Arc::clone(&store));
        Self { board, store: Store::Memory { store, holder: Mutex::default() }, stop: CancellationToken::new() }
    }

    pub async fn redis() -> Self {
        let server = RedisServer::start().await.unwrap();
        let board = RedisBoard::new(&Route::new(config(server.port()), CLUSTER));
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&board).run_subscription(stop.clone()));
        Self { board, store: Store::Redis(server), stop }
    }

    /// Grants the lease to this token, whoever holds it.
    pub async fn hold(&self, token: &str) -> Proof {
        let token = token.to_owned();
        match &self.store {
            Store::Memory { store, holder } => {
                let mut holder = holder.lock().unwrap();
                let floor = holder.as_ref().map_or(0, |grant| grant.epoch);
                if let Some(Proof { token, epoch, .. }) = holder.take() {
                    store.run(RULES, &Command::Release { token, epoch });
                }
                let (holder_id, address) = (token.clone(), String::new());
                let bid = Acquire { token: token.clone(), holder: holder_id, address, ttl_us: 600_000_000, floor };
                let reply = store.run(RULES, &Command::Acquire(bid)).reply;
                let Reply::Granted { epoch, mark_us, .. } = reply else { panic!("{reply:?}") };
                holder.insert(Proof { token, epoch, mark_us }).clone()
            }
            Store::Redis(server) => {
                let link = RedisLink::new(Route::new(config(server.port()), CLUSTER));
                let script = redis_link::script(GRANT);
                let epoch = link.run(&script, &[token.as_bytes()], PATIENCE).await.unwrap();
                let epoch: String = redis::from_redis_value(epoch).unwrap();
                Proof { token, epoch: epoch.parse().unwrap(), mark_us: MARK_US }
            }
        }
    }

    pub fn server(&self) -> &RedisServer {
        match &self.store {
            Store::Redis(server) => server,
            Store::Memory { .. } => panic!("no Redis in memory"),
        }
    }

    pub fn server_mut(&mut self) -> &mut RedisServer {
        match &mut self.store {
            Store::Redis(server) => server,
            Store::Memory { .. } => panic!("no Redis in memory"),
        }
    }

    /// Events from a moment on at which the subscription stands.
    pub async fn events(&self) -> Receiver<Event> {
        let mut events = self.board.events();
        wait_for(&mut events, |event| matches!(event, Event::Subscribed)).await;
        events
    }

    /// A view that mirrors the board, loaded once.
    pub async fn view(&self) -> Arc<View> {
        let view = View::new();
        tokio::spawn(mirror(Arc::clone(&self.board), Arc::clone(&view), self.stop.clone()));
        until(|| view.now().load_count > 0).await;
        view
    }

    /// Key of the fleet.
    pub fn key(&self, name: &str) -> String {
        format!("{{rowcount:{CLUSTER}}}:{name}")
    }

    /// What is on the board, once it answers.
    pub async fn load(&self) -> State {
        let begin = Instant::now();
        loop {
            match self.board.load().await {
                Ok(state) => return state,
                Err(error) => assert!(begin.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Display for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.store {
            Store::Memory { .. } => "in memory",
            Store::Redis(_) => "in Redis",
        })
    }
}

pub fn config(port: u16) -> RedisConfig {
    RedisConfig {
        servers: RedisServers::Single(RedisAddr { host: "127.0.0.1".to_owned(), port }),
        username: None,
        password: None,
        db: 0,
        dial_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(5),
        write_timeout: Duration::from_secs(5),
        tls: None,
    }
}

/// Waits for such an event.
pub async fn wait_for(events: &mut Receiver<Event>, is_it: impl Fn(&Event) -> bool) {
    let found = async { while !is_it(&events.recv().await.unwrap()) {} };
    timeout(PATIENCE, found).await.expect("the event should have come");
}

/// Polls until it is so.
pub async fn until(is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "it should have become so");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
