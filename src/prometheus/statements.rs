//! The registry's own counter of the statements that it sends, by the name of the query: for whom they ran, and which
//! names count a second time what another has counted.

/// Queries that are made of others, which count too.
const WRAPPERS: [&str; 3] =
    ["media_type_safe_find_or_create_id", "namespace_safe_find_or_create", "repository_create_or_find_by_path"];

/// Whose queries nobody requested: of counting rows (also ours), of the garbage collector, of background migrations.
const BACKGROUND_PREFIXES: [&str; 3] = ["count_", "gc_", "bbm_"];

/// The garbage collector's deletions; a request's have other names.
const BACKGROUND: [&str; 2] = ["blob_delete", "manifest_delete"];

/// Queries of a request that keeps the garbage collector off what it is about to tag, list or delete.
const OF_REQUESTS: [&str; 2] = ["gc_manifest_task_find_and_lock_before", "gc_manifest_task_find_and_lock_n_before"];

/// A matcher that leaves out what would count twice.
pub fn counted_once() -> String {
    format!("{{name!~\"{}\"}}", WRAPPERS.join("|"))
}

/// Whether the query of this name runs without a request.
pub fn is_background(name: &str) -> bool {
    let background = BACKGROUND.contains(&name) || BACKGROUND_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    background && !OF_REQUESTS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_asks_of_the_review_queue_is_not_the_garbage_collectors() {
        for name in
            ["gc_blob_task_next", "gc_manifest_task_find_and_lock", "count_tags", "blob_delete", "bbm_find_next"]
        {
            assert!(is_background(name), "{name}");
        }
        for name in OF_REQUESTS.into_iter().chain(["repository_find_by_path", "repository_delete_manifest", ""]) {
            assert!(!is_background(name), "{name}");
        }
    }
}
