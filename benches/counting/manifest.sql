\set n random(1, 2000)
WITH manifest AS (
  INSERT INTO manifests (top_level_namespace_id, repository_id, total_size, schema_version, media_type_id, digest, payload)
    SELECT namespace, repository, 3000, 2, 1, sha256(gen_random_uuid()::text::bytea), '' FROM asked WHERE n = :n
    RETURNING top_level_namespace_id, repository_id, id
)
SELECT count(*) FROM manifest;
