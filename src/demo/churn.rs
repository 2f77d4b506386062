//! A light load on the sample database: pushes, deletions and the garbage collector's work, a few a second.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::demo::server::Error;

/// Between two steps.
const PACE: Duration = Duration::from_millis(300);

/// The load; dropping it ends it.
pub struct Churn {
    stop: CancellationToken,
    task: JoinHandle<Result<u64, Error>>,
}

// === impl Churn ===

impl Churn {
    /// Begins.
    pub fn start(url: String) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(url, stop.clone()));
        Self { stop, task }
    }

    /// Ends between two steps; gives their number. The connection is then closed, so everything it did is in the
    /// statistics counters.
    pub async fn stop(mut self) -> Result<u64, Error> {
        self.stop.cancel();
        (&mut self.task).await.expect("it neither panics nor is aborted before this")
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(url: String, stop: CancellationToken) -> Result<u64, Error> {
    let mut connection = PgConnection::connect(&url).await?;
    let mut steps = 0;
    while stop.run_until_cancelled(tokio::time::sleep(PACE)).await.is_some() {
        let push = fastrand::f32() < 0.6;
        let sql = if push { include_str!("schema/push.sql") } else { include_str!("schema/collect.sql") };
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        steps += 1;
    }
    connection.close().await?;
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{postgres::PostgresServer, schema};

    #[tokio::test]
    async fn a_push_adds_what_a_collection_takes_away() {
        let postgres = PostgresServer::start().await.unwrap();
        let url = postgres.create_database("registry").await.unwrap();
        schema::create(&url, 4).await.unwrap();
        schema::generate(&url, 5).await.unwrap();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let mut rows = async || {
            let sql = "SELECT (SELECT count(*) FROM repositories), (SELECT count(*) FROM tags), \
                       (SELECT count(*) FROM manifests), (SELECT count(*) FROM layers), (SELECT count(*) FROM blobs)";
            let counts: (i64, i64, i64, i64, i64) = sqlx::query_as(sql).fetch_one(&mut connection).await.unwrap();
            counts
        };
        let before = rows().await;
        assert_eq!(before, (5, 40, 50, 400, 100));
        postgres.execute("registry", include_str!("schema/push.sql")).await.unwrap();
        assert_eq!(rows().await, (6, 42, 52, 406, 103));
        postgres.execute("registry", include_str!("schema/collect.sql")).await.unwrap();
        assert_eq!(rows().await, (5, 40, 50, 400, 103));
    }

    #[tokio::test]
    async fn a_churn_changes_rows_until_it_is_stopped() {
        let postgres = PostgresServer::start().await.unwrap();
        let url = postgres.create_database("registry").await.unwrap();
        schema::create(&url, 2).await.unwrap();
        schema::generate(&url, 5).await.unwrap();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let churn = Churn::start(url);
        let pushed = async |connection: &mut PgConnection| {
            let sql = "SELECT max(id) FROM blobs";
            sqlx::query_scalar::<_, i64>(sql).fetch_one(connection).await.unwrap()
        };
        let pushes = async {
            while pushed(&mut connection).await <= 100 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), pushes).await.unwrap();
        assert!(churn.stop().await.unwrap() > 0);
    }
}
