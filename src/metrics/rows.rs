//! The counts themselves. They are read at each scrape through the publish gate, and only what is read is exported: an
//! instance that lost the lease shows no rows at the very next scrape, and a value that went stale leaves the page.

use std::{sync::Arc, time::SystemTime};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Meter},
};

use crate::{
    query::{Method, QueryName},
    snapshot::{Count, Snapshot},
};

/// The publish gate: the snapshot while this instance holds the lease by its own clock, else `None`. Called at every
/// scrape; must not block.
pub type RowsSource = Arc<dyn Fn() -> Option<Arc<Snapshot>> + Send + Sync>;

/// Exports the counts that `source` lets through.
pub fn export(meter: &Meter, source: &RowsSource) {
    gauge(
        meter,
        source,
        "registry_database_rows",
        "A gauge for the number of rows in database tables defined by the query_name label",
        |name, _, value, gauge| gauge.observe(value, &[query_name(name)]),
    );
    gauge(
        meter,
        source,
        "rowcount_query_lower_bound",
        "There are at least this many rows; where the method is not exact.",
        |name, count, _, gauge| observe_bound(gauge, name, count, count.lower_bound),
    );
    gauge(
        meter,
        source,
        "rowcount_query_upper_bound",
        "There are at most this many rows; where the method is not exact.",
        |name, count, _, gauge| observe_bound(gauge, name, count, count.upper_bound),
    );
    gauge(
        meter,
        source,
        "rowcount_query_method",
        "A constant 1 with the method by which the rows were counted.",
        |name, count, _, gauge| gauge.observe(1, &[query_name(name), KeyValue::new("method", count.method.as_str())]),
    );
    time(
        meter,
        source,
        "rowcount_query_complete_until_timestamp_seconds",
        "Every commit before this is counted in; where rows are followed, and it is known.",
        |count| count.complete_until_time,
    );
    time(
        meter,
        source,
        "rowcount_query_anchor_timestamp_seconds",
        "When the part that was counted exactly the longest ago was; where rows are followed.",
        |count| count.anchor_time,
    );
    let source = source.clone();
    meter
        .f64_observable_gauge("rowcount_snapshot_timestamp_seconds")
        .with_description("When the holder of the lease last published its counts.")
        .with_callback(move |gauge| {
            if let Some(snapshot) = source() {
                gauge.observe(super::unix_seconds(snapshot.publish_time), &[]);
            }
        })
        .build();
}

/// A gauge to which `observe` reports each count that has a value and is not stale.
fn gauge(
    meter: &Meter,
    source: &RowsSource,
    name: &'static str,
    help: &'static str,
    observe: impl Fn(&QueryName, &Count, i64, &dyn AsyncInstrument<i64>) + Send + Sync + 'static,
) {
    let source = source.clone();
    meter
        .i64_observable_gauge(name)
        .with_description(help)
        .with_callback(move |gauge| {
            let Some(snapshot) = source() else { return };
            let now = SystemTime::now();
            for (name, count) in snapshot.counts.iter().filter(|(_, count)| !count.is_stale(now)) {
                if let Some(value) = count.value {
                    observe(name, count, value, gauge);
                }
            }
        })
        .build();
}

/// A gauge of the time that `of` finds in each count that has a value and is not stale.
fn time(
    meter: &Meter,
    source: &RowsSource,
    name: &'static str,
    help: &'static str,
    of: impl Fn(&Count) -> Option<SystemTime> + Send + Sync + 'static,
) {
    let source = source.clone();
    meter
        .f64_observable_gauge(name)
        .with_description(help)
        .with_callback(move |gauge| {
            let Some(snapshot) = source() else { return };
            let now = SystemTime::now();
            for (name, count) in snapshot.counts.iter().filter(|(_, count)| !count.is_stale(now)) {
                if let Some(time) = of(count) {
                    gauge.observe(super::unix_seconds(time), &[query_name(name)]);
                }
            }
        })
        .build();
}

fn observe_bound(gauge: &dyn AsyncInstrument<i64>, name: &QueryName, count: &Count, bound: Option<i64>) {
    if let Some(bound) = bound.filter(|_| count.method != Method::Exact) {
        gauge.observe(bound, &[query_name(name)]);
    }
}

fn query_name(name: &QueryName) -> KeyValue {
    KeyValue::new("query_name", name.to_string())
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::metrics::Exporter;

    const STALE_AFTER: Duration = Duration::from_secs(30);

    fn count(method: Method, value: i64, age: Duration) -> Count {
        let observe_time = Some(SystemTime::now() - age);
        let (lower_bound, upper_bound) = (Some(value - 1), Some(value + 1));
        let never = Count::never_run(method, Duration::from_secs(10), STALE_AFTER);
        Count { value: Some(value), lower_bound, upper_bound, observe_time, ..never }
    }

    fn snapshot(counts: impl IntoIterator<Item = (&'static str, Count)>) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            epoch: 1,
            token: "token".to_owned(),
            revision: 1,
            publish_time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
            last_collection: None,
            counts: counts.into_iter().map(|(name, count)| (name.parse().unwrap(), count)).collect::<BTreeMap<_, _>>(),
        })
    }

    fn samples(exporter: &Exporter, family: &str) -> Vec<String> {
        let page = exporter.page().unwrap();
        page.lines().filter(|line| line.starts_with(family)).map(str::to_owned).collect()
    }

    #[test]
    fn rows_leave_the_page_at_the_first_scrape_after_the_lease_is_lost() {
        let holds = Arc::new(AtomicBool::new(true));
        let shown = snapshot([("tags", count(Method::Exact, 184, Duration::ZERO))]);
        let gate = holds.clone();
        let exporter = Exporter::new().unwrap();
        export(
            &exporter.meter(),
            &(Arc::new(move || gate.load(Ordering::Relaxed).then(|| shown.clone())) as RowsSource),
        );

        assert_eq!(samples(&exporter, "registry_database_rows"), [r#"registry_database_rows{query_name="tags"} 184"#]);
        assert_eq!(samples(&exporter, "rowcount_snapshot"), ["rowcount_snapshot_timestamp_seconds 1.5"]);
        holds.store(false, Ordering::Relaxed);
        assert!(samples(&exporter, "registry_").is_empty());
        assert!(samples(&exporter, "rowcount_").is_empty());
        holds.store(true, Ordering::Relaxed);
        assert_eq!(samples(&exporter, "registry_database_rows").len(), 1);
    }

    #[test]
    fn a_stale_value_and_one_that_never_was_are_not_on_the_page() {
        let shown = snapshot([
            ("fresh", count(Method::Exact, 1, STALE_AFTER - Duration::from_secs(5))),
            ("never", Count::never_run(Method::Exact, Duration::from_secs(10), STALE_AFTER)),
            ("stale", count(Method::Exact, 2, STALE_AFTER + Duration::from_secs(5))),
        ]);
        let exporter = Exporter::new().unwrap();
        export(&exporter.meter(), &(Arc::new(move || Some(shown.clone())) as RowsSource));
        assert_eq!(samples(&exporter, "registry_database_rows"), [r#"registry_database_rows{query_name="fresh"} 1"#]);
    }

    #[test]
    fn bounds_are_told_only_where_the_count_is_not_exact() {
        let anchor_time = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(2_500));
        let shown = snapshot([
            ("blobs", Count { anchor_time, ..count(Method::Followed, 10, Duration::ZERO) }),
            ("tags", count(Method::Exact, 5, Duration::ZERO)),
        ]);
        let exporter = Exporter::new().unwrap();
        export(&exporter.meter(), &(Arc::new(move || Some(shown.clone())) as RowsSource));
        assert_eq!(samples(&exporter, "rowcount_query_lower"), [r#"rowcount_query_lower_bound{query_name="blobs"} 9"#]);
        assert_eq!(
            samples(&exporter, "rowcount_query_upper"),
            [r#"rowcount_query_upper_bound{query_name="blobs"} 11"#]
        );
        assert_eq!(
            samples(&exporter, "rowcount_query_anchor"),
            [r#"rowcount_query_anchor_timestamp_seconds{query_name="blobs"} 2.5"#]
        );
        assert!(samples(&exporter, "rowcount_query_complete").is_empty(), "it is not known");
        assert_eq!(
            samples(&exporter, "rowcount_query_method"),
            [
                r#"rowcount_query_method{method="exact",query_name="tags"} 1"#,
                r#"rowcount_query_method{method="followed",query_name="blobs"} 1"#,
            ]
        );
    }
}
