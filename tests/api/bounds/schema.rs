//! Tables under load, and the journal of every row that came or went: written in the transaction that did it, so it is
//! committed, rolled back and lost with it, and dated by the commit.

use std::path::PathBuf;

use rowcount::demo::postgres::{PostgresOptions, PostgresServer};

/// The followed tables.
pub const TABLES: [&str; 5] = ["t", "p", "called", "emptied", "emptied_too"];

/// Leaves that are always there.
pub const LEAVES: [&str; 8] = ["t", "p_0", "p_1", "p_2a", "p_2b", "called", "emptied", "emptied_too"];

/// Those of them that the whole load is on.
pub const BUSY: [&str; 5] = ["t", "p_0", "p_1", "p_2a", "p_2b"];

/// Those of them that are truncated and rewritten all the time; the others seldom, so that they are followed for long.
pub const ROUGH: [&str; 2] = ["p_1", "p_2b"];

/// A leaf that comes and goes.
pub const GUEST: &str = "p_3";

/// Keys of a partition.
pub const RANGE: i64 = 100;

/// Who writes into the journal; a transaction that another session may end has a name of its own there.
pub const SESSION: &str = "load.session";

const SCHEMA: &str = "
    CREATE TABLE journal (leaf oid NOT NULL, delta bigint NOT NULL, session text NOT NULL);
    CREATE SEQUENCE ids;
    CREATE TABLE t (id bigint PRIMARY KEY, k int NOT NULL, v bigint NOT NULL) WITH (fillfactor = 60);
    CREATE INDEX ON t (k);
    CREATE TABLE p (id bigint, k int, v bigint, PRIMARY KEY (k, id)) PARTITION BY RANGE (k);
    CREATE TABLE p_0 PARTITION OF p FOR VALUES FROM (0) TO (100);
    CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (100) TO (200);
    CREATE TABLE p_2 PARTITION OF p FOR VALUES FROM (200) TO (300) PARTITION BY HASH (id);
    CREATE TABLE p_2a PARTITION OF p_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE p_2b PARTITION OF p_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE TABLE p_3 PARTITION OF p FOR VALUES FROM (300) TO (400);
    CREATE TABLE called (n int);
    CREATE TABLE emptied (n int);
    CREATE TABLE emptied_too (n int);
    CREATE FUNCTION came_or_went() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO journal VALUES
        (TG_RELID, CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END, current_setting('load.session'));
      RETURN NULL;
    END $$;
    CREATE FUNCTION all_went() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      EXECUTE format('INSERT INTO journal SELECT %s, -count(*), current_setting(''load.session'') FROM ONLY %s',
        TG_RELID, TG_RELID::regclass);
      RETURN NULL;
    END $$;
    CREATE PROCEDURE chain(seconds float) LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO called SELECT generate_series(1, 3);
      COMMIT;
      PERFORM pg_sleep(seconds);
    END $$;
";

/// A server of these programs, else of the usual ones, whose commits are dated, with the tables; autovacuum at work all
/// the time.
pub async fn server(bin: Option<PathBuf>) -> PostgresServer {
    let config = [
        "track_commit_timestamp = on",
        "max_prepared_transactions = 50",
        "autovacuum = on",
        "autovacuum_naptime = 1s",
        "autovacuum_vacuum_threshold = 50",
        "autovacuum_vacuum_insert_threshold = 200",
        "autovacuum_analyze_threshold = 50",
    ];
    let options = PostgresOptions { config: config.map(str::to_owned).into(), bin, ..PostgresOptions::default() };
    let postgres = PostgresServer::start_with(options).await.unwrap();
    postgres.create_database("registry").await.unwrap();
    postgres.execute("registry", &sql()).await.unwrap();
    postgres
}

/// The tables with their journal.
pub fn sql() -> String {
    let mut schema = SCHEMA.to_owned();
    // Of each leaf its own, so that one which is detached keeps them.
    for leaf in LEAVES.iter().chain([&GUEST]) {
        schema += &format!(
            "CREATE TRIGGER rows AFTER INSERT OR DELETE ON {leaf} FOR EACH ROW EXECUTE FUNCTION came_or_went();
             CREATE TRIGGER truncated BEFORE TRUNCATE ON {leaf} FOR EACH STATEMENT EXECUTE FUNCTION all_went();"
        );
    }
    schema
}
