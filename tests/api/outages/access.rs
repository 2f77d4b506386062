//! Who is let in, and what is said to whoever is not.

use std::{fs, path::Path, process::Command};

use rowcount::demo::{
    postgres::{PostgresOptions, PostgresServer},
    redis::{RedisOptions, RedisServer},
    server::free_port,
};
use tonic::Code;

use super::{counted_anew, fleet, part};
use crate::fleet::{Instance, eventually, told};

/// Waits until the log, the ops port and GetLeaseStatus all tell this of Redis. A busy machine may first be too slow.
async fn tells_of_redis(instance: &Instance, what: &str) {
    eventually(&format!("{what:?} is told"), async || {
        let is_logged = instance.log().iter().any(|line| line.contains(r#""level":"warn""#) && line.contains(what));
        let error = instance.lease().await.instance.unwrap().error.map(|error| told(&error).2)?;
        (is_logged && error.contains(what) && part(instance, "redis").await.contains(what)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_password_rotated_in_its_file_needs_no_restart() {
    const HBA: &str = "host all postgres 127.0.0.1/32 trust\nhost all counter 127.0.0.1/32 scram-sha-256\n";
    let mut fleet = fleet().await;
    let files = vec![("pg_hba.conf".to_owned(), HBA.as_bytes().to_vec())];
    fleet.postgres = PostgresServer::start_with(PostgresOptions { files, ..Default::default() }).await.unwrap();
    fleet.postgres.create_database("registry").await.unwrap();
    let setup = "CREATE TABLE t (n int); INSERT INTO t VALUES (1); CREATE ROLE counter LOGIN PASSWORD 'first'; GRANT \
                 SELECT ON t TO counter";
    fleet.sql(setup).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    fs::write(&file, "first\n").unwrap();
    fleet.set("ROWCOUNT_DATABASE_URL", "");
    // 4,096 rounds of a hash are slow in a build without optimisation.
    fleet.set("ROWCOUNT_DATABASE_CONNECTTIMEOUT", "5s");
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "10s");
    fleet.set("ROWCOUNT_DATABASE_HOST", "127.0.0.1");
    fleet.set("ROWCOUNT_DATABASE_PORT", fleet.postgres.port().to_string());
    fleet.set("ROWCOUNT_DATABASE_USER", "counter");
    fleet.set("ROWCOUNT_DATABASE_DBNAME", "registry");
    fleet.set("ROWCOUNT_DATABASE_PASSWORDFILE", file.to_str().unwrap());
    let instance = fleet.instance("alice").await;
    assert_eq!(counted_anew(&instance).await.row_count, Some(1));

    let rotate = "ALTER ROLE counter PASSWORD 'second'; INSERT INTO t VALUES (2);
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'counter'";
    fleet.sql(rotate).await;
    let refused = eventually("the old one is refused", async || instance.count("t").await.error).await;
    let (code, reason, message) = told(&refused);
    assert_eq!((code, &*reason), (Code::Unavailable, "CONNECTION"));
    let want = "cannot connect to the database: password authentication failed for user \"counter\"";
    eventually("the reason is told", async || {
        let error = instance.count("t").await.error;
        error.is_some_and(|error| error.message == want).then_some(())
    })
    .await;
    assert!(message.contains("database") || message.contains("connection"), "{message}");
    fs::write(&file, "second\n").unwrap();
    assert_eq!(counted_anew(&instance).await.row_count, Some(2));
}

/// An authority `ca.pem`, another one `other.pem`, and a certificate of the first for 127.0.0.1.
fn certificates(dir: &Path) {
    let openssl = |args: &str| {
        let output = Command::new("openssl").args(args.split(' ')).current_dir(dir).output().expect("openssl starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(&format!("{new} -keyout ca.key -out ca.pem -subj /CN=ca"));
    openssl(&format!("{new} -keyout other.key -out other.pem -subj /CN=other"));
    openssl(&format!(
        "{new} -keyout redis.key -out redis.pem -subj /CN=redis -CA ca.pem -CAkey ca.key -addext \
         subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
    ));
}

#[tokio::test]
async fn redis_is_spoken_to_over_tls_with_the_authority_that_was_given() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let mut fleet = fleet().await;
    let tls_port = free_port().unwrap();
    let config = ["tls-cert-file redis.pem", "tls-key-file redis.key", "tls-auth-clients no"].map(str::to_owned);
    let config = config.into_iter().chain([format!("tls-port {tls_port}")]).collect();
    let files = ["redis.pem", "redis.key"].map(|name| (name.to_owned(), fs::read(dir.path().join(name)).unwrap()));
    let options = RedisOptions { config, files: files.into(), ..Default::default() };
    fleet.redis = RedisServer::start_with(options).await.unwrap();
    fleet.set("ROWCOUNT_REDIS_CACHE_ADDR", format!("127.0.0.1:{tls_port}"));
    fleet.set("ROWCOUNT_REDIS_CACHE_TLS_ENABLED", "true");
    // A handshake is slow in a build without optimisation, and a tenth of the lease is what a command of it may take.
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "10s");
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (ours, other) = (file("ca.pem"), file("other.pem"));

    for settings in [[("ROWCOUNT_REDIS_CACHE_TLS_CA", &*other)], [("ROWCOUNT_CLUSTER", "of-the-system")]] {
        let refused = fleet.run(&["check", "--connect"], &settings).await;
        let table = String::from_utf8_lossy(&refused.stdout).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{table}");
        let line = table.lines().find(|line| line.starts_with("redis")).unwrap_or_else(|| panic!("{table}"));
        assert!(line.contains("FAILED") && line.contains("certificate"), "{line}");
    }
    let refused = fleet.instance_with("stranger", &[("ROWCOUNT_REDIS_CACHE_TLS_CA", &other)]).await;
    tells_of_redis(&refused, "certificate").await;

    let trusts = [("ROWCOUNT_REDIS_CACHE_TLS_CA", &*ours), ("ROWCOUNT_REDIS_CACHE_TLS_INSECURE", "true")];
    for (settings, cluster) in trusts.into_iter().zip(["verified", "insecure"]) {
        let settings = [settings, ("ROWCOUNT_CLUSTER", cluster)];
        let instance = fleet.instance_with("friend", &settings).await;
        assert_eq!(counted_anew(&instance).await.row_count, Some(3), "{settings:?}");
        // The events come over it too.
        instance.logged("Subscribed to the board's events").await;
    }
}

#[tokio::test]
async fn a_redis_user_without_a_right_or_with_a_wrong_password_is_told_what_is_missing() {
    let mut fleet = fleet().await;
    let users = [
        "user poor on >right ~{rowcount:default}:* &{rowcount:default}:* +@all -@dangerous",
        "user rich on >right ~{rowcount:default}:* &{rowcount:default}:* +@all -@dangerous +info",
    ];
    let options = RedisOptions { config: users.map(str::to_owned).into(), ..Default::default() };
    fleet.redis = RedisServer::start_with(options).await.unwrap();
    fleet.set("ROWCOUNT_REDIS_CACHE_ADDR", fleet.redis.addr());
    let of = |user, password| [("ROWCOUNT_REDIS_CACHE_USERNAME", user), ("ROWCOUNT_REDIS_CACHE_PASSWORD", password)];
    for (user, password, want) in [
        ("poor", "right", "give the user of redis.cache the commands +info"),
        ("poor", "wrong", "Password authentication failed"),
    ] {
        let instance = fleet.instance_with(&format!("{user}-{password}"), &of(user, password)).await;
        tells_of_redis(&instance, want).await;
        let checked = fleet.run(&["check", "--connect"], &of(user, password)).await;
        let table = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert_eq!(checked.status.code(), Some(1), "{table}");
        assert!(table.lines().any(|line| line.starts_with("redis") && line.contains(want)), "{table}");
    }
    let instance = fleet.instance_with("rich", &of("rich", "right")).await;
    assert_eq!(counted_anew(&instance).await.row_count, Some(3));
}
