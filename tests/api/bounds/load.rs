//! The load: sessions that do one operation after another, in an order that a seed decides.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    operation::{LOAD, Operation, Step, UPKEEP},
    schema::{GUEST, SESSION},
};

/// Sessions of the load.
const SESSIONS: usize = 4;

/// How often each operation was carried out as it was meant.
pub type Done = BTreeMap<Operation, usize>;

/// Sessions at work.
pub struct Load {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    done: Arc<Mutex<Done>>,
}

/// One session, whatever connection it has.
struct Player {
    url: String,
    /// By which it may be terminated.
    application: &'static str,
    name: String,
    rng: Rng,
    connections: usize,
    prepared: usize,
    connection: Option<PgConnection>,
}

// === impl Load ===

impl Load {
    pub fn start(url: &str, seed: u64) -> Self {
        let (stop, done) = (CancellationToken::new(), Arc::<Mutex<Done>>::default());
        let mut tasks = JoinSet::new();
        for number in 0..=SESSIONS {
            let mut player = Player {
                url: url.to_owned(),
                application: "load",
                name: format!("s{number}"),
                rng: Rng::with_seed(seed.wrapping_mul(1_000).wrapping_add(number as u64)),
                connections: 0,
                prepared: 0,
                connection: None,
            };
            let (stop, done) = (stop.clone(), done.clone());
            tasks.spawn(async move {
                let (operations, pause) = if number == SESSIONS { (UPKEEP, 1_200) } else { (LOAD, 500) };
                // Each of them once before chance decides.
                let mut next: Vec<_> = operations.to_vec();
                player.rng.shuffle(&mut next);
                while !stop.is_cancelled() {
                    let operation = next.pop().unwrap_or_else(|| player.rng.choice(operations).copied().unwrap());
                    if player.play(operation).await {
                        *done.lock().unwrap().entry(operation).or_default() += 1;
                    }
                    sleep(Duration::from_millis(player.rng.u64(..pause))).await;
                }
            });
        }
        Self { tasks, stop, done }
    }

    /// One more session that does this now, undisturbed.
    pub fn also(&mut self, url: &str, name: &str, operation: Operation) {
        let (url, name, done) = (url.to_owned(), name.to_owned(), self.done.clone());
        self.tasks.spawn(async move {
            let rng = Rng::with_seed(0);
            let application = "alone";
            let mut player = Player { url, application, name, rng, connections: 0, prepared: 0, connection: None };
            if player.play(operation).await {
                *done.lock().unwrap().entry(operation).or_default() += 1;
            }
        });
    }

    /// Lets each session end what it does.
    pub async fn end(mut self) -> Done {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut *self.done.lock().unwrap())
    }
}

// === impl Player ===

impl Player {
    /// Carries out an operation; false when something of it was refused: by a lock, a deadlock, a server that went.
    async fn play(&mut self, operation: Operation) -> bool {
        self.prepared += 1;
        let gid = format!("{}-{}", self.name, self.prepared);
        let steps = operation.steps(&mut self.rng, &gid);
        for step in steps {
            let Some(is_as_meant) = self.step(step).await else {
                self.connection = None;
                return false;
            };
            if !is_as_meant {
                self.give_up(operation, &gid).await;
                return false;
            }
        }
        true
    }

    /// `None`: the connection is gone.
    async fn step(&mut self, step: Step) -> Option<bool> {
        if let Step::Wait(milliseconds) = step {
            sleep(Duration::from_millis(milliseconds)).await;
            return Some(true);
        }
        if let Step::Elsewhere(sql) = step {
            let mut other = PgConnection::connect(&self.url).await.ok()?;
            let is_done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut other).await.is_ok();
            let _ = other.close().await;
            return Some(is_done);
        }
        let connection = self.connection().await?;
        let (outcome, must_fail) = match step {
            Step::Run(sql) => (run(connection, sql).await, false),
            Step::Fails(sql) => (run(connection, sql).await, true),
            Step::Copy(sql, lines) => (copy(connection, &sql, &lines).await, false),
            Step::CopyFails(sql, lines) => (copy(connection, &sql, &lines).await, true),
            Step::Wait(_) | Step::Elsewhere(_) => unreachable!("done above"),
        };
        match outcome {
            Ok(()) => Some(!must_fail),
            Err(sqlx::Error::Database(error)) if !error.code().is_some_and(|code| code.starts_with("57P")) => {
                Some(must_fail)
            }
            Err(_) => None,
        }
    }

    /// Leaves no transaction and no half of an operation behind.
    async fn give_up(&mut self, operation: Operation, gid: &str) {
        let mut mends = vec!["ROLLBACK".to_owned()];
        match operation {
            Operation::CommitPrepared | Operation::RollbackPrepared => mends.push(format!("ROLLBACK PREPARED '{gid}'")),
            Operation::Detach | Operation::DetachConcurrently => {
                mends.push(format!("ALTER TABLE p DETACH PARTITION {GUEST} FINALIZE"));
                mends.push(format!("ALTER TABLE p ATTACH PARTITION {GUEST} FOR VALUES FROM (300) TO (400)"));
            }
            _ => {}
        }
        for sql in mends {
            let Some(connection) = self.connection().await else { return };
            let _ = run(connection, sql).await;
        }
    }

    async fn connection(&mut self) -> Option<&mut PgConnection> {
        if self.connection.is_none() {
            let mut connection = PgConnection::connect(&self.url).await.ok()?;
            self.connections += 1;
            let settings = format!(
                "SET application_name = '{}'; SET {SESSION} = '{}.{}'; SET lock_timeout = '2s'; \
                 SET statement_timeout = '30s'",
                self.application, self.name, self.connections
            );
            run(&mut connection, settings).await.ok()?;
            self.connection = Some(connection);
        }
        self.connection.as_mut()
    }
}

async fn run(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(|_| ())
}

async fn copy(connection: &mut PgConnection, sql: &str, lines: &str) -> Result<(), sqlx::Error> {
    let mut sink = connection.copy_in_raw(sql).await?;
    sink.send(lines.as_bytes()).await?;
    sink.finish().await.map(|_| ())
}
