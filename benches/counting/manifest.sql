\set r random(1, :repositories)
\set namespace 1 + int(:namespaces * pow((:r * 2654435761 % 1000003) / 1000003.0, 2))
INSERT INTO manifests (top_level_namespace_id, repository_id, total_size, schema_version, media_type_id, digest, payload)
  SELECT top_level_namespace_id, id, 3000, 2, 1, sha256(gen_random_uuid()::text::bytea), ''
  FROM repositories WHERE top_level_namespace_id = :namespace AND id = :r;
