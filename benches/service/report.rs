//! What was measured, as one Markdown table, and on what.

use std::{fmt, fs, thread, time::Duration};

/// The table.
pub struct Report {
    rows: Vec<Row>,
    load_before: String,
}

struct Row {
    what: String,
    measured: String,
    goal: &'static str,
}

// === impl Report ===

impl Report {
    pub fn new() -> Self {
        Self { rows: Vec::new(), load_before: load() }
    }

    /// Adds a row; `goal` may be empty. It is shown on stderr at once: the whole takes minutes.
    pub fn row(&mut self, what: impl Into<String>, measured: impl Into<String>, goal: &'static str) {
        let row = Row { what: what.into(), measured: measured.into(), goal };
        eprintln!("  {}: {}", row.what, row.measured);
        self.rows.push(row);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = thread::available_parallelism().map_or(0, usize::from);
        let Self { rows, load_before } = self;
        writeln!(f, "{cores} cores, release build, load {load_before} before and {} after.\n", load())?;
        writeln!(f, "| what | measured | goal |\n|---|---|---|")?;
        for Row { what, measured, goal } in rows {
            writeln!(f, "| {what} | {measured} | {goal} |")?;
        }
        Ok(())
    }
}

/// A span with three digits, in the unit that suits it.
pub fn span(span: Duration) -> String {
    let us = span.as_secs_f64() * 1e6;
    let (value, unit) = match us {
        us if us < 1000.0 => (us, "us"),
        us if us < 1e6 => (us / 1000.0, "ms"),
        us => (us / 1e6, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

/// Whoever reads the numbers should see when something else was running.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}
