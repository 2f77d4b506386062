//! Two readings of pg_stat_statements and what ran between them. What left the statistics meanwhile, or began anew, is
//! told and is never a negative number.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use super::{Observation, Rates, Source, TooShort, left, purpose::Purpose, told, verb::Verb};
use crate::rates::operation::PerOperation;

/// An entry of the statistics, within one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatementId {
    /// Oid of the role that ran it.
    pub role: i64,
    /// The server's hash of it.
    pub query: i64,
    /// Whether it ran inside another one: in a trigger, a function or a foreign-key check.
    pub is_nested: bool,
}

/// How often each statement had run.
#[derive(Clone, Debug)]
pub struct Reading {
    /// When it arrived.
    pub read_at: Instant,
    /// When it was made, by the server's clock.
    pub server_time: SystemTime,
    /// By statement.
    pub calls: HashMap<StatementId, i64>,
    /// How often statements were dropped for want of room, ever; `None` where the server does not tell.
    pub deallocations: Option<i64>,
    /// When the statistics began; `None` where the server does not tell.
    pub reset_time: Option<SystemTime>,
}

/// What ran between two readings.
#[derive(Clone, Debug)]
pub struct Changes {
    /// By statement, each at least once.
    pub calls: Vec<(StatementId, i64)>,
    /// From the first reading, or from the reset of the statistics when that was later.
    span: Duration,
    /// When that was.
    reset_time: Option<SystemTime>,
    /// Statements that are not in the statistics any more.
    vanished: usize,
    /// Statements that had run more often before.
    restarted: usize,
    /// How often statements were dropped for want of room.
    deallocated: i64,
    /// Whether the server tells of resets and of what it drops.
    tells_resets: bool,
}

/// What ran, for whom, as numbers of statements.
#[derive(Default)]
struct Tally {
    requests: PerOperation<i64>,
    background: i64,
    ours: i64,
    transactions: i64,
    other: i64,
    nested: i64,
    unknown: i64,
}

// === impl Reading ===

impl Reading {
    /// What ran since `before`.
    pub fn since(&self, before: &Self) -> Result<Changes, TooShort> {
        let reset_time = self.reset_time.filter(|time| before.reset_time.is_some_and(|before| before < *time));
        let measured = self.read_at.saturating_duration_since(before.read_at);
        let mut changes = Changes {
            calls: Vec::new(),
            span: measured,
            reset_time,
            vanished: 0,
            restarted: 0,
            deallocated: 0,
            tells_resets: self.reset_time.is_some(),
        };
        if let Some(time) = reset_time {
            // Both by the server's clock; nothing of before is in the numbers.
            changes.span = left(time, self.server_time, measured)?;
            changes.calls = self.calls.iter().map(|(id, calls)| (*id, *calls)).collect();
            changes.deallocated = self.deallocations.unwrap_or_default();
        } else {
            for (id, calls) in &self.calls {
                let before = before.calls.get(id).copied().unwrap_or_default();
                let since = if *calls < before { *calls } else { calls - before };
                changes.restarted += usize::from(*calls < before);
                changes.calls.push((*id, since));
            }
            changes.vanished = before.calls.keys().filter(|id| !self.calls.contains_key(id)).count();
            changes.deallocated =
                self.deallocations.zip(before.deallocations).map_or(0, |(after, before)| after - before);
        }
        changes.calls.retain(|(_, calls)| *calls > 0);
        Ok(changes)
    }
}

// === impl Changes ===

impl Changes {
    /// The rates, given the texts of the statements that ran. What has no text is told, and is in no rate.
    pub fn observed(&self, texts: &HashMap<StatementId, String>, end_time: SystemTime) -> Observation {
        let tally = self.tally(texts);
        let seconds = self.span.as_secs_f64();
        let rate = |calls: i64| calls as f64 / seconds;
        Observation {
            source: Source::Statements,
            span: self.span,
            end_time,
            rates: Rates::ByOperation(PerOperation::from_fn(|operation| rate(tally.requests[operation]))),
            reset_time: self.reset_time,
            warnings: self.losses().into_iter().chain(tally.warnings(rate)).collect(),
        }
    }

    fn tally(&self, texts: &HashMap<StatementId, String>) -> Tally {
        let mut tally = Tally::default();
        for (id, calls) in &self.calls {
            let Some(text) = texts.get(id) else {
                tally.unknown += calls;
                continue;
            };
            let (verb, purpose) = (Verb::of(text), Purpose::of(text));
            let counted = match (verb, purpose) {
                _ if id.is_nested => &mut tally.nested,
                (Verb::Operation(_), Purpose::Ours) => &mut tally.ours,
                // What sets our sessions up is of no interest to anybody.
                (_, Purpose::Ours) => continue,
                (Verb::Operation(_), Purpose::Background) => &mut tally.background,
                (Verb::Operation(operation), Purpose::Requests) => &mut tally.requests[operation],
                (Verb::Transaction, _) => &mut tally.transactions,
                (Verb::Other, _) => &mut tally.other,
            };
            *counted += calls;
        }
        tally
    }

    /// What is missing from the numbers.
    fn losses(&self) -> Vec<String> {
        let mut losses = Vec::new();
        if let Some(time) = self.reset_time {
            let (time, span) = (humantime::format_rfc3339_seconds(time), self.span.as_secs_f64());
            losses.push(format!(
                "pg_stat_statements was reset at {time}: what ran was counted for {span:.1} s, from then on"
            ));
        }
        if self.vanished > 0 || self.deallocated > 0 {
            losses.push(format!(
                "pg_stat_statements dropped statements meanwhile, {} of those that it had (pg_stat_statements.max is too \
                 low, or some were reset): what they ran is not in what is observed",
                self.vanished
            ));
        }
        if self.restarted > 0 {
            losses.push(format!(
                "{} statements were dropped from pg_stat_statements and came back: what they ran before that is not in \
                 what is observed",
                self.restarted
            ));
        }
        if !self.tells_resets {
            let problem = "so one within the time would show as too few statements";
            losses.push(format!("this server does not tell when pg_stat_statements was reset, {problem}"));
        }
        losses
    }
}

// === impl Tally ===

impl Tally {
    /// What ran and is not compared, as far as there was any.
    fn warnings(&self, rate: impl Fn(i64) -> f64) -> Vec<String> {
        let Self { requests: _, background, ours, transactions, other, nested, unknown } = *self;
        let mut warnings = Vec::new();
        let mut tell = |calls: i64, text: &dyn Fn(String) -> String| {
            if calls > 0 {
                warnings.push(text(told(rate(calls))));
            }
        };
        tell(ours, &|rate| format!("left out: {rate} statements a second of rowcount's own"));
        tell(background, &|rate| {
            format!(
                "left out: {rate} statements a second of the registry's background (row counts, garbage collection)"
            )
        });
        tell(nested, &|rate| format!("left out: {rate} statements a second inside triggers and functions"));
        tell(unknown, &|rate| {
            format!("{rate} statements a second have no text any more: they are not in what is observed")
        });
        if transactions + other > 0 {
            let (transactions, other) = (told(rate(transactions)), told(rate(other)));
            warnings.push(format!(
                "not compared: {transactions} begin, commit and rollback and {other} other statements a second"
            ));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::operation::Operation;

    const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

    fn id(query: i64) -> StatementId {
        StatementId { role: 10, query, is_nested: false }
    }

    fn reading(start: Instant, seconds: u64, calls: &[(i64, i64)]) -> Reading {
        Reading {
            read_at: start + Duration::from_secs(seconds),
            server_time: EPOCH + Duration::from_secs(1_000 + seconds),
            calls: calls.iter().map(|(query, calls)| (id(*query), *calls)).collect(),
            deallocations: Some(0),
            reset_time: Some(EPOCH),
        }
    }

    fn sorted(changes: &Changes) -> Vec<(i64, i64)> {
        let mut calls: Vec<_> = changes.calls.iter().map(|(id, calls)| (id.query, *calls)).collect();
        calls.sort_unstable();
        calls
    }

    fn texts(texts: &[(StatementId, &str)]) -> HashMap<StatementId, String> {
        texts.iter().map(|(id, text)| (*id, (*text).to_owned())).collect()
    }

    #[test]
    fn only_what_ran_in_between_is_counted() {
        let start = Instant::now();
        let before = reading(start, 0, &[(1, 100), (2, 7), (3, 5)]);
        let changes = reading(start, 10, &[(1, 150), (2, 7), (3, 6), (4, 20)]).since(&before).unwrap();
        assert_eq!(sorted(&changes), [(1, 50), (3, 1), (4, 20)]);
        let texts = texts(&[(id(1), "SELECT 1"), (id(3), "DELETE FROM t"), (id(4), "INSERT INTO t")]);
        let observed = changes.observed(&texts, EPOCH);
        let Rates::ByOperation(rates) = observed.rates else { panic!("verbs are told") };
        assert_eq!(rates.iter().map(|(_, rate)| *rate).collect::<Vec<_>>(), [5.0, 2.0, 0.0, 0.1]);
        assert_eq!((observed.span, observed.warnings), (Duration::from_secs(10), Vec::new()));
    }

    #[test]
    fn each_purpose_is_told_apart_with_its_rate() {
        let start = Instant::now();
        let mut after = reading(start, 10, &[(1, 10), (2, 20), (3, 30), (4, 40), (5, 50), (6, 60)]);
        let nested = StatementId { is_nested: true, ..id(1) };
        after.calls.insert(nested, 70);
        let changes = after.since(&reading(start, 0, &[])).unwrap();
        let texts = texts(&[
            (id(1), "SELECT 1"),
            (nested, "SELECT 1"),
            (id(2), "SELECT /* rowcount */ count(*) FROM t"),
            (id(3), "SELECT COUNT(*) FROM schema_migrations"),
            (id(4), "begin"),
            (id(5), "SET a = $1"),
        ]);
        let observed = changes.observed(&texts, EPOCH);
        let Rates::ByOperation(rates) = &observed.rates else { panic!("verbs are told") };
        assert_eq!(rates[Operation::Select], 1.0);
        let want = [
            "left out: 2.00 statements a second of rowcount's own",
            "left out: 3.00 statements a second of the registry's background (row counts, garbage collection)",
            "left out: 7.00 statements a second inside triggers and functions",
            "6.00 statements a second have no text any more: they are not in what is observed",
            "not compared: 4.00 begin, commit and rollback and 5.00 other statements a second",
        ];
        assert_eq!(observed.warnings, want);
    }

    #[test]
    fn after_a_reset_everything_counts_from_then_on() {
        let start = Instant::now();
        let before = reading(start, 0, &[(1, 3), (2, 1_000)]);
        let mut after = reading(start, 10, &[(1, 40)]);
        after.reset_time = Some(EPOCH + Duration::from_secs(1_006));
        let changes = after.since(&before).unwrap();
        assert_eq!((sorted(&changes), changes.span), (vec![(1, 40)], Duration::from_secs(4)));
        let observed = changes.observed(&texts(&[(id(1), "SELECT 1")]), EPOCH);
        assert_eq!(observed.reset_time, after.reset_time);
        assert!(observed.warnings[0].ends_with("counted for 4.0 s, from then on"), "{:?}", observed.warnings);
        after.reset_time = Some(EPOCH + Duration::from_millis(1_009_900));
        assert_eq!(after.since(&before).unwrap_err(), TooShort(Duration::from_millis(100)));
    }

    #[test]
    fn what_was_dropped_is_told_and_is_never_negative() {
        let start = Instant::now();
        let before = reading(start, 0, &[(1, 100), (2, 5)]);
        let mut after = reading(start, 10, &[(1, 30)]);
        after.deallocations = Some(2);
        let changes = after.since(&before).unwrap();
        assert_eq!(sorted(&changes), [(1, 30)]);
        let losses = changes.losses();
        assert!(losses[0].starts_with("pg_stat_statements dropped statements meanwhile, 1 of those"), "{losses:?}");
        assert!(losses[1].starts_with("1 statements were dropped from pg_stat_statements and came back"), "{losses:?}");
    }

    #[test]
    fn an_old_server_is_told_to_hide_resets() {
        let start = Instant::now();
        let old = |seconds| Reading { reset_time: None, deallocations: None, ..reading(start, seconds, &[]) };
        assert!(old(1).since(&old(0)).unwrap().losses()[0].contains("does not tell when"));
    }
}
