//! The traces of a real instance.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use rowcount::proto::v1;
use tokio::{sync::mpsc, time::timeout};
use tonic::Request;

use super::{ExportTraceServiceRequest, PARENT_ID, TRACE_ID, TRACEPARENT, receiver};
use crate::fleet::{Fleet, PATIENCE};

const SQL: &str = "SELECT 40 + 2 AS a_number_of_rows";

/// Spans as they come, kept.
struct Spans {
    arriving: mpsc::Receiver<ExportTraceServiceRequest>,
    arrived: Vec<Span>,
}

// === impl Spans ===

impl Spans {
    /// The first span of this name that `is_it`, as soon as it has come.
    async fn find(&mut self, name: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        let search = async {
            loop {
                if let Some(span) = self.arrived.iter().find(|span| span.name == name && is_it(span)) {
                    return span.clone();
                }
                let request = self.arriving.recv().await.expect("the receiver stands");
                let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                self.arrived.extend(scopes.flat_map(|scope| scope.spans));
            }
        };
        let found = timeout(PATIENCE, search).await.ok();
        found.unwrap_or_else(|| {
            panic!("no such {name:?} among {:#?}", self.arrived.iter().map(attributes).collect::<Vec<_>>())
        })
    }
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    let text = |value| match value {
        Value::StringValue(text) => text,
        other => format!("{other:?}"),
    };
    let pairs = span.attributes.iter().cloned();
    let values = pairs.filter_map(|pair| Some((pair.key, text(pair.value?.value?))));
    values.chain([("name".to_owned(), span.name.clone())]).collect()
}

#[tokio::test]
async fn an_instance_traces_calls_under_their_callers_and_collections_with_their_queries_and_the_lease() {
    let (endpoint, arriving) = receiver().await;
    let mut fleet = Fleet::servers().await;
    fleet.sql("CREATE TABLE tags ()").await;
    for (variable, value) in [
        ("ROWCOUNT_TRACING_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("ROWCOUNT_CATALOG", "none"),
        ("ROWCOUNT_QUERIES_TAGS_ENABLED", "true"),
        ("ROWCOUNT_QUERIES_MINE_SQL", SQL),
        ("ROWCOUNT_QUERIES_BROKEN_TABLE", "nowhere"),
    ] {
        fleet.set(variable, value);
    }
    let instance = fleet.instance("a").await;
    let mut request = Request::new(v1::GetLeaseStatusRequest::default());
    request.metadata_mut().insert("traceparent", TRACEPARENT.parse().unwrap());
    instance.client().await.get_lease_status(request).await.unwrap();
    let mut spans = Spans { arriving, arrived: Vec::new() };

    let rpc = spans.find("rowcount.v1.RowCountService/GetLeaseStatus", |_| true).await;
    assert_eq!((&rpc.trace_id[..], &rpc.parent_span_id[..]), (&TRACE_ID[..], &PARENT_ID[..]));
    assert_eq!(rpc.kind(), SpanKind::Server);
    let told = attributes(&rpc);
    assert_eq!((told["rpc.system.name"].as_str(), told["rpc.response.status_code"].as_str()), ("grpc", "OK"));
    let asked = spans.find("lease status", |span| span.parent_span_id == rpc.span_id).await;
    assert_eq!((&asked.trace_id, attributes(&asked)["db.system.name"].as_str()), (&rpc.trace_id, "redis"));

    for name in ["lease acquire", "lease renew"] {
        let command = spans.find(name, |_| true).await;
        assert!(command.parent_span_id.is_empty(), "a trace of its own, not one of the whole life: {command:?}");
        assert_eq!((command.kind(), attributes(&command)["db.system.name"].as_str()), (SpanKind::Client, "redis"));
    }

    let collection = spans.find("collection", |_| true).await;
    assert!(collection.parent_span_id.is_empty(), "{collection:?}");
    let told = attributes(&collection);
    assert_eq!((told["trigger"].as_str(), told["state"].as_str()), ("leadership", "partially_succeeded"));
    for (name, query, failure) in
        [("SELECT tags", "tags", None), ("SELECT", "mine", None), ("SELECT nowhere", "broken", Some("table_missing"))]
    {
        let count = spans.find(name, |span| span.parent_span_id == collection.span_id).await;
        assert_eq!((&count.trace_id, count.kind()), (&collection.trace_id, SpanKind::Client));
        let told = attributes(&count);
        assert_eq!(
            ["db.system.name", "db.query.summary", "query_name"].map(|key| told[key].as_str()),
            ["postgresql", name, query]
        );
        assert_eq!(told.get("error.type").map(String::as_str), failure);
        let is_error = count.status.is_some_and(|status| status.code() == StatusCode::Error);
        assert_eq!(is_error, failure.is_some(), "{query}");
    }
    for text in spans.arrived.iter().flat_map(attributes) {
        assert!(!text.1.contains("a_number_of_rows") && !text.1.contains("count(*)"), "SQL in a trace: {text:?}");
    }
}
