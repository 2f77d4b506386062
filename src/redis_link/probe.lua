-- Runs only where the keys are and may be written: elsewhere the server, or the prelude, refuses.
return { is_cluster and 1 or 0, is_sharded and 1 or 0 }
