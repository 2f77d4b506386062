//! How often the schedule counts a query. An exact count costs time in proportion to the rows, so a large table is
//! counted seldom however short the interval is: nobody's database may suffer from the default. Triggers are not bound
//! by this.

use std::time::Duration;

use crate::query::{Query, Source};

/// A table of more rows than this is large: about 17 ms of one core a count.
pub const LARGE_TABLE_ROWS: i64 = 100_000;

/// The schedule counts a large table no more often than this.
pub const LARGE_TABLE_INTERVAL: Duration = Duration::from_secs(600);

/// The interval of the schedule for `query`, of whose table `rows` are known or estimated.
pub fn interval(query: &Query, rows: Option<i64>) -> Duration {
    match rows {
        Some(rows) if is_large(query, rows) => query.interval.max(LARGE_TABLE_INTERVAL),
        _ => query.interval,
    }
}

/// Whether counting all of `rows` is what `query` costs, and much.
pub fn is_large(query: &Query, rows: i64) -> bool {
    matches!(query.source, Source::Table(_)) && rows > LARGE_TABLE_ROWS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalog, catalog::Catalog};

    fn query(name: &str) -> Query {
        catalog::queries(Catalog::All, Duration::from_secs(10), Duration::from_secs(10))
            .into_iter()
            .find(|query| query.name.as_str() == name)
            .unwrap()
    }

    #[test]
    fn a_large_table_is_counted_every_ten_minutes() {
        assert_eq!(interval(&query("blobs"), Some(LARGE_TABLE_ROWS + 1)), LARGE_TABLE_INTERVAL);
        assert_eq!(interval(&query("blobs"), Some(LARGE_TABLE_ROWS)), Duration::from_secs(10));
        assert_eq!(interval(&query("blobs"), None), Duration::from_secs(10));
    }

    #[test]
    fn a_longer_interval_of_the_users_stays() {
        let query = Query { interval: Duration::from_secs(3600), ..query("blobs") };
        assert_eq!(interval(&query, Some(LARGE_TABLE_ROWS + 1)), Duration::from_secs(3600));
    }

    #[test]
    fn a_statement_costs_what_it_returns_so_it_keeps_its_interval() {
        let overdue = query("gc_blob_review_queue_overdue");
        assert_eq!(interval(&overdue, Some(LARGE_TABLE_ROWS + 1)), Duration::from_secs(10));
    }
}
