//! How a server is reached, lost and found again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rowcount::{
    config::{DatabaseConfig, DatabaseTarget, Secret, SslMode},
    counting::Counting,
    demo::postgres::{PostgresOptions, PostgresServer},
    failure::FailureReason,
};
use sqlx::{Connection, PgConnection};

use super::{config, failure, run, sql, started, table, until_none, until_some, value};

/// Whom the tests let in and how: nobody but `postgres` without a proof.
const HBA: &str = "\
    host all postgres 127.0.0.1/32 trust\n\
    host all reader 127.0.0.1/32 scram-sha-256\n\
    hostssl all encrypted 127.0.0.1/32 trust\n\
    hostssl all certified 127.0.0.1/32 cert\n";

fn parts(port: u16, user: &str, host: &str) -> DatabaseConfig {
    let target = DatabaseTarget::Parts {
        host: host.to_owned(),
        port,
        user: user.to_owned(),
        password: None,
        dbname: "postgres".to_owned(),
        sslmode: SslMode::Prefer,
        sslcert: None,
        sslkey: None,
        sslrootcert: None,
    };
    DatabaseConfig { target, connect_timeout: Duration::from_secs(5), connections: 1 }
}

#[tokio::test]
async fn a_server_that_is_down_is_told_at_once_and_found_when_it_is_back() {
    let (mut postgres, url, admin) = started().await;
    let counting = Counting::new(config(&url, 2), "a");
    assert_eq!(counting.state().up, None);
    let (one, two) = (table("t"), sql("SELECT count(*) FROM t, pg_sleep(0.2) AS s"));
    assert_eq!(tokio::join!(value(&counting, &one), value(&counting, &two)), (3, 3));
    assert_eq!((counting.state().idle, counting.state().in_use, counting.state().max), (2, 0, 2));

    drop(admin);
    postgres.stop().await.unwrap();
    for counting in [&counting, &Counting::new(config(&url, 2), "never-up")] {
        let begun = Instant::now();
        let (reason, message) = failure(counting, &one).await;
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert_eq!(reason, FailureReason::Connection);
        assert!(message.starts_with("cannot connect to the database: Connection refused"), "{message}");
        assert_eq!((counting.state().up, counting.state().last_error), (Some(false), Some(message)));
    }
    postgres.restart().await.unwrap();
    assert_eq!(value(&counting, &one).await, 3);
    assert_eq!((counting.state().up, counting.state().last_error), (Some(true), None));
}

#[tokio::test]
async fn a_restart_between_two_counts_fails_none() {
    let (mut postgres, url, _admin) = started().await;
    let counting = Counting::new(config(&url, 2), "a");
    let (one, two) = (table("t"), sql("SELECT count(*) FROM t, pg_sleep(0.2) AS s"));
    assert_eq!(tokio::join!(value(&counting, &one), value(&counting, &two)), (3, 3));
    postgres.restart().await.unwrap();
    assert_eq!(tokio::join!(value(&counting, &one), value(&counting, &two)), (3, 3));
}

#[tokio::test]
async fn a_backend_that_is_terminated_at_work_is_a_broken_connection() {
    let (_postgres, url, mut admin) = started().await;
    let counting = Counting::new(config(&url, 1), "a");
    let query = sql("SELECT 1 FROM pg_sleep(600)");
    let terminating = async {
        until_some(&mut admin, "state = 'active'", 1).await;
        until_none(&mut admin, "pg_terminate_backend(pid)").await
    };
    let ((reason, message), _) = tokio::join!(failure(&counting, &query), terminating);
    assert_eq!(reason, FailureReason::Connection);
    assert!(message.starts_with("the connection broke: terminating connection"), "{message}");
    assert_eq!(value(&counting, &table("t")).await, 3);
}

#[tokio::test]
async fn a_server_that_falls_silent_costs_a_bounded_time() {
    let (postgres, url, mut admin) = started().await;
    let mut config = config(&url, 1);
    config.connect_timeout = Duration::from_millis(500);
    let counting = Counting::new(config, "a");
    assert_eq!(value(&counting, &table("t")).await, 3);

    postgres.pause();
    let begun = Instant::now();
    assert_eq!(failure(&counting, &table("t")).await.0, FailureReason::Connection, "the idle session is silent");
    let (reason, message) = failure(&counting, &table("t")).await;
    assert_eq!(
        (reason, &*message),
        (FailureReason::Connection, "cannot connect to the database: no answer within 500ms")
    );
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    postgres.resume();
    assert_eq!(value(&counting, &table("t")).await, 3);

    let mut query = sql("SELECT 1 FROM pg_sleep(600)");
    query.timeout = Duration::from_secs(1);
    let pausing = async {
        until_some(&mut admin, "state = 'active'", 1).await;
        postgres.pause();
    };
    let ((reason, message), ()) = tokio::join!(failure(&counting, &query), pausing);
    assert_eq!((reason, &*message), (FailureReason::Timeout, "the server did not answer within 2s"));
    assert_eq!(counting.state().up, Some(false));
    postgres.resume();
    assert_eq!(value(&counting, &table("t")).await, 3);
    until_none(&mut admin, "state = 'active'").await;
}

#[tokio::test]
async fn a_rotated_password_is_read_at_the_next_connection() {
    let files = vec![("pg_hba.conf".to_owned(), HBA.as_bytes().to_vec())];
    let postgres = PostgresServer::start_with(PostgresOptions { files, ..Default::default() }).await.unwrap();
    postgres.execute("postgres", "CREATE ROLE reader LOGIN PASSWORD 'hunter2'").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    let mut config = parts(postgres.port(), "reader", "127.0.0.1");
    let DatabaseTarget::Parts { password, .. } = &mut config.target else { unreachable!() };
    *password = Some(Secret::File(file.clone()));
    let counting = Counting::new(config, "a");
    let query = sql("SELECT 1");

    let (reason, message) = failure(&counting, &query).await;
    assert!(reason == FailureReason::Connection && message.contains("database.password"), "{message}");
    fs::write(&file, "hunter2\n").unwrap();
    assert_eq!(value(&counting, &query).await, 1);

    postgres.execute("postgres", "ALTER ROLE reader PASSWORD 'hunter2-rotated'").await.unwrap();
    let mut admin = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
    until_none(&mut admin, "pg_terminate_backend(pid)").await;
    let (reason, message) = failure(&counting, &query).await;
    assert!(reason == FailureReason::Connection && message.contains("password authentication failed"), "{message}");
    fs::write(&file, "hunter2-rotated").unwrap();
    assert_eq!(value(&counting, &query).await, 1);
}

#[tokio::test]
async fn a_socket_directory_is_a_host_and_the_server_says_who_it_is() {
    let postgres = PostgresServer::start().await.unwrap();
    let mut config = parts(postgres.port(), "postgres", postgres.socket_dir().to_str().unwrap());
    let DatabaseTarget::Parts { sslmode, .. } = &mut config.target else { unreachable!() };
    *sslmode = SslMode::Require;
    let info = Counting::new(config, "a").ping().await.unwrap();
    assert!(info.version.starts_with(|c: char| c.is_ascii_digit()), "{info:?}");
    assert_eq!((&*info.role, &*info.dbname, info.standby), ("postgres", "postgres", false));
}

#[tokio::test]
async fn tls_is_as_strict_as_its_mode() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    authority(dir.path(), "ca");
    authority(dir.path(), "stranger");
    issue(dir.path(), "server", "server", "subjectAltName=IP:127.0.0.1");
    issue(dir.path(), "client", "certified", "extendedKeyUsage=clientAuth");
    let read = |name: &str| fs::read(path(name)).unwrap();
    let files = vec![
        ("pg_hba.conf".to_owned(), HBA.as_bytes().to_vec()),
        ("server.crt".to_owned(), read("server.crt")),
        ("server.key".to_owned(), read("server.key")),
        ("ca.crt".to_owned(), read("ca.crt")),
    ];
    let settings = ["ssl = on", "ssl_ca_file = 'ca.crt'"].map(str::to_owned).to_vec();
    let postgres = PostgresServer::start_with(PostgresOptions { config: settings, files, bin: None }).await.unwrap();
    postgres.execute("postgres", "CREATE ROLE encrypted LOGIN; CREATE ROLE certified LOGIN").await.unwrap();
    let counting = |user: &str, host: &str, mode: SslMode, ca: Option<&str>, certificate: Option<&str>| {
        let mut config = parts(postgres.port(), user, host);
        let DatabaseTarget::Parts { sslmode, sslcert, sslkey, sslrootcert, .. } = &mut config.target else {
            unreachable!()
        };
        let file =
            |name: Option<&str>, kind: &str| -> Option<PathBuf> { name.map(|name| path(&format!("{name}.{kind}"))) };
        (*sslmode, *sslrootcert) = (mode, file(ca, "crt"));
        (*sslcert, *sslkey) = (file(certificate, "crt"), file(certificate, "key"));
        Counting::new(config, "a")
    };
    let (ip, name, ca, stranger) = ("127.0.0.1", "localhost", Some("ca"), Some("stranger"));
    let encrypted = sql("SELECT count(*) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl");
    for (user, host, mode, ca, certificate) in [
        ("encrypted", ip, SslMode::Allow, None, None),
        ("encrypted", ip, SslMode::Prefer, None, None),
        ("encrypted", ip, SslMode::Require, None, None),
        ("encrypted", name, SslMode::VerifyCa, ca, None),
        ("encrypted", ip, SslMode::VerifyFull, ca, None),
        ("certified", ip, SslMode::VerifyFull, ca, Some("client")),
    ] {
        assert_eq!(value(&counting(user, host, mode, ca, certificate), &encrypted).await, 1, "{user} {mode:?}");
    }
    for (user, host, mode, ca, message) in [
        ("encrypted", ip, SslMode::Disable, None, "pg_hba.conf"),
        ("encrypted", ip, SslMode::Require, stranger, "UnknownIssuer"),
        ("encrypted", ip, SslMode::VerifyCa, stranger, "UnknownIssuer"),
        ("encrypted", ip, SslMode::VerifyFull, stranger, "UnknownIssuer"),
        ("encrypted", name, SslMode::VerifyFull, ca, "not valid for name"),
        ("certified", ip, SslMode::VerifyFull, ca, "certificate"),
    ] {
        let failure = run(&counting(user, host, mode, ca, None), &encrypted).await.outcome.unwrap_err();
        assert_eq!(failure.reason, FailureReason::Connection);
        assert!(failure.message.contains(message), "{user} {mode:?}: {failure}");
    }
}

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn authority(dir: &Path, name: &str) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc";
    openssl(dir, &format!("req -x509 {key} -keyout {name}.key -out {name}.crt -days 2 -subj /CN={name}"));
}

/// A certificate of the authority `ca`.
fn issue(dir: &Path, file: &str, subject: &str, extension: &str) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -CA ca.crt -CAkey ca.key";
    let constraint = "-addext basicConstraints=critical,CA:FALSE";
    openssl(
        dir,
        &format!(
            "req -x509 {key} -keyout {file}.key -out {file}.crt -days 2 -subj /CN={subject} {constraint} -addext {extension}"
        ),
    );
}
