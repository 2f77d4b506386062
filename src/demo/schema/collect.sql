-- The garbage collector's work: the newest repository goes, and some reviews that are due are done. Scalar subqueries
-- let the database skip the other leaves.
WITH repository AS (
  DELETE FROM repositories WHERE id = (SELECT max(id) FROM repositories)
    RETURNING top_level_namespace_id AS namespace, id
), tag AS (
  DELETE FROM tags
    WHERE top_level_namespace_id = (SELECT namespace FROM repository) AND repository_id = (SELECT id FROM repository)
), layer AS (
  DELETE FROM layers
    WHERE top_level_namespace_id = (SELECT namespace FROM repository) AND repository_id = (SELECT id FROM repository)
), link AS (
  DELETE FROM repository_blobs
    WHERE top_level_namespace_id = (SELECT namespace FROM repository) AND repository_id = (SELECT id FROM repository)
)
DELETE FROM manifests
  WHERE top_level_namespace_id = (SELECT namespace FROM repository) AND repository_id = (SELECT id FROM repository);

DELETE FROM gc_blob_review_queue WHERE digest IN (
  SELECT digest FROM gc_blob_review_queue WHERE review_after < now() ORDER BY review_after LIMIT 5);
DELETE FROM gc_manifest_review_queue WHERE (top_level_namespace_id, repository_id, manifest_id) IN (
  SELECT top_level_namespace_id, repository_id, manifest_id FROM gc_manifest_review_queue
  WHERE review_after < now() ORDER BY review_after LIMIT 3);
