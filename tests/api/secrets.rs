//! What is secret stays so: in the log, on the ports, on the command line. And what the commands about the configuration
//! exit with.

#![allow(clippy::unwrap_used, reason = "all of it is test code, also what is no test itself")]

use std::{fs, process::Output};

use prost::Message;
use rowcount::{
    demo::{
        postgres::{PostgresOptions, PostgresServer},
        redis::{RedisOptions, RedisServer},
    },
    proto::v1::{
        ListCollectionsRequest, ListQueriesRequest, ListQueriesResponse, TriggerCollectionRequest,
        TriggerCollectionResponse,
    },
};
use serde_json::Value;
use tonic::Status;

use crate::fleet::{Fleet, Instance, eventually, sample};

/// In every secret, right or wrong, and in nothing else.
const SECRET: &str = "hunter2";

/// In the SQL of the user's, and in nothing else.
const SQL: &str = "quine";

const HBA: &str = "host all postgres 127.0.0.1/32 trust\nhost all counter 127.0.0.1/32 scram-sha-256\n";

const POSTGRES_PASSWORD: &str = "hunter2:of@postgres";
const REDIS_PASSWORD: &str = "hunter2-of-redis";

/// Servers that ask for passwords, and queries that succeed and fail.
async fn fleet() -> Fleet {
    let mut fleet = Fleet::servers().await;
    let files = vec![("pg_hba.conf".to_owned(), HBA.as_bytes().to_vec())];
    fleet.postgres = PostgresServer::start_with(PostgresOptions { files, ..Default::default() }).await.unwrap();
    fleet.postgres.create_database("registry").await.unwrap();
    let setup = format!(
        "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2);
         CREATE ROLE counter LOGIN PASSWORD '{POSTGRES_PASSWORD}'; GRANT SELECT ON t TO counter"
    );
    fleet.sql(&setup).await;
    let options = RedisOptions { requirepass: Some(REDIS_PASSWORD.to_owned()), ..Default::default() };
    fleet.redis = RedisServer::start_with(options).await.unwrap();
    fleet.set("ROWCOUNT_DATABASE_URL", url(&fleet, "hunter2%3Aof%40postgres"));
    fleet.set("ROWCOUNT_REDIS_CACHE_ADDR", fleet.redis.addr());
    fleet.set("ROWCOUNT_REDIS_CACHE_PASSWORD", REDIS_PASSWORD);
    fleet.set("ROWCOUNT_CATALOG", "none");
    fleet.set("ROWCOUNT_QUERIES_GOOD_SQL", format!("SELECT count(*) FROM t WHERE '{SQL}' <> ''"));
    fleet.set("ROWCOUNT_LOG_LEVEL", "trace");
    // 4,096 rounds of a hash are slow in a build without optimisation.
    fleet.set("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "10s");
    fleet
}

fn url(fleet: &Fleet, password: &str) -> String {
    format!("postgres://counter:{password}@127.0.0.1:{}/registry", fleet.postgres.port())
}

/// The settings of a role whose password lies in a file.
fn parts<'a>(port: &'a str, file: &'a str) -> [(&'static str, &'a str); 6] {
    [
        ("ROWCOUNT_DATABASE_URL", ""),
        ("ROWCOUNT_DATABASE_HOST", "127.0.0.1"),
        ("ROWCOUNT_DATABASE_PORT", port),
        ("ROWCOUNT_DATABASE_USER", "counter"),
        ("ROWCOUNT_DATABASE_DBNAME", "registry"),
        ("ROWCOUNT_DATABASE_PASSWORDFILE", file),
    ]
}

/// Both streams, after a look for secrets, and the exit code.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    for text in [&stdout, &stderr] {
        assert!(!text.contains(SECRET), "{text}");
    }
    (output.status.code(), stdout, stderr)
}

async fn trigger(instance: &Instance) -> Result<TriggerCollectionResponse, Status> {
    let wait_timeout = Some(prost_types::Duration { seconds: 20, nanos: 0 });
    let request = TriggerCollectionRequest { wait_timeout, ..Default::default() };
    Ok(instance.client().await.trigger_collection(request).await?.into_inner())
}

async fn queries(instance: &Instance) -> ListQueriesResponse {
    instance.client().await.list_queries(ListQueriesRequest::default()).await.unwrap().into_inner()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Everything that anybody can get out of an instance now.
async fn told(instance: &Instance) -> Vec<(String, Vec<u8>)> {
    let mut told = Vec::new();
    for path in ["/", "/status", "/config", "/metrics", "/version", "/livez", "/readyz", "/readyz?verbose", "/none"] {
        told.push((path.to_owned(), instance.get(path).await.1.into_bytes()));
    }
    let collections = instance.client().await.list_collections(ListCollectionsRequest::default()).await.unwrap();
    // Encoded, since the details of an error are bytes, which `Debug` would show as numbers.
    told.push(("ListCollections".to_owned(), collections.into_inner().encode_to_vec()));
    told.push(("GetRowCounts".to_owned(), instance.counts().await.encode_to_vec()));
    told.push(("GetLeaseStatus".to_owned(), instance.lease().await.encode_to_vec()));
    told.push(("ListQueries".to_owned(), queries(instance).await.encode_to_vec()));
    let triggered = match trigger(instance).await {
        Ok(answer) => answer.encode_to_vec(),
        Err(status) => [status.message().as_bytes(), status.details()].concat(),
    };
    told.push(("TriggerCollection".to_owned(), triggered));
    told.push(("the log".to_owned(), instance.log().join("\n").into_bytes()));
    told.push(("the command line".to_owned(), fs::read(format!("/proc/{}/cmdline", instance.pid())).unwrap()));
    told
}

async fn tells_no_secret(instance: &Instance) {
    for (what, bytes) in told(instance).await {
        assert!(!holds(&bytes, SECRET), "{}: {what} tells: {}", instance.id, String::from_utf8_lossy(&bytes));
    }
}

async fn counted(instance: &Instance) {
    eventually("it counts", async || {
        let count = instance.count("good").await;
        (count.row_count == Some(2) && count.error.is_none() && !count.stale).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_secret_is_told_by_any_way_whatever_goes_wrong() {
    let mut fleet = fleet().await;
    let wrong_url = url(&fleet, "hunter2-wrong");
    let wrong = [("ROWCOUNT_DATABASE_URL", &*wrong_url), ("ROWCOUNT_CLUSTER", "wrong")];
    let odd_url = format!("{}?sslpassword=hunter2&unknown=hunter2", url(&fleet, "hunter2%3Aof%40postgres"));
    let odd = [("ROWCOUNT_DATABASE_URL", &*odd_url), ("ROWCOUNT_CLUSTER", "odd")];
    let locked_out = [("ROWCOUNT_REDIS_CACHE_PASSWORD", "hunter2-wrong")];

    let by_url = fleet.instance("by-url").await;
    let odd = fleet.instance_with("odd", &odd).await;
    let wrong = fleet.instance_with("wrong", &wrong).await;
    let locked_out = fleet.instance_with("locked-out", &locked_out).await;
    counted(&by_url).await;
    counted(&odd).await;
    eventually("the password is refused", async || wrong.count("good").await.error).await;
    locked_out.logged("lease store does not answer").await;
    for instance in [&by_url, &odd, &wrong, &locked_out] {
        tells_no_secret(instance).await;
    }
    let settings = by_url.get("/config").await.1;
    assert!(settings.matches("[redacted]").count() >= 2, "{settings}");

    fleet.postgres.kill().await.unwrap();
    eventually("the database is gone", async || by_url.count("good").await.error).await;
    fleet.redis.kill().await.unwrap();
    eventually("Redis is gone", async || {
        (sample(&by_url.metrics().await, "rowcount_redis_up") == Some(0.0)).then_some(())
    })
    .await;
    for instance in [&by_url, &odd, &wrong, &locked_out] {
        tells_no_secret(instance).await;
    }
    fleet.redis.restart().await.unwrap();
    fleet.postgres.restart().await.unwrap();
    counted(&by_url).await;
    tells_no_secret(&by_url).await;
}

#[tokio::test]
async fn a_password_in_a_file_is_told_neither_when_it_is_right_nor_when_it_is_wrong_or_gone() {
    let fleet = fleet().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    fs::write(&file, POSTGRES_PASSWORD).unwrap();
    let port = fleet.postgres.port().to_string();
    let settings = parts(&port, file.to_str().unwrap());
    let instance = fleet.instance_with("by-file", &settings).await;
    counted(&instance).await;
    tells_no_secret(&instance).await;

    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'counter'";
    fs::write(&file, "hunter2-wrong").unwrap();
    for want in ["password authentication failed", "cannot read database.password"] {
        fleet.sql(end).await;
        eventually("it is refused", async || {
            instance.count("good").await.error.filter(|error| error.message.contains(want))
        })
        .await;
        tells_no_secret(&instance).await;
        let (code, stdout, _) = said(&fleet.run(&["check", "--connect"], &settings).await);
        assert_eq!(code, Some(1));
        assert!(stdout.contains(want), "{stdout}");
        _ = fs::remove_file(&file);
    }
}

#[tokio::test]
async fn sql_of_the_users_is_in_no_line_that_people_see_and_in_no_answer() {
    let mut fleet = fleet().await;
    for (name, sql) in [
        ("ROWCOUNT_QUERIES_WORD_SQL", format!("SELECT '{SQL}'::int")),
        ("ROWCOUNT_QUERIES_SYNTAX_SQL", format!("SELEC '{SQL}'")),
        ("ROWCOUNT_QUERIES_TEXT_SQL", format!("SELECT '{SQL}'")),
        ("ROWCOUNT_QUERIES_SLOW_SQL", format!("SELECT count(*) FROM pg_sleep(60) WHERE '{SQL}' <> ''")),
    ] {
        fleet.set(name, sql);
    }
    fleet.set("ROWCOUNT_QUERIES_SLOW_TIMEOUT", "100ms");
    let instance = fleet.instance("alice").await;
    counted(&instance).await;
    for name in ["word", "syntax", "text", "slow"] {
        eventually("it fails", async || instance.count(name).await.error).await;
    }
    for (what, bytes) in told(&instance).await {
        // The page of the settings shows them as they were given; the log is looked at below.
        if what != "/config" && what != "the log" {
            assert!(!holds(&bytes, SQL), "{what} tells: {}", String::from_utf8_lossy(&bytes));
        }
    }
    let mut lines = 0;
    for line in instance.log() {
        let parsed: Value = serde_json::from_str(&line).unwrap();
        let is_seen = ["info", "warn", "error"].contains(&parsed["level"].as_str().unwrap());
        lines += u32::from(is_seen);
        assert!(!is_seen || !line.contains(SQL), "{line}");
    }
    assert!(lines > 6, "four failures and the start are told");
    let checked = fleet.run(&["check", "--connect"], &[]).await;
    let (code, stdout, _) = said(&checked);
    assert!(code == Some(1) && !stdout.contains(SQL), "{stdout}");
}

#[tokio::test]
async fn the_commands_about_the_configuration_exit_with_what_they_found() {
    let mut fleet = fleet().await;
    let (code, stdout, stderr) = said(&fleet.run(&["config"], &[]).await);
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert!(stdout.contains("[redacted]") && stdout.contains("ROWCOUNT_REDIS_CACHE_PASSWORD"), "{stdout}");
    let (code, stdout, stderr) = said(&fleet.run(&["check"], &[]).await);
    assert_eq!((code, &*stdout, &*stderr), (Some(0), "the configuration is valid\n", ""));
    let (code, stdout, stderr) = said(&fleet.run(&["check", "--connect"], &[]).await);
    assert_eq!((code, &*stderr), (Some(0), ""), "{stdout}");
    for part in ["postgres", "redis", "good"] {
        assert!(stdout.lines().any(|line| line.starts_with(part)), "{stdout}");
    }

    let failing = [("ROWCOUNT_QUERIES_BAD_SQL", "SELECT nothing FROM t")];
    let (code, stdout, _) = said(&fleet.run(&["check", "--connect"], &failing).await);
    let bad = stdout.lines().find(|line| line.starts_with("bad")).unwrap();
    assert!(code == Some(1) && bad.contains("FAILED") && bad.contains("\"nothing\" does not exist"), "{stdout}");
    let lacking = [("ROWCOUNT_CATALOG", "registry")];
    let (code, stdout, _) = said(&fleet.run(&["check", "--connect"], &lacking).await);
    assert_eq!(code, Some(0), "a schema that lacks a built-in's table is no failure: {stdout}");
    assert!(stdout.contains("not counted"), "{stdout}");

    let wrong_url = url(&fleet, "hunter2-wrong");
    for (settings, part, want) in [
        (("ROWCOUNT_DATABASE_URL", &*wrong_url), "postgres", "password authentication failed"),
        (("ROWCOUNT_REDIS_CACHE_PASSWORD", "hunter2-wrong"), "redis", "Password authentication failed"),
    ] {
        let (code, stdout, _) = said(&fleet.run(&["check", "--connect"], &[settings]).await);
        let line = stdout.lines().find(|line| line.starts_with(part)).unwrap();
        assert!(code == Some(1) && line.contains("FAILED") && line.contains(want), "{stdout}");
    }
    fleet.postgres.stop().await.unwrap();
    fleet.redis.stop().await.unwrap();
    let (code, stdout, _) = said(&fleet.run(&["check", "--connect"], &[]).await);
    assert_eq!((code, stdout.matches("FAILED").count()), (Some(1), 2), "{stdout}");

    let wrong = [
        ("ROWCOUNT_DATABASE_METRICS_INTERVAL", "5"),
        ("ROWCOUNT_DATABASE_PASSWORD", "hunter2"),
        ("ROWCOUNT_REDIS_CACHE_PASSWORDFILE", "/nowhere"),
        ("ROWCOUNT_QUERIES_SEVERAL_SQL", "SELECT 1; SELECT 'hunter2'"),
    ];
    for command in ["serve", "config", "check"] {
        let (code, stdout, stderr) = said(&fleet.run(&[command], &wrong).await);
        assert_eq!((code, &*stdout), (Some(78), ""), "{command}: {stderr}");
        for path in ["database.metrics.interval", "database.url", "redis.cache.password", "queries.several.sql"] {
            let listed = stderr.lines().any(|line| line.trim_start().starts_with(&format!("{path}: ")));
            assert!(listed, "{command}: {path} is missing in {stderr}");
        }
    }
}
