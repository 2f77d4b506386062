//! Queries for images, indexes and the garbage collector's marks on them.

use super::{Arg, Learn, Query};

pub static FIND_BY_DIGEST: Query = Query::select(
    "repository_find_manifest_by_digest",
    FIND_BY_DIGEST_SQL,
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::Digest],
);

/// A child of an index.
pub static FIND_CHILD: Query = Query::select(
    "repository_find_manifest_by_digest",
    FIND_BY_DIGEST_SQL,
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::Child],
);

const FIND_BY_DIGEST_SQL: &str = "\
    SELECT m.id, m.digest, m.payload, m.total_size, m.schema_version, m.subject_id, m.created_at, \
      m.configuration_blob_digest, m.configuration_payload, own.media_type, config.media_type, artifact.media_type \
    FROM manifests m JOIN media_types own ON own.id = m.media_type_id \
      LEFT JOIN media_types config ON config.id = m.configuration_media_type_id \
      LEFT JOIN media_types artifact ON artifact.id = m.artifact_media_type_id \
    WHERE m.top_level_namespace_id = $1 AND m.repository_id = $2 AND m.digest = $3";

pub static FIND_BY_TAG: Query = Query::select(
    "repository_find_manifest_by_tag_name",
    "SELECT m.id, m.digest, m.payload, m.total_size, m.schema_version, m.subject_id, m.created_at, \
       m.configuration_blob_digest, m.configuration_payload, own.media_type, config.media_type, artifact.media_type \
     FROM tags t JOIN manifests m ON m.top_level_namespace_id = t.top_level_namespace_id \
         AND m.repository_id = t.repository_id AND m.id = t.manifest_id \
       JOIN media_types own ON own.id = m.media_type_id \
       LEFT JOIN media_types config ON config.id = m.configuration_media_type_id \
       LEFT JOIN media_types artifact ON artifact.id = m.artifact_media_type_id \
     WHERE m.top_level_namespace_id = $1 AND m.repository_id = $2 AND t.name = $3",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::Tag],
);

/// What a tag points at.
pub static OF_TAG: Query = Query::select(
    "tag_manifest",
    "SELECT m.id, m.digest, m.payload, m.schema_version, m.created_at, m.configuration_blob_digest, \
       m.configuration_payload, own.media_type, config.media_type \
     FROM manifests m JOIN media_types own ON own.id = m.media_type_id \
       LEFT JOIN media_types config ON config.id = m.configuration_media_type_id \
     WHERE m.top_level_namespace_id = $1 AND m.repository_id = $2 AND m.id = $3",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::ManifestId],
);

pub static CREATE_OR_FIND: Query = Query::insert(
    "manifest_create_or_find",
    "INSERT INTO manifests (top_level_namespace_id, repository_id, total_size, schema_version, media_type_id, digest, \
       payload, configuration_media_type_id, configuration_blob_digest, configuration_payload) \
     VALUES ($1, $2, $3, 2, $4, $5, $6, $4, $7, $6) \
     ON CONFLICT (top_level_namespace_id, repository_id, digest) DO NOTHING RETURNING id, created_at",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::Size, Arg::MediaTypeId, Arg::Digest, Arg::Payload, Arg::Config],
)
.learning(Learn::ManifestId);

/// An index has no configuration.
pub static CREATE_INDEX: Query = Query::insert(
    "manifest_create_or_find",
    "INSERT INTO manifests (top_level_namespace_id, repository_id, total_size, schema_version, media_type_id, digest, \
       payload) \
     VALUES ($1, $2, $3, 2, $4, $5, $6) \
     ON CONFLICT (top_level_namespace_id, repository_id, digest) DO NOTHING RETURNING id, created_at",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::Size, Arg::MediaTypeId, Arg::Digest, Arg::Payload],
)
.learning(Learn::ManifestId);

pub static ASSOCIATE_LAYER: Query = Query::insert(
    "manifest_associate_layer_blob",
    "INSERT INTO layers (top_level_namespace_id, repository_id, manifest_id, digest, media_type_id, size) \
     VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (top_level_namespace_id, repository_id, manifest_id, digest) DO NOTHING",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::ManifestId, Arg::Layer, Arg::MediaTypeId, Arg::Size],
);

pub static ASSOCIATE_CHILD: Query = Query::insert(
    "manifest_associate_manifest",
    "INSERT INTO manifest_references (top_level_namespace_id, repository_id, parent_id, child_id) \
     VALUES ($1, $2, $3, $4) \
     ON CONFLICT (top_level_namespace_id, repository_id, parent_id, child_id) DO NOTHING",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::ManifestId, Arg::ChildId],
);

/// The children of an index.
pub static REFERENCES: Query = Query::select(
    "manifest_references",
    "SELECT DISTINCT m.id, m.digest, m.payload, m.total_size, m.created_at, own.media_type \
     FROM manifest_references r JOIN manifests m \
         ON m.top_level_namespace_id = r.top_level_namespace_id AND m.id = r.child_id \
       JOIN media_types own ON own.id = m.media_type_id \
     WHERE m.top_level_namespace_id = $1 AND r.repository_id = $2 AND r.parent_id = $3",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::ManifestId],
);

pub static DELETE: Query = Query::delete(
    "repository_delete_manifest",
    "DELETE FROM manifests WHERE top_level_namespace_id = $1 AND repository_id = $2 AND digest = $3",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::Digest],
);

/// Keeps the garbage collector away from a manifest while it gets or loses a tag.
pub static LOCK_REVIEW: Query = Query::select(
    "gc_manifest_task_find_and_lock_before",
    "SELECT manifest_id, review_after, review_count, event FROM gc_manifest_review_queue \
     WHERE top_level_namespace_id = $1 AND repository_id = $2 AND manifest_id = $3 \
       AND review_after < now() + interval '1 hour' FOR UPDATE",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::ManifestId],
);

/// The same for the children of an index.
pub static LOCK_REVIEWS: Query = Query::select(
    "gc_manifest_task_find_and_lock_n_before",
    "SELECT manifest_id, review_after, review_count, event FROM gc_manifest_review_queue \
     WHERE top_level_namespace_id = $1 AND repository_id = $2 AND manifest_id = ANY ($3) \
       AND review_after < now() + interval '1 hour' \
     ORDER BY top_level_namespace_id, repository_id, manifest_id FOR UPDATE",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::ChildIds],
);
