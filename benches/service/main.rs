//! The numbers of the README, measured on the release binary through its ports, beside a real PostgreSQL and Redis.
//!
//! `cargo bench --bench service -- [SECTION...]`; without a section, all of them. The table goes to stdout.

use std::{env, future::Future, pin::Pin};

use report::Report;

mod bare;
mod calls;
#[allow(clippy::unwrap_used, dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/api/certificates.rs"]
mod certificates;
mod commands;
mod commandstats;
mod estimate;
#[allow(clippy::unwrap_used, dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/api/fleet.rs"]
mod fleet;
mod handover;
mod memory;
mod monitor;
#[allow(dead_code, reason = "shared with the other benchmark, which uses all of it")]
mod process;
mod rates;
mod report;
mod scrapes;
mod scripts;
mod start;
mod stats;
mod steady;

type Section = fn(Report) -> Pin<Box<dyn Future<Output = Report>>>;

/// How many of what a section does often are done, so that a change of a section is soon tried; all without it.
const ROUNDS: &str = "ROWCOUNT_BENCH_ROUNDS";

const SECTIONS: [(&str, Section); 9] = [
    ("start", |report| Box::pin(start::measure(report))),
    ("memory", |report| Box::pin(memory::measure(report))),
    ("calls", |report| Box::pin(calls::measure(report))),
    ("scrapes", |report| Box::pin(scrapes::measure(report))),
    ("handover", |report| Box::pin(handover::measure(report))),
    ("commands", |report| Box::pin(commands::measure(report))),
    ("scripts", |report| Box::pin(scripts::measure(report))),
    ("estimate", |report| Box::pin(estimate::measure(report))),
    ("rates", |report| Box::pin(rates::measure(report))),
];

#[tokio::main]
async fn main() {
    // Cargo adds --bench.
    let wanted: Vec<_> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if wanted == [bare::ARGUMENT] {
        return bare::serve().await;
    }
    let is_section = |name: &String| SECTIONS.iter().any(|(section, _)| section == name);
    if let Some(unknown) = wanted.iter().find(|name| !is_section(name)) {
        let known: Vec<_> = SECTIONS.iter().map(|(name, _)| *name).collect();
        eprintln!("no section {unknown}; there are {}", known.join(", "));
        std::process::exit(2);
    }
    let mut report = Report::new();
    for (name, section) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            eprintln!("Measuring {name}.");
            report = section(report).await;
        }
    }
    println!("{report}");
}

/// `all`, or what `ROUNDS` says.
fn rounds(all: usize) -> usize {
    env::var(ROUNDS).map_or(all, |text| text.parse().unwrap_or_else(|_| panic!("{ROUNDS}: {text:?}")))
}
