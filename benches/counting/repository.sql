\set r random(1, :repositories)
\set namespace 1 + int(:namespaces * pow((:r * 2654435761 % 1000003) / 1000003.0, 2))
SELECT id, name FROM repositories WHERE path = 'namespace' || :namespace || '/repository' || :r;
