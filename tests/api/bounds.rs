//! Bounds under load: the real reader and follower beside sessions that do everything which ever misled counters, and a
//! journal that tells what was true. `make accuracy` runs it for long; docs/counting.md says what came of it.

#![allow(clippy::unwrap_used, reason = "all of it is test code, also what is no test itself")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use load::{Done, Load};
use mutant::Mutant;
use operation::{LOAD, Operation, UPKEEP};
use recording::{Event, Recorder, Told, replay};
use rowcount::{
    demo::postgres::PostgresServer,
    follow::{Bounds, Oid},
};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::sleep;
use truth::Truth;

use crate::tools::newest_postgres;

mod load;
mod mutant;
mod operation;
mod recording;
mod schema;
mod sums;
mod traps;
mod truth;

/// Seconds of load in the run of every day.
const SHORT: u64 = 75;

/// For everything to be exact after the load: a flush takes ten seconds, an exact count eleven and a half, and a second
/// one may be needed; the rest is for a busy machine.
const QUIET: Duration = Duration::from_secs(180);

/// How it went.
struct Outcome {
    done: Done,
    events: Vec<Event>,
    truth: Truth,
    /// From the end of the load until everything was exact.
    settled: Duration,
}

#[tokio::test]
async fn whatever_happens_the_bounds_hold_and_come_together() {
    let seed = number("BOUNDS_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let span = Duration::from_secs(number("BOUNDS_SECONDS").unwrap_or(SHORT));
    for round in 0..number("BOUNDS_ROUNDS").unwrap_or(1) {
        holds(None, seed.wrapping_add(round), span).await;
    }
}

#[tokio::test]
async fn on_the_newest_server_they_do_too() {
    let Some(programs) = newest_postgres() else { return };
    // The server runs as somebody who may not be let in there.
    let copy = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
    let is_copied = Command::new("cp").arg("-R").arg(programs.join(".")).arg(copy.path()).status().unwrap().success();
    assert!(is_copied);
    holds(Some(copy.path().join("bin")), fastrand::u64(..1 << 32), Duration::from_secs(SHORT)).await;
}

/// The bounds hold, and a follower with a rule broken would have been noticed.
async fn holds(bin: Option<PathBuf>, seed: u64, span: Duration) {
    println!("BOUNDS_SEED={seed} BOUNDS_SECONDS={}", span.as_secs());
    let outcome = run(bin, seed, span).await;
    let told = replay(&outcome.events, None);
    report(&outcome, &told);
    let violations = outcome.truth.violations(&told);
    assert!(violations.is_empty(), "seed {seed}: {} violations: {violations:#?}", violations.len());
    let all: BTreeSet<_> = LOAD.iter().chain(UPKEEP).copied().collect();
    let missed: Vec<_> = all.iter().filter(|operation| !outcome.done.contains_key(operation)).collect();
    assert!(missed.len() <= 3, "seed {seed}: these were never carried out: {missed:?}");
    assert!(told.len() >= 150 && outcome.truth.commits() >= 200, "seed {seed}: that was nothing");
    for mutant in Mutant::FOUND_BY_LOAD {
        let violations = outcome.truth.violations(&replay(&outcome.events, Some(mutant)));
        println!("| {mutant:?} | {} violations |", violations.len());
        assert!(!violations.is_empty(), "seed {seed}: {mutant:?} was not noticed");
    }
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// Load for so long, in its last quarter with everything that loses the statistics; then quiet until all is exact.
async fn run(bin: Option<PathBuf>, seed: u64, span: Duration) -> Outcome {
    let mut postgres = schema::server(bin).await;
    let url = postgres.url("registry");
    let recorder = Recorder::start(&url);
    let mut load = Load::start(&url, seed);
    load.also(&url, "truncate", Operation::TruncateFollowed);
    let begun = Instant::now();
    // It holds up every exact count while it runs; the first ones are through by then.
    sleep(span * 3 / 10).await;
    load.also(&url, "chain", Operation::CommitInsideCall);
    sleep((span * 3 / 4).saturating_sub(begun.elapsed())).await;
    for violence in
        [Violence::ResetLeaf, Violence::Reset, Violence::KillBackend, Violence::Restart, Violence::StopAtOnce]
    {
        violence.commit(&mut postgres).await;
        sleep(span / 25).await;
    }
    sleep(span.saturating_sub(begun.elapsed())).await;
    let done = load.end().await;
    end_prepared(&url).await;
    let quiet = Instant::now();
    until_exact(&recorder, &url).await;
    let settled = quiet.elapsed();
    Outcome { done, events: recorder.end().await, truth: Truth::read(&url).await, settled }
}

/// What loses the statistics.
#[derive(Clone, Copy, Debug)]
enum Violence {
    /// Of one leaf: the server dates it as one of all.
    ResetLeaf,
    Reset,
    KillBackend,
    Restart,
    StopAtOnce,
}

// === impl Violence ===

impl Violence {
    async fn commit(self, postgres: &mut PostgresServer) {
        let url = postgres.url("registry");
        match self {
            Self::ResetLeaf => {
                let sql = "SELECT pg_stat_reset_single_table_counters('t'::regclass)";
                postgres.execute("registry", sql).await.unwrap();
            }
            Self::Reset => postgres.execute("registry", "SELECT pg_stat_reset()").await.unwrap(),
            Self::KillBackend => {
                let mut connection = PgConnection::connect(&url).await.unwrap();
                let pid: i32 = sqlx::query_scalar(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                     AND backend_type = 'client backend' ORDER BY backend_start LIMIT 1",
                )
                .fetch_one(&mut connection)
                .await
                .unwrap();
                // It may be gone by itself.
                let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
            }
            Self::Restart => postgres.restart().await.unwrap(),
            Self::StopAtOnce => {
                let pid = i32::try_from(postgres.pid().unwrap()).unwrap();
                kill_process(Pid::from_raw(pid).unwrap(), Signal::QUIT).unwrap();
                postgres.restart().await.unwrap();
            }
        }
    }
}

/// Whoever prepared them is gone.
async fn end_prepared(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let left: Vec<String> =
        sqlx::query_scalar("SELECT gid FROM pg_prepared_xacts").fetch_all(&mut connection).await.unwrap();
    for gid in left {
        let sql = format!("ROLLBACK PREPARED '{gid}'");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
}

/// Waits until each leaf is followed with no room between its bounds, and that is what it has.
async fn until_exact(recorder: &Recorder, url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let mut counted: BTreeMap<Oid, Bounds> = BTreeMap::new();
    for leaf in schema::LEAVES {
        let sql = format!("SELECT '{leaf}'::regclass::oid::int8, count(*) FROM ONLY {leaf}");
        let (oid, rows): (i64, i64) = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
        counted.insert(Oid::try_from(oid).unwrap(), Bounds::exactly(rows));
    }
    let begun = Instant::now();
    loop {
        let now = recorder.now();
        if counted.iter().all(|(oid, bounds)| now.get(oid) == Some(bounds)) {
            return;
        }
        assert!(begun.elapsed() < QUIET, "after {QUIET:?} of quiet: {now:?} is told, and {counted:?} is true");
        sleep(Duration::from_millis(100)).await;
    }
}

fn report(outcome: &Outcome, told: &[Told]) {
    let Outcome { done, events, truth, settled } = outcome;
    println!("| operation | carried out |\n|---|---|");
    for (operation, count) in done {
        println!("| {operation} | {count} |");
    }
    let readings = events.iter().filter(|event| matches!(event, Event::Read(_))).count();
    let anchors = events.iter().filter(|event| matches!(event, Event::Ended(_, Some(_)))).count();
    let mut widths: Vec<_> = told.iter().map(|told| told.bounds.width()).collect();
    widths.sort_unstable();
    let exact = widths.iter().filter(|width| **width == 0).count();
    let at = |part: f64| widths.get(((widths.len().saturating_sub(1)) as f64 * part) as usize).copied().unwrap_or(0);
    println!(
        "{readings} readings, {anchors} exact counts, {} commits; {} values of leaves told, {exact} of them exact, width \
         {} (p50), {} (p90), {} at most; all exact {settled:.1?} after the load",
        truth.commits(),
        told.len(),
        at(0.5),
        at(0.9),
        at(1.0)
    );
}
