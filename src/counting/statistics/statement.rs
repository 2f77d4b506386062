//! The statements of a reading. None of them opens a table, whatever state that is in.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::follow::Oid;

/// What decides whether tables can be followed.
pub const SUPPORT: &str = "\
SELECT /* rowcount */ current_setting('server_version_num')::int4, current_setting('server_version'), \
  pg_is_in_recovery(), current_setting('track_counts') = 'on', \
  pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), quote_ident(current_user)::text, \
  (SELECT string_agg(coalesce('role ' || quote_ident(r.rolname), 'every role') || coalesce(' in database ' || quote_ident(d.datname), ''), ', ') \
   FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole \
   LEFT JOIN pg_database d ON d.oid = s.setdatabase \
   WHERE (s.setdatabase = 0 OR d.datname = current_database()) AND EXISTS (SELECT FROM unnest(s.setconfig) AS c \
     WHERE c ~* '^track_counts=(of|off|f|fa|fal|fals|false|n|no|0)$'))";

/// ACT: who is at work in this database. Of whom we may not know anything the type is hidden too; they stay in.
pub const ACTIVITY: &str = "\
SELECT /* rowcount */ (extract(epoch FROM statement_timestamp()) * 1000000)::int8, a.pid, \
  (extract(epoch FROM a.backend_start) * 1000000)::int8, a.backend_type, a.state, \
  (extract(epoch FROM a.xact_start) * 1000000)::int8, (extract(epoch FROM a.query_start) * 1000000)::int8, \
  (extract(epoch FROM a.state_change) * 1000000)::int8 \
FROM (SELECT) AS one LEFT JOIN pg_stat_activity a \
  ON a.datid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND a.pid <> pg_backend_pid() \
  AND (a.backend_type IS NULL OR a.backend_type NOT IN ('autovacuum worker', 'parallel worker'))";

/// SEN: what moves when counters are reset or lost.
pub const SENTINELS: &str = "\
SELECT /* rowcount */ (extract(epoch FROM statement_timestamp()) * 1000000)::int8, \
  (extract(epoch FROM d.stats_reset) * 1000000)::int8, (extract(epoch FROM w.stats_reset) * 1000000)::int8, \
  (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8, c.system_identifier, pg_is_in_recovery() \
FROM pg_stat_database d, pg_stat_bgwriter w, pg_control_system() c WHERE d.datname = current_database()";

/// CNT: the counters of leaves, all in one statement.
pub const COUNTERS: &str = "\
SELECT /* rowcount */ o, pg_stat_get_tuples_inserted(o), pg_stat_get_tuples_updated(o), \
  pg_stat_get_tuples_deleted(o), pg_stat_get_live_tuples(o), pg_stat_get_mod_since_analyze(o), \
  pg_stat_get_vacuum_count(o) + pg_stat_get_autovacuum_count(o), \
  pg_stat_get_analyze_count(o) + pg_stat_get_autoanalyze_count(o) FROM unnest($1::oid[]) AS o";

/// FN: their filenodes, in the same order. Never in the statement of the counters: it would show what was cached when
/// that began, an old filenode beside a counter that was reset since. As one array: rows take twice as long to send.
pub const FILENODES: &str = "\
SELECT /* rowcount */ coalesce(array_agg(pg_relation_filenode(o)), '{}') FROM unnest($1::oid[]) AS o";

/// LEAVES: the relations that these tables consist of. Looked up in the catalog by name, as FROM would find them, so
/// that one that is missing or forbidden does not fail the others. A partition that is being detached is none any more.
pub fn leaves<'a>(tables: impl IntoIterator<Item = &'a String>) -> String {
    format!("WITH /* rowcount */ RECURSIVE {} {DETAILS}", tree(tables, "NOT inhdetachpending"))
}

/// What differs whenever these tables are other relations, or one of `parents` has other children: a fraction of the
/// cost of finding out which.
pub fn fingerprint<'a>(tables: impl IntoIterator<Item = &'a String>, parents: &BTreeSet<Oid>) -> String {
    format!(
        "WITH /* rowcount */ {} \
         SELECT concat((SELECT sum(hashoidextended(oid, n)) FROM root), ' ', count(*), ' ', \
           sum(hashoidextended(inhrelid, inhparent::int8))) \
         FROM pg_inherits WHERE inhparent = ANY ({}) AND NOT inhdetachpending",
        root(tables),
        array(parents)
    )
}

/// The relations that one table consists of, for their estimates alone: on servers before 14 too.
pub fn estimate(table: &str) -> String {
    format!("WITH /* rowcount */ RECURSIVE {} {DETAILS}", tree(&[table.to_owned()], "true"))
}

/// Of the relations of a tree. By their oids as one list, so that the index is used and not all of pg_class read.
const DETAILS: &str = "\
SELECT tree.n, tree.is_root, c.oid::int8, c.relkind::text, \
  CASE WHEN c.relam IN (0, 2) THEN 'heap' ELSE (SELECT amname::text FROM pg_am WHERE oid = c.relam) END, \
  format('%s.%I', c.relnamespace::regnamespace, c.relname), \
  CASE WHEN c.reltuples = 0 AND c.relpages = 0 AND current_setting('server_version_num')::int4 < 140000 \
    THEN -1 ELSE c.reltuples::int8 END, \
  c.relpersistence = 't' AND NOT tree.is_root, c.relkind = 'p' OR NOT c.relispartition OR tree.is_root \
FROM (SELECT * FROM pg_class WHERE oid = ANY (ARRAY(SELECT oid FROM tree)) OFFSET 0) c JOIN tree ON tree.oid = c.oid";

/// `tree`: the relations that these tables consist of.
fn tree<'a>(tables: impl IntoIterator<Item = &'a String>, inherits: &str) -> String {
    format!(
        "{}, tree(n, oid, is_root) AS ( \
           SELECT n, oid, true FROM root \
           UNION \
           SELECT tree.n, i.inhrelid, false FROM tree, \
           LATERAL (SELECT inhrelid FROM pg_inherits WHERE inhparent = tree.oid AND {inherits} OFFSET 0) i)",
        root(tables)
    )
}

/// `root`: the relations that have these names.
fn root<'a>(tables: impl IntoIterator<Item = &'a String>) -> String {
    let mut names = String::new();
    for (index, table) in tables.into_iter().enumerate() {
        let (schema, name) = match table.split_once('.') {
            Some((schema, name)) => (literal(schema), name),
            None => ("NULL".to_owned(), table.as_str()),
        };
        let comma = if index == 0 { "" } else { ", " };
        let _ = write!(names, "{comma}({index}, {schema}::name, {}::name)", literal(name));
    }
    format!(
        "named(n, schema, name) AS (VALUES {names}), \
         root(n, oid) AS ( \
           SELECT named.n, c.oid FROM named JOIN pg_class c ON c.relname = named.name \
           WHERE CASE WHEN named.schema IS NULL THEN pg_table_is_visible(c.oid) \
             ELSE c.relnamespace = to_regnamespace(quote_ident(named.schema)) END)"
    )
}

/// Counts one leaf. Beside it stand which relation the name means, and when it was counted.
pub fn count(name: &str) -> String {
    format!(
        "SELECT /* rowcount */ count(*), {}::regclass::oid::int8, \
         (extract(epoch FROM clock_timestamp()) * 1000000)::int8 FROM ONLY {name}",
        literal(name)
    )
}

/// What keeps our role from reading these leaves in full: schemas and leaves without the right, leaves with a policy.
pub fn obstacles(oids: &BTreeSet<Oid>) -> String {
    format!(
        "WITH /* rowcount */ leaf AS (SELECT s.oid AS schema, quote_ident(s.nspname) AS schema_name, c.oid, \
           format('%I.%I', s.nspname, c.relname) AS name \
           FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace WHERE c.oid = ANY ({})) \
         SELECT 'schema', schema_name FROM leaf WHERE NOT has_schema_privilege(schema, 'USAGE') \
         UNION SELECT 'leaf', name FROM leaf WHERE NOT has_table_privilege(oid, 'SELECT') \
         UNION SELECT 'policy', name FROM leaf WHERE row_security_active(oid) ORDER BY 1, 2",
        array(oids)
    )
}

fn array(oids: &BTreeSet<Oid>) -> String {
    let mut text = String::from("'{");
    for (index, oid) in oids.iter().enumerate() {
        let _ = write!(text, "{}{oid}", if index == 0 { "" } else { "," });
    }
    text + "}'::oid[]"
}

/// With an E, a backslash means the same whatever standard_conforming_strings says.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::validation::purpose::{MARK, Purpose};

    #[test]
    fn every_statement_is_marked_as_ours_behind_its_first_word() {
        let oids = [1, 2].into();
        let tables = ["tags".to_owned(), "public.blobs".to_owned()];
        let (leaves, fingerprint, count) = (leaves(&tables), fingerprint(&tables, &oids), count("public.tags"));
        for text in [SUPPORT, ACTIVITY, COUNTERS, SENTINELS, FILENODES, &leaves, &fingerprint, &count] {
            assert_eq!(text.split_once(' ').map(|(_, rest)| rest.starts_with(MARK)), Some(true), "{text}");
            assert_eq!(Purpose::of(text), Purpose::Ours, "{text}");
        }
        assert!(fingerprint.ends_with("inhparent = ANY ('{1,2}'::oid[]) AND NOT inhdetachpending"));
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(literal(r"a'b\c"), r"E'a''b\\c'");
        assert!(leaves(["public.ta'gs".to_owned()].iter()).contains("VALUES (0, E'public'::name, E'ta''gs'::name)"));
    }
}
