//! Request rates out of a real Prometheus, with a past that promtool made: each number is one that was put in.

#![allow(clippy::unwrap_used, reason = "all of it is test code, also what is no test itself")]

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use rowcount::{
    config::PrometheusConfig,
    demo::prometheus::{PrometheusOptions, PrometheusServer},
    prometheus::{Error, Observed, Prometheus, Query, Statements},
};

use crate::tools;

mod access;
mod coverage;
mod lies;
mod live;
mod statements;

const HOUR: i64 = 3600;

/// A past: samples of counters once a minute, told in seconds before the end.
struct Past {
    /// The end, a full minute; the last sample is of this second.
    end: SystemTime,
    text: String,
}

// === impl Past ===

impl Past {
    fn of(metric: &str) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(now / 60 * 60);
        Self { end, text: format!("# TYPE {metric} counter\n") }
    }

    /// A series from `from` seconds before the end until `to`, which grows as `rate` says of each second before the
    /// end, from nothing.
    fn series(mut self, series: &str, from: i64, to: i64, rate: impl Fn(i64) -> f64) -> Self {
        let end = i64::try_from(self.end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let mut value = 0.0;
        for before in (to / 60..=from / 60).rev().map(|minute| minute * 60) {
            writeln!(self.text, "{series} {value} {}", end - before).unwrap();
            value += rate(before) * 60.0;
        }
        self
    }

    /// A server with this past, unless a tool is missing.
    async fn server(&self) -> Option<PrometheusServer> {
        server(PrometheusOptions { past: Some(format!("{}# EOF\n", self.text)), ..Default::default() }).await
    }

    fn ago(&self, seconds: i64) -> SystemTime {
        self.end - Duration::from_secs(seconds.unsigned_abs())
    }
}

/// A server with the programs that are there, unless one is missing.
async fn server(options: PrometheusOptions) -> Option<PrometheusServer> {
    let (prometheus, promtool) = (tools::tool("prometheus")?, tools::tool("promtool")?);
    Some(PrometheusServer::start(PrometheusOptions { prometheus, promtool, ..options }).await.unwrap())
}

fn client(url: &str) -> Prometheus {
    Prometheus::new(PrometheusConfig::at(url).unwrap()).unwrap()
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

/// As the published expression has it.
fn query(times: &[SystemTime]) -> Query {
    let excluded_codes = ["500", "401"].map(|code| code.parse().unwrap()).to_vec();
    Query { window: hours(48), times: times.to_vec(), excluded_codes }
}

async fn observed(server: &PrometheusServer, times: &[SystemTime]) -> Result<Observed, Error> {
    client(&server.url()).request_rates(&query(times)).await
}

async fn counted(server: &PrometheusServer, window: Duration, at: SystemTime) -> Result<Statements, Error> {
    client(&server.url()).registry_statements(window, at).await
}

/// Rate and peak of `method handler code`.
fn rate(observed: &Observed, pair: &str) -> Option<(f64, Option<f64>)> {
    let of = |rate: &rowcount::rates::request::RequestRate| format!("{} {} {}", rate.method, rate.handler, rate.code);
    let mut found = observed.rates.iter().filter(|rate| of(rate) == pair);
    let rate = found.next()?;
    assert!(found.next().is_none(), "{pair} is there twice: {observed:?}");
    Some((rate.per_second, rate.peak_per_second))
}

#[track_caller]
fn close(what: &str, got: f64, want: f64) {
    assert!((got - want).abs() <= want.abs() * 0.005, "{what}: want {want}, got {got}");
}

#[track_caller]
fn close_pair(observed: &Observed, pair: &str, mean: f64, peak: f64) {
    let Some((got, got_peak)) = rate(observed, pair) else { panic!("{pair} is missing: {observed:?}") };
    close(pair, got, mean);
    close(&format!("peak of {pair}"), got_peak.unwrap_or_else(|| panic!("no peak of {pair}")), peak);
}

/// A registry of three days with two pods, one of which was replaced 20 hours ago.
fn three_days() -> Past {
    let requests = |labels: &str| format!("registry_http_requests_total{{{labels}}}");
    let manifests = "handler=\"manifest\",method=\"get\",code=\"200\"";
    let blobs = "route=\"/v2/{name}/blobs/{digest}\",code=\"200\"";
    let whole = 72 * HOUR;
    Past::of("registry_http_requests")
        .series(&requests(&format!("{manifests},pod=\"a\"")), whole, 0, |_| 6.0)
        .series(&requests(&format!("{manifests},pod=\"b\"")), whole, 20 * HOUR, |_| 4.0)
        .series(&requests(&format!("{manifests},pod=\"c\"")), 20 * HOUR - 60, 0, |_| 4.0)
        .series(&requests(&format!("{blobs},method=\"GET\"")), whole, 0, |_| 2.0)
        .series(&requests(&format!("{blobs},method=\"get\"")), whole, 0, |_| 1.0)
        .series(&requests("route=\"/v2/\",method=\"get\",code=\"401\""), whole, 0, |_| 7.0)
        .series(&requests("route=\"/v2/\",method=\"get\",code=\"500\""), whole, 0, |_| 5.0)
        .series(&requests("route=\"/v2/\",method=\"get\",code=\"502\""), whole, 0, |_| 3.0)
        // Ten minutes of 20/s, thirty hours ago.
        .series(&requests("handler=\"manifest\",method=\"put\",code=\"201\""), whole, 0, |before| {
            if (30 * HOUR..30 * HOUR + 600).contains(&before) { 20.0 } else { 0.5 }
        })
        // Only in the last day.
        .series(&requests("handler=\"catalog\",method=\"get\",code=\"200\""), whole, 0, |before| {
            if before <= 24 * HOUR { 4.0 } else { 0.0 }
        })
        // Gone before the last two days.
        .series(&requests("handler=\"tags\",method=\"delete\",code=\"202\""), whole, 49 * HOUR, |_| 2.0)
}

#[tokio::test]
async fn each_rate_is_what_was_requested_and_a_pod_that_took_over_is_no_news() {
    let past = three_days();
    let Some(server) = past.server().await else { return };
    let observed = observed(&server, &[past.end]).await.unwrap();
    assert_eq!(observed.window, hours(48));
    let promql = "sum by (handler, route, method, code) \
                  (rate(registry_http_requests_total{code!=\"500\",code!=\"401\"}[48h]))";
    assert_eq!(observed.promql, promql);
    assert_eq!(observed.warnings, Vec::<String>::new());

    close_pair(&observed, "get manifest 200", 10.0, 10.0);
    close_pair(&observed, "GET /v2/{name}/blobs/{digest} 200", 3.0, 3.0);
    close_pair(&observed, "get /v2/ 502", 3.0, 3.0);
    close_pair(&observed, "put manifest 201", (0.5 * (172_800.0 - 600.0) + 20.0 * 600.0) / 172_800.0, 20.0);
    close_pair(&observed, "get catalog 200", 2.0, 4.0);
    assert_eq!(observed.rates.len(), 5, "{observed:?}");
}

#[tokio::test]
async fn several_times_are_averaged_and_what_is_absent_at_one_counts_as_nothing_there() {
    let past = three_days();
    let Some(server) = past.server().await else { return };
    let observed = observed(&server, &[past.end, past.ago(24 * HOUR)]).await.unwrap();
    assert_eq!(observed.warnings, Vec::<String>::new());
    close_pair(&observed, "get manifest 200", 10.0, 10.0);
    close_pair(&observed, "get catalog 200", 1.0, 4.0);
    close_pair(&observed, "delete tags 202", 2.0 * 23.0 / 48.0 / 2.0, 2.0);
}

#[tokio::test]
async fn codes_are_left_out_as_asked_and_a_window_without_a_peak_has_none() {
    let past = three_days();
    let Some(server) = past.server().await else { return };
    let prometheus = client(&server.url());
    let at = |codes: &[&str], window| Query {
        window,
        times: vec![past.end],
        excluded_codes: codes.iter().map(|code| code.parse().unwrap()).collect(),
    };
    let all = prometheus.request_rates(&at(&[], hours(48))).await.unwrap();
    assert!(all.promql.contains("registry_http_requests_total[48h]"), "{}", all.promql);
    for (pair, want) in [("get /v2/ 401", 7.0), ("get /v2/ 500", 5.0), ("get /v2/ 502", 3.0)] {
        close_pair(&all, pair, want, want);
    }
    let some = prometheus.request_rates(&at(&["5xx", "401"], Duration::from_secs(300))).await.unwrap();
    assert!(some.promql.contains("{code!~\"5..\",code!=\"401\"}[5m]"), "{}", some.promql);
    assert!(some.rates.iter().all(|rate| rate.handler != "/v2/" && rate.peak_per_second.is_none()), "{some:?}");
    close("manifests", rate(&some, "get manifest 200").unwrap().0, 10.0);

    let none = prometheus.request_rates(&at(&["2xx", "401", "5xx"], hours(1))).await.unwrap_err().to_string();
    let want =
        "has no series of registry_http_requests_total{code!~\"2..\",code!=\"401\",code!~\"5..\"} in the 1h before";
    assert!(none.contains(want), "{none}");
}
