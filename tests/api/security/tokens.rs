//! Bearer tokens and their roles, on ports without TLS.

use std::time::Duration;

use rowcount::proto::v1::{
    self, rate_service_client::RateServiceClient, row_count_service_client::RowCountServiceClient,
};
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt;

use super::{Bearer, Client, OPERATE, READ, Secured, exchange};
use crate::fleet::{Instance, sample, span};

async fn client(instance: &Instance, token: Option<&str>) -> Client {
    RowCountServiceClient::with_interceptor(instance.channel().await, Bearer(token.map(str::to_owned)))
}

fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().expect("an ErrorInfo").reason)
}

#[tokio::test]
async fn a_call_needs_a_token_that_is_known_and_good_for_it() {
    let secured = Secured::start().await;
    let instance = secured.instance([secured.tokens()]).await;
    let trigger = v1::TriggerCollectionRequest::default;
    let resign = || v1::ResignLeaseRequest { hold_off_duration: Some(span(Duration::from_millis(1))) };

    for (token, want) in [
        (None, "TOKEN_REQUIRED"),
        (Some("hunter2"), "UNKNOWN_TOKEN"),
        (Some(&READ[1..]), "UNKNOWN_TOKEN"),
        (Some(""), "UNKNOWN_TOKEN"),
    ] {
        let denied =
            client(&instance, token).await.get_row_counts(v1::GetRowCountsRequest::default()).await.unwrap_err();
        assert_eq!(reason(&denied), (Code::Unauthenticated, want.to_owned()), "{token:?}");
        let denied = client(&instance, token).await.trigger_collection(trigger()).await.unwrap_err();
        assert_eq!(denied.code(), Code::Unauthenticated, "{token:?}");
    }

    let mut read = client(&instance, Some(READ)).await;
    read.get_row_counts(v1::GetRowCountsRequest::default()).await.unwrap();
    read.watch_row_counts(v1::WatchRowCountsRequest::default()).await.unwrap();
    read.get_lease_status(v1::GetLeaseStatusRequest::default()).await.unwrap();
    let denied = read.trigger_collection(trigger()).await.unwrap_err();
    assert_eq!(reason(&denied), (Code::PermissionDenied, "ROLE_REQUIRED".to_owned()));
    assert_eq!(denied.message(), "the token read has the role read, and this needs operate");
    assert_eq!(denied.get_details_error_info().unwrap().metadata["role"], "operate");
    assert_eq!(read.resign_lease(resign()).await.unwrap_err().code(), Code::PermissionDenied);
    let mut rates = RateServiceClient::with_interceptor(instance.channel().await, Bearer(Some(READ.to_owned())));
    rates.get_cost_model(v1::GetCostModelRequest::default()).await.unwrap();
    let denied = rates.validate_rates(v1::ValidateRatesRequest::default()).await.unwrap_err();
    assert_eq!(reason(&denied), (Code::PermissionDenied, "ROLE_REQUIRED".to_owned()));

    let mut operate = client(&instance, Some(OPERATE)).await;
    operate.get_row_counts(v1::GetRowCountsRequest::default()).await.unwrap();
    operate.trigger_collection(trigger()).await.unwrap();
    let page = page(&instance, "/metrics", Some(READ)).await;
    let series = "rpc_server_call_duration_seconds_count{rpc_method=\"rowcount.v1.RowCountService/TriggerCollection\",\
                  rpc_response_status_code=\"PERMISSION_DENIED\",rpc_system_name=\"grpc\"}";
    assert_eq!(sample(&page.body, series), Some(1.0), "a call that is denied is counted");
}

#[tokio::test]
async fn reflection_is_for_readers() {
    let secured = Secured::start().await;
    let instance = secured.instance([secured.tokens()]).await;
    let ask = || {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        tokio_stream::iter([ServerReflectionRequest { host: String::new(), message_request }])
    };
    let mut nobody = ServerReflectionClient::new(instance.channel().await);
    let denied = nobody.server_reflection_info(ask()).await.unwrap_err();
    assert_eq!(reason(&denied), (Code::Unauthenticated, "TOKEN_REQUIRED".to_owned()));
    let bearer = Bearer(Some(READ.to_owned()));
    let mut reader = ServerReflectionClient::with_interceptor(instance.channel().await, bearer);
    assert!(reader.server_reflection_info(ask()).await.unwrap().into_inner().message().await.unwrap().is_some());
}

async fn page(instance: &Instance, path: &str, token: Option<&str>) -> super::Answer {
    exchange(TcpStream::connect(&instance.http).await.unwrap(), path, token).await.unwrap()
}

#[tokio::test]
async fn pages_are_for_readers_and_the_one_at_the_root_can_ask_for_the_token() {
    let secured = Secured::start().await;
    let instance = secured.instance([secured.tokens()]).await;
    for path in ["/", "/metrics", "/config", "/version"] {
        for (token, challenge) in [
            (None, "www-authenticate: bearer realm=\"rowcount\"\r\n"),
            (Some("hunter2"), "www-authenticate: bearer realm=\"rowcount\", error=\"invalid_token\"\r\n"),
        ] {
            let answer = page(&instance, path, token).await;
            assert_eq!(answer.status, 401, "{path}");
            assert!((answer.head + "\r\n").contains(challenge), "{path}");
            assert_eq!(answer.body.starts_with("<!doctype html>"), path == "/", "{path}: {}", answer.body);
            assert!(!answer.body.contains("registry_database"), "{path}: {}", answer.body);
        }
        for token in [READ, OPERATE] {
            assert_eq!(page(&instance, path, Some(token)).await.status, 200, "{path}");
        }
    }
    assert_eq!(page(&instance, "/nowhere", None).await.status, 404);
}
