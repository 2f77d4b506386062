//! Readings of a real server's statistics, and what follows from them.

use std::{collections::BTreeSet, time::Duration};

use rowcount::{
    counting::{Counting, statistics::statement},
    demo::postgres::{PostgresOptions, PostgresServer},
    failure::FailureReason,
    follow::{Counters, Follower, LeafName, Oid, Reading, Refusal, Rows, Tree},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::types};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{PLENTY, config};

const SCHEMA: &str = "
    CREATE TABLE tags (n int) PARTITION BY RANGE (n);
    CREATE TABLE tags_1 PARTITION OF tags FOR VALUES FROM (0) TO (100);
    CREATE TABLE tags_2 PARTITION OF tags FOR VALUES FROM (100) TO (200);
    CREATE TABLE plain (n int, m int);
";

/// A server with an administrator's session.
struct Setting {
    postgres: PostgresServer,
    admin: PgConnection,
    counting: Counting,
}

// === impl Setting ===

impl Setting {
    async fn new(schema: &str) -> Self {
        Self::with(schema, PostgresOptions::default()).await
    }

    async fn with(schema: &str, options: PostgresOptions) -> Self {
        let postgres = PostgresServer::start_with(options).await.unwrap();
        let url = postgres.create_database("registry").await.unwrap();
        postgres.execute("registry", schema).await.unwrap();
        let admin = PgConnection::connect(&url).await.unwrap();
        Self { counting: Counting::new(config(&url, 2), "a"), postgres, admin }
    }

    /// Runs statements one by one and has their counters flushed.
    async fn run(&mut self, sql: &str) {
        for sql in sql.split("; ") {
            let ran = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.admin).await;
            ran.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        sqlx::raw_sql("SELECT pg_stat_force_next_flush(); SELECT").execute(&mut self.admin).await.unwrap();
    }

    async fn scalar(&mut self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.admin).await.unwrap()
    }

    async fn read(&self, tables: &[&str]) -> Reading {
        read(&self.counting, tables).await.expect("no leaf comes or goes")
    }

    /// Reads and counts as the service does, until `is_done` of what the follower knows.
    async fn follow(&self, follower: &mut Follower, tables: &[&str], is_done: impl Fn(&Follower) -> bool) {
        let begun = Instant::now();
        while !is_done(follower) {
            assert!(begun.elapsed() < 2 * PLENTY, "not followed: {follower:?}");
            follower.take(&self.read(tables).await);
            while let Some(oid) = follower.wanted_anchor() {
                let (ticket, LeafName { name, .. }) = follower.begin_anchor(oid).unwrap();
                let cancel = CancellationToken::new();
                let counted = self.counting.count_leaf(oid, &name, PLENTY, PLENTY, &cancel).await.unwrap();
                follower.counted(oid, ticket, counted);
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// The first reading after leaves came or went is worth nothing.
async fn read(counting: &Counting, tables: &[&str]) -> Option<Reading> {
    let tables = tables.iter().map(|&table| table.to_owned()).collect();
    let cancel = CancellationToken::new();
    let read = async || counting.read_statistics(&tables, &BTreeSet::new(), PLENTY, &cancel).await.unwrap();
    match read().await {
        None => read().await,
        reading => reading,
    }
}

fn leaves(tree: &Tree) -> Vec<&str> {
    tree.leaves().map(|(_, leaf)| leaf.name.as_str()).collect()
}

/// The one leaf of a table.
fn only(reading: &Reading, table: &str) -> Oid {
    let mut leaves = reading.trees[table].leaves();
    let (oid, _) = leaves.next().unwrap();
    assert_eq!(leaves.next(), None);
    oid
}

fn bounds(follower: &Follower, table: &str) -> Option<(i64, i64, i64)> {
    match follower.rows(table) {
        Some(Rows::Followed { bounds, .. }) => Some((bounds.lower, bounds.value, bounds.upper)),
        _ => None,
    }
}

#[tokio::test]
async fn a_reading_has_the_counters_of_every_leaf() {
    let mut setting = Setting::new(SCHEMA).await;
    setting.run("INSERT INTO tags SELECT generate_series(0, 149)").await;
    setting.run("UPDATE tags SET n = n WHERE n < 10; DELETE FROM tags WHERE n >= 120").await;
    setting.run("BEGIN; INSERT INTO plain SELECT 1 FROM generate_series(1, 7); ROLLBACK").await;
    setting.run("INSERT INTO plain VALUES (1, 1), (2, 2)").await;

    let reading = setting.read(&["tags", "public.plain"]).await;
    assert_eq!(leaves(&reading.trees["tags"]), ["public.tags_1", "public.tags_2"]);
    let of = |name: &str| {
        let trees = reading.trees.values();
        let (oid, _) = trees.flat_map(Tree::leaves).find(|(_, leaf)| leaf.name == name).unwrap();
        assert!(reading.filenodes[&oid].is_some());
        reading.counters[&oid]
    };
    let none = Counters::default();
    let first = Counters { inserted: 100, updated: 10, live: 100, modified: 110, ..none };
    assert_eq!(of("public.tags_1"), first);
    assert_eq!(of("public.tags_2"), Counters { inserted: 50, deleted: 30, live: 20, modified: 80, ..none });
    assert_eq!(of("public.plain"), Counters { inserted: 9, live: 2, modified: 2, ..none });
    assert_eq!(reading.counters.len(), 3);

    setting.run("VACUUM tags_1; ANALYZE tags_1").await;
    let reading = setting.read(&["tags_1"]).await;
    let after = reading.counters[&only(&reading, "tags_1")];
    assert_eq!(after, Counters { modified: 0, vacuums: 1, analyzes: 1, ..first });
    let (_, leaf) = reading.trees["tags_1"].leaves().next().unwrap();
    assert_eq!(leaf.estimate, Some(100));
}

#[tokio::test]
async fn a_reading_answers_while_its_table_is_locked_and_is_dated() {
    let mut setting = Setting::new(SCHEMA).await;
    setting.run("BEGIN; LOCK TABLE plain IN ACCESS EXCLUSIVE MODE").await;
    let began = Instant::now();
    let reading = setting.read(&["plain"]).await;
    assert!(began.elapsed() < Duration::from_secs(10), "it waited for no lock");
    let complete_until = reading.activity.complete_until().unwrap();
    let open_since = setting.scalar("SELECT (extract(epoch FROM now()) * 1000000)::int8").await;
    assert_eq!(complete_until.us(), open_since - 11_000_000, "the transaction is open since then");
    assert!(reading.complete_until_time().unwrap() < reading.observe_time());

    sqlx::raw_sql("ROLLBACK").execute(&mut setting.admin).await.unwrap();
    let reading = setting.read(&["plain"]).await;
    let eleven_seconds = reading.activity.now.since(reading.activity.complete_until().unwrap());
    assert_eq!(eleven_seconds, Duration::from_secs(11), "who is idle does not count");
    assert!(reading.activity.now < reading.end);
}

#[tokio::test]
async fn leaves_that_rest_are_left_out() {
    let setting = Setting::new(SCHEMA).await;
    let oids: Vec<Oid> = setting.read(&["tags"]).await.counters.into_keys().collect();
    let cancel = CancellationToken::new();
    let tables = ["tags".to_owned()].into();
    let reading = setting.counting.read_statistics(&tables, &[oids[0]].into(), PLENTY, &cancel).await.unwrap().unwrap();
    assert_eq!(reading.counters.into_keys().collect::<Vec<_>>(), [oids[1]]);
    assert_eq!(reading.trees["tags"].leaves().count(), 2);
}

#[tokio::test]
async fn a_partition_that_is_followed_by_itself_may_get_children_once_it_is_none() {
    let mut setting = Setting::new(SCHEMA).await;
    assert_eq!(leaves(&setting.read(&["tags_2"]).await.trees["tags_2"]), ["public.tags_2"]);
    setting.run("ALTER TABLE tags DETACH PARTITION tags_2; CREATE TABLE heir () INHERITS (tags_2)").await;
    assert_eq!(leaves(&setting.read(&["tags_2"]).await.trees["tags_2"]), ["public.tags_2", "public.heir"]);
}

#[tokio::test]
async fn what_keeps_a_role_from_counting_leaves_is_told_by_its_remedy() {
    let mut setting = Setting::new(&format!(
        "{SCHEMA}
        CREATE SCHEMA parts; ALTER TABLE tags_2 SET SCHEMA parts;
        CREATE ROLE reader LOGIN; GRANT pg_read_all_stats TO reader; GRANT SELECT ON plain TO reader;
        ALTER TABLE plain ENABLE ROW LEVEL SECURITY"
    ))
    .await;
    let url = format!("postgres://reader@127.0.0.1:{}/registry", setting.postgres.port());
    let reader = Counting::new(config(&url, 1), "b");
    let reading = read(&reader, &["tags", "plain"]).await.unwrap();
    let oids = reading.counters.into_keys().collect();
    let remedy = async || reader.obstacles(&oids, PLENTY).await.unwrap().remedy("reader");
    assert_eq!(
        remedy().await.as_deref(),
        Some(
            "run GRANT USAGE ON SCHEMA parts TO reader; GRANT SELECT ON parts.tags_2, public.tags_1 TO reader; \
             ALTER ROLE reader BYPASSRLS, since a policy hides rows of public.plain"
        )
    );
    setting.run("GRANT USAGE ON SCHEMA parts TO reader; GRANT SELECT ON parts.tags_2, public.tags_1 TO reader").await;
    setting.run("ALTER ROLE reader BYPASSRLS").await;
    assert_eq!(remedy().await, None, "it was as told");
}

#[tokio::test]
async fn what_cannot_be_followed_says_why_and_fails_no_other_table() {
    let setting = Setting::new(&format!(
        "{SCHEMA}
        CREATE VIEW seen AS SELECT FROM plain;
        CREATE MATERIALIZED VIEW kept AS SELECT FROM plain;
        CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
        CREATE TABLE mixed (n int) PARTITION BY RANGE (n);
        CREATE FOREIGN TABLE mixed_1 PARTITION OF mixed FOR VALUES FROM (0) TO (100) SERVER s;
        CREATE TABLE mixed_2 PARTITION OF mixed FOR VALUES FROM (100) TO (200);
        CREATE ACCESS METHOD odd TYPE TABLE HANDLER heap_tableam_handler;
        CREATE TABLE oddly () USING odd;
        CREATE TABLE parent (); CREATE TABLE child () INHERITS (parent);
        CREATE TABLE empty (n int) PARTITION BY RANGE (n);
        CREATE SCHEMA closed; CREATE TABLE closed.t ();
        CREATE ROLE reader LOGIN; GRANT pg_read_all_stats TO reader"
    ))
    .await;
    let url = format!("postgres://reader@127.0.0.1:{}/registry", setting.postgres.port());
    let reader = Counting::new(config(&url, 1), "b");
    let names = ["plain", "missing", "seen", "kept", "mixed", "oddly", "parent", "empty", "public.tags", "closed.t"];
    let reading = read(&reader, &names).await.unwrap();
    let refused = |why: &str| Tree::Refused(why.to_owned());
    for (name, tree) in [
        ("missing", Tree::Missing),
        ("seen", refused("public.seen is a view")),
        ("kept", refused("public.kept is a materialized view")),
        ("mixed", refused("public.mixed_1 is a foreign table")),
        ("oddly", refused("public.oddly has the access method odd")),
        ("empty", Tree::Leaves([].into())),
    ] {
        assert_eq!(reading.trees[name], tree, "{name}");
    }
    assert_eq!(leaves(&reading.trees["parent"]), ["public.parent", "public.child"]);
    assert_eq!(leaves(&reading.trees["closed.t"]), ["closed.t"]);
    assert_eq!(leaves(&reading.trees["public.tags"]).len(), 2);

    let (oid, leaf) = reading.trees["plain"].leaves().next().unwrap();
    let cancel = CancellationToken::new();
    let denied = reader.count_leaf(oid, &leaf.name, PLENTY, PLENTY, &cancel).await.unwrap_err();
    assert_eq!(denied.reason, FailureReason::Permission);
}

#[tokio::test]
async fn a_leaf_whose_name_is_now_anothers_is_not_counted() {
    let mut setting = Setting::new(SCHEMA).await;
    let reading = setting.read(&["plain"]).await;
    let oid = only(&reading, "plain");
    setting.run(r#"ALTER TABLE plain RENAME TO "old'\"; CREATE TABLE plain ()"#).await;
    let cancel = CancellationToken::new();
    let other = setting.counting.count_leaf(oid, "public.plain", PLENTY, PLENTY, &cancel).await.unwrap_err();
    assert!(other.message.contains("another table"), "{other}");
    let renamed = setting.counting.count_leaf(oid, r#"public."old'\""#, PLENTY, PLENTY, &cancel).await;
    assert_eq!(renamed.unwrap().rows, 0);
}

#[tokio::test]
async fn a_partition_is_of_its_table_until_it_is_being_detached() {
    let mut setting = Setting::new(SCHEMA).await;
    // Whoever still sees it holds the detaching up half way.
    let mut other = PgConnection::connect(&setting.postgres.url("registry")).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT FROM tags").execute(&mut other).await.unwrap();
    let url = setting.postgres.url("registry");
    let detaching = tokio::spawn(async move {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql("ALTER TABLE tags DETACH PARTITION tags_1 CONCURRENTLY").execute(&mut connection).await
    });
    let begun = Instant::now();
    while setting.scalar("SELECT count(*) FROM pg_inherits WHERE inhdetachpending").await == 0 {
        assert!(begun.elapsed() < PLENTY);
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(leaves(&setting.read(&["tags"]).await.trees["tags"]), ["public.tags_2"]);
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    detaching.await.unwrap().unwrap();
    setting.run("DROP TABLE tags_2").await;
    assert_eq!(setting.read(&["tags"]).await.trees["tags"], Tree::Leaves([].into()));
}

#[tokio::test]
async fn rows_are_followed_from_an_exact_count_to_the_last_change() {
    let mut setting = Setting::new(SCHEMA).await;
    setting.run("INSERT INTO tags SELECT generate_series(0, 149)").await;
    let mut follower = Follower::default();
    let tables = ["tags", "plain"];
    setting.follow(&mut follower, &tables, |follower| bounds(follower, "tags").is_some()).await;
    assert_eq!(bounds(&follower, "tags"), Some((150, 150, 150)));
    assert_eq!(bounds(&follower, "plain"), Some((0, 0, 0)));

    setting.run("INSERT INTO tags SELECT generate_series(0, 99); DELETE FROM tags WHERE n >= 140").await;
    setting.run("BEGIN; INSERT INTO tags SELECT generate_series(0, 49); ROLLBACK").await;
    assert_eq!(follower.take(&setting.read(&tables).await), []);
    assert_eq!(bounds(&follower, "tags"), Some((240, 240, 240)), "aborted work leaves no trace");

    // VACUUM hides what was aborted, so the bounds part.
    setting.run("BEGIN; INSERT INTO plain SELECT 1 FROM generate_series(1, 20); ROLLBACK").await;
    setting.run("INSERT INTO plain SELECT 1 FROM generate_series(1, 5); VACUUM plain").await;
    follower.take(&setting.read(&tables).await);
    assert_eq!(bounds(&follower, "plain"), Some((5, 25, 25)));

    setting.run("TRUNCATE tags_2").await;
    assert_eq!(follower.take(&setting.read(&tables).await).len(), 1);
    assert_eq!(bounds(&follower, "tags"), None);
    let exact = |follower: &Follower| {
        bounds(follower, "tags") == Some((200, 200, 200)) && bounds(follower, "plain") == Some((5, 5, 5))
    };
    setting.follow(&mut follower, &tables, exact).await;
}

#[tokio::test]
async fn an_analyze_of_some_columns_does_not_reset_the_changes() {
    let mut setting = Setting::new(SCHEMA).await;
    setting.run("INSERT INTO plain SELECT 1 FROM generate_series(1, 50)").await;
    let mut follower = Follower::default();
    setting.follow(&mut follower, &["plain"], |follower| bounds(follower, "plain").is_some()).await;
    let before = setting.read(&["plain"]).await;
    setting.run("BEGIN; INSERT INTO plain SELECT 1 FROM generate_series(1, 20); ROLLBACK").await;
    setting.run("ANALYZE plain (m)").await;
    let after = setting.read(&["plain"]).await;
    let oid = only(&after, "plain");
    assert_eq!(after.counters[&oid].analyzes, before.counters[&oid].analyzes + 1);
    assert_eq!(after.counters[&oid].modified, 50, "or else this could not be told from a reset");
    follower.take(&after);
    let (lower, _, upper) = bounds(&follower, "plain").unwrap();
    assert!(lower <= 50 && 50 <= upper, "{lower} to {upper}");
}

#[tokio::test]
async fn a_reset_of_any_kind_shows() {
    let mut setting = Setting::new(SCHEMA).await;
    let mut last = setting.read(&["plain"]).await.sentinels;
    assert!(!last.in_recovery);
    for reset in ["pg_stat_reset()", "pg_stat_reset_single_table_counters('plain'::regclass)"] {
        setting.run(&format!("SELECT {reset}")).await;
        let next = setting.read(&["plain"]).await.sentinels;
        assert_ne!(next, last, "{reset}");
        last = next;
    }
    setting.postgres.kill().await.unwrap();
    setting.postgres.restart().await.unwrap();
    let next = setting.read(&["plain"]).await.sentinels;
    assert_ne!((next.writer_reset, next.server_start), (last.writer_reset, last.server_start));
    assert_eq!(next.system, last.system);
}

#[tokio::test]
async fn without_the_right_to_see_sessions_nothing_is_complete_and_the_grant_is_told() {
    let mut setting = Setting::new(SCHEMA).await;
    setting.run("CREATE ROLE \"odd reader\" LOGIN").await;
    let url = format!("postgres://odd%20reader@127.0.0.1:{}/registry", setting.postgres.port());
    let reader = Counting::new(config(&url, 1), "b");
    let cancel = CancellationToken::new();
    let support = reader.follow_support(PLENTY, &cancel).await.unwrap();
    assert_eq!(support.refusal(), Some(Refusal::Hidden("\"odd reader\"".to_owned())));
    let reading = read(&reader, &["plain"]).await.unwrap();
    assert_eq!(reading.activity.complete_until(), None, "whose kind is hidden is not left out");

    setting.run("GRANT pg_read_all_stats TO \"odd reader\"").await;
    let support = reader.follow_support(PLENTY, &cancel).await.unwrap();
    assert_eq!((support.refusal(), support.untracked), (None, None));
    assert!(read(&reader, &["plain"]).await.unwrap().activity.complete_until().is_some());
}

#[tokio::test]
async fn who_does_not_count_is_named() {
    let mut setting = Setting::new(SCHEMA).await;
    setting.run("CREATE ROLE batch; ALTER ROLE batch SET track_counts = off; CREATE DATABASE other").await;
    setting.run("ALTER ROLE batch IN DATABASE other SET track_counts = 0; CREATE ROLE night").await;
    setting.run("ALTER ROLE night IN DATABASE registry SET track_counts TO 'no'").await;
    let cancel = CancellationToken::new();
    let support = setting.counting.follow_support(PLENTY, &cancel).await.unwrap();
    assert_eq!(support.refusal(), None);
    let untracked = support.untracked.unwrap();
    let mut named: Vec<&str> = untracked.split(", ").collect();
    named.sort_unstable();
    assert_eq!(named, ["role batch", "role night in database registry"]);

    setting.run("ALTER DATABASE registry SET track_counts = off").await;
    let counting = Counting::new(config(&setting.postgres.url("registry"), 1), "b");
    let support = counting.follow_support(PLENTY, &cancel).await.unwrap();
    assert_eq!(support.refusal(), Some(Refusal::Untracked));
}

#[tokio::test]
async fn a_standby_is_refused() {
    let files = vec![("standby.signal".to_owned(), Vec::new())];
    let lines = vec!["wal_level = replica".to_owned(), "max_wal_senders = 10".to_owned()];
    let postgres =
        PostgresServer::start_with(PostgresOptions { config: lines, files, ..Default::default() }).await.unwrap();
    let counting = Counting::new(config(&postgres.url("postgres"), 1), "a");
    let cancel = CancellationToken::new();
    assert_eq!(counting.follow_support(PLENTY, &cancel).await.unwrap().refusal(), Some(Refusal::Standby));
    assert!(read(&counting, &["missing"]).await.unwrap().sentinels.in_recovery);
}

#[tokio::test]
async fn the_statements_of_a_reading_lock_no_table_and_keep_their_text() {
    let mut setting = Setting::new(SCHEMA).await;
    let oids = [types::Oid(only(&setting.read(&["plain"]).await, "plain"))];
    let tables = ["tags".to_owned(), "plain".to_owned()];
    let leaves = statement::leaves(tables.iter());
    let fingerprint = statement::fingerprint(tables.iter(), &[oids[0].0].into());
    let (counters, filenodes) = (statement::COUNTERS, statement::FILENODES);
    for text in [&fingerprint, &leaves, statement::ACTIVITY, counters, statement::SENTINELS, filenodes] {
        let mut transaction = setting.admin.begin().await.unwrap();
        let query = sqlx::query(AssertSqlSafe(text)).persistent(false);
        let query = if text.contains("$1") { query.bind(&oids[..]) } else { query };
        query.fetch_all(&mut *transaction).await.unwrap();
        let sql = "SELECT count(*) FROM pg_locks JOIN pg_class c ON c.oid = relation \
                   WHERE pid = pg_backend_pid() AND c.relnamespace = 'public'::regnamespace";
        let locks: i64 = sqlx::query_scalar(sql).fetch_one(&mut *transaction).await.unwrap();
        assert_eq!(locks, 0, "{text}");
        transaction.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn the_next_reading_knows_of_leaves_that_came_and_went() {
    let mut setting = Setting::new(&format!(
        "{SCHEMA}
        CREATE TABLE tags_3 PARTITION OF tags FOR VALUES FROM (200) TO (300) PARTITION BY RANGE (n);
        CREATE TABLE tags_4 (n int);
        CREATE TABLE plain_1 () INHERITS (plain);"
    ))
    .await;
    let tables = ["tags", "plain"];
    let before = setting.read(&tables).await;
    assert_eq!(leaves(&before.trees["tags"]), ["public.tags_1", "public.tags_2"]);
    assert_eq!(leaves(&before.trees["plain"]), ["public.plain", "public.plain_1"]);
    for (change, table, expected) in [
        ("CREATE TABLE tags_3_1 PARTITION OF tags_3 FOR VALUES FROM (200) TO (250)", "tags", "tags_1 tags_2 tags_3_1"),
        (
            "ALTER TABLE tags ATTACH PARTITION tags_4 FOR VALUES FROM (300) TO (400)",
            "tags",
            "tags_1 tags_2 tags_3_1 tags_4",
        ),
        ("ALTER TABLE tags DETACH PARTITION tags_2", "tags", "tags_1 tags_3_1 tags_4"),
        ("ALTER TABLE tags DETACH PARTITION tags_1 CONCURRENTLY", "tags", "tags_3_1 tags_4"),
        ("DROP TABLE tags_4", "tags", "tags_3_1"),
        ("CREATE TABLE plain_1_1 () INHERITS (plain_1)", "plain", "plain plain_1 plain_1_1"),
        ("CREATE TABLE plain_2 () INHERITS (plain)", "plain", "plain plain_1 plain_1_1 plain_2"),
        ("ALTER TABLE plain_1 NO INHERIT plain", "plain", "plain plain_2"),
        ("ALTER TABLE tags RENAME TO tags_5; ALTER TABLE plain_1 RENAME TO tags", "tags", "plain_1_1 tags"),
    ] {
        setting.run(change).await;
        let reading = setting.read(&tables).await;
        let mut names = leaves(&reading.trees[table]);
        names.sort_unstable();
        assert_eq!(names.join(" ").replace("public.", ""), expected, "{change}");
    }
}
