//! Queries for tags.

use super::{Arg, Query};

pub static FIND_BY_NAME: Query = Query::select(
    "repository_find_tag_by_name",
    "SELECT id, name, manifest_id, created_at, updated_at FROM tags \
     WHERE top_level_namespace_id = $1 AND repository_id = $2 AND name = $3",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::Tag],
);

pub static PAGINATED: Query = Query::select(
    "repository_tags_paginated",
    "SELECT id, name, manifest_id, created_at, updated_at FROM tags \
     WHERE top_level_namespace_id = $1 AND repository_id = $2 AND name > '' ORDER BY name LIMIT 100",
    &[Arg::NamespaceId, Arg::RepositoryId],
);

pub static COUNT_AFTER_NAME: Query = Query::select(
    "repository_tags_count_after_name",
    "SELECT 1 FROM tags WHERE top_level_namespace_id = $1 AND repository_id = $2 AND name LIKE '%%' AND name > $3",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::Tag],
);

pub static COUNT_BEFORE_NAME: Query = Query::select(
    "repository_tags_count_before_name",
    "SELECT 1 FROM tags WHERE top_level_namespace_id = $1 AND repository_id = $2 AND name LIKE '%%' AND name < $3",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::Tag],
);

pub static DETAIL_PAGINATED: Query = Query::select(
    "repository_tags_detail_paginated",
    "SELECT t.name, m.digest, m.configuration_blob_digest, m.total_size, own.media_type, \
       GREATEST(t.created_at, t.updated_at) AS published_at \
     FROM tags t JOIN manifests m ON m.top_level_namespace_id = t.top_level_namespace_id \
         AND m.repository_id = t.repository_id AND m.id = t.manifest_id \
       JOIN media_types own ON own.id = m.media_type_id \
     WHERE t.top_level_namespace_id = $1 AND t.repository_id = $2 AND t.name LIKE '%%' ORDER BY t.name LIMIT 100",
    &[Arg::NamespaceId, Arg::RepositoryId],
);

pub static DETAIL: Query = Query::select(
    "repository_tag_detail",
    "SELECT t.name, m.id, m.digest, m.total_size, m.configuration_blob_digest, m.configuration_payload, \
       own.media_type, config.media_type, GREATEST(t.created_at, t.updated_at) AS published_at \
     FROM tags t JOIN manifests m ON m.top_level_namespace_id = t.top_level_namespace_id \
         AND m.repository_id = t.repository_id AND m.id = t.manifest_id \
       JOIN media_types own ON own.id = m.media_type_id \
       LEFT JOIN media_types config ON config.id = m.configuration_media_type_id \
     WHERE t.top_level_namespace_id = $1 AND t.repository_id = $2 AND t.name = $3",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::Tag],
);

pub static CREATE_OR_UPDATE: Query = Query::insert(
    "tag_create_or_update",
    "INSERT INTO tags (top_level_namespace_id, repository_id, manifest_id, name) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (top_level_namespace_id, repository_id, name) \
       DO UPDATE SET manifest_id = EXCLUDED.manifest_id, updated_at = now() \
       WHERE tags.manifest_id <> EXCLUDED.manifest_id RETURNING id, created_at, updated_at",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::ManifestId, Arg::Tag],
);

pub static DELETE: Query = Query::delete(
    "repository_delete_tag_by_name",
    "DELETE FROM tags WHERE top_level_namespace_id = $1 AND repository_id = $2 AND name = $3",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::Tag],
);
