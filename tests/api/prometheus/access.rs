//! Who asks, and over what: tokens, users, tenants, certificates.

use std::{fs, path::Path, process::Command};

use rowcount::{
    config::{PrometheusConfig, PrometheusTls, Secret},
    demo::prometheus::PrometheusOptions,
    prometheus::{Cause, Error, Prometheus, Query},
};

use super::{hours, lies::Liar, server};

/// The user `admin` with the password `test`, as Prometheus's own documentation has it.
const USERS: &str = "basic_auth_users: {admin: $2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay}\n";

const MUTUAL: &str = "tls_server_config: {cert_file: localhost.pem, key_file: localhost.key, client_auth_type: \
                      RequireAndVerifyClientCert, client_ca_file: ca.pem}\n";

async fn ask(prometheus: &Prometheus) -> Cause {
    let query = Query { window: hours(48), times: Vec::new(), excluded_codes: Vec::new() };
    let Error { url: _, cause } = prometheus.request_rates(&query).await.expect_err("there are no series");
    cause
}

async fn ask_with(config: PrometheusConfig) -> Cause {
    match Prometheus::new(config) {
        Ok(prometheus) => ask(&prometheus).await,
        Err(error) => error.cause,
    }
}

fn secret(text: &str) -> Option<Secret> {
    Some(Secret::Inline(text.to_owned()))
}

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

#[tokio::test]
async fn the_server_is_told_who_asks_and_a_rotated_token_needs_no_restart() {
    let liar = Liar::vector("").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    fs::write(&file, "hunter2\n").unwrap();
    let mut config = PrometheusConfig::at(&format!("{}/prometheus/", liar.url)).unwrap();
    config.token = Some(Secret::File(file.clone()));
    config.tenant = Some("registry".to_owned());
    let prometheus = Prometheus::new(config).unwrap();
    assert!(matches!(ask(&prometheus).await, Cause::NoSeries { .. }));
    let asked = &liar.asked()[0];
    assert_eq!(asked.line, "POST /prometheus/api/v1/query");
    for (name, want) in [
        ("authorization", "Bearer hunter2"),
        ("x-scope-orgid", "registry"),
        ("user-agent", concat!("rowcount/", env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(asked.headers.get(name).map(String::as_str), Some(want));
    }
    fs::write(&file, "hunter3").unwrap();
    ask(&prometheus).await;
    assert_eq!(liar.asked().last().unwrap().headers["authorization"], "Bearer hunter3");

    let asked = liar.asked().len();
    for wrong in ["hunter2\nhunter3", ""] {
        fs::write(&file, wrong).unwrap();
        let cause = ask(&prometheus).await;
        assert!(matches!(cause, Cause::Setting { setting: "rates.prometheus.token", .. }), "{cause}");
        assert!(!format!("{cause:?}{cause}").contains("hunter"), "{cause:?}");
    }
    fs::remove_file(&file).unwrap();
    let cause = ask(&prometheus).await;
    assert!(matches!(&cause, Cause::Setting { why, .. } if why.contains("No such file")), "{cause}");
    assert_eq!(liar.asked().len(), asked, "nothing is asked without the token");
}

#[tokio::test]
async fn a_user_is_known_by_the_password() {
    let web = Some(USERS.to_owned());
    let Some(server) = server(PrometheusOptions { web, ..Default::default() }).await else { return };
    let config = |username: Option<&str>, password| {
        let mut config = PrometheusConfig::at(&server.url()).unwrap();
        config.username = username.map(str::to_owned);
        config.password = password;
        config
    };
    assert!(matches!(ask_with(config(Some("admin"), secret("test"))).await, Cause::NoSeries { .. }));
    for wrong in [config(None, None), config(Some("admin"), secret("hunter2")), config(Some("admin"), None)] {
        let cause = ask_with(wrong).await;
        assert!(matches!(cause, Cause::Refused(status) if status == 401), "{cause}");
    }
}

#[tokio::test]
async fn both_sides_are_verified_and_a_renewed_certificate_needs_no_restart() {
    let dir = certificates();
    let file = |name: &str| fs::read(dir.path().join(name)).unwrap();
    let files = ["ca.pem", "localhost.pem", "localhost.key"].map(|name| (name.to_owned(), file(name))).to_vec();
    let web = Some(MUTUAL.to_owned());
    let Some(server) = server(PrometheusOptions { web, files, ..Default::default() }).await else { return };
    let path = |name: &str| Some(dir.path().join(name));
    let config = |tls| PrometheusConfig { tls, ..PrometheusConfig::at(&server.url()).unwrap() };
    let right = || PrometheusTls {
        ca: path("ca.pem"),
        certificate: path("client.pem"),
        key: path("client.key"),
        insecure: false,
    };
    assert!(matches!(ask_with(config(right())).await, Cause::NoSeries { .. }));
    assert!(matches!(
        ask_with(config(PrometheusTls { ca: None, insecure: true, ..right() })).await,
        Cause::NoSeries { .. }
    ));

    for wrong in [
        PrometheusTls { ca: path("other.pem"), ..right() },
        PrometheusTls { ca: None, ..right() },
        PrometheusTls { certificate: None, key: None, ..right() },
        PrometheusTls { certificate: path("other.pem"), key: path("other.key"), ..right() },
    ] {
        let cause = ask_with(config(wrong.clone())).await;
        assert!(matches!(cause, Cause::Tls(_)), "{wrong:?}: {cause}");
    }
    for (wrong, want) in [
        (PrometheusTls { ca: path("none.pem"), ..right() }, "rates.prometheus.tls.ca"),
        (PrometheusTls { ca: path("client.key"), ..right() }, "rates.prometheus.tls.ca"),
        (PrometheusTls { certificate: path("client.key"), ..right() }, "rates.prometheus.tls.certificate"),
        (PrometheusTls { key: path("none.key"), ..right() }, "rates.prometheus.tls.key"),
    ] {
        let cause = ask_with(config(wrong.clone())).await;
        assert!(matches!(cause, Cause::Setting { setting, .. } if setting == want), "{wrong:?}: {cause}");
    }
    let plain = PrometheusConfig::at(&server.url().replace("https", "http")).unwrap();
    assert!(matches!(ask_with(plain).await, Cause::Status(status) if status == 400));

    renewed(dir.path(), config(right())).await;
}

/// The client's certificate is another's, and then its own again.
async fn renewed(dir: &Path, config: PrometheusConfig) {
    let keep = |from: &str, to: &str| {
        for extension in ["pem", "key"] {
            fs::copy(dir.join(format!("{from}.{extension}")), dir.join(format!("{to}.{extension}"))).unwrap();
        }
    };
    keep("client", "kept");
    keep("other", "client");
    let prometheus = Prometheus::new(config).unwrap();
    assert!(matches!(ask(&prometheus).await, Cause::Tls(_)));
    keep("kept", "client");
    assert!(matches!(ask(&prometheus).await, Cause::NoSeries { .. }));
}
