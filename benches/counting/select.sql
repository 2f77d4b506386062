\set r random(1, :repositories)
\set namespace 1 + int(:namespaces * pow((:r * 2654435761 % 1000003) / 1000003.0, 2))
\set k random(1, 8)
SELECT manifest_id FROM tags WHERE top_level_namespace_id = :namespace AND repository_id = :r AND name = 'v1.' || :k;
