//! How long `rowcount rates --from FILE` takes, from the start of the process to its end.

use std::{
    fmt::Write,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{report::Report, stats::Sorted};

const RUNS: usize = 50;

const RUNS_OF_MANY: usize = 5;

/// Ten pairs with a cost, each with every code that there can be; the rest is unmapped.
const ROWS: usize = 100_000;

const PAIRS: [(&str, &str); 10] = [
    ("Manifest", "GET"),
    ("Manifest", "HEAD"),
    ("Manifest", "PUT"),
    ("Manifest", "DELETE"),
    ("Blob", "GET"),
    ("Blob", "HEAD"),
    ("Blob Upload", "PUT"),
    ("Tags", "GET"),
    ("Tag", "DELETE"),
    ("Catalog", "GET"),
];

pub async fn measure(mut report: Report) -> Report {
    let published = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/published-2020.csv"));
    for format in ["table", "markdown"] {
        let took = Sorted::new((0..RUNS).map(|_| run(published, format)).collect());
        let what = format!("rates --from, the published table, as {format}, {RUNS} runs");
        report.row(what, took.spread(), "< 10 ms");
    }
    let many = tempfile::NamedTempFile::with_suffix(".csv").expect("there is room for a file");
    std::fs::write(&many, rows()).expect("there is room for its rows");
    for format in ["table", "csv", "json"] {
        let took = Sorted::new((0..RUNS_OF_MANY).map(|_| run(many.path(), format)).collect());
        report.row(format!("rates --from, {ROWS} rows, as {format}, {RUNS_OF_MANY} runs"), took.spread(), "");
    }
    report
}

fn run(file: &Path, format: &str) -> Duration {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowcount"));
    command.args(["rates", "--model", "published-2020", "-o", format, "--from"]).arg(file);
    command.stdout(Stdio::null());
    let began = Instant::now();
    let status = command.status().expect("the binary is built");
    assert!(status.success(), "{status}");
    began.elapsed()
}

fn rows() -> String {
    let mut text = String::from("handler,method,code,requests_per_second\n");
    for row in 0..ROWS {
        let rate = row % 97;
        let written = match PAIRS.get(row / 1_000) {
            Some((handler, method)) => writeln!(text, "{handler},{method},{:03},{rate}", row % 1_000),
            None => writeln!(text, "/v2/route{row}/,get,200,{rate}"),
        };
        written.expect("a string takes whatever is written");
    }
    text
}
