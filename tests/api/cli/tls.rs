//! Calls over TLS, with certificates made on the spot.

use std::fs;

use tonic::transport::{Certificate, Identity};

use super::{fixed::tls_server, run};
use crate::certificates::Certificates;

#[tokio::test]
async fn both_sides_are_verified_and_the_token_goes_along() {
    let files = Certificates::new();
    files.issue("ca", "localhost", "DNS:localhost");
    files.issue("ca", "client", "DNS:client");
    let identity = Identity::from_pem(files.read("localhost.pem"), files.read("localhost.key"));
    let (port, metadata) = tls_server(identity, Certificate::from_pem(files.read("ca.pem"))).await;
    let url = format!("https://localhost:{port}");
    fs::write(files.path("token"), "hunter2").unwrap();
    let [ca, other, cert, key, token] =
        ["ca.pem", "other.pem", "client.pem", "client.key", "token"].map(|name| files.text(name));
    let ours = ["--tls-cert", &cert, "--tls-key", &key, "--token-file", &token];

    let (code, stdout, stderr) = run(&url, &[&["counts", "--tls-ca", &ca], &ours[..]].concat()).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("blobs  12,345"), "{stdout}");
    assert_eq!(metadata.lock().unwrap().get("authorization").unwrap(), "Bearer hunter2");

    let (code, _, stderr) = run(&url, &[&["counts", "--tls-ca", &other], &ours[..]].concat()).await;
    assert_eq!(code, 1);
    assert!(stderr.starts_with(&format!("error: cannot reach {url}: invalid peer certificate")), "{stderr}");

    let (code, stdout, _) = run(&url, &["counts", "--tls-ca", &ca]).await;
    assert_eq!((code, stdout.as_str()), (1, ""), "a client without a certificate gets no answer");
}
