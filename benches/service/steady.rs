//! A fleet whose registry has rows in every table that is counted.

use rowcount::{demo::schema, proto::v1::GetRowCountsResponse};

use super::fleet::{Fleet, Instance, eventually};

/// As many leaves as a production registry has.
const PARTITIONS: u32 = 64;

/// About 16,000 rows: what is measured here is not PostgreSQL.
const REPOSITORIES: u32 = 100;

/// Queries of the catalogue.
const QUERIES: usize = 19;

/// Servers for instances that count this often, under a lease of this length.
pub async fn fleet(interval: &str, lease: &str) -> Fleet {
    let mut fleet = Fleet::servers().await;
    let url = fleet.postgres.url("registry");
    schema::create(&url, PARTITIONS).await.expect("creates the schema");
    schema::create_newer(&url).await.expect("creates the newer tables");
    schema::generate(&url, REPOSITORIES).await.expect("creates rows");
    fleet.set("ROWCOUNT_DATABASE_METRICS_INTERVAL", interval);
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", lease);
    fleet.set("ROWCOUNT_LOG_LEVEL", "info");
    fleet
}

/// An instance that holds the lease and has counted everything.
pub async fn holder(fleet: &Fleet) -> Instance {
    let instance = fleet.instance("alice").await;
    counted(async || instance.counts().await).await;
    instance
}

/// Waits until `ask` is told every count.
pub async fn counted(ask: impl AsyncFn() -> GetRowCountsResponse) {
    eventually("everything is counted", async || {
        let counts = ask().await.row_counts;
        (counts.len() == QUERIES && counts.iter().all(|count| count.row_count.is_some())).then_some(())
    })
    .await;
}
