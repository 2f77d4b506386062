//! Which tables are followed, and what becomes of their runs.

use std::{collections::BTreeMap, time::Duration};

use super::Plan;
use crate::{
    clock::BootTime,
    query::{Method, Query, QueryName, Source},
};

impl Plan {
    /// The run in progress of `name` found its table to have `rows`. Returns whether it is to wait for the follower.
    pub fn found_rows(&mut self, name: &QueryName, rows: i64) -> bool {
        let Some(entry) = self.entries.get_mut(name) else { return false };
        entry.learn_rows(Some(rows));
        entry.has_slot = !entry.follows();
        !entry.has_slot
    }

    /// The run in progress of `name` waited for the follower, and its table cannot be followed: it is counted.
    pub fn counts_instead(&mut self, name: &QueryName) -> Option<(Query, Option<i64>)> {
        let entry = self.entries.get_mut(name)?;
        entry.has_slot = true;
        Some((entry.query.clone(), entry.rows))
    }

    /// Whether any table is or may yet be followed.
    pub fn may_follow(&self) -> bool {
        let may = |query: &Query| match query.method {
            Method::Followed => true,
            Method::Auto => matches!(query.source, Source::Table(_)),
            Method::Exact | Method::ExactCapped | Method::Estimated => false,
        };
        self.entries.values().any(|entry| may(&entry.query))
    }

    /// The tables to follow, each with the longest that a statement on it may take; those that cannot be followed too,
    /// since that may change.
    pub fn followed_tables(&self) -> BTreeMap<String, Duration> {
        let mut tables: BTreeMap<String, Duration> = BTreeMap::new();
        for entry in self.entries.values().filter(|entry| entry.wants_following) {
            if let Source::Table(table) = &entry.query.source {
                let timeout = tables.entry(table.clone()).or_default();
                *timeout = entry.query.timeout.max(*timeout);
            }
        }
        tables
    }

    /// Makes the queries of `table` due at once, where `is_guess` says that nothing better than an estimate is known.
    pub fn count_at_once(&mut self, table: &str, now: BootTime, is_guess: impl Fn(&QueryName) -> bool) {
        for (name, entry) in &mut self.entries {
            if entry.query.table() == Some(table) && is_guess(name) {
                entry.due = entry.due.min(now);
            }
        }
    }

    /// Learns which tables cannot be followed; returns those of which that is news, and whether they cannot.
    pub fn learn_refusals(&mut self, is_refused: impl Fn(&str) -> bool) -> BTreeMap<String, bool> {
        let mut news = BTreeMap::new();
        for entry in self.entries.values_mut() {
            let Source::Table(table) = &entry.query.source else { continue };
            let refused = is_refused(table);
            if refused != entry.refused {
                if entry.wants_following {
                    news.insert(table.clone(), refused);
                }
                let before = entry.interval();
                entry.refused = refused;
                entry.reschedule(before);
            }
        }
        news
    }
}
