//! A database shaped like a registry's: the same tables, columns, keys and partitioning, sample rows, a light churn.

use crate::demo::{postgres::execute, server::Error};

/// Makes the tables in an empty database, each of the partitioned ones with this many leaves.
pub async fn create(url: &str, partitions: u32) -> Result<(), Error> {
    execute(url, &format!("SET demo.partitions = {partitions};\n{}", include_str!("schema/tables.sql"))).await
}

/// Adds the tables that only newer versions of the schema have.
pub async fn create_newer(url: &str) -> Result<(), Error> {
    execute(url, include_str!("schema/newer.sql")).await
}

/// Fills the empty tables: about 160 rows a repository, half of them layers. ANALYZE is left to whoever wants it.
pub async fn generate(url: &str, repositories: u32) -> Result<(), Error> {
    execute(url, &format!("SET demo.repositories = {repositories};\n{}", include_str!("schema/sample.sql"))).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::postgres::PostgresServer;
    use sqlx::{Connection, PgConnection};

    #[tokio::test]
    async fn a_generated_database_has_rows_in_every_counted_table() {
        let postgres = PostgresServer::start().await.unwrap();
        let url = postgres.create_database("registry").await.unwrap();
        create(&url, 4).await.unwrap();
        create_newer(&url).await.unwrap();
        generate(&url, 20).await.unwrap();

        let mut connection = PgConnection::connect(&url).await.unwrap();
        let mut counts = std::collections::BTreeMap::new();
        for table in crate::catalog::queries(crate::catalog::Catalog::All, Default::default(), Default::default()) {
            let table = table.table().unwrap().to_owned();
            let sql = format!("SELECT count(*) FROM {table}");
            let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
            assert!(count > 0, "{table}");
            counts.insert(table, count);
        }
        assert_eq!([counts["repositories"], counts["tags"], counts["layers"], counts["blobs"]], [20, 160, 1600, 400]);
        let leaves: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relispartition")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(leaves, 8 * 4);
    }
}
