//! For whom a statement ran, by its text: for requests, for the registry's own upkeep, or for us. The patterns are those
//! of the registry's source (registry/datastore); what none of them knows counts as asked for by requests.

use super::{sql, verb::Verb};
use crate::rates::operation::Operation;

/// By this every statement of ours, of any instance, is known in pg_stat_statements. It stands behind the first word:
/// what the server keeps of a statement may begin there.
pub const MARK: &str = "/* rowcount */";

/// For whom a statement ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Requests, as far as is known.
    Requests,
    /// The registry itself: counting rows, garbage collection, background migrations.
    Background,
    /// An instance of ours.
    Ours,
}

/// The tables of the registry's own row counts.
const COUNTED: [&str; 4] =
    ["gc_blob_review_queue", "gc_manifest_review_queue", "schema_migrations", "post_deploy_schema_migrations"];

/// What the garbage collector works through.
const QUEUES: [&str; 2] = ["gc_blob_review_queue", "gc_manifest_review_queue"];

// === impl Purpose ===

impl Purpose {
    /// The purpose of a statement that a client sent.
    pub fn of(text: &str) -> Self {
        if text.contains(MARK) {
            return Self::Ours;
        }
        // With blanks at both ends, so that each word can be looked for with its own.
        let text = format!(" {} ", sql::folded(text).replace("public . ", ""));
        if is_count(&text) || is_garbage_collection(&text) || text.contains(" batched_background_migration") {
            Self::Background
        } else {
            Self::Requests
        }
    }
}

/// One of the six row counts.
fn is_count(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(" select count ( * ) from ") else { return false };
    let (table, condition) = rest.split_once(' ').unwrap_or((rest, ""));
    COUNTED.contains(&table) && matches!(condition, "" | "where review_after < now ( ) ")
}

/// A request only ever locks rows of the manifest queue, waiting for them, so that the collector leaves its manifests
/// alone; whatever skips locked rows or changes a queue is the collector.
fn is_garbage_collection(text: &str) -> bool {
    let mentions = |words: &str| text.contains(&format!(" {words} "));
    let is_select = Verb::of(text) == Verb::Operation(Operation::Select);
    let works_on_queue = QUEUES.into_iter().any(mentions) && (!is_select || mentions("skip locked"));
    let is_exists = text.starts_with(" select exists ( ");
    let is_dangling_blob = is_exists && mentions("from gc_blobs_configurations");
    let is_dangling_manifest =
        is_exists && mentions("from tags") && mentions("from manifest_references") && mentions("child_id");
    // A request unlinks blobs from repositories and deletes manifests by their digest.
    let deletes_blob = text.starts_with(" delete from blobs ");
    let deletes_manifest = text.starts_with(" delete from manifests ") && mentions("and id =");
    works_on_queue || is_dangling_blob || is_dangling_manifest || deletes_blob || deletes_manifest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_upkeep_is_known_by_its_texts() {
        for text in [
            "SELECT COUNT(*) FROM gc_blob_review_queue",
            "SELECT COUNT(*) FROM gc_manifest_review_queue WHERE review_after < NOW()",
            "select count(*) from public.schema_migrations",
            "SELECT COUNT(*) FROM post_deploy_schema_migrations",
            "SELECT\n\treview_after,\n\tencode(digest, $1) AS digest\nFROM\n\tgc_blob_review_queue\nWHERE\n\treview_after < \
             NOW()\nORDER BY\n\treview_after\nFOR UPDATE\n\tSKIP LOCKED\nLIMIT $2",
            "UPDATE gc_manifest_review_queue SET review_after = $1 WHERE manifest_id = $2",
            "DELETE FROM gc_blob_review_queue WHERE digest = decode($1, $2)",
            "SELECT EXISTS (SELECT $2 FROM gc_blobs_configurations WHERE digest = decode($1, $3) UNION SELECT $4 FROM \
             gc_blobs_layers WHERE digest = decode($1, $5))",
            "SELECT EXISTS ( SELECT $3 FROM tags WHERE repository_id = $1 UNION ALL SELECT $4 FROM manifest_references \
             WHERE repository_id = $1 AND child_id = $2)",
            "DELETE FROM blobs WHERE digest = decode($1, $2)",
            "DELETE FROM manifests WHERE repository_id = $1 AND id = $2 RETURNING digest",
            "SELECT id FROM batched_background_migrations WHERE status = $1",
        ] {
            assert_eq!(Purpose::of(text), Purpose::Background, "{text}");
        }
    }

    #[test]
    fn what_requests_ask_for_is_not_taken_for_upkeep() {
        for text in [
            "SELECT COUNT(*) FROM tags WHERE repository_id = $1",
            "SELECT COUNT(*) FROM gc_blob_review_queue WHERE digest = $1",
            "SELECT manifest_id FROM gc_manifest_review_queue WHERE repository_id = $1 AND review_after < $2 FOR UPDATE",
            "DELETE FROM manifests WHERE repository_id = $1 AND digest = decode($2, $3)",
            "DELETE FROM repository_blobs WHERE blob_digest = $1",
            "SELECT EXISTS (SELECT $1 FROM tags WHERE repository_id = $2)",
            "INSERT INTO blobs VALUES ($1)",
            "SELECT $1 -- DELETE FROM gc_blob_review_queue",
        ] {
            assert_eq!(Purpose::of(text), Purpose::Requests, "{text}");
        }
    }

    #[test]
    fn ours_are_known_by_their_mark() {
        assert_eq!(Purpose::of("SELECT /* rowcount */ count(*) FROM tags"), Purpose::Ours);
        assert_eq!(Purpose::of("SELECT $1 /* rowcount of all */"), Purpose::Requests);
    }
}
