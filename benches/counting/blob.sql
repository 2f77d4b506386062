INSERT INTO blobs (size, media_type_id, digest) VALUES (1000, 5, sha256(gen_random_uuid()::text::bytea));
