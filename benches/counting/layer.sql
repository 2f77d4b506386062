\set n random(1, 2000)
\set k random(1, 10)
INSERT INTO layers (top_level_namespace_id, repository_id, manifest_id, size, media_type_id, digest)
  SELECT a.namespace, a.repository, (a.repository - 1) * 10 + :k, 1000, 5, b.blob_digest FROM asked a
  JOIN LATERAL (SELECT blob_digest FROM repository_blobs b WHERE b.top_level_namespace_id = a.namespace
    AND b.repository_id = a.repository ORDER BY b.id OFFSET :k LIMIT 1) b ON true
  WHERE a.n = :n
  ON CONFLICT DO NOTHING;
