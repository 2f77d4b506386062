\set n random(1, 2000)
\set k random(1, 10)
SELECT l.digest, l.size FROM asked a
  JOIN layers l ON l.top_level_namespace_id = a.namespace AND l.repository_id = a.repository
  AND l.manifest_id = (a.repository - 1) * 10 + :k WHERE a.n = :n;
