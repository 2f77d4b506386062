//! How a query comes to its rows and how often. An exact count costs time in proportion to the rows: a large table is
//! followed where that can be, and where it cannot it is counted seldom however short the interval is. Nobody's database
//! may suffer from the default. Triggers are not bound by this.

use std::time::Duration;

use crate::query::{Method, Query, Source};

/// A table of more rows than this is large: about 17 ms of one core a count.
pub const LARGE_TABLE_ROWS: i64 = 100_000;

/// A followed table of fewer rows than this is counted again; in between it stays as it is, so that one that grows and
/// shrinks around a limit does not change over and over.
pub const SMALL_TABLE_ROWS: i64 = LARGE_TABLE_ROWS / 2;

/// The schedule counts a large table no more often than this.
pub const LARGE_TABLE_INTERVAL: Duration = Duration::from_secs(600);

/// The interval of the schedule for `query`, of whose table `rows` are known or estimated, when it is not followed.
pub fn interval(query: &Query, rows: Option<i64>) -> Duration {
    match rows {
        Some(rows) if is_large(query, rows) => query.interval.max(LARGE_TABLE_INTERVAL),
        _ => query.interval,
    }
}

/// Whether counting all of `rows` is what `query` costs, and much.
pub fn is_large(query: &Query, rows: i64) -> bool {
    counts_all(query) && rows > LARGE_TABLE_ROWS
}

/// Whether a run of its own counts every row of a table.
pub fn counts_all(query: &Query) -> bool {
    matches!(query.source, Source::Table(_)) && matches!(query.method, Method::Exact | Method::Auto)
}

/// Whether the table of `query` is to be followed, if that can be; `was` tells whether it is.
pub fn wants_following(query: &Query, rows: Option<i64>, was: bool) -> bool {
    match (query.method, &query.source) {
        (Method::Followed, Source::Table(_)) => true,
        (Method::Auto, Source::Table(_)) => {
            rows.map_or(was, |rows| rows > if was { SMALL_TABLE_ROWS } else { LARGE_TABLE_ROWS })
        }
        _ => false,
    }
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
    fn what_does_not_cost_all_rows_keeps_its_interval() {
        let overdue = query("gc_blob_review_queue_overdue");
        let capped = Query { method: Method::ExactCapped, cap: Some(1_000), ..query("blobs") };
        let estimated = Query { method: Method::Estimated, ..query("blobs") };
        for query in [overdue, capped, estimated] {
            assert_eq!(interval(&query, Some(LARGE_TABLE_ROWS + 1)), Duration::from_secs(10));
        }
    }

    #[test]
    fn a_table_is_followed_from_large_to_small() {
        let blobs = query("blobs");
        for (rows, was, wants) in [
            (None, false, false),
            (Some(LARGE_TABLE_ROWS), false, false),
            (Some(LARGE_TABLE_ROWS + 1), false, true),
            (Some(SMALL_TABLE_ROWS + 1), true, true),
            (Some(SMALL_TABLE_ROWS), true, false),
        ] {
            assert_eq!(wants_following(&blobs, rows, was), wants, "{rows:?} {was}");
        }
    }

    #[test]
    fn only_who_is_told_to_choose_chooses() {
        let by = |method| Query { method, ..query("blobs") };
        assert!(wants_following(&by(Method::Followed), Some(1), false));
        for method in [Method::Exact, Method::ExactCapped, Method::Estimated] {
            assert!(!wants_following(&by(method), Some(LARGE_TABLE_ROWS + 1), true), "{method:?}");
        }
        assert!(!wants_following(&query("gc_blob_review_queue_overdue"), Some(LARGE_TABLE_ROWS + 1), false));
    }
}
