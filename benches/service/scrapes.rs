//! The metrics page, as Prometheus fetches it: one connection, again and again. In plaintext and over TLS with a token,
//! by turns, so that both meet the same machine.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use rowcount::proto::v1::{GetRowCountsRequest, row_count_service_client::RowCountServiceClient};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::{Request, metadata::MetadataValue};

use super::{certificates::Certificates, process, report::Report, stats::Sorted, steady};

const SCRAPES: usize = 2000;

/// Of one turn.
const TURN: usize = 50;

const BEARER: &str = "Bearer 0123456789abcdef0123456789abcdef";

/// Both ways of a connection.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// A connection to an ops port, and what its scrapes cost.
struct Scraper {
    stream: BufReader<Box<dyn Stream>>,
    /// Ready to be sent.
    request: String,
    pid: u32,
    took: Vec<Duration>,
    cpu: Duration,
}

pub async fn measure(mut report: Report) -> Report {
    let fleet = steady::fleet("10m", "11m").await;
    let plain = steady::holder(&fleet).await;
    let files = Certificates::new();
    files.issue("ca", "server", "DNS:localhost");
    fs::write(files.path("token"), BEARER.trim_start_matches("Bearer ")).expect("the directory is ours");
    let tokens = format!(r#"[{{"name": "bench", "role": "read", "tokenfile": "{}"}}]"#, files.text("token"));
    let [certificate, key] = ["server.pem", "server.key"].map(|file| files.text(file));
    let settings = [
        // A lease of its own, so that both hold one and show rows.
        ("ROWCOUNT_CLUSTER", "secured"),
        ("ROWCOUNT_HTTP_TLS_CERTIFICATE", &certificate),
        ("ROWCOUNT_HTTP_TLS_KEY", &key),
        ("ROWCOUNT_AUTH_TOKENS", &tokens),
    ];
    let secured = fleet.instance_with("bob", &settings).await;
    let channel = secured.channel().await;
    steady::counted(async || {
        let mut request = Request::new(GetRowCountsRequest::default());
        request.metadata_mut().insert("authorization", MetadataValue::from_static(BEARER));
        let answer = RowCountServiceClient::new(channel.clone()).get_row_counts(request).await;
        answer.expect("answers").into_inner()
    })
    .await;

    let stream = connect(&plain.http).await;
    let mut plain_scraper = Scraper::new(Box::new(stream), "", plain.pid());
    let stream = tls(&files, connect(&secured.http).await).await;
    let authorization = format!("Authorization: {BEARER}\r\n");
    let mut secured_scraper = Scraper::new(stream, &authorization, secured.pid());
    let size = plain_scraper.size().await;
    for _ in 0..SCRAPES / TURN {
        plain_scraper.turn().await;
        secured_scraper.turn().await;
    }

    let series = plain.metrics().await.lines().filter(|line| !line.starts_with('#')).count();
    let what = format!("/metrics of a holder, {SCRAPES} scrapes, {series} series, {:.1} kB", size as f64 / 1e3);
    let (plain, plain_cell) = plain_scraper.told();
    let (secured, secured_cell) = secured_scraper.told();
    report.row(what, plain_cell, "p50 ≤ 0.5 ms");
    report.row("the same over TLS 1.3 with a token", secured_cell, "");
    let ratio = secured.as_secs_f64() / plain.as_secs_f64();
    report.row("ratio of the two medians", format!("{ratio:.2} (in turns of {TURN})"), "");
    report
}

// === impl Scraper ===

impl Scraper {
    fn new(stream: Box<dyn Stream>, authorization: &str, pid: u32) -> Self {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: bench\r\n{authorization}\r\n");
        let stream = BufReader::new(stream);
        Self { stream, request, pid, took: Vec::new(), cpu: Duration::ZERO }
    }

    async fn turn(&mut self) {
        let cpu = process::cpu(self.pid);
        for _ in 0..TURN {
            let began = Instant::now();
            self.size().await;
            self.took.push(began.elapsed());
        }
        self.cpu += process::cpu(self.pid) - cpu;
    }

    /// Fetches the page; gives its size.
    async fn size(&mut self) -> usize {
        self.stream.write_all(self.request.as_bytes()).await.expect("the ops port reads");
        self.stream.flush().await.expect("the ops port reads");
        let mut length = None;
        let mut line = String::new();
        while self.stream.read_line(&mut line).await.expect("the ops port answers") > 2 {
            assert!(!line.starts_with("HTTP/") || line.contains(" 200 "), "{line}");
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok();
            }
            line.clear();
        }
        let mut page = vec![0; length.expect("the page has a length")];
        self.stream.read_exact(&mut page).await.expect("the ops port sends all of it");
        page.len()
    }

    /// The median, and the cell of the table.
    fn told(self) -> (Duration, String) {
        let cpu_us = self.cpu.as_secs_f64() * 1e6 / self.took.len() as f64;
        let took = Sorted::new(self.took);
        (took.median(), format!("{}, {cpu_us:.0} us of CPU each", took.spread()))
    }
}

async fn connect(addr: &str) -> TcpStream {
    let stream = TcpStream::connect(addr).await.expect("the ops port listens");
    stream.set_nodelay(true).expect("it is a socket");
    stream
}

async fn tls(files: &Certificates, stream: TcpStream) -> Box<dyn Stream> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(&files.read("ca.pem")).expect("openssl made it");
    roots.add(authority).expect("it is an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("ring has them all");
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("it is a name");
    Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("the handshake succeeds"))
}
