//! Both ports with all that they can ask for: what is open stays open, and other people's clients get through.

use rowcount::proto::v1;
use tokio::process::Command;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;

use super::{Caller, OPERATE, READ, Secured, port};
use crate::{fleet::eventually, tools};

#[tokio::test]
async fn probes_need_neither_certificate_nor_token_and_everything_else_needs_both() {
    let secured = Secured::start().await;
    let instance = secured.instance(secured.mtls("admin.svc").into_iter().chain([secured.tokens()])).await;
    let both = Caller { certificate: Some("admin"), token: Some(READ) };

    let mut health = HealthClient::new(secured.channel(&instance, None));
    let request = || HealthCheckRequest { service: "liveness".to_owned() };
    assert_eq!(health.check(request()).await.unwrap().into_inner().status(), ServingStatus::Serving);
    let mut watch = health.watch(request()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/", 401), ("/metrics", 401), ("/config", 401)] {
        assert_eq!(secured.get(&instance, path, Caller::default()).await.unwrap().status, status, "{path}");
        assert_eq!(secured.get(&instance, path, both).await.unwrap().status, 200, "{path}");
    }

    let mut nobody = secured.client(&instance, Caller::default());
    let denied = nobody.list_queries(v1::ListQueriesRequest {}).await.unwrap_err();
    assert_eq!(denied.get_details_error_info().unwrap().reason, "CERTIFICATE_REQUIRED");
    let mut half = secured.client(&instance, Caller { token: None, ..both });
    let denied = half.list_queries(v1::ListQueriesRequest {}).await.unwrap_err();
    assert_eq!(
        (denied.code(), &*denied.get_details_error_info().unwrap().reason),
        (Code::Unauthenticated, "TOKEN_REQUIRED")
    );
    let mut whole = secured.client(&instance, both);
    assert!(!whole.list_queries(v1::ListQueriesRequest {}).await.unwrap().into_inner().queries.is_empty());
    let named = instance.lines("Call admitted").pop().expect("who called is told at debug");
    assert_eq!((&named["token_name"], &named["certificate_name"]), (&"read".into(), &"admin.svc".into()));
}

#[tokio::test]
async fn what_a_probe_is_told_of_the_parts_has_no_details_for_those_who_may_not_read() {
    let secured = Secured::start().await;
    let instance = secured.instance(secured.tls().into_iter().chain([secured.tokens()])).await;
    let read = Caller { token: Some(READ), ..Caller::default() };
    eventually("it holds the lease", async || {
        let page = secured.get(&instance, "/readyz?verbose", read).await.unwrap();
        page.body.contains("[+]lease ok: held here\n").then_some(())
    })
    .await;
    let anonymous = secured.get(&instance, "/readyz?verbose", Caller::default()).await.unwrap();
    assert_eq!(anonymous.status, 200);
    assert!(anonymous.body.contains("[+]lease ok\n"), "{}", anonymous.body);
}

#[tokio::test]
async fn the_healthcheck_needs_the_authority_only() {
    let secured = Secured::start().await;
    let instance = secured.instance(secured.mtls("admin.svc").into_iter().chain([secured.tokens()])).await;
    let server = format!("https://localhost:{}", port(&instance.grpc));
    let ca = secured.files.text("ca.pem");
    let done = secured.fleet.run(&["healthcheck", "--server", &server, "--tls-ca", &ca], &[]).await;
    assert_eq!(String::from_utf8_lossy(&done.stdout), "SERVING\n", "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn grpcurl_calls_with_a_certificate_and_a_token() {
    let Some(grpcurl) = tools::tool("grpcurl") else { return };
    let secured = Secured::start().await;
    let instance = secured.instance(secured.mtls("admin.svc").into_iter().chain([secured.tokens()])).await;
    let [ca, cert, key] = ["ca.pem", "admin.pem", "admin.key"].map(|file| secured.files.text(file));
    let call = async |token: &str, what: &str| {
        let header = format!("authorization: Bearer {token}");
        let address = format!("localhost:{}", port(&instance.grpc));
        let mut command = Command::new(&grpcurl);
        command.args(["-cacert", &ca, "-cert", &cert, "-key", &key, "-H", &header]);
        command.args(["-max-time", "20", &address, what]);
        let output = command.kill_on_drop(true).output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    };
    let trigger = "rowcount.v1.RowCountService/TriggerCollection";
    let (done, told) = call(READ, "rowcount.v1.RowCountService/GetRowCounts").await;
    assert!(done && told.contains("rowCounts"), "{told}");
    let (done, told) = call(READ, trigger).await;
    assert!(!done && told.contains("PermissionDenied") && told.contains("ROLE_REQUIRED"), "{told}");
    let (done, told) = call(OPERATE, trigger).await;
    assert!(done && told.contains("collection"), "{told}");
    let (done, told) = call("nonsense", "rowcount.v1.RowCountService/GetRowCounts").await;
    assert!(!done && told.contains("Unauthenticated"), "{told}");
}

#[tokio::test]
async fn no_token_is_ever_shown() {
    let secured = Secured::start().await;
    let instance = secured.instance(secured.tls().into_iter().chain([secured.tokens()])).await;
    let operate = Caller { token: Some(OPERATE), ..Caller::default() };
    let mut client = secured.client(&instance, operate);
    client.trigger_collection(v1::TriggerCollectionRequest::default()).await.unwrap();
    let unknown = Caller { token: Some("hunter2"), ..Caller::default() };
    secured.client(&instance, unknown).list_queries(v1::ListQueriesRequest {}).await.unwrap_err();
    secured.get(&instance, "/metrics", unknown).await.unwrap();
    eventually("the denials are told", async || (!instance.lines("Request denied").is_empty()).then_some(())).await;
    for path in ["/config", "/metrics", "/readyz?verbose"] {
        let page = secured.get(&instance, path, operate).await.unwrap();
        assert!(page.status == 200 && !page.body.contains("hunter2"), "{path}: {}", page.body);
    }
    let config = secured.get(&instance, "/config", operate).await.unwrap().body;
    assert!(config.contains(&secured.files.text("operate")), "{config}");
    let log = instance.log().join("\n");
    assert!(!log.contains("hunter2"), "{log}");
}
