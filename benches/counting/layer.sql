\set r random(1, :repositories)
\set namespace 1 + int(:namespaces * pow((:r * 2654435761 % 1000003) / 1000003.0, 2))
\set m (:r - 1) * 10 + random(1, 10)
INSERT INTO layers (top_level_namespace_id, repository_id, manifest_id, size, media_type_id, digest)
  SELECT top_level_namespace_id, repository_id, :m, 1000, 5, blob_digest FROM repository_blobs
  WHERE top_level_namespace_id = :namespace AND repository_id = :r ORDER BY id LIMIT 1 OFFSET random() * 20
  ON CONFLICT DO NOTHING;
