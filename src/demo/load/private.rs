//! A database for a load that was given none: a private server with sample rows, which counts its statements where it
//! can.

use sqlx::{Connection, PgConnection};

use crate::demo::{
    postgres::{PostgresOptions, PostgresServer},
    schema,
    server::Error,
};

/// As many as the demo has: a start of a few seconds.
const REPOSITORIES: u32 = 1000;

/// As many leaves as a production registry has.
const PARTITIONS: u32 = 64;

/// A server with its database; dropping it removes both.
pub(super) struct Private {
    pub(super) url: String,
    _server: PostgresServer,
}

// === impl Private ===

impl Private {
    pub(super) async fn start() -> Result<Self, Error> {
        eprintln!("Starting PostgreSQL with {REPOSITORIES} repositories in {PARTITIONS} partitions.");
        let options = PostgresOptions { config: vec!["autovacuum = on".into()], ..Default::default() };
        let mut server = PostgresServer::start_with(options).await?;
        let url = server.create_database("registry").await?;
        if has_statistics(&url).await? {
            // Only a server that starts with it can count; one without its library does not start with it.
            server.execute("registry", "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'").await?;
            server.restart().await?;
            server.execute("registry", "CREATE EXTENSION pg_stat_statements").await?;
        } else {
            eprintln!("It has no pg_stat_statements: what is sent will not be counted a second time.");
        }
        schema::create(&url, PARTITIONS).await?;
        schema::generate(&url, REPOSITORIES).await?;
        server.execute("registry", "ANALYZE").await?;
        Ok(Self { url, _server: server })
    }
}

async fn has_statistics(url: &str) -> Result<bool, Error> {
    let mut connection = PgConnection::connect(url).await?;
    let sql = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements')";
    let has = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(has)
}
