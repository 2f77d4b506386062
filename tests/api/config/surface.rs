//! The own ports: certificates, authorities, names and tokens.

use std::{fs, path::Path, process::Command};

use rowcount::credentials::{Port, Role};

use super::Given;
use crate::certificates::Certificates;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

impl Given {
    /// The problems of a file, in whose texts `DIR` is where `files` are.
    fn refused_with(files: &Certificates, text: &str) -> Vec<String> {
        let dir = files.text("");
        let given = Self::minimum().file(&text.replace("DIR/", &dir));
        given.refused().into_iter().map(|line| line.replace(&dir, "DIR/")).collect()
    }
}

fn files() -> Certificates {
    let files = Certificates::new();
    files.issue("ca", "server", "DNS:localhost");
    files.issue("ca", "elsewhere", "DNS:localhost");
    files.issue_expired("ca", "ended", "DNS:localhost");
    for (name, content) in
        [("token", TOKEN), ("same", "0123456789abcdef0123456789abcdef\n"), ("weak", "hunter2"), ("empty", "\n")]
    {
        fs::write(files.path(name), content).unwrap();
    }
    files
}

#[test]
fn a_public_address_needs_tls_or_somebodys_word() {
    let files = files();
    let text = "grpc: {addr: \":50051\", tls: {certificate: DIR/server.pem, key: DIR/server.key}}\nhttp: {addr: \
                \":9464\"}\nauth: {tokens: [{name: a, tokenfile: DIR/token, role: read}]}\n";
    let want = "http.addr: :9464 is not loopback and has no TLS; set http.tls.certificate and http.tls.key, or insecure: true \
                to allow plaintext there (file rowcount.yaml:2)";
    assert_eq!(Given::refused_with(&files, text), [want], "tokens or not");
    let text = text.replace("DIR", files.path("").to_str().unwrap().trim_end_matches('/'));
    let redis = "redis: {cache: {addr: \"redis:6379\"}}\n";
    let loaded = Given::minimum().file(&format!("{text}insecure: true\n{redis}")).loaded();
    assert_eq!(
        loaded.warnings,
        ["http.addr has no TLS: whoever listens on the way learns the tokens that are sent there"]
    );
    assert!(loaded.credentials.tls(Port::Grpc).is_some() && loaded.credentials.tls(Port::Http).is_none());
    let (name, role) = loaded.credentials.tokens.find(TOKEN.as_bytes()).unwrap();
    assert_eq!((&**name, role), ("a", Role::Read));
    assert!(!format!("{loaded:?}{}", loaded.render()).contains(TOKEN));
}

#[test]
fn what_does_not_go_together_is_refused() {
    let files = files();
    for (text, want) in [
        (
            "grpc: {tls: {certificate: DIR/server.pem}}",
            &["grpc.tls.key: is not set, but grpc.tls.certificate is, to DIR/server.pem (file rowcount.yaml:1)"][..],
        ),
        (
            "http: {tls: {key: DIR/server.key}}",
            &["http.tls.certificate: is not set, but http.tls.key is, to DIR/server.key (file rowcount.yaml:1)"],
        ),
        (
            "grpc: {tls: {clientcas: [DIR/ca.pem, DIR/other.pem]}}",
            &[
                "grpc.tls.clientcas: DIR/ca.pem,DIR/other.pem (file rowcount.yaml:1) needs grpc.tls.certificate, which is not \
               set",
            ],
        ),
        (
            "http: {tls: {certificate: DIR/server.pem, key: DIR/server.key, allowednames: [a, b]}}",
            &["http.tls.allowednames: a,b (file rowcount.yaml:1) needs http.tls.clientcas, which is not set"],
        ),
        (
            "grpc: {tls: {minimumtls: \"1.3\"}}",
            &["grpc.tls.minimumtls: \"1.3\" is not one of tls1.2, tls1.3 (file rowcount.yaml:1)"],
        ),
    ] {
        assert_eq!(Given::refused_with(&files, text), want, "{text}");
    }
    let loaded = Given::minimum().file("http: {tls: {minimumtls: tls1.3}}").loaded();
    assert!(loaded.warnings.contains(&"no http.tls.certificate: http.tls.minimumtls is ignored".to_owned()));
}

#[test]
fn every_file_that_cannot_be_used_is_named_with_its_setting_in_one_list() {
    let files = files();
    fs::write(files.path("half.pem"), "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
    let text = "grpc:\n  tls:\n    certificate: DIR/none.pem\n    key: DIR/server.pem\n    clientcas: [DIR/ca.pem, \
                DIR/half.pem, DIR/ca.key]\nhttp:\n  tls:\n    certificate: DIR/server.pem\n    key: \
                DIR/elsewhere.key\nauth:\n  tokens:\n  - {name: a, tokenfile: DIR/none, role: read}\n  - {name: b, \
                tokenfile: DIR/token, role: operate}\n  - {name: c, tokenfile: DIR/same, role: read}\n  - {name: d, \
                tokenfile: DIR/empty, role: read}\ncatalog: some\n";
    let want = [
        "catalog: \"some\" is not one of all, registry, none (file rowcount.yaml:16)",
        "grpc.tls.certificate: DIR/none.pem: No such file or directory (os error 2) (file rowcount.yaml:3)",
        "grpc.tls.key: DIR/server.pem: holds no private key in PEM; an encrypted one cannot be used (file rowcount.yaml:4)",
        "grpc.tls.clientcas: DIR/half.pem: is no PEM file, or not a whole one (file rowcount.yaml:5)",
        "grpc.tls.clientcas: DIR/ca.key: holds no certificate in PEM (file rowcount.yaml:5)",
        "http.tls.key: DIR/elsewhere.key: is not the key of http.tls.certificate, DIR/server.pem (file rowcount.yaml:9)",
        "auth.tokens[0].tokenfile: DIR/none: No such file or directory (os error 2) (file rowcount.yaml:12)",
        "auth.tokens[2].tokenfile: DIR/same: holds the token of b too; give each its own (file rowcount.yaml:14)",
        "auth.tokens[3].tokenfile: DIR/empty: is empty; make a token with `openssl rand -hex 32` (file rowcount.yaml:15)",
    ];
    assert_eq!(Given::refused_with(&files, text), want);
}

#[test]
fn a_record_of_a_token_has_a_name_of_its_own_a_file_and_a_role() {
    let files = files();
    for (records, want) in [
        ("[{name: a, role: read}]", &["auth.tokens[0].tokenfile: is not set"][..]),
        (
            "[{name: a b, tokenfile: DIR/token, role: write}, {}]",
            &[
                "auth.tokens[0].name: \"a b\" is no name; want letters, digits, ., _ and -",
                "auth.tokens[0].role: \"write\" is not one of read, operate",
                "auth.tokens[1].name: is not set",
                "auth.tokens[1].tokenfile: is not set",
                "auth.tokens[1].role: is not set",
            ],
        ),
        (
            "[{name: a, tokenfile: DIR/token, role: read}, {name: a, tokenfile: DIR/weak, role: read}]",
            &["auth.tokens[1].name: the name a is given twice"],
        ),
        (
            "[{name: a, token: hunter2, role: read}]",
            &[
                "auth.tokens[0].token: no such key of a token; the nearest is tokenfile",
                "auth.tokens[0].tokenfile: is not set",
            ],
        ),
        ("[a]", &["auth.tokens[0]: want keys, not a value"]),
        ("a", &["auth.tokens: want a list of records"]),
    ] {
        let refused = Given::refused_with(&files, &format!("auth: {{tokens: {records}}}"));
        let want: Vec<_> = want.iter().map(|line| format!("{line} (file rowcount.yaml:1)")).collect();
        assert_eq!(refused, want, "{records}");
    }
}

#[test]
fn what_is_odd_about_a_file_is_warned_of() {
    let files = files();
    let dir = files.text("");
    let file = format!(
        "redis: {{cache: {{addr: \"redis:6379\"}}}}\nhttp: {{tls: {{certificate: {dir}ended.pem, key: \
         {dir}ended.key}}}}\nauth: {{tokens: [{{name: a, tokenfile: {dir}weak, role: read}}]}}\n"
    );
    let warnings = Given::minimum().file(&file).loaded().warnings;
    let want = [
        "http.tls.certificate: DIR/ended.pem: the certificate ended at 2020-01-02T00:00:00Z",
        "auth.tokens[0].tokenfile: DIR/weak: the token is easy to guess; make one with `openssl rand -hex 32`",
    ];
    assert_eq!(warnings.iter().map(|line| line.replace(&dir, "DIR/")).collect::<Vec<_>>(), want);
}

#[test]
fn the_commands_of_the_page_make_what_its_settings_want() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security.md");
    let page = fs::read_to_string(page).unwrap();
    let block = |language: &str| page.split(&format!("```{language}\n")).nth(1).unwrap().split("```").next().unwrap();
    let given = Given::minimum();
    let done = Command::new("sh").args(["-euc", block("sh")]).current_dir(&given.dir).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let dir = given.dir.path().to_str().unwrap().to_owned();
    let settings = block("yaml").replace("/etc/rowcount", &dir);
    let given = given.file(&format!("{settings}redis: {{cache: {{addr: \"redis:6379\"}}}}\n"));
    let loaded = given.loaded();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let token = fs::read_to_string(Path::new(&dir).join("admin.token")).unwrap();
    let (name, role) = loaded.credentials.tokens.find(token.trim().as_bytes()).unwrap();
    assert_eq!((&**name, role), ("admin", Role::Operate));
}
