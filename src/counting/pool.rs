//! The sessions: never more than configured, each kept for reuse, none left behind.
//!
//! What must stay true: permits that are out and idle sessions together are at most the ceiling, and a permit comes
//! back only when its backend is idle or gone. Whatever interrupts a statement (its caller, a deadline, a dropped
//! future) closes the socket, which ends the statement on the server within `session::CHECK_INTERVAL`; the permit stays
//! out until then.

use std::{
    future::Future,
    mem,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use humantime::format_duration;
use sqlx::postgres::PgRow;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::DatabaseConfig,
    counting::{
        fault::{self, Remains},
        session::{CHECK_INTERVAL, Session, Statement},
        target,
    },
    failure::{Failure, FailureReason},
};

/// The connections as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// The ceiling.
    pub max: usize,
    /// Connections at work, or just closed at work.
    pub in_use: usize,
    /// Connections kept for reuse; the server ends them after a minute.
    pub idle: usize,
    /// Whether the server answered the last time; `None` before the first.
    pub up: Option<bool>,
    /// Why it did not.
    pub last_error: Option<String>,
}

/// The rows of a statement, or why there are none, and when.
pub struct Ran {
    /// Its rows.
    pub rows: Result<Vec<PgRow>, Failure>,
    /// When it began, after the wait for a connection.
    pub attempt_time: SystemTime,
    /// When it ended.
    pub answer_time: SystemTime,
    /// How long it took, connecting included.
    pub duration: Duration,
}

/// Hands out sessions.
pub struct Pool {
    config: DatabaseConfig,
    application_name: String,
    /// Fair: who waits longest is next.
    permits: Arc<Semaphore>,
    /// At most as many as permits are in. Never locked across an await, as all locks here.
    idle: Mutex<Vec<Session>>,
    health: Mutex<Health>,
    closing: CancellationToken,
}

#[derive(Default)]
struct Health {
    up: Option<bool>,
    last_error: Option<String>,
}

/// A session for several statements, one after the other. It goes back to the others when it is dropped, unless a
/// statement on it was interrupted or broke it.
pub struct Lent<'a> {
    slot: Slot<'a>,
    until: Instant,
    cancel: &'a CancellationToken,
}

/// The right to one backend.
struct Slot<'a> {
    pool: &'a Pool,
    permit: OwnedSemaphorePermit,
    /// Ready for a statement; `None` before the first, and after one that did not end well.
    session: Option<Session>,
    /// The server may still have a backend for it that no session stands for.
    lingers: bool,
}

/// No time left is taken for longer than this, so that adding it to a moment cannot overflow.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// A statement waits this long for a connection at most, however much time is left.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// An idle session has to answer within this time before it is used.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// The server's limit ends a statement; this much later the socket is closed because nothing is heard any more.
const GRACE: Duration = Duration::from_secs(1);

/// How long a backend whose socket was closed is counted as there: it looks three times.
const LINGER: Duration = CHECK_INTERVAL.saturating_mul(3);

/// For `close` as a whole: what lingers, and a third of that for the good-byes.
pub const CLOSE_TIMEOUT: Duration = CHECK_INTERVAL.saturating_mul(4);

// === impl Pool ===

impl Pool {
    /// A pool that has not connected yet.
    pub fn new(config: DatabaseConfig, instance_id: &str) -> Self {
        Self {
            application_name: target::application_name(instance_id),
            permits: Arc::new(Semaphore::new(config.connections)),
            idle: Mutex::default(),
            health: Mutex::default(),
            closing: CancellationToken::new(),
            config,
        }
    }

    /// Runs `sql` for at most `limit` on the server, and within `time_left` with the wait for a connection.
    pub async fn run(&self, sql: &str, limit: Duration, time_left: Duration, cancel: &CancellationToken) -> Ran {
        let until = Instant::now() + time_left.min(FAR);
        let slot = self.unless_cancelled(cancel, self.slot(time_left.min(LONGEST_WAIT))).await;
        let (attempt_time, begun) = (SystemTime::now(), Instant::now());
        let rows = match slot {
            Ok(slot) => Lent { slot, until, cancel }.fetch(Statement::Once(sql), limit).await,
            Err(failure) => Err(failure),
        };
        Ran { rows, attempt_time, answer_time: SystemTime::now(), duration: begun.elapsed() }
    }

    /// A session for several statements, all of them within `time_left` with the wait for a connection.
    pub async fn lend<'a>(&'a self, time_left: Duration, cancel: &'a CancellationToken) -> Result<Lent<'a>, Failure> {
        let until = Instant::now() + time_left.min(FAR);
        let slot = self.unless_cancelled(cancel, self.slot(time_left.min(LONGEST_WAIT))).await?;
        Ok(Lent { slot, until, cancel })
    }

    /// The connections as of now.
    pub fn state(&self) -> PoolState {
        let max = self.config.connections;
        let Health { up, last_error } = &*lock(&self.health);
        PoolState {
            max,
            in_use: max - self.permits.available_permits(),
            idle: lock(&self.idle).len(),
            up: *up,
            last_error: last_error.clone(),
        }
    }

    /// Interrupts what runs, refuses what comes, and closes every connection, within `CLOSE_TIMEOUT`. Returns whether
    /// the server has had the time to end every backend of ours.
    pub async fn close(&self) -> bool {
        self.closing.cancel();
        let end = async {
            // First those that need not be waited for.
            self.close_idle().await;
            let all = u32::try_from(self.config.connections).unwrap_or(u32::MAX);
            let _all = self.permits.acquire_many(all).await;
            // And those that were given back meanwhile.
            self.close_idle().await;
        };
        let is_done = timeout(CLOSE_TIMEOUT, end).await.is_ok();
        lock(&self.idle).clear();
        is_done
    }

    async fn close_idle(&self) {
        let idle = mem::take(&mut *lock(&self.idle));
        for session in idle {
            // One that cannot say good-bye is closed by the drop.
            let _ = session.close().await;
        }
    }

    async fn slot(&self, wait: Duration) -> Result<Slot<'_>, Failure> {
        match timeout(wait, self.permits.clone().acquire_owned()).await {
            Ok(permit) => {
                let permit = permit.expect("the semaphore is never closed");
                Ok(Slot { pool: self, permit, session: None, lingers: false })
            }
            Err(_) => {
                let message = format!("no connection was free within {}: see database.connections", told(wait));
                Err(Failure::new(FailureReason::Timeout, message))
            }
        }
    }

    async fn unless_cancelled<T>(
        &self,
        cancel: &CancellationToken,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Failure::new(FailureReason::Cancelled, "cancelled")),
            () = self.closing.cancelled() => Err(Failure::new(FailureReason::Cancelled, "the instance is stopping")),
            result = work => result,
        }
    }

    fn answered(&self) {
        *lock(&self.health) = Health { up: Some(true), last_error: None };
    }

    fn unanswered(&self, failure: &Failure) {
        *lock(&self.health) = Health { up: Some(false), last_error: Some(failure.message.clone()) };
    }
}

// === impl Lent ===

impl Lent<'_> {
    /// Runs one more statement, for at most `limit` on the server.
    pub async fn fetch(&mut self, statement: Statement<'_>, limit: Duration) -> Result<Vec<PgRow>, Failure> {
        self.slot.pool.unless_cancelled(self.cancel, self.slot.run(statement, limit, self.until)).await
    }
}

// === impl Slot ===

impl Slot<'_> {
    async fn run(&mut self, statement: Statement<'_>, limit: Duration, until: Instant) -> Result<Vec<PgRow>, Failure> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.open(until).await.inspect_err(|failure| self.pool.unanswered(failure))?,
        };
        // Until it is back, whatever interrupts this leaves a backend behind.
        self.lingers = true;
        self.pool.answered();

        let limit = whole_millis(limit.min(until.saturating_duration_since(Instant::now())));
        if limit.is_zero() {
            self.keep(session);
            return Err(Failure::new(FailureReason::Timeout, "no time was left for the statement"));
        }
        let begun = Instant::now();
        match timeout(limit + GRACE, session.fetch(statement, limit)).await {
            Ok(Ok(rows)) => {
                self.keep(session);
                Ok(rows)
            }
            Ok(Err(error)) => {
                let (failure, remains) = fault::of_statement(&error, limit, begun.elapsed());
                match remains {
                    Remains::Usable => self.keep(session),
                    Remains::Gone => self.lingers = false,
                    Remains::Unknown => {}
                }
                if remains != Remains::Usable {
                    self.pool.unanswered(&failure);
                }
                Err(failure)
            }
            Err(_) => {
                let message = format!("the server did not answer within {}", told(limit + GRACE));
                let failure = Failure::new(FailureReason::Timeout, message);
                self.pool.unanswered(&failure);
                Err(failure)
            }
        }
    }

    /// An idle session that still answers, or a new one.
    async fn open(&mut self, until: Instant) -> Result<Session, Failure> {
        self.lingers = true;
        let idle = lock(&self.pool.idle).pop();
        if let Some(mut session) = idle {
            match timeout(PING_TIMEOUT, session.ping()).await {
                Ok(Ok(())) => return Ok(session),
                // The server has ended it; a new one will tell how things are.
                Ok(Err(_)) => {}
                Err(_) => return Err(unreachable_within(PING_TIMEOUT)),
            }
        }
        let limit = self.pool.config.connect_timeout.min(until.saturating_duration_since(Instant::now()));
        match timeout(limit, Session::open(&self.pool.config, &self.pool.application_name)).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(failure)) => {
                self.lingers = false;
                Err(failure)
            }
            Err(_) => Err(unreachable_within(limit)),
        }
    }

    fn keep(&mut self, session: Session) {
        self.session = Some(session);
        self.lingers = false;
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        // Before the permit: who gets that must not find fewer sessions than there are.
        if let Some(session) = self.session.take() {
            lock(&self.pool.idle).push(session);
        }
        if !self.lingers {
            return;
        }
        let permit = self.permit.split(1);
        // Without a runtime nobody is there to wait for the permit either.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                sleep(LINGER).await;
                drop(permit);
            });
        }
    }
}

fn unreachable_within(limit: Duration) -> Failure {
    let message = format!("cannot connect to the database: no answer within {}", told(limit));
    Failure::new(FailureReason::Connection, message)
}

fn told(span: Duration) -> humantime::FormattedDuration {
    format_duration(whole_millis(span))
}

/// The server takes no fractions.
fn whole_millis(span: Duration) -> Duration {
    Duration::from_millis(span.as_millis().try_into().unwrap_or(u64::MAX))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}
