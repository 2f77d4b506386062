//! Clients that are not ours: grpcurl, grpcio in Python, and the older reflection that some tools still speak.

use std::{path::Path, process::Output};

use rowcount::proto::v1;
use serde_json::Value;
use tokio::process::Command;
use tonic_reflection::pb::v1alpha::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::{
    fleet::{Fleet, Instance, eventually},
    tools,
};

/// An instance that has counted one namespace.
async fn instance(fleet: &Fleet) -> Instance {
    fleet.sql("INSERT INTO top_level_namespaces (name) VALUES ('group')").await;
    let instance = fleet.instance("a").await;
    eventually("the namespace is counted", async || {
        (instance.count("top_level_namespaces").await.row_count == Some(1)).then_some(())
    })
    .await;
    instance
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What a program writes when it succeeds.
async fn said(command: &mut Command) -> String {
    let output = command.kill_on_drop(true).output().await.expect("it starts");
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn grpcurl_lists_describes_calls_and_prints_what_is_wrong() {
    let Some(grpcurl) = tools::tool("grpcurl") else { return };
    let fleet = Fleet::start().await;
    let instance = instance(&fleet).await;
    let grpcurl = |before: &[&str], after: &[&str]| {
        let mut command = Command::new(&grpcurl);
        command.arg("-plaintext").args(before).arg(&instance.grpc).args(after);
        command
    };

    let services = said(&mut grpcurl(&[], &["list"])).await;
    for service in ["rowcount.v1.RowCountService", "rowcount.v1.RateService", "grpc.health.v1.Health"] {
        assert!(services.lines().any(|line| line == service), "{services}");
    }
    let method = said(&mut grpcurl(&[], &["describe", "rowcount.v1.RowCountService.TriggerCollection"])).await;
    assert!(
        method.contains("// Has a collection made. Every count in it is read after this call arrived."),
        "{method}"
    );
    let message = said(&mut grpcurl(&[], &["describe", "rowcount.v1.RowCount"])).await;
    assert!(message.contains("// Number of rows at observe_time; unset when the query never succeeded."), "{message}");

    let call = "rowcount.v1.RowCountService/GetRowCounts";
    let counts = said(&mut grpcurl(&["-d", r#"{"query_names": ["top_level_namespaces"]}"#], &[call])).await;
    let counts: Value = serde_json::from_str(&counts).expect("JSON");
    assert_eq!(counts["rowCounts"][0]["rowCount"], "1", "{counts}");

    let rates =
        r#"{"request_rates": {"rates": [{"method": "GET", "handler": "manifest", "requests_per_second": 10}]}}"#;
    let estimate = said(&mut grpcurl(&["-d", rates], &["rowcount.v1.RateService/EstimateRates"])).await;
    let estimate: Value = serde_json::from_str(&estimate).expect("JSON");
    assert_eq!(estimate["totals"][0]["perSecond"], 20, "{estimate}");

    let refused = grpcurl(&["-d", r#"{"query_names": ["nobody"]}"#], &[call]).output().await.unwrap();
    let told = text(&refused);
    assert!(!refused.status.success(), "{told}");
    for part in ["NotFound", "no such query: nobody", "google.rpc.ErrorInfo", "UNKNOWN_QUERY", "rowcount.v1"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let invalid = grpcurl(&["-d", r#"{"max_age": "-1s"}"#], &[call]).output().await.unwrap();
    let told = text(&invalid);
    for part in ["InvalidArgument", "google.rpc.BadRequest", "max_age"] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[tokio::test]
async fn a_client_in_python_reads_health_counts_a_stream_and_rich_errors() {
    let Some(python) = tools::python() else { return };
    let stubs = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut protoc = Command::new(&python);
    protoc.current_dir(root).args(["-m", "grpc_tools.protoc", "-Iproto", "-Ithird_party"]);
    for out in ["python_out", "grpc_python_out"] {
        protoc.arg(format!("--{out}={}", stubs.path().display()));
    }
    said(protoc.arg("rowcount/v1/row_count_service.proto")).await;

    let fleet = Fleet::start().await;
    let instance = instance(&fleet).await;
    let script = root.join("tests/api/foreign_clients/client.py");
    let told = said(Command::new(&python).arg(script).arg(&instance.grpc).env("PYTHONPATH", stubs.path())).await;
    assert_eq!(told.trim(), "done");
}

#[tokio::test]
async fn the_older_reflection_answers_too() {
    let fleet = Fleet::start().await;
    let instance = fleet.instance("a").await;
    let mut client = ServerReflectionClient::new(instance.channel().await);
    let ask = |ask| ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let symbol = "rowcount.v1.RowCountService".to_owned();
    let asked = [MessageRequest::ListServices(String::new()), MessageRequest::FileContainingSymbol(symbol.clone())];
    let mut answers =
        client.server_reflection_info(tokio_stream::iter(asked.map(ask))).await.expect("answers").into_inner();

    let list = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = list else { panic!("{list:?}") };
    assert!(list.service.iter().any(|service| service.name == symbol), "{list:?}");
    let files = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::FileDescriptorResponse(files)) = files else { panic!("{files:?}") };
    assert!(!files.file_descriptor_proto.is_empty());
    instance.client().await.list_queries(v1::ListQueriesRequest {}).await.expect("and the service is there");
}
