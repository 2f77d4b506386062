//! The catalogue: the queries that are built in. The first six are the registry's own, under the registry's names.

use std::time::Duration;

use crate::query::{Method, Query, QueryName, Source};

/// Which built-in queries are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Catalog {
    /// All of them.
    All,
    /// The registry's six.
    Registry,
    /// None.
    None,
}

/// A built-in: name, table, whether only overdue rows count, what it is.
type Builtin = (&'static str, &'static str, bool, &'static str);

/// How many of `BUILTINS` the registry's own collector counts.
const REGISTRY: usize = 6;

const BUILTINS: [Builtin; 19] = [
    ("gc_blob_review_queue", "gc_blob_review_queue", false, "Blobs that wait for the garbage collector"),
    ("gc_manifest_review_queue", "gc_manifest_review_queue", false, "Manifests that wait for the garbage collector"),
    ("gc_blob_review_queue_overdue", "gc_blob_review_queue", true, "Blobs whose review is due"),
    ("gc_manifest_review_queue_overdue", "gc_manifest_review_queue", true, "Manifests whose review is due"),
    ("applied_pre_migrations", "schema_migrations", false, "Schema migrations applied before deployment"),
    ("applied_post_migrations", "post_deploy_schema_migrations", false, "Schema migrations applied after deployment"),
    ("top_level_namespaces", "top_level_namespaces", false, "Top-level namespaces"),
    ("repositories", "repositories", false, "Repositories, deleted ones included"),
    ("manifests", "manifests", false, "Manifests"),
    ("manifest_references", "manifest_references", false, "References from manifest lists to manifests"),
    ("blobs", "blobs", false, "Blobs"),
    ("tags", "tags", false, "Tags"),
    ("layers", "layers", false, "Layers of manifests"),
    ("repository_blobs", "repository_blobs", false, "Links between repositories and blobs"),
    ("gc_blobs_layers", "gc_blobs_layers", false, "Links from blobs to layers, for the garbage collector"),
    (
        "gc_blobs_configurations",
        "gc_blobs_configurations",
        false,
        "Links from blobs to manifest configurations, for the garbage collector",
    ),
    ("batched_background_migrations", "batched_background_migrations", false, "Batched background migrations"),
    (
        "batched_background_migration_jobs",
        "batched_background_migration_jobs",
        false,
        "Jobs of batched background migrations",
    ),
    ("import_statistics", "import_statistics", false, "Imports of registry data from object storage"),
];

/// The built-in queries that `catalog` switches on, with these defaults.
pub fn queries(catalog: Catalog, interval: Duration, timeout: Duration) -> Vec<Query> {
    let on = match catalog {
        Catalog::All => BUILTINS.len(),
        Catalog::Registry => REGISTRY,
        Catalog::None => 0,
    };
    BUILTINS[..on].iter().map(|builtin| query(builtin, interval, timeout)).collect()
}

/// The built-in of this name, switched on or not.
pub fn builtin(name: &QueryName, interval: Duration, timeout: Duration) -> Option<Query> {
    BUILTINS.iter().find(|(n, ..)| *n == name.as_str()).map(|builtin| query(builtin, interval, timeout))
}

fn query(&(name, table, overdue, description): &Builtin, interval: Duration, timeout: Duration) -> Query {
    let (source, method) = if overdue {
        let sql = format!("SELECT count(*) FROM {table} WHERE review_after < now()");
        (Source::Statement { sql, table: Some(table.to_owned()) }, Method::Exact)
    } else {
        (Source::Table(table.to_owned()), Method::Auto)
    };
    Query {
        name: name.parse().expect("the names above are valid, as a test shows"),
        description: description.to_owned(),
        source,
        method,
        cap: None,
        interval,
        timeout,
        builtin: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_has_a_name_of_its_own() {
        let all = queries(Catalog::All, Duration::from_secs(10), Duration::from_secs(10));
        let names: std::collections::BTreeSet<_> = all.iter().map(|query| query.name.as_str()).collect();
        assert_eq!(names.len(), BUILTINS.len());
    }

    #[test]
    fn the_registrys_six_have_the_registrys_names() {
        let six = queries(Catalog::Registry, Duration::from_secs(10), Duration::from_secs(10));
        let names: Vec<_> = six.iter().map(|query| query.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "gc_blob_review_queue",
                "gc_manifest_review_queue",
                "gc_blob_review_queue_overdue",
                "gc_manifest_review_queue_overdue",
                "applied_pre_migrations",
                "applied_post_migrations"
            ]
        );
    }
}
