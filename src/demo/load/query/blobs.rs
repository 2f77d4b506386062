//! Queries for blobs, their links to repositories, and media types.

use super::{Arg, Query};

const FIND_IN_REPOSITORY_SQL: &str = "\
    SELECT b.digest, b.size, b.created_at, own.media_type \
    FROM repository_blobs link JOIN blobs b ON b.digest = link.blob_digest \
      JOIN media_types own ON own.id = b.media_type_id \
    WHERE link.top_level_namespace_id = $1 AND link.repository_id = $2 AND b.digest = $3";

const EXISTS_IN_REPOSITORY_SQL: &str = "\
    SELECT EXISTS (SELECT 1 FROM repository_blobs \
      WHERE top_level_namespace_id = $1 AND repository_id = $2 AND blob_digest = $3)";

pub static EXISTS: Query = Query::select(
    "repository_exists_blob",
    EXISTS_IN_REPOSITORY_SQL,
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::Digest],
);

/// In the repository that a blob is mounted from.
pub static EXISTS_IN_SOURCE: Query = Query::select(
    "repository_exists_blob",
    EXISTS_IN_REPOSITORY_SQL,
    &[Arg::SourceNamespaceId, Arg::SourceRepositoryId, Arg::Digest],
);

pub static FIND_CONFIG: Query =
    Query::select("repository_find_blob", FIND_IN_REPOSITORY_SQL, &[Arg::NamespaceId, Arg::RepositoryId, Arg::Config]);

/// What the request is about.
pub static FIND_DIGEST: Query =
    Query::select("repository_find_blob", FIND_IN_REPOSITORY_SQL, &[Arg::NamespaceId, Arg::RepositoryId, Arg::Digest]);

pub static FIND_LAYER: Query =
    Query::select("repository_find_blob", FIND_IN_REPOSITORY_SQL, &[Arg::NamespaceId, Arg::RepositoryId, Arg::Layer]);

/// In all of the registry.
pub static FIND_BY_DIGEST: Query = Query::select(
    "blob_find_by_digest",
    "SELECT b.digest, b.size, b.created_at, own.media_type \
     FROM blobs b JOIN media_types own ON own.id = b.media_type_id WHERE b.digest = $1",
    &[Arg::Digest],
);

pub static CREATE_OR_FIND: Query = Query::insert(
    "blob_create_or_find",
    "INSERT INTO blobs (digest, media_type_id, size) VALUES ($1, $2, $3) \
     ON CONFLICT (digest) DO NOTHING RETURNING created_at",
    &[Arg::Digest, Arg::MediaTypeId, Arg::Size],
);

pub static LINK: Query = Query::insert(
    "repository_link_blob",
    "INSERT INTO repository_blobs (top_level_namespace_id, repository_id, blob_digest) VALUES ($1, $2, $3) \
     ON CONFLICT (top_level_namespace_id, repository_id, blob_digest) DO NOTHING",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::Digest],
);

pub static UNLINK: Query = Query::delete(
    "repository_unlink_blob",
    "DELETE FROM repository_blobs WHERE top_level_namespace_id = $1 AND repository_id = $2 AND blob_digest = $3",
    &[Arg::NamespaceId, Arg::RepositoryId, Arg::Digest],
);

pub static MEDIA_TYPE_EXISTS: Query = Query::select(
    "media_type_exists",
    "SELECT EXISTS (SELECT 1 FROM media_types WHERE media_type = $1)",
    &[Arg::MediaType],
);

pub static MEDIA_TYPE_FIND: Query =
    Query::select("media_type_find_id", "SELECT id FROM media_types WHERE media_type = $1", &[Arg::MediaType]);
