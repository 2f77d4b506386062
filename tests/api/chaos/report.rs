//! The report: by kind of fault, how often it was injected and what came of it.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    checker::{Property, Verdict, Violation},
    fault::Kind,
};

#[derive(Default)]
pub struct Report {
    rows: BTreeMap<Kind, Row>,
}

#[derive(Default)]
struct Row {
    /// Time without a holder after each.
    gaps: Vec<Duration>,
    /// Of these, those that were longer than what is owed, by how much.
    over: Vec<Duration>,
    overlaps: usize,
    stale: usize,
}

// === impl Report ===

impl Report {
    /// Takes in what the checker found in the history of one fleet.
    pub fn add(&mut self, verdict: &Verdict) {
        for gap in &verdict.gaps {
            let row = self.rows.entry(gap.fault.kind).or_default();
            row.gaps.push(gap.without_a_holder);
            if !gap.over.is_zero() {
                row.over.push(gap.over);
            }
        }
        for violation in &verdict.violations {
            let before = verdict.gaps.iter().rev().find(|gap| gap.fault.begin <= violation.at);
            let kind = before.map_or(Kind::Start, |gap| gap.fault.kind);
            self.rows.entry(kind).or_default().count(violation);
        }
    }

    /// Faults that were injected.
    pub fn faults(&self) -> usize {
        self.rows.iter().map(|(kind, row)| row.gaps.len() * kind.faults()).sum()
    }

    /// S2.
    pub fn overlaps(&self) -> usize {
        self.rows.values().map(|row| row.overlaps).sum()
    }

    /// S4.
    pub fn stale(&self) -> usize {
        self.rows.values().map(|row| row.stale).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| fault | injected | overlaps | stale publications | without a holder p50 | p99 | max | longer than owed |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for (kind, row) in &self.rows {
            let name = kind.to_string();
            row.write(f, &name, row.gaps.len() * kind.faults())?;
        }
        let mut all = Row::default();
        for row in self.rows.values() {
            all.gaps.extend(&row.gaps);
            all.over.extend(&row.over);
            all.overlaps += row.overlaps;
            all.stale += row.stale;
        }
        all.write(f, "all", self.faults())
    }
}

// === impl Row ===

impl Row {
    fn count(&mut self, violation: &Violation) {
        match violation.property {
            Property::S2 => self.overlaps += 1,
            Property::S4 => self.stale += 1,
            _ => {}
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, name: &str, injected: usize) -> fmt::Result {
        let mut gaps = self.gaps.clone();
        gaps.sort_unstable();
        let at = |part: f64| match gaps.len() {
            0 => "–".to_owned(),
            count => milliseconds(gaps[((count - 1) as f64 * part).ceil() as usize]),
        };
        let over = match self.over.iter().max() {
            None => "0".to_owned(),
            Some(most) => format!("{} (by {} at most)", self.over.len(), milliseconds(*most)),
        };
        let Self { overlaps, stale, .. } = self;
        writeln!(
            f,
            "| {name} | {injected} | {overlaps} | {stale} | {} | {} | {} | {over} |",
            at(0.5),
            at(0.99),
            at(1.0)
        )
    }
}

fn milliseconds(span: Duration) -> String {
    format!("{} ms", span.as_millis())
}
