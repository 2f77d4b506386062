//! The metrics page, as Prometheus fetches it: one connection, again and again.

use std::time::Instant;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{process, report::Report, stats::Sorted, steady};

const SCRAPES: usize = 2000;

pub async fn measure(mut report: Report) -> Report {
    let fleet = steady::fleet("10m", "11m").await;
    let holder = steady::holder(&fleet).await;
    let stream = TcpStream::connect(&holder.http).await.expect("the ops port listens");
    stream.set_nodelay(true).expect("it is a socket");
    let mut stream = BufReader::new(stream);
    let cpu = process::cpu(holder.pid());
    let mut took = Vec::new();
    let mut size = 0;
    for _ in 0..SCRAPES {
        let began = Instant::now();
        size = scrape(&mut stream).await;
        took.push(began.elapsed());
    }
    let cpu_us = (process::cpu(holder.pid()) - cpu).as_secs_f64() * 1e6 / SCRAPES as f64;
    let series = holder.metrics().await.lines().filter(|line| !line.starts_with('#')).count();
    let what = format!("/metrics of a holder, {SCRAPES} scrapes, {series} series, {:.1} kB", size as f64 / 1e3);
    let measured = format!("{}, {cpu_us:.0} us of CPU each", Sorted::new(took).spread());
    report.row(what, measured, "p50 ≤ 0.5 ms");
    report
}

/// Fetches the page; gives its size.
async fn scrape(stream: &mut BufReader<TcpStream>) -> usize {
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n").await.expect("the ops port reads");
    let mut length = None;
    let mut line = String::new();
    while stream.read_line(&mut line).await.expect("the ops port answers") > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok();
        }
        line.clear();
    }
    let mut page = vec![0; length.expect("the page has a length")];
    stream.read_exact(&mut page).await.expect("the ops port sends all of it")
}
