//! The registry's own counter of its statements, each counted once and told apart by whom it ran for.

use std::time::Duration;

use super::{HOUR, Past, close, counted, hours};

#[tokio::test]
async fn wrappers_are_left_out_and_the_background_is_told_apart() {
    let names = [
        ("repository_find_by_path", 100.0),
        ("gc_manifest_task_find_and_lock_before", 20.0),
        ("repository_create_or_find_by_path", 1000.0),
        ("namespace_safe_find_or_create", 1000.0),
        ("media_type_safe_find_or_create_id", 1000.0),
        ("gc_blob_task_next", 4.0),
        ("count_gc_blob_review_queue", 2.0),
        ("blob_delete", 1.0),
    ];
    let past = names.iter().fold(Past::of("registry_database_queries"), |past, (name, rate)| {
        past.series(&format!("registry_database_queries_total{{name=\"{name}\"}}"), HOUR, 0, |_| *rate)
    });
    let Some(server) = past.server().await else { return };
    let statements = counted(&server, Duration::from_secs(600), past.end).await.unwrap();
    close("for requests", statements.per_second, 120.0);
    close("for nobody", statements.background_per_second, 7.0);
    assert_eq!((statements.window, statements.warnings), (Duration::from_secs(600), Vec::new()));

    let longer = counted(&server, hours(2), past.end).await.unwrap();
    close("for requests", longer.per_second, 120.0);
    assert!(longer.window <= hours(1) && longer.warnings.len() == 2, "{longer:?}");
    let short = counted(&server, Duration::from_secs(120), past.end).await.unwrap_err().to_string();
    let want = |n| format!("has at most {n} samples of a series of registry_database_queries_total in the 2m before ");
    assert!(short.contains(&want(3)) || short.contains(&want(2)), "{short}");
}
