//! Chaos: fleets of the real program on real Redis servers, faults in an order that a seed decides, and a checker that
//! judges what happened. `make chaos` runs it for long; docs/chaos.md says what it found.

use std::{
    cell::{Cell, RefCell},
    env, fmt, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use rowcount::lease_protocol::margin;

use crate::fleet::Fleet;
use checker::{Terms, Violation};
use crew::{Contender, Crew};
use fault::{Deck, Kind};
use history::History;
use report::Report;
use store::Setting;

mod checker;
mod control;
mod crew;
mod fault;
mod history;
mod ledger;
mod proxy;
mod reader;
mod report;
mod scraper;
mod store;

/// Faults that one fleet suffers before another one takes its place, so that no history grows without end.
const LIFE: usize = 40;

/// Between two looks at how late this machine is.
const TICK: Duration = Duration::from_millis(5);

/// What is run.
struct Plan {
    contender: Contender,
    setting: Setting,
    seed: u64,
    faults: usize,
    /// Fleets at a time.
    fleets: usize,
    terms: Terms,
    /// Leave the histories also of those fleets in which only a bound in time was passed.
    keep: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_happens_one_holds_and_nothing_stale_is_shown() {
    holds(&Plan::from_env()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_takes_the_masters_place_one_holds_behind_sentinels() {
    holds(&Plan::from_env().of(Setting::Sentinels)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_takes_the_masters_place_one_holds_in_a_cluster() {
    holds(&Plan::from_env().of(Setting::Cluster)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_holder_without_deadline_and_fence_fails_the_same_test() {
    let plan = Plan { contender: Contender::Naive, faults: 24, fleets: 3, ..Plan::from_env() };
    let (report, violations) = run(&plan).await;
    assert!(report.overlaps() > 0 && report.stale() > 0, "{plan}: the checker is blind\n{}", listed(&violations));
}

/// Nothing that must hold breaks.
async fn holds(plan: &Plan) {
    let (report, violations) = run(plan).await;
    assert!(violations.is_empty(), "{plan}\n{}", listed(&violations));
    assert!(report.faults() >= plan.faults, "{} of {} faults were injected", report.faults(), plan.faults);
}

/// Injects the faults of a plan and judges the histories; what broke a property is left in a file.
async fn run(plan: &Plan) -> (Report, Vec<Violation>) {
    println!("{plan}");
    let started = Instant::now();
    let lateness = Lateness::watch();
    let mut fleet = Fleet::servers().await;
    for (variable, value) in [
        ("ROWCOUNT_CATALOG", "none"),
        ("ROWCOUNT_QUERIES_T_SQL", "SELECT count(*) FROM t"),
        ("ROWCOUNT_DATABASE_CONNECTIONS", "1"),
        ("ROWCOUNT_LEASE_FIRSTSTART", "wait"),
        ("ROWCOUNT_REDIS_CACHE_DIALTIMEOUT", "500ms"),
        ("ROWCOUNT_REDIS_CACHE_READTIMEOUT", "500ms"),
        ("ROWCOUNT_REDIS_CACHE_WRITETIMEOUT", "500ms"),
        // The history of a process is in its log.
        ("ROWCOUNT_LOG_LEVEL", "trace"),
    ] {
        fleet.set(variable, value);
    }
    fleet.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2), (3)").await;

    let lives = plan.lives();
    let next = Cell::new(0);
    let (report, violations) = (RefCell::new(Report::default()), RefCell::new(Vec::new()));
    let worker = async || {
        while let Some(kinds) = lives.get(next.replace(next.get() + 1)) {
            let seed = plan.seed.wrapping_add(next.get() as u64);
            let mut crew = Crew::start(&fleet, plan.setting, plan.terms, plan.contender, seed).await;
            for kind in kinds {
                if !crew.suffer(*kind).await {
                    break;
                }
            }
            let (history, tail) = crew.end().await;
            let verdict = checker::check(&history, plan.terms);
            let is_late = verdict.gaps.iter().any(|gap| !gap.over.is_zero());
            if plan.contender == Contender::Rowcount && (!verdict.violations.is_empty() || (plan.keep && is_late)) {
                leave(seed, &history, &verdict.violations, &tail);
            }
            report.borrow_mut().add(&verdict);
            violations.borrow_mut().extend(verdict.violations);
            let faults = report.borrow().faults();
            println!("seed {seed}: {faults} faults after {:.0?}", started.elapsed());
        }
    };
    join_all((0..plan.fleets).map(|_| worker())).await;
    let report = report.into_inner();
    println!("{report}\n{} faults in {:.0?}, {plan}", report.faults(), started.elapsed());
    println!("meanwhile a thread that slept for {TICK:?} woke late by {}", lateness.told());
    (report, violations.into_inner())
}

/// How late the machine wakes whoever sleeps: what it adds to every bound in time.
struct Lateness {
    stop: Arc<AtomicBool>,
    sampler: thread::JoinHandle<Vec<Duration>>,
}

// === impl Plan ===

impl Plan {
    /// A short run, unless CHAOS_FAULTS, CHAOS_SEED, CHAOS_FLEETS and CHAOS_LEASE_MS say otherwise; CHAOS_SLACK_MS is what
    /// a bound in time may be passed by, CHAOS_KEEP=1 keeps more.
    fn from_env() -> Self {
        let number = |name: &str| {
            let text = env::var(name).ok().filter(|text| !text.is_empty())?;
            Some(text.parse::<u64>().unwrap_or_else(|error| panic!("{name}: {error}")))
        };
        let ttl = Duration::from_millis(number("CHAOS_LEASE_MS").unwrap_or(1_500));
        let margin = margin(ttl);
        let slack = Duration::from_millis(number("CHAOS_SLACK_MS").unwrap_or(60_000));
        Self {
            contender: Contender::Rowcount,
            setting: Setting::Alone,
            seed: number("CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32)),
            faults: usize::try_from(number("CHAOS_FAULTS").unwrap_or(40)).unwrap(),
            fleets: usize::try_from(number("CHAOS_FLEETS").unwrap_or(4)).unwrap(),
            // A busy machine makes everything late, and nothing else.
            terms: Terms { ttl, margin, quarantine: ttl + margin, slack },
            keep: number("CHAOS_KEEP").is_some(),
        }
    }

    /// The same on several servers: a fleet needs more of them and more time, so there are fewer faults, but each kind of
    /// them once.
    fn of(self, setting: Setting) -> Self {
        let faults = (self.faults / 20).max(Kind::all(setting).len());
        Self { setting, faults, fleets: self.fleets.div_ceil(4), ..self }
    }

    /// The faults of each fleet.
    fn lives(&self) -> Vec<Vec<Kind>> {
        let mut deck = Deck::new(self.setting, self.seed);
        let count = self.fleets.max(self.faults.div_ceil(LIFE));
        (0..count).map(|life| deck.deal(self.faults * (life + 1) / count - self.faults * life / count)).collect()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { contender, setting, seed, faults, fleets, terms, keep: _ } = self;
        write!(
            f,
            "{contender:?}, {setting}: CHAOS_SEED={seed} CHAOS_FAULTS={faults} CHAOS_FLEETS={fleets}, a lease of {:?}",
            terms.ttl
        )
    }
}

// === impl Lateness ===

impl Lateness {
    fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let sampler = thread::spawn(move || {
            let mut late = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let slept = Instant::now();
                thread::sleep(TICK);
                late.push(slept.elapsed().saturating_sub(TICK));
            }
            late
        });
        Self { stop, sampler }
    }

    fn told(self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        let mut late = self.sampler.join().expect("it does not panic");
        late.sort_unstable();
        let at = |part: f64| late[((late.len() - 1) as f64 * part) as usize];
        format!("{:.1?} (p50), {:.1?} (p99), {:.1?} at most", at(0.5), at(0.99), at(1.0))
    }
}

fn listed(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("{violation}\n")).collect()
}

/// Writes what happened beside the build, for whoever looks for the reason.
fn leave(seed: u64, history: &History, violations: &[Violation], tail: &[String]) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{seed}.txt"));
    let text = format!("{}\n{history}\n{}\n", listed(violations), tail.join("\n"));
    fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    println!("{}{}", listed(violations), path.display());
}
