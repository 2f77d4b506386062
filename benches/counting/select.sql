\set n random(1, 2000)
\set k random(1, 8)
SELECT t.manifest_id FROM asked a
  JOIN tags t ON t.top_level_namespace_id = a.namespace AND t.repository_id = a.repository AND t.name = 'v1.' || :k
  WHERE a.n = :n;
