//! The lease task against a store that answers as the test tells it, in a time of its own.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use rowcount::{
    board::Event,
    claim::{LeaseState, Role},
    clock::{BootTime, Clock},
    config::{Acquire as Mode, LeaseConfig},
    lease::{self, Backend, BoardHints, Error, LeaseHandle, Setup, survey::Server},
    lease_protocol::{Acquire, Answer, Command, Renew, Reply, Standing},
    metrics::lease::LeaseMetrics,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{TTL, config};

const EPOCH: i64 = 7;

/// The runtime's time, which stands still while anybody works, and jumps as a long stop does.
struct StageClock {
    start: Instant,
    jumped_ms: AtomicU64,
}

impl Clock for StageClock {
    fn now(&self) -> BootTime {
        BootTime::from_boot(self.start.elapsed() + Duration::from_millis(self.jumped_ms.load(Ordering::SeqCst)))
    }
}

/// A command, and where its answer goes; dropped, it is never answered.
type Asked = (Command, oneshot::Sender<Answer>);

struct Script(mpsc::UnboundedSender<Asked>);

#[async_trait]
impl Backend for Script {
    async fn ask(&self, command: &Command, timeout: Duration) -> Result<Answer, Error> {
        let (answer, wait) = oneshot::channel();
        self.0.send((command.clone(), answer)).unwrap();
        match tokio::time::timeout(timeout, wait).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(Error::Unavailable("no answer".to_owned())),
        }
    }

    async fn is_alone(&self, _timeout: Duration) -> Result<bool, Error> {
        Ok(false)
    }

    async fn server(&self, _timeout: Duration) -> Result<Option<Server>, Error> {
        Ok(None)
    }
}

/// Alice's lease task.
struct Stage {
    handle: LeaseHandle,
    task: JoinHandle<()>,
    asked: mpsc::UnboundedReceiver<Asked>,
    events: broadcast::Sender<Event>,
    clock: Arc<StageClock>,
    board: Arc<Mutex<BoardHints>>,
    /// Epochs and revisions that readers were told of.
    hints: Arc<Mutex<Vec<(i64, i64)>>>,
    stop: CancellationToken,
}

impl Stage {
    fn set(config: LeaseConfig) -> Self {
        let (script, asked) = mpsc::unbounded_channel();
        let (events, _) = broadcast::channel(16);
        let clock = Arc::new(StageClock { start: Instant::now(), jumped_ms: AtomicU64::new(3_600_000) });
        let board = Arc::<Mutex<BoardHints>>::default();
        let read = board.clone();
        let hints = Arc::<Mutex<Vec<_>>>::default();
        let hinted = hints.clone();
        let stop = CancellationToken::new();
        let setup = Setup {
            backend: Arc::new(Script(script)),
            events: events.subscribe(),
            hint: Box::new(move |epoch, revision| hinted.lock().unwrap().push((epoch, revision))),
            board: Box::new(move || *read.lock().unwrap()),
            config,
            instance_id: "alice".to_owned(),
            address: String::new(),
            clock: clock.clone(),
            metrics: LeaseMetrics::new(&SdkMeterProvider::default().meter("test")),
            collected_level: tracing::Level::DEBUG,
        };
        let (handle, task) = lease::spawn(setup, stop.clone());
        Self { handle, task, asked, events, clock, board, hints, stop }
    }

    /// The next command, and how long it took to come.
    async fn next(&mut self) -> (Asked, Duration) {
        let begin = Instant::now();
        let asked = tokio::time::timeout(10 * TTL, self.asked.recv()).await.expect("a command").expect("a task");
        (asked, begin.elapsed())
    }

    async fn bid(&mut self) -> (Acquire, oneshot::Sender<Answer>) {
        match self.next().await.0 {
            (Command::Acquire(bid), answer) => (bid, answer),
            (other, _) => panic!("no bid but {other:?}"),
        }
    }

    async fn renewal(&mut self) -> (Renew, oneshot::Sender<Answer>) {
        match self.next().await.0 {
            (Command::Renew(renewal), answer) => (renewal, answer),
            (other, _) => panic!("no renewal but {other:?}"),
        }
    }

    /// Expects the end of the claim of this token and epoch.
    async fn release(&mut self, of: &str, under: i64) -> oneshot::Sender<Answer> {
        match self.next().await.0 {
            (Command::Release { token, epoch }, answer) => {
                assert_eq!((token.as_str(), epoch), (of, under));
                answer
            }
            (other, _) => panic!("no release but {other:?}"),
        }
    }

    /// Grants the first bid; gives the token.
    async fn granted(&mut self) -> String {
        let (bid, answer) = self.bid().await;
        answer.send(granted()).unwrap();
        let mut role = self.handle.subscribe();
        role.wait_for(|role| matches!(role, Role::Holder(_))).await.unwrap();
        bid.token
    }

    async fn becomes(&self, role: Role) {
        let mut now = self.handle.subscribe();
        let reached = tokio::time::timeout(10 * TTL, now.wait_for(|now| *now == role)).await;
        assert!(reached.is_ok(), "not {role:?} but {:?}", self.handle.role());
    }
}

/// What a store says in which bob has, or had, the lease.
fn told(reply: Reply, state: LeaseState, epoch: i64) -> Answer {
    let (holder, address) = ("bob".to_owned(), String::new());
    let (now_us, since_us, until_us, ttl_us) = (1_000_000, 1, 3_000_000, 2_000_000);
    let (remaining_us, quarantine_us) = match reply {
        Reply::Quarantined { remaining_us } => (0, remaining_us),
        _ => (2_000_000, 0),
    };
    let standing =
        Standing { now_us, state, holder, address, epoch, since_us, until_us, ttl_us, remaining_us, quarantine_us };
    Answer { reply, standing, revision: 0 }
}

fn granted() -> Answer {
    told(Reply::Granted { epoch: EPOCH, until_us: 3_000_000, since_us: 1_000_000, mark_us: 1 }, LeaseState::Held, EPOCH)
}

fn held(epoch: i64) -> Answer {
    told(Reply::Held { remaining_us: 2_000_000 }, LeaseState::Held, epoch)
}

fn lost(epoch: i64) -> Answer {
    told(Reply::Lost { epoch }, LeaseState::Held, epoch)
}

fn once() -> LeaseConfig {
    LeaseConfig { acquire: Mode::Once, ..config() }
}

/// What this thread logs while it is kept, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn kept() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn count(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap()).matches(text).count()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn lost_ends_the_claim_and_the_next_bid_has_a_token_of_its_own() {
    let mut stage = Stage::set(config());
    let token = stage.granted().await;
    let (renewal, answer) = stage.renewal().await;
    assert_eq!((renewal.token.as_str(), renewal.epoch), (token.as_str(), EPOCH));
    answer.send(lost(9)).unwrap();
    let (bid, _answer) = stage.bid().await;
    assert_ne!(bid.token, token);
    assert_eq!((bid.floor, stage.handle.role()), (9, Role::Standby));
}

#[tokio::test(start_paused = true)]
async fn too_late_is_no_verdict_and_is_asked_again() {
    let mut stage = Stage::set(config());
    let token = stage.granted().await;
    let (_, answer) = stage.renewal().await;
    answer.send(told(Reply::TooLate, LeaseState::Held, EPOCH)).unwrap();
    let (asked, waited) = stage.next().await;
    let (Command::Renew(renewal), answer) = asked else { panic!("no renewal but {:?}", asked.0) };
    assert!(renewal.token == token && waited <= TTL / 10, "{renewal:?} after {waited:?}");
    answer
        .send(told(Reply::Renewed { until_us: 3_400_000, lapsed: false, mark_us: 1 }, LeaseState::Held, EPOCH))
        .unwrap();
    let (renewal, _answer) = stage.renewal().await;
    assert_eq!((renewal.token, renewal.until_seen_us), (token, 3_400_000));
    assert_eq!(stage.handle.acquire_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_comes_after_its_deadline_is_released_and_never_held() {
    let mut stage = Stage::set(config());
    let (bid, answer) = stage.bid().await;
    stage.clock.jumped_ms.fetch_add(60_000, Ordering::SeqCst);
    answer.send(granted()).unwrap();
    let answer = stage.release(&bid.token, EPOCH).await;
    assert_eq!((stage.handle.role(), stage.handle.acquire_count()), (Role::Standby, 0));
    answer.send(told(Reply::Released { epoch: EPOCH }, LeaseState::Free, EPOCH)).unwrap();
    assert_ne!(stage.bid().await.0.token, bid.token);
}

#[tokio::test(start_paused = true)]
async fn a_campaign_that_is_given_up_unanswered_releases_what_it_may_have_been_granted() {
    let mut stage = Stage::set(config());
    let (bid, answer) = stage.bid().await;
    drop(answer);
    let (again, _never_answered) = stage.bid().await;
    assert_eq!(again.token, bid.token, "the same campaign");
    stage.stop.cancel();
    let answer = stage.release(&bid.token, 0).await;
    answer.send(told(Reply::NotHeld, LeaseState::Held, EPOCH)).unwrap();
    stage.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn stale_is_asked_again_at_once_with_the_same_token_and_what_was_learned() {
    let mut stage = Stage::set(config());
    let (first, answer) = stage.bid().await;
    answer.send(told(Reply::Stale { epoch: 9 }, LeaseState::Free, 9)).unwrap();
    let (asked, waited) = stage.next().await;
    let (Command::Acquire(second), _answer) = asked else { panic!("no bid but {:?}", asked.0) };
    assert_eq!((first.floor, second.floor, first.token), (0, 9, second.token));
    assert!(waited < TTL / 100, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn once_waits_a_quarantine_out_and_observes_after_a_denial() {
    let mut stage = Stage::set(once());
    let (_, answer) = stage.bid().await;
    let quarantine = Duration::from_secs(1);
    answer.send(told(Reply::Quarantined { remaining_us: 1_000_000 }, LeaseState::Quarantined, 0)).unwrap();
    let (asked, waited) = stage.next().await;
    let (Command::Acquire(_), answer) = asked else { panic!("no bid but {:?}", asked.0) };
    assert!(waited >= quarantine && waited < 2 * quarantine, "{waited:?}");
    answer.send(held(EPOCH)).unwrap();
    stage.becomes(Role::Observer).await;
    assert!(matches!(stage.next().await.0.0, Command::Status), "it looks, and does not bid");
}

#[tokio::test(start_paused = true)]
async fn once_is_once_also_for_who_held_and_lost() {
    for answered in [Some(lost(9)), None] {
        let mut stage = Stage::set(once());
        let token = stage.granted().await;
        match answered {
            Some(lost) => stage.renewal().await.1.send(lost).unwrap(),
            None => {
                drop(stage.renewal().await.1);
                stage.clock.jumped_ms.fetch_add(60_000, Ordering::SeqCst);
                let answer = stage.release(&token, EPOCH).await;
                answer.send(told(Reply::NotHeld, LeaseState::Held, 9)).unwrap();
            }
        }
        assert!(matches!(stage.next().await.0.0, Command::Status), "it looks, and does not bid");
        assert_eq!(stage.handle.role(), Role::Observer);
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_logged_once_for_each_holder_and_a_quarantine_once() {
    let (log, _guard) = Log::kept();
    let mut stage = Stage::set(config());
    // (denials, quarantines) logged before each answer.
    let quarantined = |epoch| told(Reply::Quarantined { remaining_us: 1_000_000 }, LeaseState::Quarantined, epoch);
    let answers = [
        (quarantined(0), (0, 0)),
        (quarantined(0), (0, 1)),
        (held(EPOCH), (0, 1)),
        (held(EPOCH), (1, 1)),
        (held(9), (1, 1)),
        (held(9), (2, 1)),
    ];
    for (answer, logged) in answers {
        let (_, sender) = stage.bid().await;
        assert_eq!((log.count("already obtained by another instance"), log.count("remaining_s=1")), logged);
        sender.send(answer).unwrap();
    }
    assert_eq!(log.count("lease.firststart: immediate skips"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_release_is_logged_as_it_came_out() {
    for (reply, released) in [(Some(Reply::Released { epoch: EPOCH }), 1), (Some(Reply::NotHeld), 0), (None, 0)] {
        let (log, _guard) = Log::kept();
        let mut stage = Stage::set(config());
        let token = stage.granted().await;
        stage.stop.cancel();
        let handle = stage.handle.clone();
        let leaving = tokio::spawn(async move { handle.release().await });
        let answer = stage.release(&token, EPOCH).await;
        assert_eq!(log.count("released database row count"), 0, "not before it is true");
        match reply {
            Some(reply) => answer.send(told(reply, LeaseState::Free, EPOCH)).unwrap(),
            None => {
                drop(answer);
                drop(stage.release(&token, EPOCH).await);
            }
        }
        leaving.await.unwrap();
        stage.task.await.unwrap();
        assert_eq!(log.count("released database row count"), released, "{reply:?}");
        assert_eq!(log.count("WARN"), 1 - released + usize::from(reply.is_none()), "{reply:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_runs_out_while_stopping_has_expired() {
    let (log, _guard) = Log::kept();
    let mut stage = Stage::set(config());
    let token = stage.granted().await;
    stage.stop.cancel();
    let answer = stage.release(&token, EPOCH).await;
    answer.send(told(Reply::NotHeld, LeaseState::Free, EPOCH)).unwrap();
    stage.task.await.unwrap();
    assert_eq!((log.count("expired"), log.count("released")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_bid_knows_the_epochs_of_the_board_and_of_what_was_heard_while_holding() {
    let mut stage = Stage::set(config());
    stage.board.lock().unwrap().epoch = 5;
    let (bid, answer) = stage.bid().await;
    assert_eq!(bid.floor, 5);
    answer.send(granted()).unwrap();
    let _first = stage.renewal().await;
    stage.events.send(Event::Granted(60)).unwrap();
    stage.renewal().await.1.send(lost(9)).unwrap();
    assert_eq!(stage.bid().await.0.floor, 60);
}

#[tokio::test(start_paused = true)]
async fn readers_hear_of_the_epoch_that_any_reply_shows() {
    let mut stage = Stage::set(config());
    // No message told of it: whoever shows counts must not go below it all the same.
    let (_, answer) = stage.bid().await;
    answer.send(held(EPOCH + 12)).unwrap();
    stage.bid().await;
    assert_eq!(*stage.hints.lock().unwrap(), [(EPOCH + 12, 0)]);
}
