//! Two readings of the statistics of tables and the rows between them. Rows are not statements: a statement may touch
//! many, or none, and whose it was is not told. What comes of it is an order of magnitude.

use std::{
    collections::HashMap,
    time::{Instant, SystemTime},
};

use super::{Observation, Rates, Source, TooShort, left, told};
use crate::rates::operation::PerOperation;

/// The counters of all tables.
#[derive(Clone, Debug)]
pub struct Reading {
    /// When it arrived.
    pub read_at: Instant,
    /// When it was made, by the server's clock.
    pub server_time: SystemTime,
    /// By the oid of the table: rows fetched by an index, inserted, updated, deleted.
    pub rows: HashMap<i64, PerOperation<i64>>,
    /// Transactions that ended.
    pub transactions: i64,
    /// When the statistics of the database were reset; `None`: never.
    pub reset_time: Option<SystemTime>,
}

// === impl Reading ===

impl Reading {
    /// What happened since `before`.
    pub fn since(&self, before: &Self, end_time: SystemTime) -> Result<Observation, TooShort> {
        let reset_time = self.reset_time.filter(|time| before.reset_time.is_none_or(|before| before < *time));
        let mut span = self.read_at.saturating_duration_since(before.read_at);
        let mut warnings = caveats();
        if let Some(time) = reset_time {
            span = left(time, self.server_time, span)?;
            let (time, span) = (humantime::format_rfc3339_seconds(time), span.as_secs_f64());
            warnings
                .push(format!("the statistics were reset at {time}: rows were counted for {span:.1} s, from then on"));
        }
        let mut sums = PerOperation::<i64>::default();
        let mut restarted = 0;
        for (table, rows) in &self.rows {
            let earlier = before.rows.get(table).copied().filter(|_| reset_time.is_none()).unwrap_or_default();
            // The counters of one table are reset together.
            let is_restarted = rows.iter().any(|(operation, rows)| *rows < earlier[operation]);
            restarted += usize::from(is_restarted);
            let earlier = if is_restarted { PerOperation::default() } else { earlier };
            for (operation, rows) in rows.iter() {
                sums[operation] += rows - earlier[operation];
            }
        }
        if restarted > 0 {
            warnings.push(format!(
                "the statistics of {restarted} tables were reset meanwhile: rows before that are missing"
            ));
        }
        let seconds = span.as_secs_f64();
        let earlier = if reset_time.is_some() { 0 } else { before.transactions };
        let transactions = told((self.transactions - earlier).max(0) as f64 / seconds);
        warnings.push(format!("transactions: {transactions} a second"));
        Ok(Observation {
            source: Source::TableStatistics,
            span,
            end_time,
            rates: Rates::ByOperation(PerOperation::from_fn(|operation| sums[operation] as f64 / seconds)),
            reset_time,
            warnings,
        })
    }
}

/// What holds of every such observation. A session tells its counters at the end of a transaction, at most once a
/// second, and what is left when it has been idle for ten seconds; before PostgreSQL 15, at its next transaction.
fn caveats() -> Vec<String> {
    vec![
        "table statistics count rows, not statements: rows fetched by an index stand for SELECT, and a statement may \
         touch many rows or none"
            .to_owned(),
        "rows of rowcount's own counts, of the registry's background and of triggers are in them".to_owned(),
        "sessions tell their rows up to 10 s late, so that short times are far off".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rates::operation::Operation;

    const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

    fn reading(start: Instant, seconds: u64, tables: &[(i64, [i64; 4])]) -> Reading {
        let rows = |rows: &[i64; 4]| {
            let mut rows = rows.iter();
            PerOperation::from_fn(|_| *rows.next().unwrap())
        };
        Reading {
            read_at: start + Duration::from_secs(seconds),
            server_time: EPOCH + Duration::from_secs(1_000 + seconds),
            rows: tables.iter().map(|(table, of)| (*table, rows(of))).collect(),
            transactions: i64::try_from(seconds).unwrap() * 3,
            reset_time: None,
        }
    }

    fn rates(observed: &Observation) -> Vec<f64> {
        let Rates::ByOperation(rates) = &observed.rates else { panic!("operations are told") };
        rates.iter().map(|(_, rate)| *rate).collect()
    }

    #[test]
    fn rows_of_all_tables_are_summed_also_of_new_ones() {
        let start = Instant::now();
        let before = reading(start, 0, &[(1, [100, 10, 1, 0]), (2, [5, 5, 5, 5])]);
        let after = reading(start, 10, &[(1, [200, 30, 1, 0]), (3, [0, 10, 0, 4])]);
        let observed = after.since(&before, EPOCH).unwrap();
        assert_eq!(rates(&observed), [10.0, 3.0, 0.0, 0.4]);
        assert_eq!(observed.warnings.last().unwrap(), "transactions: 3.00 a second");
        assert!(observed.warnings[0].contains("rows, not statements"));
    }

    #[test]
    fn a_reset_of_one_table_or_of_all_makes_nothing_negative() {
        let start = Instant::now();
        let before = reading(start, 0, &[(1, [100, 10, 0, 0]), (2, [10, 0, 0, 0])]);
        let mut after = reading(start, 10, &[(1, [20, 20, 0, 0]), (2, [30, 0, 0, 0])]);
        let observed = after.since(&before, EPOCH).unwrap();
        assert_eq!(rates(&observed)[..2], [4.0, 2.0]);
        assert!(observed.warnings.iter().any(|warning| warning.contains("of 1 tables were reset")));

        after.reset_time = Some(EPOCH + Duration::from_secs(1_005));
        let observed = after.since(&before, EPOCH).unwrap();
        assert_eq!((rates(&observed)[Operation::Select as usize], observed.span), (10.0, Duration::from_secs(5)));
    }
}
