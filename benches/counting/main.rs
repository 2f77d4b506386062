//! What counting costs a busy database: a registry's load alone, beside COUNT(*) of everything each ten seconds, and beside
//! rowcount at its defaults, in turns. `make bench-counting`; benches/README.md says what the settings are.

use std::{collections::BTreeMap, env, fs, time::Duration};

use database::Database;
use measure::Round;
use report::Report;
use strategy::Strategy;

mod collector;
mod database;
#[allow(clippy::unwrap_used, dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/api/fleet.rs"]
mod fleet;
mod measure;
mod pgbench;
#[allow(dead_code, reason = "shared with the other benchmark, which uses all of it")]
#[path = "../service/process.rs"]
mod process;
#[path = "../service/report.rs"]
mod report;
#[allow(dead_code, reason = "shared with the other benchmark, which uses all of it")]
#[path = "../service/stats.rs"]
mod stats;
mod strategy;

/// Where the numbers of each round go, for the plot.
const ROUNDS_FILE: &str = "counting.csv";

#[tokio::main]
async fn main() {
    // About 160 rows each.
    let repositories = number("SCALE", 100_000);
    let (rounds, seconds) = (number("ROUNDS", 5), number("SECONDS", 40));
    let mut report = Report::new();
    let mut database = Database::generate(repositories).await;
    report.row("rows, leaves", format!("{} in {} leaves", database.rows, database.leaves), "");

    let mut collector = collector::cold_start(&database, &mut report).await;
    let mut taken: BTreeMap<Strategy, Vec<Round>> = BTreeMap::new();
    let mut csv = String::from("strategy,round,cpu_seconds,buffers,p50_us,p99_us,longest_us,server_us\n");
    for round in 0..rounds {
        for turn in 0..Strategy::ALL.len() {
            // Each of them first, second and last in turns.
            let strategy = Strategy::ALL[(turn + round as usize) % Strategy::ALL.len()];
            eprintln!("Round {} of {rounds}: {strategy}.", round + 1);
            let one = measure::round(&mut database, &mut collector, strategy, Duration::from_secs(seconds)).await;
            csv += &format!("{strategy},{round},{}\n", one.csv());
            taken.entry(strategy).or_default().push(one);
        }
    }
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(ROUNDS_FILE);
    fs::write(&file, csv).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    measure::compare(&taken, seconds, &mut report);
    collector.settle(database, &mut report).await;
    println!("{report}\n{}", file.display());
}

/// A setting of the run.
fn number(name: &str, default: u64) -> u64 {
    let name = format!("COUNTING_{name}");
    let text = env::var(&name).ok().filter(|text| !text.is_empty());
    text.map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}
