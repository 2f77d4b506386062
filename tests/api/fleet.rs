//! A fleet as a user runs it: the real binary, a PostgreSQL and a Redis of its own, free ports, settings by environment.

use std::{
    collections::BTreeMap,
    io,
    process::{ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use prost::Message;
use rowcount::{
    demo::{
        postgres::{PostgresOptions, PostgresServer},
        redis::RedisServer,
        schema,
    },
    proto::v1::{self, row_count_service_client::RowCountServiceClient},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    task::JoinHandle,
};
use tonic::{Code, transport::Channel};
use tonic_types::pb;

/// Long enough for a loaded machine; nothing waits for it but a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What the fleets of one test share.
pub struct Fleet {
    pub postgres: PostgresServer,
    pub redis: RedisServer,
    settings: BTreeMap<&'static str, String>,
}

/// One process.
pub struct Instance {
    pub id: String,
    pub grpc: String,
    pub http: String,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

// === impl Fleet ===

impl Fleet {
    /// Servers with an empty registry-shaped database of few partitions, and short times: a lease of 2 s, an interval
    /// of half a second.
    pub async fn start() -> Self {
        let fleet = Self::servers().await;
        schema::create(&fleet.postgres.url("registry"), 4).await.expect("creates the schema");
        fleet
    }

    /// Servers with an empty database.
    pub async fn servers() -> Self {
        Self::servers_with(PostgresOptions::default()).await
    }

    /// Servers with an empty database, on a PostgreSQL of these options.
    pub async fn servers_with(options: PostgresOptions) -> Self {
        let (postgres, redis) = tokio::join!(PostgresServer::start_with(options), RedisServer::start());
        let (postgres, redis) = (postgres.expect("PostgreSQL starts"), redis.expect("Redis starts"));
        postgres.create_database("registry").await.expect("creates the database");
        let settings = BTreeMap::from([
            ("ROWCOUNT_DATABASE_URL", postgres.url("registry")),
            ("ROWCOUNT_REDIS_CACHE_ADDR", redis.addr()),
            ("ROWCOUNT_GRPC_ADDR", "127.0.0.1:0".to_owned()),
            ("ROWCOUNT_HTTP_ADDR", "127.0.0.1:0".to_owned()),
            ("ROWCOUNT_DATABASE_METRICS_INTERVAL", "500ms".to_owned()),
            ("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "2s".to_owned()),
            ("ROWCOUNT_LEASE_FIRSTSTART", "immediate".to_owned()),
            ("ROWCOUNT_LOG_LEVEL", "debug".to_owned()),
        ]);
        Self { postgres, redis, settings }
    }

    /// Changes a setting of the instances that are started from now on.
    pub fn set(&mut self, variable: &'static str, value: impl Into<String>) {
        self.settings.insert(variable, value.into());
    }

    /// Runs SQL on the counted database.
    pub async fn sql(&self, sql: &str) {
        self.postgres.execute("registry", sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The integer that a query on the counted database returns.
    pub async fn scalar(&self, sql: &str) -> i64 {
        let mut connection = PgConnection::connect(&self.postgres.url("registry")).await.expect("the database answers");
        let value = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await;
        value.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Starts an instance and waits until it listens.
    pub async fn instance(&self, id: &str) -> Instance {
        self.instance_with(id, &[]).await
    }

    /// Starts an instance with settings of its own.
    pub async fn instance_with(&self, id: &str, settings: &[(&str, &str)]) -> Instance {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowcount"));
        command.arg("serve").env_clear().envs(&self.settings).env("ROWCOUNT_INSTANCEID", id);
        command.envs(settings.iter().copied());
        Instance::start(command, id).await
    }

    /// Runs a command of the binary with the settings of the fleet, to its end.
    pub async fn run(&self, args: &[&str], settings: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowcount"));
        command.args(args).env_clear().envs(&self.settings).envs(settings.iter().copied()).stdin(Stdio::null());
        let output = command.kill_on_drop(true).output();
        tokio::time::timeout(PATIENCE, output).await.expect("the command ends").expect("the binary starts")
    }

    /// Whoever of `instances` holds the lease by its own metrics, as soon as exactly one does and has counted.
    pub async fn holder<'a>(&self, instances: &[&'a Instance]) -> &'a Instance {
        eventually("one instance holds and exports rows", async || {
            let mut holders = Vec::new();
            for instance in instances {
                if instance.metrics().await.contains("registry_database_rows{") {
                    holders.push(*instance);
                }
            }
            assert!(holders.len() < 2, "two instances export rows");
            holders.pop()
        })
        .await
    }
}

// === impl Instance ===

impl Instance {
    /// Starts a process that logs as the program does, and waits until it listens.
    pub async fn start(mut command: Command, id: &str) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("the binary starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let sink = log.clone();
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                sink.lock().unwrap().push(line);
            }
        });
        let mut instance = Self { id: id.to_owned(), grpc: String::new(), http: String::new(), child, log, reader };
        let listening = instance.logged("Listening").await;
        let addr = |field: &str| listening[field].as_str().expect("the line names its ports").to_owned();
        instance.grpc = addr("grpc_addr");
        instance.http = addr("http_addr");
        instance
    }

    /// A client of this instance.
    pub async fn client(&self) -> RowCountServiceClient<Channel> {
        RowCountServiceClient::new(self.channel().await)
    }

    /// A connection of its own, for a client of another service.
    pub async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.grpc)).expect("an address");
        endpoint.connect().await.expect("the instance listens")
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// GetRowCounts of everything.
    pub async fn counts(&self) -> v1::GetRowCountsResponse {
        self.client().await.get_row_counts(v1::GetRowCountsRequest::default()).await.expect("answers").into_inner()
    }

    /// The count of one query as this instance tells it.
    pub async fn count(&self, name: &str) -> v1::RowCount {
        let counts = self.counts().await.row_counts;
        counts.into_iter().find(|count| count.query_name == name).unwrap_or_else(|| panic!("no query {name}"))
    }

    /// GetLeaseStatus, asked of the store now.
    pub async fn lease(&self) -> v1::GetLeaseStatusResponse {
        let request = v1::GetLeaseStatusRequest::default();
        self.client().await.get_lease_status(request).await.expect("answers").into_inner()
    }

    /// The scraped page.
    pub async fn metrics(&self) -> String {
        let (status, page) = self.get("/metrics").await;
        assert_eq!(status, 200, "{page}");
        page
    }

    /// Status and body of a page of the ops port.
    pub async fn get(&self, path: &str) -> (u16, String) {
        http_get(&self.http, path).await.expect("the ops port answers")
    }

    /// Every line logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Takes every line logged so far: none of them is in `log` any more.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    /// Takes the lines of a process that has ended, to the last one.
    pub async fn take_last_log(&mut self) -> Vec<String> {
        tokio::time::timeout(PATIENCE, &mut self.reader).await.expect("its log ends").expect("it is read");
        self.take_log()
    }

    /// Lines with this message so far.
    pub fn lines(&self, msg: &str) -> Vec<Value> {
        let parsed = self.log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        parsed.filter(|line| line["msg"] == msg).collect()
    }

    /// The first line with this message, as soon as it is there.
    pub async fn logged(&self, msg: &str) -> Value {
        let start = Instant::now();
        loop {
            if let Some(line) = self.lines(msg).into_iter().next() {
                return line;
            }
            assert!(start.elapsed() < PATIENCE, "{}: no line {msg:?} in\n{}", self.id, self.log().join("\n"));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().expect("it runs")).expect("a pid");
        kill_process(Pid::from_raw(pid).expect("a pid"), signal).expect("it takes signals");
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_some()
    }

    /// Waits for the end of the process.
    pub async fn exit(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("it can be waited for")
    }
}

/// Status and body of a page at `addr`; an error when nobody answers there.
pub async fn http_get(addr: &str, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    Ok((status, body.to_owned()))
}

/// The value of `probe` as soon as it has one; fails with `what` when it has none for too long.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A span as protobuf has it.
pub fn span(span: Duration) -> prost_types::Duration {
    span.try_into().expect("a short span")
}

/// Code, reason and message of an error that is part of an answer.
pub fn told(error: &pb::Status) -> (Code, String, String) {
    let info = error.details.iter().find(|detail| detail.type_url.ends_with("google.rpc.ErrorInfo"));
    let info = pb::ErrorInfo::decode(&*info.expect("an ErrorInfo").value).expect("it decodes");
    assert_eq!(info.domain, "rowcount.v1");
    (Code::from(error.code), info.reason, error.message.clone())
}

/// The value of one series of a page; `series` is its name with labels as printed.
pub fn sample(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
