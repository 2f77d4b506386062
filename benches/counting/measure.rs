//! One round of a strategy, and what the rounds come to.

use std::{collections::BTreeMap, time::Duration};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    collector::Collector,
    database::{Cost, Database},
    pgbench,
    report::{Report, span},
    stats::Sorted,
    strategy::Strategy,
};

/// How often the registry's collector counts.
const NAIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Of the load, before anything is measured.
const WARM_UP: Duration = Duration::from_secs(5);

/// What every statement of rowcount is marked by.
const OURS: &str = "%/* rowcount */%";

/// What the statements of a reading are for, and what the text of each of them has; the last comes seldom.
const READING: [(&str, &str); 6] = [
    ("sessions", "pg_stat_activity"),
    ("counters", "pg_stat_get_tuples_inserted"),
    ("filenodes", "pg_relation_filenode"),
    ("resets", "pg_control_system()"),
    ("fingerprint", "hashoidextended"),
    ("list of leaves", "RECURSIVE named"),
];

/// Until the sessions of a load that has ended have gone.
const FAREWELL: Duration = Duration::from_millis(500);

/// What one round showed.
pub struct Round {
    cpu: Duration,
    buffers: i64,
    p50: Duration,
    p99: Duration,
    /// Of the statements that count.
    cost: Cost,
    /// Time in readings of the statistics, or in COUNT(*) of the followed tables.
    readings: Duration,
    /// One of those, by the statements of a reading or by the tables.
    parts: Vec<Duration>,
}

// === impl Round ===

impl Round {
    pub fn csv(&self) -> String {
        let us = |span: Duration| span.as_micros();
        let Self { cpu, buffers, p50, p99, cost, .. } = self;
        format!("{:.2},{buffers},{},{},{},{}", cpu.as_secs_f64(), us(*p50), us(*p99), us(cost.longest), us(cost.total))
    }
}

/// The load for so long beside a strategy.
pub async fn round(database: &mut Database, collector: &mut Collector, strategy: Strategy, length: Duration) -> Round {
    if strategy == Strategy::Rowcount {
        collector.resume(database).await;
    } else {
        collector.stop().await;
    }
    let port = database.fleet.postgres.port();
    pgbench::play(port, database.repositories, WARM_UP).await;
    sleep(FAREWELL).await;
    database.forget_costs().await;
    let (cpu, buffers) = (database.cpu(), database.buffers().await);
    let naive = async {
        if strategy == Strategy::CountAll {
            count_all(&database.fleet.postgres.url("registry"), &database.tables).await;
        }
        std::future::pending::<()>().await
    };
    let latencies = tokio::select! {
        () = naive => unreachable!("it never ends"),
        (latencies, ()) = async { tokio::join!(pgbench::play(port, database.repositories, length), collector.watch(length)) } => latencies,
    };
    sleep(FAREWELL).await;
    let cpu = database.cpu() - cpu;
    let buffers = database.buffers().await - buffers;
    let cost = database.cost(if strategy == Strategy::CountAll { "SELECT /* all */%" } else { OURS }).await;
    let (mut readings, mut parts) = (Duration::ZERO, Vec::new());
    match strategy {
        Strategy::Nothing => {}
        // Of the same tables as a reading is of.
        Strategy::CountAll => {
            for table in &collector.followed {
                let counted = database.cost(&format!("SELECT /* all */ count(*) FROM {table}")).await;
                readings += counted.total;
                // The last round may not have come to every table.
                parts.push(counted.total / calls(counted));
            }
        }
        Strategy::Rowcount => {
            let (_, once) = READING[0];
            let looks = calls(database.cost(&format!("%/* rowcount */%{once}%")).await);
            for (_, part) in READING {
                let part = database.cost(&format!("%/* rowcount */%{part}%")).await;
                readings += part.total;
                parts.push(part.total / looks);
            }
        }
    }
    Round { cpu, buffers, p50: latencies.median(), p99: latencies.quantile(0.99), readings, parts, cost }
}

fn calls(cost: Cost) -> u32 {
    u32::try_from(cost.calls.max(1)).expect("not so many")
}

/// As the registry would: one connection, one table after the other.
async fn count_all(url: &str, tables: &[String]) {
    let mut connection = PgConnection::connect(url).await.expect("PostgreSQL answers");
    let mut tick = interval(NAIVE_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for table in tables {
            let sql = format!("SELECT /* all */ count(*) FROM {table}");
            sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut connection).await.expect("it is counted");
        }
    }
}

/// Medians side by side, and the ratios that the goals are about.
pub fn compare(taken: &BTreeMap<Strategy, Vec<Round>>, seconds: u64, report: &mut Report) {
    let median = |strategy: Strategy, of: &dyn Fn(&Round) -> f64| {
        Sorted::new(taken[&strategy].iter().map(of).collect()).median()
    };
    let us = |span: Duration| span.as_secs_f64();
    for strategy in Strategy::ALL {
        let of = |of: &dyn Fn(&Round) -> f64| median(strategy, of);
        let seconds_of = |value: f64| span(Duration::from_secs_f64(value));
        let measured = format!(
            "{:.2} s of CPU, {:.0} buffers, p50 {}, p99 {}, longest statement {}, {} in statements that count",
            of(&|round| us(round.cpu)),
            of(&|round| round.buffers as f64),
            seconds_of(of(&|round| us(round.p50))),
            seconds_of(of(&|round| us(round.p99))),
            seconds_of(of(&|round| us(round.cost.longest))),
            seconds_of(of(&|round| us(round.cost.total))),
        );
        report.row(format!("{seconds} s of load beside {strategy}"), measured, "");
    }
    // Each round is compared with the one without of its own turn, so that what else the machine does falls out.
    let ratio = |strategy: Strategy, of: &dyn Fn(&Round) -> f64| {
        let pairs = taken[&strategy].iter().zip(&taken[&Strategy::Nothing]);
        Sorted::new(pairs.map(|(with, without)| of(with) / of(without)).collect()).median()
    };
    for (strategy, cpu_goal, p99_goal) in [(Strategy::Rowcount, "≤ 1.03", "≤ 1.05"), (Strategy::CountAll, "", "")] {
        let cpu = ratio(strategy, &|round| us(round.cpu));
        report.row(format!("CPU of the server, {strategy} / nothing"), format!("{cpu:.3}"), cpu_goal);
        let p99 = ratio(strategy, &|round| us(round.p99));
        report.row(format!("p99 of the load, {strategy} / nothing"), format!("{p99:.3}"), p99_goal);
    }
    let one_look = |round: &Round| round.parts.iter().copied().map(us).sum::<f64>();
    let [reading, all] = [Strategy::Rowcount, Strategy::CountAll].map(|strategy| median(strategy, &one_look));
    let (one, other) = (span(Duration::from_secs_f64(all)), span(Duration::from_secs_f64(reading)));
    report.row(
        "server time, COUNT(*) of the followed tables / one reading of them",
        format!("{one} / {other} = {:.0}", all / reading),
        "≥ 1,000",
    );
    let parts = READING.iter().enumerate().map(|(index, (name, _))| {
        let part = median(Strategy::Rowcount, &|round| us(round.parts[index]));
        format!("{name} {}", span(Duration::from_secs_f64(part)))
    });
    report.row("one reading by its statements", parts.collect::<Vec<_>>().join(", "), "");
    let per_second = |strategy: Strategy| median(strategy, &|round| us(round.cost.total)) / seconds as f64;
    let (naive, ours) = (per_second(Strategy::CountAll), per_second(Strategy::Rowcount));
    let followed_naive = median(Strategy::CountAll, &|round| us(round.readings)) / seconds as f64;
    let reading_rate = median(Strategy::Rowcount, &|round| us(round.readings)) / seconds as f64;
    report.row(
        "the same at their intervals, of readings",
        format!("{:.0} ({:.3} % of a core)", followed_naive / reading_rate, reading_rate * 100.0),
        "≥ 300",
    );
    report.row(
        "the same of all that rowcount runs, small tables and counts of leaves included",
        format!("{:.0} ({:.3} % of a core against {:.1} %)", naive / ours, ours * 100.0, naive * 100.0),
        "",
    );
}
