//! Queries for namespaces and repositories.

use super::{Arg, Learn, Query};

const FIND_BY_PATH_SQL: &str = "\
    SELECT id, top_level_namespace_id, parent_id, name, path, created_at, updated_at, last_published_at \
    FROM repositories WHERE path = $1 AND deleted_at IS NULL";

pub static FIND_NAMESPACE: Query = Query::select(
    "namespace_find_by_name",
    "SELECT id, name, created_at, updated_at FROM top_level_namespaces WHERE name = $1",
    &[Arg::Namespace],
);

pub static FIND_BY_PATH: Query = Query::select("repository_find_by_path", FIND_BY_PATH_SQL, &[Arg::Path]);

/// The repository that a blob is mounted from.
pub static FIND_SOURCE: Query = Query::select("repository_find_by_path", FIND_BY_PATH_SQL, &[Arg::SourcePath]);

pub static CREATE_OR_FIND: Query = Query::insert(
    "repository_create_or_find",
    "INSERT INTO repositories (top_level_namespace_id, name, path, parent_id) VALUES ($1, $2, $3, NULL) \
     ON CONFLICT (path) DO UPDATE SET deleted_at = NULL RETURNING id, created_at, deleted_at",
    &[Arg::NamespaceId, Arg::Name, Arg::Path],
)
.learning(Learn::RepositoryId);

/// As the registry of 2020 did it: without a look before, and without an effect where the repository is there.
pub static CREATE_2020: Query = Query::insert(
    "repository_create_or_find",
    "INSERT INTO repositories (top_level_namespace_id, name, path, parent_id) VALUES ($1, $2, $3, NULL) \
     ON CONFLICT (path) DO NOTHING RETURNING id, created_at",
    &[Arg::NamespaceId, Arg::Name, Arg::Path],
);

pub static UPDATE_LAST_PUBLISHED_AT: Query = Query::update(
    "repository_update_last_published_at",
    "UPDATE repositories SET last_published_at = now() WHERE top_level_namespace_id = $1 AND id = $2 \
     RETURNING last_published_at",
    &[Arg::NamespaceId, Arg::RepositoryId],
);

/// A page of the catalogue.
pub static FIND_ALL_PAGINATED: Query = Query::select(
    "repository_find_all_paginated",
    "SELECT r.id, r.top_level_namespace_id, r.name, r.path, r.created_at \
     FROM repositories r WHERE EXISTS (SELECT FROM manifests m \
       WHERE m.top_level_namespace_id = r.top_level_namespace_id AND m.repository_id = r.id) \
     AND r.path >= $1 ORDER BY r.path LIMIT 100",
    &[Arg::Path],
);

pub static COUNT_AFTER_PATH: Query = Query::select(
    "repository_count_after_path",
    "SELECT count(*) FROM repositories r WHERE EXISTS (SELECT FROM manifests m \
       WHERE m.top_level_namespace_id = r.top_level_namespace_id AND m.repository_id = r.id) AND r.path > $1",
    &[Arg::Path],
);

pub static COUNT_SUB_REPOSITORIES: Query = Query::select(
    "repository_count_sub_repositories",
    "SELECT count(*) FROM repositories WHERE top_level_namespace_id = $1 AND (path = $2 OR path LIKE $3)",
    &[Arg::NamespaceId, Arg::Path, Arg::PathBelow],
);

pub static FIND_PAGINATED_FOR_PATH: Query = Query::select(
    "repository_find_paginated_repositories_for_path",
    "SELECT r.id, r.top_level_namespace_id, r.name, r.path, r.created_at FROM repositories r \
     WHERE (r.path = $1 OR r.path LIKE $2) AND EXISTS (SELECT FROM tags t \
       WHERE t.top_level_namespace_id = r.top_level_namespace_id AND t.repository_id = r.id) \
     AND r.top_level_namespace_id = $3 ORDER BY r.path LIMIT 100",
    &[Arg::Path, Arg::PathBelow, Arg::NamespaceId],
);
