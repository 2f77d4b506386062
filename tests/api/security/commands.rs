//! What the client commands say when they are not let in, and when they do not let the server in: one line each.

use std::{collections::BTreeMap, fs};

use super::{OPERATE, READ, Secured, port};
use crate::fleet::Instance;

impl Secured {
    /// Exit code, stdout and stderr of a command.
    async fn command(&self, url: &str, args: &[&str]) -> (i32, String, String) {
        let done = self.fleet.run(args, &[("ROWCOUNT_SERVER", url)]).await;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
    }

    /// The one line on stderr of a command that fails with 1.
    async fn error(&self, url: &str, args: &[&str]) -> String {
        let (code, stdout, stderr) = self.command(url, args).await;
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (1, "", 1), "{args:?}: {stderr}");
        stderr.trim_end().to_owned()
    }
}

fn url(instance: &Instance) -> String {
    format!("https://localhost:{}", port(&instance.grpc))
}

#[tokio::test]
async fn each_way_not_to_be_let_in_has_a_line_that_says_what_to_do() {
    let secured = Secured::start().await;
    let files = &secured.files;
    files.issue("ca", "stranger", "DNS:stranger.svc");
    files.issue("other", "foreign", "DNS:admin.svc");
    files.issue_expired("ca", "expired", "DNS:admin.svc");
    fs::write(files.path("unknown"), "hunter2").unwrap();
    let instance = secured.instance(secured.mtls("admin.svc").into_iter().chain([secured.tokens()])).await;
    let url = url(&instance);
    let [ca, read, operate, unknown] = ["ca.pem", "read", "operate", "unknown"].map(|file| files.text(file));
    let with = |command: &'static str, certificate: Option<&str>, token: Option<&String>| {
        let mut args = vec![command.to_owned(), "--tls-ca".to_owned(), ca.clone()];
        if let Some(name) = certificate {
            args.extend(["--tls-cert".to_owned(), files.text(&format!("{name}.pem"))]);
            args.extend(["--tls-key".to_owned(), files.text(&format!("{name}.key"))]);
        }
        if let Some(token) = token {
            args.extend(["--token-file".to_owned(), token.clone()]);
        }
        args
    };
    let strs = |args: &[String]| args.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    let cases = [
        (
            with("counts", None, Some(&read)),
            "UNAUTHENTICATED from URL: a client certificate is needed (CERTIFICATE_REQUIRED); give one with --tls-cert \
             and --tls-key",
        ),
        (
            with("counts", Some("stranger"), Some(&read)),
            "PERMISSION_DENIED from URL: the client certificate has none of the names that may call (NAME_NOT_ALLOWED); \
             use a certificate with a name of the server's grpc.tls.allowednames",
        ),
        (
            with("counts", Some("admin"), None),
            "UNAUTHENTICATED from URL: a token is needed: authorization: Bearer TOKEN (TOKEN_REQUIRED); name a token that \
             the server knows with --token-file",
        ),
        (
            with("counts", Some("admin"), Some(&unknown)),
            "UNAUTHENTICATED from URL: the token is not known (UNKNOWN_TOKEN); name a token that the server knows with \
             --token-file",
        ),
        (
            with("trigger", Some("admin"), Some(&read)),
            "PERMISSION_DENIED from URL: the token read has the role read, and this needs operate (ROLE_REQUIRED); use a \
             token of the role that the call needs",
        ),
    ];
    for (args, want) in cases {
        let args = strs(&args);
        let args: Vec<_> = args.split('\n').collect();
        assert_eq!(secured.error(&url, &args).await, format!("error: {}", want.replace("URL", &url)));
    }
    for name in ["foreign", "expired"] {
        let args = strs(&with("counts", Some(name), Some(&read)));
        let told = secured.error(&url, &args.split('\n').collect::<Vec<_>>()).await;
        assert!(told.contains(&url) && told.contains("certificate"), "{name}: {told}");
        assert!(told.contains("--tls-cert"), "{name}: {told}");
    }
    for command in ["counts", "trigger"] {
        let args = strs(&with(command, Some("admin"), Some(&operate)));
        let (code, _, stderr) = secured.command(&url, &args.split('\n').collect::<Vec<_>>()).await;
        assert_eq!(code, 0, "{stderr}");
    }
    let log = instance.log().join("\n");
    assert!(!log.contains(READ) && !log.contains(OPERATE));
}

#[tokio::test]
async fn each_way_not_to_believe_the_server_has_its_line() {
    let secured = Secured::start().await;
    let files = &secured.files;
    files.issue("ca", "elsewhere", "DNS:elsewhere.svc");
    files.issue_expired("ca", "ended", "DNS:localhost");
    let [ca, other] = ["ca.pem", "other.pem"].map(|file| files.text(file));
    let of = |name: &str| -> BTreeMap<String, String> {
        let file = |suffix: &str| files.text(&format!("{name}.{suffix}"));
        [("CERTIFICATE", file("pem")), ("KEY", file("key"))]
            .map(|(key, file)| (format!("ROWCOUNT_GRPC_TLS_{key}"), file))
            .into()
    };
    for (server, ca, want) in [
        ("server", &other, "UnknownIssuer"),
        ("elsewhere", &ca, "certificate not valid for name \"localhost\""),
        ("ended", &ca, "certificate expired"),
    ] {
        let instance = secured.instance(of(server)).await;
        let url = url(&instance);
        let told = secured.error(&url, &["counts", "--tls-ca", ca]).await;
        assert!(told.starts_with(&format!("error: cannot reach {url}: ")), "{told}");
        assert!(told.contains(want), "{server}: {told}");
        if server == "ended" {
            let warned =
                instance.log().iter().any(|line| line.contains("the certificate ended at 2020-01-02T00:00:00Z"));
            assert!(warned, "its own log tells too");
        }
        if server == "server" {
            let plain = url.replace("https", "http");
            let told = secured.error(&plain, &["counts", "--timeout", "20s"]).await;
            assert!(told.contains("https"), "{told}");
            assert!(secured.error(&url, &["counts"]).await.contains("UnknownIssuer"), "the system's authorities");
        }
    }
    let plain = secured.instance([]).await;
    let told = secured.error(&url(&plain), &["counts", "--tls-ca", &ca]).await;
    assert!(told.contains("http://"), "{told}");
}
