//! Files that change under a running instance.

use std::fs;

use rowcount::proto::v1;
use rustix::process::Signal;
use rustls::{pki_types::CertificateDer, pki_types::pem::PemObject, version::TLS13};
use tonic::{Code, Streaming};

use super::{Caller, Client, OPERATE, READ, Secured};
use crate::fleet::{Instance, PATIENCE, eventually, sample};

const ADMIN: Caller<'static> = Caller { certificate: Some("admin"), token: Some(OPERATE) };

const SUCCESSFUL: &str = "rowcount_config_last_reload_successful";

const LOADED: &str = "Certificates, keys and tokens were loaded anew";

const NOT_LOADED: &str = "Not loaded anew; what was loaded before stays in use";

/// The certificate that a port shows to a new client.
async fn shown(secured: &Secured, addr: &str, alpn: &[u8]) -> CertificateDer<'static> {
    let stream = secured.connect(addr, None, &[&TLS13], alpn).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

async fn watch(client: &mut Client) -> Streaming<v1::WatchRowCountsResponse> {
    let request = v1::WatchRowCountsRequest::default();
    let mut watch = client.watch_row_counts(request).await.unwrap().into_inner();
    next(&mut watch).await;
    watch
}

async fn next(watch: &mut Streaming<v1::WatchRowCountsResponse>) -> v1::WatchRowCountsResponse {
    let message = tokio::time::timeout(PATIENCE, watch.message()).await.expect("a message comes");
    message.expect("no error").expect("it goes on")
}

async fn list(secured: &Secured, instance: &Instance, token: &str) -> Result<(), Code> {
    let mut client = secured.client(instance, Caller { token: Some(token), ..ADMIN });
    client.list_queries(v1::ListQueriesRequest {}).await.map(drop).map_err(|status| status.code())
}

async fn metric(secured: &Secured, instance: &Instance, series: &str) -> Option<f64> {
    sample(&secured.get(instance, "/metrics", ADMIN).await.unwrap().body, series)
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_clients_and_open_streams_go_on() {
    let secured = Secured::start().await;
    let instance = secured.instance(secured.mtls("admin.svc").into_iter().chain([secured.tokens()])).await;
    let certificate = || CertificateDer::from_pem_slice(&secured.files.read("server.pem")).unwrap();
    let old = certificate();
    assert_eq!(shown(&secured, &instance.grpc, b"h2").await, old);
    // 31 December 2049.
    let end = "rowcount_tls_certificate_not_after_timestamp_seconds{port=\"grpc\"}";
    assert_eq!(metric(&secured, &instance, end).await, Some(2_524_521_600.0));
    let mut client = secured.client(&instance, ADMIN);
    let mut open = watch(&mut client).await;

    // Whoever looks between the two finds a pair that does not fit, and waits.
    secured.files.issue("ca", "server", "DNS:localhost,IP:127.0.0.1");
    eventually("the new one is shown", async || {
        (shown(&secured, &instance.grpc, b"h2").await == certificate()).then_some(())
    })
    .await;
    assert_ne!(certificate(), old);
    assert_eq!(shown(&secured, &instance.http, b"http/1.1").await, certificate());
    instance.logged(LOADED).await;

    secured.fleet.sql("INSERT INTO top_level_namespaces (name) VALUES ('group')").await;
    client.trigger_collection(v1::TriggerCollectionRequest::default()).await.expect("the old connection is as good");
    while !next(&mut open).await.row_counts.iter().any(|count| count.query_name == "top_level_namespaces") {}
}

#[tokio::test]
async fn a_mount_that_is_switched_and_an_authority_more_are_taken_at_once_by_a_signal() {
    let secured = Secured::start().await;
    // As Kubernetes mounts: the name in the settings leads through a link that is replaced.
    let volume = secured.files.path("volume");
    fs::create_dir(&volume).unwrap();
    let publish = |version: &str, authorities: &[&str]| {
        let dir = volume.join(version);
        fs::create_dir(&dir).unwrap();
        let bundle: Vec<u8> = authorities.iter().flat_map(|name| secured.files.read(&format!("{name}.pem"))).collect();
        fs::write(dir.join("clients.crt"), bundle).unwrap();
        std::os::unix::fs::symlink(version, volume.join("..tmp")).unwrap();
        fs::rename(volume.join("..tmp"), volume.join("..data")).unwrap();
    };
    publish("v1", &["ca"]);
    std::os::unix::fs::symlink("..data/clients.crt", volume.join("clients.crt")).unwrap();
    let mut settings = secured.mtls("");
    let clients = volume.join("clients.crt").to_str().unwrap().to_owned();
    settings.insert("ROWCOUNT_GRPC_TLS_CLIENTCAS".to_owned(), clients);
    let instance = secured.instance(settings).await;
    secured.files.issue("other", "partner", "DNS:partner.svc");
    let partner = Caller { certificate: Some("partner"), token: None };
    secured.client(&instance, partner).list_queries(v1::ListQueriesRequest {}).await.unwrap_err();
    let mut admin = secured.client(&instance, ADMIN);
    let mut open = watch(&mut admin).await;

    publish("v2", &["ca", "other"]);
    instance.signal(Signal::HUP);
    instance.logged(LOADED).await;
    secured.client(&instance, partner).list_queries(v1::ListQueriesRequest {}).await.unwrap();
    secured.fleet.sql("INSERT INTO top_level_namespaces (name) VALUES ('group')").await;
    admin.trigger_collection(v1::TriggerCollectionRequest::default()).await.unwrap();
    while !next(&mut open).await.row_counts.iter().any(|count| count.query_name == "top_level_namespaces") {}
}

#[tokio::test]
async fn a_new_token_acts_at_the_next_call_also_on_an_open_connection() {
    const NEW: &str = "new-hunter2-0123456789abcdef0123";
    let secured = Secured::start().await;
    let instance = secured.instance(secured.mtls("admin.svc").into_iter().chain([secured.tokens()])).await;
    let mut old = secured.client(&instance, Caller { token: Some(READ), ..ADMIN });
    let mut open = watch(&mut old).await;
    assert_eq!(list(&secured, &instance, NEW).await, Err(Code::Unauthenticated));

    fs::write(secured.files.path("read"), NEW).unwrap();
    eventually("the new one is known", async || list(&secured, &instance, NEW).await.ok()).await;
    let denied = old.list_queries(v1::ListQueriesRequest {}).await.unwrap_err();
    assert_eq!(denied.code(), Code::Unauthenticated, "the old one is not, by the same connection");
    secured.fleet.sql("INSERT INTO top_level_namespaces (name) VALUES ('group')").await;
    let mut operator = secured.client(&instance, ADMIN);
    operator.trigger_collection(v1::TriggerCollectionRequest::default()).await.unwrap();
    while !next(&mut open).await.row_counts.iter().any(|count| count.query_name == "top_level_namespaces") {}
}

#[tokio::test]
async fn what_cannot_be_used_changes_nothing_and_is_told_until_it_is_mended() {
    let secured = Secured::start().await;
    let instance = secured.instance(secured.mtls("admin.svc").into_iter().chain([secured.tokens()])).await;
    let old = shown(&secured, &instance.grpc, b"h2").await;
    assert_eq!(metric(&secured, &instance, SUCCESSFUL).await, Some(1.0));

    let good = secured.files.read("server.key");
    secured.files.issue("ca", "elsewhere", "DNS:localhost");
    fs::copy(secured.files.path("elsewhere.key"), secured.files.path("server.key")).unwrap();
    // All or nothing: the token that changes beside it is not taken either.
    fs::write(secured.files.path("read"), "another-hunter2-0123456789abcdef0123").unwrap();
    let told = instance.logged(NOT_LOADED).await;
    assert_eq!(told["level"], "error");
    let setting = told["setting"].as_str().unwrap();
    let error = told["error"].as_str().unwrap();
    assert_eq!(setting, "grpc.tls.key");
    let [key, certificate] = ["server.key", "server.pem"].map(|file| secured.files.text(file));
    assert_eq!(error, format!("{key}: is not the key of grpc.tls.certificate, {certificate}"));
    assert_eq!(metric(&secured, &instance, SUCCESSFUL).await, Some(0.0));
    assert_eq!(shown(&secured, &instance.grpc, b"h2").await, old);
    assert_eq!(list(&secured, &instance, READ).await, Ok(()));

    // Asked again, it says so again; left alone, it does not.
    let before = instance.lines(NOT_LOADED).len();
    assert_eq!(before, 2, "one a port");
    instance.signal(Signal::HUP);
    eventually("it is told again", async || (instance.lines(NOT_LOADED).len() == 2 * before).then_some(())).await;

    fs::write(secured.files.path("server.key"), good).unwrap();
    eventually("it is mended", async || (metric(&secured, &instance, SUCCESSFUL).await == Some(1.0)).then_some(()))
        .await;
    assert_eq!(list(&secured, &instance, READ).await, Err(Code::Unauthenticated), "and now the token is taken");
    assert_eq!(instance.lines(NOT_LOADED).len(), 2 * before);

    for (file, content, want) in [
        ("operate", "", "auth.tokens[1].tokenfile"),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\nhunter2", "grpc.tls.clientcas"),
        ("server.pem", "hunter2", "grpc.tls.certificate"),
    ] {
        let good = secured.files.read(file);
        let before = instance.lines(NOT_LOADED).len();
        fs::write(secured.files.path(file), content).unwrap();
        instance.signal(Signal::HUP);
        let line = eventually("it is told", async || instance.lines(NOT_LOADED).get(before).cloned()).await;
        assert_eq!(line["setting"], want, "{line}");
        assert!(!line.to_string().contains("hunter2"), "{line}");
        fs::write(secured.files.path(file), good).unwrap();
    }
    fs::remove_file(secured.files.path("operate")).unwrap();
    let before = instance.lines(NOT_LOADED).len();
    instance.signal(Signal::HUP);
    eventually("it is told", async || (instance.lines(NOT_LOADED).len() > before).then_some(())).await;
    assert_eq!(list(&secured, &instance, OPERATE).await, Ok(()), "what was loaded stays in use");
}

#[tokio::test]
async fn a_signal_to_an_instance_without_files_does_nothing() {
    let secured = Secured::start().await;
    let instance = secured.instance([]).await;
    instance.signal(Signal::HUP);
    instance.logged(LOADED).await;
    assert_eq!(instance.get("/livez").await.0, 200);
}
