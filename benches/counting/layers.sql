\set r random(1, :repositories)
\set namespace 1 + int(:namespaces * pow((:r * 2654435761 % 1000003) / 1000003.0, 2))
\set m (:r - 1) * 10 + random(1, 10)
SELECT digest, size FROM layers
  WHERE top_level_namespace_id = :namespace AND repository_id = :r AND manifest_id = :m;
