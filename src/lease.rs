//! Who may count: one task an instance competes for the lease, keeps it, and tells the rest of the process its role.
//!
//! What must stay true:
//! 1. A claim's deadline is taken from before its command was sent, by the clock that runs through suspend, and never
//!    moves back. From there on the claim is over, whatever arrives later.
//! 2. Every campaign has a random token of its own, never used again once its claim is over.
//! 3. LOST is final. Every other failure is retried until the deadline; attempts are not counted.
//! 4. The role leaves Holder before the lease is released.
//! 5. No instance is out of the race for good, unless its configuration says so.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub use campaign::{Campaign, Outcome};
pub use handle::LeaseHandle;
pub use holding::{Holding, Verdict};
pub use memory::MemoryBackend;

use crate::{
    board::{Event, Resign},
    clock::Clock,
    config::{FirstStart, LeaseConfig},
    lease::{keeper::Keeper, survey::Server, view::View},
    lease_protocol::{Answer, Command, Rules},
    metrics::lease::LeaseMetrics,
};

mod campaign;
mod handle;
mod holder;
mod holding;
mod keeper;
mod memory;
pub mod redis;
mod standby;
pub mod survey;
mod view;

/// Wishes that wait for the task; whoever finds it full waits.
const WISHES: usize = 16;

/// Why the store did not answer. All of it is passing: whoever holds goes on trying until its deadline.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Out of reach, or not able to answer now.
    #[error("the lease store is out of reach: {0}")]
    Unavailable(String),
    /// An answer that this version does not understand.
    #[error("the lease store gave an answer that is not understood: {0}")]
    Malformed(String),
}

/// The store of the lease: Redis, or this process's memory.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Carries a command out; gives up waiting, not the command, after `timeout`.
    async fn ask(&self, command: &Command, timeout: Duration) -> Result<Answer, Error>;

    /// Whether no other instance listens: nobody could take over.
    async fn is_alone(&self, timeout: Duration) -> Result<bool, Error>;

    /// What the store tells of itself; `None` of this process's memory.
    async fn server(&self, timeout: Duration) -> Result<Option<Server>, Error>;
}

/// What the copy of the board tells to whoever missed a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct BoardHints {
    /// The wish to resign that stands there.
    pub resign: Option<Resign>,
    /// The epoch of the snapshot; 0 without one.
    pub epoch: i64,
}

/// What the task works with.
pub struct Setup {
    /// The store.
    pub backend: Arc<dyn Backend>,
    /// What instances hear.
    pub events: broadcast::Receiver<Event>,
    /// Told the epoch of the lease and the revision of the snapshot on the board when a reply shows new ones.
    pub hint: Box<dyn Fn(i64, i64) + Send + Sync>,
    /// What the copy of the board tells now.
    pub board: Box<dyn Fn() -> BoardHints + Send + Sync>,
    /// How to compete.
    pub config: LeaseConfig,
    /// This instance.
    pub instance_id: String,
    /// host:port at which it serves.
    pub address: String,
    /// What claims are judged by.
    pub clock: Arc<dyn Clock>,
    /// What is counted of it.
    pub metrics: LeaseMetrics,
    /// Level of lines that repeat with every renewal, after the first.
    pub collected_level: tracing::Level,
}

/// What a handle asks of the task.
#[derive(Debug)]
enum Wish {
    /// Renew now; the sender is dropped once that was tried.
    Renew(oneshot::Sender<()>),
    /// The holder of this epoch cannot work: let another one try.
    GiveUp(i64),
    /// Release, and do not compete again; the sender is dropped when that is done.
    Release(oneshot::Sender<()>),
}

/// Starts the task. After `stop` it begins no campaign and renews nothing: a claim waits for `LeaseHandle::release`,
/// its deadline at the latest, and then the task ends.
pub fn spawn(setup: Setup, stop: CancellationToken) -> (LeaseHandle, JoinHandle<()>) {
    let view = Arc::new(View::default());
    let (wishes, queue) = mpsc::channel(WISHES);
    let (seen, clock) = (view.clone(), setup.clock.clone());
    let observed = move || seen.last(clock.now()).map(|(last, age)| last.after(age));
    setup.metrics.watch(view.role(), observed, setup.clock.clone());
    let handle = LeaseHandle::new(view.clone(), wishes.clone(), setup.backend.clone(), setup.clock.clone());
    let task = tokio::spawn(Keeper::new(setup, view, wishes, queue, stop).run());
    (handle, task)
}

// === impl Rules ===

impl From<&LeaseConfig> for Rules {
    fn from(config: &LeaseConfig) -> Self {
        Self { quarantine_us: micros(config.quarantine), immediate: config.first_start == FirstStart::Immediate }
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

fn from_micros(span: i64) -> Duration {
    Duration::from_micros(u64::try_from(span).unwrap_or(0))
}
