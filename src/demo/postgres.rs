//! A private PostgreSQL: fast, careless with its data, gone without a trace when dropped.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::demo::server::{Error, Server, free_port};

const PACKAGE: &str = "postgresql";

/// Names the directory of the programs of another version.
const PROGRAMS: &str = "POSTGRES_BIN";

/// How it differs from the usual.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// Lines for postgresql.conf; the last one of a name wins.
    pub config: Vec<String>,
    /// Files in the data directory, by name: certificates, keys, pg_hba.conf. The server owns them.
    pub files: Vec<(String, Vec<u8>)>,
    /// Where initdb and postgres are; `None`: as POSTGRES_BIN says, else the newest of /usr/lib/postgresql, else those of
    /// PATH.
    pub bin: Option<PathBuf>,
}

/// A running server; dropping it ends it and removes its data.
pub struct PostgresServer {
    server: Server,
    bin: PathBuf,
    port: u16,
}

// === impl PostgresServer ===

impl PostgresServer {
    /// A server with fast settings, autovacuum off.
    pub async fn start() -> Result<Self, Error> {
        Self::start_with(PostgresOptions::default()).await
    }

    /// A server of these options.
    pub async fn start_with(options: PostgresOptions) -> Result<Self, Error> {
        let PostgresOptions { config, files, bin } = options;
        let bin = bin.or_else(|| env::var_os(PROGRAMS).map(PathBuf::from)).unwrap_or_else(newest_bin);
        let server = Server::new("postgres", "QUIT")?;
        let mut initdb = server.command(bin.join("initdb"))?;
        initdb.args(["-D", "data", "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]);
        server.run(initdb, PACKAGE).await?;

        let port = free_port()?;
        let mut lines = settings(server.dir(), port);
        lines.extend(config);
        server.write("data/postgresql.conf", lines.join("\n").as_bytes())?;
        for (name, contents) in files {
            server.write(Path::new("data").join(name), &contents)?;
        }
        let mut postgres = Self { server, bin, port };
        postgres.launch().await?;
        Ok(postgres)
    }

    /// URL of a database, over TCP.
    pub fn url(&self, dbname: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{dbname}", self.port)
    }

    /// TCP port on 127.0.0.1, and the number in the socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Directory of the Unix socket.
    pub fn socket_dir(&self) -> &Path {
        self.server.dir()
    }

    /// Process id of the postmaster; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Makes an empty database; gives its URL.
    pub async fn create_database(&self, name: &str) -> Result<String, Error> {
        self.clone_database(name, "template0").await
    }

    /// Makes a copy of `template`, to which nobody may be connected; gives its URL.
    pub async fn clone_database(&self, name: &str, template: &str) -> Result<String, Error> {
        self.execute("postgres", &format!(r#"CREATE DATABASE "{name}" TEMPLATE "{template}""#)).await?;
        Ok(self.url(name))
    }

    /// Runs statements on a connection of their own.
    pub async fn execute(&self, dbname: &str, sql: &str) -> Result<(), Error> {
        execute(&self.url(dbname), sql).await
    }

    /// Ends it in good order: sessions are ended, data stays.
    pub async fn stop(&mut self) -> Result<(), Error> {
        self.server.stop(Signal::INT).await
    }

    /// Kills the postmaster and its children, as a crash would.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.server.kill().await
    }

    /// Starts it again with its port and data, after stopping it when it runs.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.stop().await?;
        self.launch().await
    }

    /// Freezes every process of it: connections stay open, nothing answers.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Undoes `pause`.
    pub fn resume(&self) {
        self.server.resume();
    }

    async fn launch(&mut self) -> Result<(), Error> {
        let mut command = self.server.command(self.bin.join("postgres"))?;
        command.args(["-D", "data"]);
        let status = self.server.dir().join("data/postmaster.pid");
        // As pg_ctl does: line 8 says "ready", of the process of line 1.
        let ready = async |pid: u32| {
            let status = fs::read_to_string(&status).unwrap_or_default();
            let mut lines = status.lines();
            lines.next() == Some(&pid.to_string()) && lines.nth(6).map(str::trim) == Some("ready")
        };
        self.server.start(command, PACKAGE, ready).await
    }
}

/// Runs statements on a connection of their own.
pub(super) async fn execute(url: &str, sql: &str) -> Result<(), Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

fn settings(dir: &Path, port: u16) -> Vec<String> {
    vec![
        format!("port = {port}"),
        "listen_addresses = '127.0.0.1'".into(),
        format!("unix_socket_directories = '{}'", dir.display()),
        "max_connections = 100".into(),
        "shared_buffers = 64MB".into(),
        // One transaction makes a schema of hundreds of partitions.
        "max_locks_per_transaction = 512".into(),
        // In files of the data directory: a server that is killed leaves nothing in /dev/shm.
        "dynamic_shared_memory_type = mmap".into(),
        // A commit still reaches the kernel, so it survives `kill`; only a crash of the machine would lose it.
        "fsync = off".into(),
        "full_page_writes = off".into(),
        "wal_level = minimal".into(),
        "max_wal_senders = 0".into(),
        "autovacuum = off".into(),
        "timezone = 'UTC'".into(),
    ]
}

/// Directory of the newest server that Debian installed; empty, so that PATH decides, when there is none.
fn newest_bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    versions
        .map(|entry| entry.path())
        .filter(|path| path.join("bin/postgres").exists())
        .max_by_key(|path| version(path))
        .map(|path| path.join("bin"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_keeps_port_and_data_over_a_crash_and_leaves_nothing_behind() {
        let mut postgres = PostgresServer::start().await.unwrap();
        let url = postgres.create_database("kept").await.unwrap();
        postgres.execute("kept", "CREATE TABLE t ()").await.unwrap();
        postgres.kill().await.unwrap();
        assert!(postgres.execute("kept", "SELECT").await.is_err());
        postgres.restart().await.unwrap();
        postgres.execute("kept", "SELECT FROM t").await.unwrap();
        assert_eq!(url, postgres.url("kept"));

        let dir = postgres.socket_dir().to_owned();
        let pid = postgres.pid().unwrap();
        postgres.pause();
        drop(postgres);
        assert!(!dir.exists());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[tokio::test]
    async fn a_missing_program_is_named_with_its_package() {
        let options = PostgresOptions { bin: Some("/nowhere".into()), ..Default::default() };
        let error = PostgresServer::start_with(options).await.err().unwrap().to_string();
        assert_eq!(error, "cannot find /nowhere/initdb: install it with `apt-get install postgresql`");
    }
}
