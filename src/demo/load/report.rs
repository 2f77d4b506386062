//! What a load that has ended says of itself: statements by verb as they were sent, beside those that PostgreSQL counted.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::{Operations, Sent, Verb};

/// The end of a load.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) sent: Sent,
    /// What pg_stat_statements counted meanwhile; `None` where it is not there.
    pub(super) counted: Option<Operations>,
    pub(super) elapsed: Duration,
}

// === impl Report ===

impl Report {
    /// For people.
    pub(super) fn text(&self) -> String {
        let Self { sent, counted, elapsed } = self;
        let seconds = elapsed.as_secs_f64();
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["", "SENT", "COUNTED", "PER SECOND"]);
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        let mut row = |name: &str, sent: u64, counted: Option<u64>| {
            let counted = counted.map_or("-".to_owned(), |counted| counted.to_string());
            table.add_row([name.to_owned(), sent.to_string(), counted, format!("{:.1}", sent as f64 / seconds)]);
        };
        for verb in Verb::ALL {
            row(verb.as_str(), sent.statements.of(verb), counted.map(|counted| counted.of(verb)));
        }
        row("all", sent.statements.total(), counted.map(|counted| counted.total()));
        row("requests", sent.total_requests(), None);
        let lag = sent.lag.as_secs_f64() * 1000.0;
        format!("{}\n{} requests began late; the longest lag was {lag:.0} ms", table.trim_fmt(), sent.late)
    }

    /// For programs: one object.
    pub(super) fn json(&self) -> Value {
        let Self { sent, counted, elapsed } = self;
        let operations = |operations: &Operations| {
            let of_verbs = Verb::ALL.map(|verb| (verb.as_str().to_lowercase(), operations.of(verb).into()));
            Value::Object(of_verbs.into_iter().collect())
        };
        let requests = sent.requests.iter().map(|(kind, count)| {
            json!({"method": kind.method, "handler": kind.handler, "code": kind.code, "kind": kind.name, "count": count})
        });
        json!({
            "seconds": elapsed.as_secs_f64(),
            "sent": operations(&sent.statements),
            "counted": counted.as_ref().map(operations),
            "requests": requests.collect::<Vec<_>>(),
            "lateRequests": sent.late,
            "longestLagSeconds": sent.lag.as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(counted: Option<Operations>) -> Report {
        let statements = Operations::from([7402, 216, 0, 3]);
        let sent = Sent { statements, late: 2, lag: Duration::from_millis(61), ..Default::default() };
        Report { sent, counted, elapsed: Duration::from_secs(10) }
    }

    #[test]
    fn the_text_has_what_was_sent_beside_what_was_counted() {
        let text = report(Some(Operations::from([7402, 216, 0, 3]))).text();
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[1], "SELECT 7402 7402 740.2");
        assert_eq!(lines[5], "all 7621 7621 762.1");
        assert_eq!(lines[7], "2 requests began late; the longest lag was 61 ms");
        assert!(report(None).text().contains(" - "));
    }

    #[test]
    fn what_was_not_counted_is_null_and_not_zero() {
        assert_eq!(report(None).json()["counted"], Value::Null);
        assert_eq!(report(Some(Operations::default())).json()["counted"]["update"], 0);
        assert_eq!(report(None).json()["sent"]["insert"], 216);
    }
}
