//! The ways in which the statistics mislead, one by one: the rule as built holds, and one that leaves out what stands
//! against it is found wrong.

use rowcount::{
    demo::postgres::{PostgresOptions, PostgresServer},
    follow::{Bounds, Note, Void},
};
use sqlx::{Connection, PgConnection};

use super::mutant::Mutant;
use reader::{Order, Reader};
use scene::{ACTIVITY, COUNTERS, FILENODES, Scene, flush, read, run};

mod gate;
mod reader;
mod scene;

const INSERT: &str = "INSERT INTO t SELECT nextval('ids'), 0, 0 FROM generate_series(1, 3)";

/// In the middle of the counters.
const LOCK: u32 = 7;

/// They wait for most of the time, so all at once, each in a database of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_trap_of_the_statistics_catches_the_rule() {
    let config = vec!["track_commit_timestamp = on".to_owned()];
    let options = PostgresOptions { config, ..PostgresOptions::default() };
    let postgres = &PostgresServer::start_with(options).await.unwrap();
    tokio::join!(
        what_an_idle_session_has_not_flushed_is_not_said_to_be_complete(postgres),
        live_rows_that_vacuum_has_counted_already_are_not_added_again(postgres),
        a_session_that_becomes_idle_after_the_counters_does_not_pass_for_flushed(postgres),
        a_table_truncated_while_the_counters_are_read_is_not_the_same(postgres),
        commits_inside_a_procedure_count_from_when_it_was_called(postgres),
        what_comes_between_the_statements_of_a_reading_voids_it(postgres),
        a_truncate_that_is_flushed_after_the_exact_count_does_not_void(postgres),
        live_rows_that_stop_at_zero_are_not_used(postgres),
    );
}

/// Whether a rule, and another order, are found wrong.
async fn compared(wrong: impl Future<Output = usize>, right: impl Future<Output = usize>) {
    let (wrong, right) = tokio::join!(wrong, right);
    assert!(wrong > 0, "the checker is blind");
    assert_eq!(right, 0);
}

async fn what_an_idle_session_has_not_flushed_is_not_said_to_be_complete(postgres: &PostgresServer) {
    async fn idle(postgres: &PostgresServer, rule: Option<Mutant>) -> usize {
        let mut scene = Scene::new(postgres, rule).await;
        scene.act_pending(INSERT).await;
        let reading = scene.read().await;
        scene.take(&reading);
        scene.violations().await
    }
    compared(idle(postgres, Some(Mutant::NoMargin)), idle(postgres, None)).await;
}

async fn live_rows_that_vacuum_has_counted_already_are_not_added_again(postgres: &PostgresServer) {
    async fn vacuumed(postgres: &PostgresServer, rule: Option<Mutant>) -> usize {
        let mut scene = Scene::new(postgres, rule).await;
        scene.act_pending(INSERT).await;
        scene.admin("VACUUM t").await;
        flush(&mut scene.admin).await;
        scene.flush().await;
        let reading = scene.read().await;
        scene.take(&reading);
        scene.violations().await
    }
    compared(vacuumed(postgres, Some(Mutant::LiveRows)), vacuumed(postgres, None)).await;
}

async fn a_session_that_becomes_idle_after_the_counters_does_not_pass_for_flushed(postgres: &PostgresServer) {
    async fn ends(postgres: &PostgresServer, order: Order) -> usize {
        let mut scene = Scene::new(postgres, None).await;
        scene.act_pending(INSERT).await;
        scene.act("BEGIN; SELECT FROM t").await;
        scene.until_committed_long_ago().await;
        let (actor, gate) = (&mut scene.actor, &scene.gate);
        let reading = if order == Order::AsBuilt {
            let closed = gate.close_for(COUNTERS);
            tokio::join!(read(&scene.counting), closed.meanwhile(run(actor, "COMMIT"))).0.unwrap()
        } else {
            let mut reader = Reader::connect(&scene.gated_url, order, None).await;
            let closed = gate.close_for(ACTIVITY);
            tokio::join!(reader.read("t"), closed.meanwhile(run(actor, "COMMIT"))).0
        };
        scene.take(&reading);
        scene.violations().await
    }
    compared(ends(postgres, Order::CountersFirst), ends(postgres, Order::AsBuilt)).await;
}

async fn a_table_truncated_while_the_counters_are_read_is_not_the_same(postgres: &PostgresServer) {
    async fn truncated(postgres: &PostgresServer, order: Order) -> usize {
        let mut scene = Scene::new(postgres, None).await;
        let mut reader = Reader::connect(&scene.url, order, Some(LOCK)).await;
        let reading = reader.read("t").await;
        scene.take(&reading);
        scene.admin(format!("SELECT pg_advisory_lock({LOCK})")).await;
        let reading = tokio::spawn(async move { reader.read("t").await });
        scene.until_waited_for(LOCK).await;
        // Over a VACUUM the live rows tell nothing.
        scene.act("VACUUM t").await;
        scene.act(format!("BEGIN; TRUNCATE t; {INSERT}; COMMIT")).await;
        scene.flush().await;
        scene.admin(format!("SELECT pg_advisory_unlock({LOCK})")).await;
        scene.take(&reading.await.unwrap());
        scene.violations().await
    }
    compared(truncated(postgres, Order::FilenodesWithin), truncated(postgres, Order::AsBuilt)).await;
}

async fn commits_inside_a_procedure_count_from_when_it_was_called(postgres: &PostgresServer) {
    const PROCEDURE: &str = "CREATE PROCEDURE commit_thrice() LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO t VALUES (nextval('ids'), 0, 0); COMMIT; PERFORM pg_advisory_xact_lock(1);
        COMMIT; PERFORM pg_advisory_xact_lock(2); END $$";

    async fn called(postgres: &PostgresServer, rule: Option<Mutant>) -> usize {
        let mut scene = Scene::new(postgres, rule).await;
        scene.admin(PROCEDURE).await;
        scene.admin("SELECT pg_advisory_lock(1), pg_advisory_lock(2)").await;
        let url = scene.url.clone();
        let calls = tokio::spawn(async move {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            run(&mut connection, "SET load.session = 'caller'").await;
            run(&mut connection, "CALL commit_thrice()").await;
        });
        scene.until_waited_for(1).await;
        scene.until_committed_long_ago().await;
        scene.admin("SELECT pg_advisory_unlock(1)").await;
        scene.until_waited_for(2).await;
        let reading = scene.read().await;
        scene.take(&reading);
        scene.admin("SELECT pg_advisory_unlock(2)").await;
        calls.await.unwrap();
        scene.violations().await
    }
    compared(called(postgres, Some(Mutant::TransactionsOnly)), called(postgres, None)).await;
}

async fn what_comes_between_the_statements_of_a_reading_voids_it(postgres: &PostgresServer) {
    let mut scene = Scene::new(postgres, None).await;
    let closed = scene.gate.close_for(FILENODES);
    let truncate = async {
        run(&mut scene.actor, "TRUNCATE t").await;
    };
    let reading = tokio::join!(read(&scene.counting), closed.meanwhile(truncate)).0.unwrap();
    let notes = scene.take(&reading);
    assert_eq!(notes, [Note::Voided(Void::Filenode, "public.t".to_owned())]);

    let closed = scene.gate.close_for(COUNTERS);
    let inherit = run(&mut scene.actor, "CREATE TABLE heir () INHERITS (t)");
    let reading = tokio::join!(read(&scene.counting), closed.meanwhile(inherit)).0;
    assert_eq!(reading, None, "its leaves are not those that it began with");
    assert_eq!(scene.violations().await, 0);
}

async fn a_truncate_that_is_flushed_after_the_exact_count_does_not_void(postgres: &PostgresServer) {
    let mut scene = Scene::new(postgres, None).await;
    scene.act_pending(&format!("BEGIN; TRUNCATE t; {INSERT}; COMMIT")).await;
    let reading = scene.read().await;
    assert_eq!(scene.take(&reading), [Note::Voided(Void::Filenode, "public.t".to_owned())]);
    let live = "pg_stat_get_live_tuples('t'::regclass)";
    assert_eq!(scene.scalar(format!("SELECT {live}")).await, 300, "it is pending");
    // Flushed meanwhile, once its session has been idle for ten seconds.
    scene.anchor().await;
    assert_eq!(scene.scalar(format!("SELECT {live}")).await, 3);
    assert_eq!((scene.bounds(), scene.violations().await), (Some(Bounds { lower: 3, value: 3, upper: 6 }), 0));
}

async fn live_rows_that_stop_at_zero_are_not_used(postgres: &PostgresServer) {
    let mut scene = Scene::new(postgres, None).await;
    scene.admin("SELECT pg_stat_reset()").await;
    let reading = scene.read().await;
    assert_eq!(scene.take(&reading), [Note::AllVoided(Void::Reset, 1)]);
    scene.anchor().await;
    for (sql, rows) in [
        ("DELETE FROM t WHERE id <= 10", 290),
        (INSERT, 293),
        ("WITH gone AS (DELETE FROM t WHERE id <= 15) INSERT INTO t VALUES (nextval('ids'), 0, 0)", 289),
    ] {
        scene.act(sql).await;
        scene.flush().await;
        let reading = scene.read().await;
        assert_eq!(scene.take(&reading), [], "{sql}");
        assert_eq!(scene.bounds(), Some(Bounds::exactly(rows)), "{sql}");
    }
    assert_eq!(scene.scalar("SELECT pg_stat_get_live_tuples('t'::regclass)").await, 0, "or else they did not stop");
    assert_eq!(scene.violations().await, 0);
}
