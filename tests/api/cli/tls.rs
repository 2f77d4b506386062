//! Calls over TLS, with certificates made on the spot.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tonic::transport::{Certificate, Identity};

use super::{fixed::tls_server, run};

/// A directory with authorities `ca` and `other`, and what `ca` vouches for: a server on localhost, a client.
fn certificates() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(&dir).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for name in ["ca", "other"] {
        openssl(&format!("req -x509 {key} -keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}"));
    }
    for (name, alternative) in [("localhost", "DNS:localhost"), ("client", "DNS:client")] {
        openssl(&format!(
            "req -x509 {key} -CA ca.pem -CAkey ca.key -keyout {name}.key -out {name}.pem -days 2 -subj /CN={name} \
             -addext subjectAltName={alternative} -addext basicConstraints=critical,CA:FALSE"
        ));
    }
    dir
}

fn path(dir: &Path, name: &str) -> String {
    let path: PathBuf = dir.join(name);
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn both_sides_are_verified_and_the_token_goes_along() {
    let dir = certificates();
    let file = |name: &str| fs::read(dir.path().join(name)).unwrap();
    let identity = Identity::from_pem(file("localhost.pem"), file("localhost.key"));
    let (port, metadata) = tls_server(identity, Certificate::from_pem(file("ca.pem"))).await;
    let url = format!("https://localhost:{port}");
    fs::write(dir.path().join("token"), "hunter2").unwrap();
    let [ca, other, cert, key, token] =
        ["ca.pem", "other.pem", "client.pem", "client.key", "token"].map(|name| path(dir.path(), name));
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
