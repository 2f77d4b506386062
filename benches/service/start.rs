//! How large the binary is, and how soon it is ready.

use std::{
    fs,
    time::{Duration, Instant},
};

use rowcount::demo::server::free_port;

use super::{
    fleet::http_get,
    report::{Report, span},
    stats::Sorted,
    steady,
};

const STARTS: usize = 20;

/// Between two tries: what it may blur is small beside a start.
const LOOK: Duration = Duration::from_micros(200);

pub async fn measure(mut report: Report) -> Report {
    let bytes = fs::metadata(env!("CARGO_BIN_EXE_rowcount")).expect("the binary is built").len();
    report.row("binary, stripped", format!("{:.1} MB", bytes as f64 / 1e6), "");

    let fleet = steady::fleet("10s", "30s").await;
    let mut took = Vec::new();
    for _ in 0..STARTS {
        let port = free_port().expect("a port is free");
        let http = format!("127.0.0.1:{port}");
        let began = Instant::now();
        let settings = [("ROWCOUNT_HTTP_ADDR", http.as_str())];
        let (instance, ready) = tokio::join!(fleet.instance_with("alice", &settings), async {
            while !is_ready(&http).await {
                tokio::time::sleep(LOOK).await;
            }
            began.elapsed()
        });
        took.push(ready);
        drop(instance);
    }
    let took = Sorted::new(took);
    let measured = format!("p50 {}, max {}", span(took.median()), span(took.max()));
    report.row(format!("start of the process to /readyz 200, {STARTS} starts"), measured, "");
    report
}

async fn is_ready(http: &str) -> bool {
    http_get(http, "/readyz").await.is_ok_and(|(status, _)| status == 200)
}
