//! The commands that read the configuration.

use rowcount::demo::{postgres::PostgresServer, redis::RedisServer};

use super::{command, lines, output};

/// Exit code, stdout and stderr with this environment.
async fn run(args: &[&str], settings: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = command("", args);
    command.envs(settings.iter().copied());
    let output = output(command).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_wrong_configuration_is_listed_whole_and_exits_78() {
    let settings = [
        ("ROWCOUNT_DATABASE_METRICS_INTERVAL", "10"),
        ("ROWCOUNT_LOG_LEVEL", "loud"),
        ("ROWCOUNT_DATABASE_HOST", "db"),
    ];
    for command in ["serve", "config", "check"] {
        let (code, stdout, stderr) = run(&[command], &settings).await;
        assert_eq!((code, stdout.as_str()), (78, ""), "{command}: {stderr}");
        for path in ["database.metrics.interval", "log.level"] {
            assert!(stderr.lines().any(|line| line.trim_start().starts_with(&format!("{path}: "))), "{stderr}");
        }
    }
}

#[tokio::test]
async fn the_effective_settings_tell_their_origin_and_no_secret() {
    let settings = [("ROWCOUNT_DATABASE_URL", "postgres://u:hunter2@db/registry")];
    let (code, stdout, stderr) = run(&["config", "--instance-id", "alice"], &settings).await;
    assert_eq!(code, 0, "{stderr}");
    let has = |key: &str, origin: &str| {
        stdout.lines().any(|line| line.trim_start().starts_with(key) && line.ends_with(origin))
    };
    assert!(has("instanceid: alice", "# flag --instance-id"), "{stdout}");
    assert!(has("url: ", "# environment ROWCOUNT_DATABASE_URL"), "{stdout}");
    assert!(has("interval: 10s", "# default"), "{stdout}");
    assert!(!stdout.contains("hunter2") && !stderr.contains("hunter2"), "{stdout}{stderr}");
}

#[tokio::test]
async fn a_right_configuration_is_called_valid_without_connecting() {
    let settings = [("ROWCOUNT_DATABASE_URL", "postgres://u@127.0.0.1:1/registry")];
    let (code, stdout, _) = run(&["check"], &settings).await;
    assert_eq!((code, stdout.as_str()), (0, "the configuration is valid\n"));
}

#[tokio::test]
async fn check_tries_each_part_and_fails_with_any() {
    let redis = RedisServer::start().await.unwrap();
    let postgres = PostgresServer::start().await.unwrap();
    let url = postgres.create_database("registry").await.unwrap();
    postgres.execute("registry", "CREATE TABLE t AS SELECT generate_series(1, 1234)").await.unwrap();
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let check = async |queries: &str| {
        std::fs::write(&file, format!("catalog: none\nqueries:\n{queries}")).unwrap();
        let args = ["check", "--connect", "--config", file.path().to_str().unwrap()];
        run(&args, &[("ROWCOUNT_DATABASE_URL", &url), ("ROWCOUNT_REDIS_CACHE_ADDR", &redis.addr())]).await
    };

    let good = "  good: {table: t, description: g}\n";
    let (code, stdout, stderr) = check(good).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    let told = lines(&stdout);
    assert!(told[0].starts_with("PART") && told[0].ends_with("RESULT"), "{stdout}");
    assert!(told[1].starts_with("postgres ") && told[1].contains("PostgreSQL 1"), "{stdout}");
    assert!(told[2].starts_with("redis ") && told[2].contains(" Redis "), "{stdout}");
    assert!(told[2].ends_with(&redis.addr()), "{stdout}");
    assert!(told[3].starts_with("redis events ") && told[3].ends_with("can be subscribed to"), "{stdout}");
    assert!(told[4].starts_with("good ") && told[4].contains("  1,234 rows, exact, planned cost "), "{stdout}");
    assert_eq!(redis.cli(&["KEYS", "*"]).await.unwrap(), "", "nothing is left of it");

    let (code, stdout, stderr) = check(&format!("{good}  bad: {{sql: SELECT nosuch, description: b}}\n")).await;
    assert_eq!(code, 1, "{stdout}{stderr}");
    let bad = stdout.lines().find(|line| line.starts_with("bad ")).expect("a line for the query");
    assert!(bad.contains("  FAILED sql: "), "{stdout}");
    assert!(stderr.ends_with("error: 1 of 5 parts failed; the table tells why\n"), "{stderr}");
}

#[tokio::test]
async fn check_without_a_database_says_so_once() {
    let settings = [("ROWCOUNT_DATABASE_URL", "postgres://u@127.0.0.1:1/registry")];
    let (code, stdout, stderr) = run(&["check", "--connect"], &settings).await;
    assert_eq!((code, lines(&stdout).len()), (1, 2), "{stdout}{stderr}");
    assert!(stdout.contains("  FAILED connection: "), "{stdout}");
    assert!(stderr.ends_with("error: 1 of 1 parts failed; the table tells why\n"), "{stderr}");
}
