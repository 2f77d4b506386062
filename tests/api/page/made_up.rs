//! What takes long to come about, or cannot yet, out of a status that is made up of real messages.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rowcount::{
    access::Access,
    credentials::{Credentials, Port},
    incoming::Incoming,
    metrics::Exporter,
    ops::{self, OpsState},
    proto::{
        json,
        v1::{GetLeaseStatusResponse, GetRowCountsResponse, Method, RowCount},
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use super::{browser::Browser, shows};

/// The ops port of no instance; its URL.
async fn made_up(counts: GetRowCountsResponse, history: Value) -> String {
    let lease = GetLeaseStatusResponse { lease: Some(Default::default()), instance: Some(Default::default()) };
    let mut status = json::value(&lease).unwrap();
    let fields = status.as_object_mut().unwrap();
    fields.extend(json::value(&counts).unwrap().as_object().unwrap().clone());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let rest = json!({"history": history, "parts": [], "build": {"version": "0", "revision": "0"}, "unixSeconds": now});
    fields.extend(rest.as_object().unwrap().clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let credentials = watch::channel(Arc::new(Credentials::default())).1;
    let state = OpsState {
        ready: Arc::new(|| true),
        parts: Arc::new(Vec::new),
        status: Arc::new(move |_| Ok(status.clone())),
        config: "".into(),
        metrics: Exporter::new().unwrap(),
        access: Access::new(Port::Http, credentials.clone()),
    };
    tokio::spawn(ops::serve(Incoming::new(listener, Port::Http, credentials), state, CancellationToken::new()));
    format!("http://{addr}/")
}

#[tokio::test]
async fn bounds_are_told_where_a_count_is_not_exact_and_a_line_has_the_gaps_of_its_values() {
    let Some(browser) = Browser::start().await else { return };
    let count = |name: &str, method: Method, lower_bound, upper_bound| RowCount {
        query_name: name.to_owned(),
        row_count: Some(9_007_199_254_740_993),
        method: method.into(),
        lower_bound,
        upper_bound,
        observe_time: Some(SystemTime::now().into()),
        ..Default::default()
    };
    let row_counts = vec![
        count("capped", Method::ExactCapped, Some(1000), None),
        count("estimated", Method::Estimated, None, None),
        count("exact", Method::Exact, Some(5), Some(5)),
        count("followed", Method::Followed, Some(1_234_000), Some(1_235_000)),
    ];
    // Every ten seconds, with half a minute left out.
    let ago = |seconds: u64| (SystemTime::now() - Duration::from_secs(seconds)).duration_since(UNIX_EPOCH).unwrap();
    let points: Vec<_> = [100, 90, 80, 40, 30].map(|seconds| json!([ago(seconds).as_millis() as u64, seconds])).into();
    let history = json!({"size": 120, "revision": "1", "points": {"exact": points}});
    let url = made_up(GetRowCountsResponse { row_counts, ..Default::default() }, history).await;
    browser.open(&url).await;
    let page = shows(&browser, "it shows them", |page| page["counts"]["exact"]["value"] != Value::Null).await;
    let told = |name: &str| ["method", "bounds", "value"].map(|field| page["counts"][name][field].as_str().unwrap());
    let value = "9,007,199,254,740,993";
    assert_eq!(told("capped"), ["exact capped", "at least 1,000", value]);
    assert_eq!(told("estimated"), ["estimated", "", value]);
    assert_eq!(told("exact"), ["exact", "", value]);
    assert_eq!(told("followed"), ["followed", "1,234,000 to 1,235,000", value]);
    let line = page["counts"]["exact"]["line"].as_str().unwrap();
    assert_eq!((line.matches('M').count(), line.matches('L').count()), (2, 3), "{line}");
    assert_eq!(browser.complaints(|_| false).await, [""; 0]);
}
