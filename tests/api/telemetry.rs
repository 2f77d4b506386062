//! The whole metrics page, and traces as a collector of them receives them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, HeaderValue};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
};
use rowcount::{
    claim::{Claim, Grant, LeaseState, Observation, Role},
    clock::{Clock, SystemClock},
    collection::{Collection, CollectionId, CollectionState, Trigger},
    config::{LogConfig, LogFormatter, TracingConfig},
    credentials::Port,
    failure::FailureReason,
    follow::Void,
    metrics::{
        Exporter, build,
        collector::CollectorMetrics,
        estimate::{self, EstimateMetrics, Shown},
        follow::FollowMetrics,
        lease::{AcquireResult, LeaseMetrics, RenewalResult, Transition},
        query::QueryMetrics,
        reload::{self, ReloadMetrics},
        rows::{self, RowsSource},
        rpc::RpcMetrics,
        store::{self, Pool},
    },
    query::{Method, QueryName},
    rates::{costs::Range, operation::PerOperation},
    snapshot::{Count, Snapshot},
    telemetry::{self, Guard, Identity},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tracing::{Level, Subscriber};

use crate::tools;

mod traces;

const BOUND: Duration = Duration::from_secs(10);
const GOLDEN: &str = include_str!("golden/metrics.txt");
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE_ID: [u8; 16] =
    [0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];
const PARENT_ID: [u8; 8] = [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7];

/// Keeps what it is sent, for the test to look at.
struct Receiver(mpsc::Sender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[test]
fn the_whole_page_is_as_it_was() {
    let exporter = holder();
    let page: String = exporter.page().unwrap().lines().map(|line| normalised(line) + "\n").collect();
    assert!(page == GOLDEN, "the page is now:\n{page}");
}

#[test]
fn before_the_first_collection_the_registrys_families_have_no_sample() {
    let exporter = Exporter::new().unwrap();
    let meter = exporter.meter();
    let _metrics = (CollectorMetrics::new(&meter), QueryMetrics::new(&meter, &[name("tags")]));
    rows::export(&meter, &(Arc::new(|| None) as RowsSource));
    let page = exporter.page().unwrap();
    assert!(!page.contains("registry_database"), "{page}");
    assert!(page.contains(r#"rowcount_query_skipped_total{query_name="tags"} 0"#), "{page}");
}

#[test]
fn promtool_has_nothing_against_the_page() {
    let Some(promtool) = tools::tool("promtool") else { return };
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(holder().page().unwrap().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_reaches_the_collector_of_traces_as_a_child_of_the_callers() {
    let (endpoint, mut rx) = receiver().await;
    let (subscriber, guard) = traced(endpoint);
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!(target: "rowcount::grpc", "rpc");
        telemetry::parent_from(&headers(), &span);
        span.in_scope(|| tracing::debug_span!(target: "rowcount::lease", "renew").in_scope(|| ()));
        tracing::error_span!(target: "h2", "of a dependency").in_scope(|| ());
    });
    timeout(BOUND, guard.shutdown()).await.expect("the guard keeps its bound");

    let request = timeout(BOUND, rx.recv()).await.expect("spans arrive").unwrap();
    let [resource_spans] = request.resource_spans.as_slice() else { panic!("one resource: {request:?}") };
    let attributes: BTreeMap<_, _> = resource_spans
        .resource
        .iter()
        .flat_map(|resource| &resource.attributes)
        .filter_map(|pair| Some((pair.key.as_str(), pair.value.as_ref()?.value.as_ref()?)))
        .collect();
    let text = |text: &str| Value::StringValue(text.to_owned());
    assert_eq!(attributes["service.name"], &text("rowcount"));
    assert_eq!(attributes["service.instance.id"], &text("alice"));
    let spans: BTreeMap<_, _> = resource_spans
        .scope_spans
        .iter()
        .flat_map(|scope| &scope.spans)
        .map(|span| (span.name.as_str(), span))
        .collect();
    assert_eq!(spans.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from(["renew", "rpc"]));
    assert_eq!(
        (spans["rpc"].trace_id.as_slice(), spans["rpc"].parent_span_id.as_slice()),
        (&TRACE_ID[..], &PARENT_ID[..])
    );
    assert_eq!(
        (&spans["renew"].trace_id, &spans["renew"].parent_span_id),
        (&spans["rpc"].trace_id, &spans["rpc"].span_id)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_of_traces_that_never_answers_holds_nothing_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (subscriber, guard) = traced(format!("http://{}", silent.local_addr().unwrap()));
    let start = Instant::now();
    tracing::subscriber::with_default(subscriber, || {
        // More than the queue of the exporter holds.
        for _ in 0..3_000 {
            tracing::info_span!(target: "rowcount::grpc", "rpc").in_scope(|| ());
        }
    });
    guard.shutdown().await;
    // One export gives up after ten seconds: whoever waited for it is later than this, a machine under load is not.
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_endpoint_that_is_none_is_refused_with_its_setting() {
    let config = TracingConfig { endpoint: Some("http://no host".to_owned()) };
    let error = telemetry::subscriber(&log(), &config, identity(), false, io::sink).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("tracing.endpoint"), "{error}");
}

/// The page of an instance that holds the lease and has counted.
fn holder() -> Exporter {
    let exporter = Exporter::new().unwrap();
    let meter = exporter.meter();
    let (blobs, tags) = (name("blobs"), name("tags"));
    build::export(&meter);
    ReloadMetrics::new(&meter).loaded();
    let end = |port| (port == Port::Http).then(SystemTime::now);
    reload::export_not_after(&meter, Arc::new(end));
    store::export_postgres(&meter, Arc::new(|| Some(true)), Arc::new(|| Pool { in_use: 1, idle: 1, max: 2 }));
    store::export_redis(&meter, Arc::new(|| Some(false)));

    let queries = QueryMetrics::new(&meter, [&blobs, &tags]);
    for (name, took, failure) in
        [(&blobs, Duration::from_millis(20), None), (&tags, Duration::from_secs(3), Some(FailureReason::Timeout))]
    {
        queries.asked(name, took);
        queries.ended(name, failure);
    }
    queries.skipped(&tags);

    let collector = CollectorMetrics::new(&meter);
    collector.collection_began();
    collector.collection_ended(&collection(CollectionState::Succeeded), Duration::from_millis(700));
    collector.collection_began();
    collector.joined();

    let lease = LeaseMetrics::new(&meter);
    lease.acquire(AcquireResult::Granted);
    lease.transition(Transition::Acquired);
    lease.handover(Duration::from_millis(3));
    lease.renewal(RenewalResult::Reclaimed, Duration::from_millis(2));
    let (_, role) = watch::channel(Role::Holder(claim()));
    let seen = Observation {
        state: LeaseState::Held,
        epoch: 1,
        quarantine_remaining: Duration::from_secs(12),
        observe_time: SystemTime::now(),
        ..Observation::unknown()
    };
    lease.watch(role, move || Some(seen.clone()), Arc::new(SystemClock));

    let rpc = RpcMetrics::new(&meter);
    rpc.observe(&"rowcount.v1.RowCountService/GetRowCounts".into(), Code::Ok, Duration::from_micros(300));
    rpc.observe(&"rowcount.v1.RowCountService/GetRowCounts".into(), Code::NotFound, Duration::from_micros(300));

    let blobs_count = Count {
        complete_until_time: Some(SystemTime::now()),
        anchor_time: Some(SystemTime::now()),
        ..count(Method::Followed, 9_000_000_000)
    };
    let snapshot = Arc::new(Snapshot {
        epoch: 1,
        token: "token".to_owned(),
        revision: 1,
        publish_time: SystemTime::now(),
        last_collection: None,
        counts: [(blobs, blobs_count), (tags, count(Method::Exact, 184))].into(),
    });
    let source: RowsSource = Arc::new(move || Some(snapshot.clone()));
    rows::export(&meter, &source);
    let follow = FollowMetrics::new(&meter, &source);
    follow.read(Duration::from_millis(2));
    follow.anchored(true, Duration::from_millis(30));
    follow.voided(Void::Filenode, 3);
    follow.restless(Some(1));

    let estimates = EstimateMetrics::new(&meter);
    estimates.made();
    estimates.failed();
    let range = Range { low: 1.0, expected: 2.5, high: 40.0 };
    let shown = Shown { totals: PerOperation::from_fn(|_| range), unmapped_share: 0.5 };
    estimate::export(&meter, Arc::new(move || Some(shown)));
    exporter
}

fn claim() -> Claim {
    let now = SystemClock.now();
    Claim {
        grant: Grant { token: "token".to_owned(), epoch: 1 },
        mark_us: 1,
        acquire_time: SystemTime::now(),
        soft_deadline: now + Duration::from_secs(600),
        deadline: now + Duration::from_secs(600),
    }
}

fn name(text: &str) -> QueryName {
    text.parse().unwrap()
}

fn count(method: Method, value: i64) -> Count {
    Count {
        value: Some(value),
        lower_bound: Some(value - 1),
        upper_bound: Some(value + 1),
        observe_time: Some(SystemTime::now()),
        ..Count::never_run(method, Duration::from_secs(10), Duration::from_secs(30))
    }
}

fn collection(state: CollectionState) -> Collection {
    Collection {
        id: CollectionId::generate(),
        state,
        trigger: Trigger::Leadership,
        create_time: SystemTime::now(),
        start_time: Some(SystemTime::now()),
        end_time: Some(SystemTime::now()),
        query_names: BTreeSet::new(),
        failed_query_names: BTreeSet::new(),
        instance_id: "alice".to_owned(),
        epoch: 1,
        failure: None,
    }
}

/// The line without the value where that differs from run to run.
fn normalised(line: &str) -> String {
    if line.starts_with('#') {
        return line.to_owned();
    }
    let (series, value) = line.rsplit_once(' ').unwrap();
    if series.starts_with("rowcount_build_info") {
        return format!(r#"rowcount_build_info{{revision="_",version="_"}} {value}"#);
    }
    let varies = series.starts_with("process_") || (series.contains("_timestamp_seconds") && value != "0");
    format!("{series} {}", if varies { "_" } else { value })
}

/// A collector of traces: its endpoint, and what it is sent.
async fn receiver() -> (String, mpsc::Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (tx, rx) = mpsc::channel(8);
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(Receiver(tx)))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (endpoint, rx)
}

fn traced(endpoint: String) -> (impl Subscriber + Send + Sync, Guard) {
    let config = TracingConfig { endpoint: Some(endpoint) };
    telemetry::subscriber(&log(), &config, identity(), false, io::sink).unwrap()
}

fn log() -> LogConfig {
    LogConfig { level: Level::INFO, formatter: LogFormatter::Json, collected: Level::DEBUG }
}

fn identity() -> Identity<'static> {
    Identity { instance_id: "alice", cluster: "default" }
}

fn headers() -> HeaderMap {
    let value = HeaderValue::from_static(TRACEPARENT);
    HeaderMap::from_iter([(http::HeaderName::from_static("traceparent"), value)])
}
