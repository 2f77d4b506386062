-- Sample rows, as many as the setting demo.repositories says. A repository has 0.2 namespaces, 10 manifests, 8 tags,
-- 8 layers a manifest, 20 blobs of which every layer is one and a third are its neighbour's. Namespaces are popular to
-- unequal degrees, so the leaves are of unequal size, as in production.
CREATE FUNCTION pg_temp.repositories() RETURNS bigint LANGUAGE sql AS
  $$ SELECT current_setting('demo.repositories')::bigint $$;
CREATE FUNCTION pg_temp.digest(kind text, n bigint) RETURNS bytea IMMUTABLE LANGUAGE sql AS
  $$ SELECT '\x01'::bytea || sha256(convert_to(kind || n, 'UTF8')) $$;

CREATE TEMPORARY TABLE sample ON COMMIT DROP AS
  SELECT r AS repository, 1 + floor(greatest(1, pg_temp.repositories() / 5) * power(r * 2654435761 % 1000003 / 1000003.0, 2))::bigint AS namespace
  FROM generate_series(1, pg_temp.repositories()) r;
CREATE TEMPORARY TABLE sample_blobs ON COMMIT DROP AS
  SELECT b AS blob, pg_temp.digest('blob', b) AS digest FROM generate_series(0, pg_temp.repositories() * 20 - 1) b;
CREATE INDEX ON sample_blobs (blob);
ANALYZE sample, sample_blobs;

INSERT INTO media_types (media_type) SELECT 'application/vnd.example.type.' || n FROM generate_series(1, 20) n;
INSERT INTO top_level_namespaces (id, name)
  SELECT n, 'namespace' || n FROM generate_series(1, greatest(1, pg_temp.repositories() / 5)) n;
INSERT INTO repositories (id, top_level_namespace_id, name, path)
  SELECT repository, namespace, 'repository' || repository, 'namespace' || namespace || '/repository' || repository
  FROM sample;
INSERT INTO blobs (size, media_type_id, digest) SELECT blob * 7919 % 100000000, 1 + blob % 7, digest FROM sample_blobs;
INSERT INTO repository_blobs (top_level_namespace_id, repository_id, blob_digest)
  SELECT namespace, repository, digest
  FROM sample, generate_series(0, 26) k JOIN sample_blobs ON true
  WHERE blob = ((repository - 1) * 20 + k) % (pg_temp.repositories() * 20);
INSERT INTO manifests (id, top_level_namespace_id, repository_id, total_size, schema_version, media_type_id,
                       configuration_media_type_id, configuration_blob_digest, digest, payload)
  SELECT m, namespace, repository, m * 104729 % 1000000000, 2, 1 + m % 3, 4, digest, pg_temp.digest('manifest', m),
         convert_to(repeat(md5(m::text), 4), 'UTF8')
  FROM sample, generate_series((repository - 1) * 10 + 1, repository * 10) m JOIN sample_blobs ON blob = m * 2 - 1;
INSERT INTO manifest_references (top_level_namespace_id, repository_id, parent_id, child_id)
  SELECT namespace, repository, (repository - 1) * 10 + 1, (repository - 1) * 10 + k
  FROM sample, generate_series(2, 3) k WHERE repository % 4 = 0;
INSERT INTO tags (top_level_namespace_id, repository_id, manifest_id, name)
  SELECT namespace, repository, (repository - 1) * 10 + k, 'v1.' || k FROM sample, generate_series(1, 8) k;
INSERT INTO layers (id, top_level_namespace_id, repository_id, manifest_id, size, media_type_id, digest)
  SELECT (m - 1) * 8 + k + 1, namespace, repository, m, blob * 7919 % 100000000, 5 + k % 3, digest
  FROM sample, generate_series((repository - 1) * 10 + 1, repository * 10) m, generate_series(0, 7) k
    JOIN sample_blobs ON true
  WHERE blob = (repository - 1) * 20 + (m * 7 + k) % 20;
INSERT INTO gc_blobs_layers (top_level_namespace_id, repository_id, layer_id, digest)
  SELECT top_level_namespace_id, repository_id, id, digest FROM layers WHERE id % 8 = 0;
INSERT INTO gc_blobs_configurations (top_level_namespace_id, repository_id, manifest_id, digest)
  SELECT top_level_namespace_id, repository_id, id, configuration_blob_digest FROM manifests;
-- A tenth is overdue.
INSERT INTO gc_blob_review_queue (digest, review_after, event)
  SELECT digest, now() + (blob % 2000 - 200) * interval '1 minute', 'blob_upload' FROM sample_blobs LIMIT 20000;
INSERT INTO gc_manifest_review_queue (top_level_namespace_id, repository_id, manifest_id, review_after, event)
  SELECT namespace, repository, repository * 10, now() + (repository % 2000 - 200) * interval '1 minute', 'manifest_upload'
  FROM sample;
INSERT INTO gc_review_after_defaults
  VALUES ('blob_upload', '1 day'), ('manifest_upload', '1 day'), ('layer_delete', '1 day'), ('tag_delete', '1 day');
INSERT INTO schema_migrations SELECT '20210101' || lpad(n::text, 6, '0') || '_step', now() FROM generate_series(1, 150) n;
INSERT INTO post_deploy_schema_migrations
  SELECT '20230101' || lpad(n::text, 6, '0') || '_step', now() FROM generate_series(1, 60) n;

SELECT setval(pg_get_serial_sequence(name, 'id'), 1000 * pg_temp.repositories())
FROM unnest('{top_level_namespaces,repositories,manifests,layers}'::text[]) name;
