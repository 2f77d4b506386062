-- A push: a repository with manifests, tags, layers and blobs, and their places in the queues.
WITH repository AS (
  INSERT INTO repositories (top_level_namespace_id, name, path)
    SELECT id, 'pushed', name || '/' || gen_random_uuid() FROM top_level_namespaces ORDER BY random() LIMIT 1
    RETURNING top_level_namespace_id AS namespace, id
), blob AS (
  INSERT INTO blobs (size, media_type_id, digest)
    SELECT 1000, 5, sha256(convert_to(gen_random_uuid()::text, 'UTF8')) FROM generate_series(1, 3)
    RETURNING digest
), link AS (
  INSERT INTO repository_blobs (top_level_namespace_id, repository_id, blob_digest)
    SELECT namespace, id, digest FROM repository, blob
), manifest AS (
  INSERT INTO manifests (top_level_namespace_id, repository_id, total_size, schema_version, media_type_id, digest, payload)
    SELECT namespace, id, 3000, 2, 1, sha256(convert_to(gen_random_uuid()::text, 'UTF8')), ''
    FROM repository, generate_series(1, 2)
    RETURNING top_level_namespace_id AS namespace, repository_id, id
), layer AS (
  INSERT INTO layers (top_level_namespace_id, repository_id, manifest_id, size, media_type_id, digest)
    SELECT namespace, repository_id, id, 1000, 5, digest FROM manifest, blob
), tag AS (
  INSERT INTO tags (top_level_namespace_id, repository_id, manifest_id, name)
    SELECT namespace, repository_id, id, 'v' || id FROM manifest
), blob_review AS (
  INSERT INTO gc_blob_review_queue (digest, review_after, event)
    SELECT digest, now() + random() * interval '20 seconds', 'blob_upload' FROM blob
)
INSERT INTO gc_manifest_review_queue (top_level_namespace_id, repository_id, manifest_id, review_after, event)
  SELECT namespace, repository_id, id, now() + random() * interval '20 seconds', 'manifest_upload' FROM manifest;
