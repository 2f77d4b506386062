//! Servers before PostgreSQL 15, whose statistics cannot be followed: `make test-on-postgresql-14` runs this on one.

use rowcount::proto::v1::{ListQueriesRequest, Method};
use sqlx::{Connection, PgConnection};
use tonic::Code;

use crate::fleet::{Fleet, eventually, told};

/// The first version that can be followed.
const FOLLOWED: i32 = 150_000;

#[tokio::test]
async fn a_large_table_stays_exact_there_and_who_must_follow_is_told_why() {
    let mut fleet = Fleet::servers().await;
    let mut connection = PgConnection::connect(&fleet.postgres.url("registry")).await.unwrap();
    let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int4")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    if version >= FOLLOWED {
        println!("skipped: this server is {version}; `make test-on-postgresql-14` runs it on an older one");
        return;
    }
    fleet.sql("CREATE TABLE big (n int); INSERT INTO big SELECT generate_series(1, 150000); ANALYZE big").await;
    fleet.set("ROWCOUNT_CATALOG", "none");
    fleet.set("ROWCOUNT_QUERIES_BIG_TABLE", "big");
    fleet.set("ROWCOUNT_QUERIES_STRICT_TABLE", "big");
    fleet.set("ROWCOUNT_QUERIES_STRICT_METHOD", "followed");
    let alice = fleet.instance("alice").await;
    let exact = eventually("it is counted", async || {
        Some(alice.count("big").await).filter(|count| count.method() == Method::Exact && count.row_count.is_some())
    });
    assert_eq!(exact.await.row_count, Some(150_000));
    let strict = eventually("it is tried", async || alice.count("strict").await.error).await;
    let (code, reason, message) = told(&strict);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "SQL"));
    assert!(message.contains("tables are followed from PostgreSQL 15 on, and this is 14"), "{message}");
    assert_eq!(alice.count("strict").await.row_count, None);
    let answer = alice.client().await.list_queries(ListQueriesRequest {}).await.unwrap().into_inner();
    let big = answer.queries.iter().find(|query| query.query_name == "big").unwrap();
    assert_eq!((big.method(), big.chosen_method()), (Method::Auto, Method::Exact));
    let line = alice.logged("Tables are not followed, large ones are counted seldom").await;
    assert!(line["reason"].as_str().unwrap().contains("PostgreSQL 15"), "{line}");
}
