//! Certificates of clients: whose, and with which names.

use rowcount::proto::v1;
use tonic::Code;
use tonic_types::StatusExt;

use super::{Caller, Secured};
use crate::fleet::eventually;

#[tokio::test]
async fn a_certificate_may_call_by_any_of_its_names() {
    let secured = Secured::start().await;
    let names = "admin.svc,spiffe://fleet/tool,ops@example.org,10.1.2.3,plain";
    let instance = secured.instance(secured.mtls(names)).await;
    for (name, alternative) in [
        ("by-dns", "DNS:other.svc,DNS:Admin.svc"),
        ("by-uri", "URI:spiffe://fleet/tool"),
        ("by-mail", "email:ops@example.org"),
        ("by-address", "IP:10.1.2.3"),
        ("plain", ""),
    ] {
        secured.files.issue("ca", name, alternative);
        let caller = Caller { certificate: Some(name), token: None };
        secured.client(&instance, caller).list_queries(v1::ListQueriesRequest {}).await.expect(name);
        assert_eq!(secured.get(&instance, "/metrics", caller).await.unwrap().status, 200, "{name}");
    }
}

#[tokio::test]
async fn without_a_list_every_certificate_of_an_authority_may_call_and_none_else() {
    let secured = Secured::start().await;
    let instance = secured.instance(secured.mtls("")).await;
    let admin = Caller { certificate: Some("admin"), token: None };
    secured.client(&instance, admin).list_queries(v1::ListQueriesRequest {}).await.unwrap();

    let denied =
        secured.client(&instance, Caller::default()).list_queries(v1::ListQueriesRequest {}).await.unwrap_err();
    assert_eq!((denied.code(), denied.message()), (Code::Unauthenticated, "a client certificate is needed"));
    assert_eq!(denied.get_details_error_info().unwrap().reason, "CERTIFICATE_REQUIRED");
    let page = secured.get(&instance, "/metrics", Caller::default()).await.unwrap();
    assert_eq!((page.status, &*page.body), (401, "a client certificate is needed\n"));
    assert!(page.head.contains("www-authenticate: bearer"), "{}", page.head);
}

#[tokio::test]
async fn a_name_that_is_not_on_the_list_may_not_call() {
    let secured = Secured::start().await;
    secured.files.issue("ca", "stranger", "DNS:stranger.svc");
    // The common name counts only where there is no other.
    secured.files.issue("ca", "admin.svc", "DNS:pretender.svc");
    let instance = secured.instance(secured.mtls("admin.svc")).await;
    for name in ["stranger", "admin.svc"] {
        let caller = Caller { certificate: Some(name), token: None };
        let denied = secured.client(&instance, caller).list_queries(v1::ListQueriesRequest {}).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied, "{denied}");
        assert_eq!(denied.get_details_error_info().unwrap().reason, "NAME_NOT_ALLOWED");
        let page = secured.get(&instance, "/metrics", caller).await.unwrap();
        assert_eq!(page.status, 403, "{}", page.body);
        assert!(!page.head.contains("www-authenticate"), "{}", page.head);
        assert_eq!(secured.get(&instance, "/livez", caller).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn what_no_authority_vouches_for_now_gets_no_connection_not_even_a_probe() {
    let secured = Secured::start().await;
    secured.files.issue("other", "foreign", "DNS:admin.svc");
    secured.files.issue_expired("ca", "expired", "DNS:admin.svc");
    let instance = secured.instance(secured.mtls("admin.svc")).await;
    for name in ["foreign", "expired"] {
        let caller = Caller { certificate: Some(name), token: None };
        let before = instance.lines("Handshake failed").len();
        secured.client(&instance, caller).list_queries(v1::ListQueriesRequest {}).await.expect_err(name);
        assert!(secured.get(&instance, "/livez", caller).await.is_err(), "{name}");
        eventually("both handshakes are told of", async || {
            (instance.lines("Handshake failed").len() >= before + 2).then_some(())
        })
        .await;
    }
    let told = &instance.lines("Handshake failed")[0];
    assert_eq!(told["level"], "debug");
    assert!(told["error"].as_str().unwrap().contains("certificate"), "{told}");
}
