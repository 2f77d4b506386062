//! A page that is scraped now.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use axum::{Router, routing::get};
use rowcount::{
    demo::prometheus::PrometheusOptions,
    prometheus::{Cause, Query},
};
use tokio::net::TcpListener;

use super::{client, query, rate, server};
use crate::fleet::eventually;

/// A registry's page; its counters have grown steadily since it was started.
async fn page() -> String {
    let started = Arc::new(Instant::now());
    let render = async move || {
        let seconds = started.elapsed().as_secs_f64();
        format!(
            "registry_http_requests_total{{method=\"get\",route=\"/v2/{{name}}/tags/list\",code=\"200\"}} {}\n\
             registry_database_queries_total{{name=\"repository_find_by_path\"}} {}\n",
            (seconds * 900.0).floor(),
            (seconds * 2700.0).floor()
        )
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let app = Router::new().route("/metrics", get(render));
    tokio::spawn(async move { axum::serve(listener, app).await });
    addr
}

#[tokio::test]
async fn a_registry_that_was_just_started_has_its_rates_after_a_few_scrapes() {
    let Some(server) = server(PrometheusOptions { targets: vec![page().await], ..Default::default() }).await else {
        return;
    };
    let prometheus = client(&server.url());
    let observed =
        eventually("a few scrapes make a rate", async || match prometheus.request_rates(&query(&[])).await {
            // So long that a late scrape makes little difference.
            Ok(observed) => Some(observed).filter(|observed| observed.window > Duration::from_secs(5)),
            Err(error) => {
                let is_too_early = matches!(error.cause, Cause::NoSeries { .. } | Cause::FewSamples { .. });
                assert!(is_too_early, "{error}");
                None
            }
        })
        .await;
    let (mean, peak) = rate(&observed, "get /v2/{name}/tags/list 200").unwrap();
    assert!((mean - 900.0).abs() < 135.0, "48 h were asked for, of which there are seconds: {observed:?}");
    assert!(peak.is_none() && observed.window < Duration::from_secs(60), "{observed:?}");
    assert!(observed.warnings[0].contains("has samples for only "), "{:?}", observed.warnings);

    let window = Duration::from_secs(5);
    let statements = prometheus.registry_statements(window, SystemTime::now()).await.unwrap();
    assert!((statements.per_second - 2700.0).abs() < 405.0, "{statements:?}");
    assert_eq!(statements.background_per_second, 0.0);

    server.pause();
    let mut config = rowcount::config::PrometheusConfig::at(&server.url()).unwrap();
    config.timeout = Duration::from_millis(200);
    let frozen = rowcount::prometheus::Prometheus::new(config).unwrap();
    let query = Query { window, ..query(&[]) };
    // Each thread of it stops when it next looks, which may be after a first answer.
    eventually("a server that is frozen does not answer", async || {
        let error = frozen.request_rates(&query).await.err()?;
        assert!(matches!(error.cause, Cause::Timeout(_)), "{error}");
        Some(())
    })
    .await;
    server.resume();
}
