-- What makes the registry's writes as dear as they are: foreign keys, and triggers that queue what was pushed for review.
ALTER TABLE repositories ADD FOREIGN KEY (top_level_namespace_id) REFERENCES top_level_namespaces ON DELETE CASCADE;
ALTER TABLE manifests ADD FOREIGN KEY (top_level_namespace_id, repository_id) REFERENCES repositories ON DELETE CASCADE;
ALTER TABLE tags ADD FOREIGN KEY (top_level_namespace_id, repository_id, manifest_id) REFERENCES manifests ON DELETE CASCADE;
ALTER TABLE layers ADD FOREIGN KEY (top_level_namespace_id, repository_id, manifest_id) REFERENCES manifests ON DELETE CASCADE;
ALTER TABLE layers ADD FOREIGN KEY (digest) REFERENCES blobs;
ALTER TABLE repository_blobs ADD FOREIGN KEY (blob_digest) REFERENCES blobs;

CREATE FUNCTION queue_blob() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO gc_blob_review_queue (digest, review_after, event) VALUES (NEW.digest, now() + interval '1 day', 'blob_upload')
    ON CONFLICT (digest) DO UPDATE SET review_after = excluded.review_after, event = excluded.event;
  RETURN NULL;
END $$;
CREATE FUNCTION queue_manifest() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO gc_manifest_review_queue (top_level_namespace_id, repository_id, manifest_id, review_after, event)
    VALUES (NEW.top_level_namespace_id, NEW.repository_id, NEW.id, now() + interval '1 day', 'manifest_upload')
    ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE FUNCTION track_layer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO gc_blobs_layers (top_level_namespace_id, repository_id, layer_id, digest)
    VALUES (NEW.top_level_namespace_id, NEW.repository_id, NEW.id, NEW.digest) ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER queue AFTER INSERT ON blobs FOR EACH ROW EXECUTE FUNCTION queue_blob();
CREATE TRIGGER queue AFTER INSERT ON manifests FOR EACH ROW EXECUTE FUNCTION queue_manifest();
CREATE TRIGGER track AFTER INSERT ON layers FOR EACH ROW EXECUTE FUNCTION track_layer();

VACUUM ANALYZE;
