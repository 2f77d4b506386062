//! A private Prometheus that scrapes each second, with a past made of OpenMetrics text where one is wanted.

use std::path::PathBuf;

use rustix::process::Signal;

use crate::demo::server::{Error, Server, free_port};

const PACKAGE: &str = "prometheus";

/// What it logs once it answers queries: before, its port is open and every query an error.
const READY: &str = "Server is ready to receive web requests";

/// How it differs from one that knows nothing.
#[derive(Clone, Debug)]
pub struct PrometheusOptions {
    /// `host:port` of what it scrapes, at `/metrics`.
    pub targets: Vec<String>,
    /// What it has scraped before it starts: OpenMetrics with timestamps; needs `promtool`.
    pub past: Option<String>,
    /// Its `--web.config.file`: TLS, users. Files are found in the server's directory.
    pub web: Option<String>,
    /// Files in the server's directory, by name: certificates, keys.
    pub files: Vec<(String, Vec<u8>)>,
    /// Where the server is.
    pub prometheus: PathBuf,
    /// Where the tool is that makes the past.
    pub promtool: PathBuf,
}

/// A running server; dropping it ends it and removes its data.
pub struct PrometheusServer {
    server: Server,
    port: u16,
    scheme: &'static str,
}

// === impl PrometheusOptions ===

impl Default for PrometheusOptions {
    /// The programs of PATH.
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            past: None,
            web: None,
            files: Vec::new(),
            prometheus: "prometheus".into(),
            promtool: "promtool".into(),
        }
    }
}

// === impl PrometheusServer ===

impl PrometheusServer {
    /// A server of these options, as soon as it answers.
    pub async fn start(options: PrometheusOptions) -> Result<Self, Error> {
        let PrometheusOptions { targets, past, web, files, prometheus, promtool } = options;
        // As us: its programs may lie where nobody else may look.
        let mut server = Server::new_as_us("prometheus", "KILL")?;
        let port = free_port()?;
        server.write("prometheus.yml", config(&targets).as_bytes())?;
        for (name, contents) in files {
            server.write(name, &contents)?;
        }
        if let Some(past) = past {
            server.write("past.txt", past.as_bytes())?;
            let mut blocks = server.command(promtool)?;
            blocks.args(["tsdb", "create-blocks-from", "openmetrics", "--quiet", "past.txt", "data"]);
            server.run(blocks, PACKAGE).await?;
        }
        let mut command = server.command(prometheus)?;
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=1y"]);
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let scheme = if web.as_ref().is_some_and(|web| web.contains("tls_server_config")) { "https" } else { "http" };
        if let Some(web) = web {
            server.write("web.yml", web.as_bytes())?;
            command.arg("--web.config.file=web.yml");
        }
        let log = server.dir().join("log");
        let ready = async |_| tokio::fs::read_to_string(&log).await.is_ok_and(|log| log.contains(READY));
        server.start(command, PACKAGE, ready).await?;
        Ok(Self { server, port, scheme })
    }

    /// `scheme://host:port`, as `rates.prometheus.url` wants it.
    pub fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.port)
    }

    /// Ends it in good order.
    pub async fn stop(&mut self) -> Result<(), Error> {
        self.server.stop(Signal::TERM).await
    }

    /// Freezes it: connections stay open, nothing answers.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Undoes `pause`.
    pub fn resume(&self) {
        self.server.resume();
    }
}

/// Scrapes each second, so that a test need not wait long for a rate.
fn config(targets: &[String]) -> String {
    let targets: Vec<String> = targets.iter().map(|target| format!("{target:?}")).collect();
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: registry\n  static_configs: \
         [{{targets: [{}]}}]\n",
        targets.join(", ")
    )
}
