//! The commands: the real binary against a server of fixed answers, as transcripts.

#![allow(clippy::unwrap_used, reason = "all of it is test code, also what is no test itself")]

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

use fixed::{ID, server};

mod fixed;
mod rates;
mod service;
mod tls;

/// Every command, as in the contract.
const COMMANDS: [&str; 17] = [
    "serve",
    "config",
    "check",
    "demo",
    "counts",
    "watch",
    "queries",
    "lease",
    "trigger",
    "collections",
    "resign",
    "rates",
    "rates-model",
    "rates-validate",
    "healthcheck",
    "completions",
    "man",
];

/// No command may take longer; on a busy machine a process alone takes its time.
const BOUND: Duration = Duration::from_secs(30);

/// The program with these arguments, and nothing of this machine's settings.
fn command(url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowcount"));
    command.env_clear().args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    if !url.is_empty() {
        command.env("ROWCOUNT_SERVER", url);
    }
    command
}

async fn output(mut command: Command) -> Output {
    tokio::time::timeout(BOUND, command.output()).await.expect("the command ends in time").unwrap()
}

/// Exit code, stdout and stderr.
async fn run(url: &str, args: &[&str]) -> (i32, String, String) {
    let output = output(command(url, args)).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
}

async fn json_of(url: &str, args: &[&str]) -> Value {
    let (code, stdout, stderr) = run(url, args).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{args:?}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{args:?}: {error} in {stdout}"))
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[tokio::test]
async fn counts_go_to_stdout_as_a_table_and_the_rest_to_stderr() {
    let (url, _) = server().await;
    let (code, stdout, stderr) = run(&url, &["counts"]).await;
    assert_eq!(
        lines(&stdout),
        [
            "QUERY    ROWS  AGE  METHOD    BOUNDS  ERROR",
            "blobs  12,345   2m  exact",
            "tags        7   5m  followed  6..8    TIMEOUT: not done in 10s",
        ]
    );
    assert_eq!(stderr, "revision 7; heard from the board 1m ago; last collected by alice under epoch 3 2m ago\n");
    assert_eq!(code, 0);
}

#[tokio::test]
async fn json_has_integers_as_numbers_and_the_details_of_errors() {
    let (url, _) = server().await;
    let mut answer = json_of(&url, &["counts", "-o", "json"]).await;
    for count in answer["rowCounts"].as_array_mut().unwrap() {
        let time = count.as_object_mut().unwrap().remove("observeTime").unwrap();
        assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
    }
    assert_eq!(
        answer["rowCounts"],
        json!([
            {"queryName": "blobs", "rowCount": 12_345, "method": "METHOD_EXACT", "epoch": 3},
            {
                "queryName": "tags",
                "rowCount": 7,
                "method": "METHOD_FOLLOWED",
                "lowerBound": 6,
                "upperBound": 8,
                "error": {
                    "code": 4,
                    "message": "not done in 10s",
                    "details": [{
                        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                        "reason": "TIMEOUT",
                        "domain": "rowcount.v1",
                    }],
                },
            },
        ])
    );
    assert_eq!(answer["revision"], json!(7));
    assert_eq!(answer["lastCollection"]["state"], json!("STATE_SUCCEEDED"));
}

#[tokio::test]
async fn every_command_answers_in_json() {
    let (url, _) = server().await;
    let interval = json_of(&url, &["queries", "-o", "json"]).await["queries"][0]["interval"].clone();
    assert_eq!(interval, json!("90s"));
    assert_eq!(json_of(&url, &["lease", "-o", "json"]).await["lease"]["epoch"], json!(3));
    assert_eq!(json_of(&url, &["collections", "-o", "json"]).await["collections"][0]["epoch"], json!(3));
    assert_eq!(json_of(&url, &["collections", ID, "-o", "json"]).await["collection"]["collectionId"], json!(ID));
    assert_eq!(json_of(&url, &["trigger", "-o", "json"]).await["collection"]["state"], json!("STATE_RUNNING"));
    let resigned = json_of(&url, &["resign", "--hold-off", "1m", "-o", "json"]).await;
    assert_eq!(resigned["lease"]["state"], json!("STATE_FREE"));
    assert_eq!(json_of(&url, &["healthcheck", "-o", "json"]).await, json!({"status": "SERVING"}));
}

#[tokio::test]
async fn queries_lease_and_collections_are_readable() {
    let (url, _) = server().await;
    let (code, stdout, stderr) = run(&url, &["queries"]).await;
    assert_eq!(
        lines(&stdout),
        [
            "QUERY  METHOD          TABLE         INTERVAL  TIMEOUT  DESCRIPTION",
            "blobs  auto: followed  public.blobs     1m30s      10s  Blobs",
        ]
    );
    assert_eq!((code, stderr.as_str()), (0, ""));

    let (code, stdout, _) = run(&url, &["lease"]).await;
    let told = lines(&stdout);
    for line in [
        "state          held",
        "holder         alice",
        "expires in     26s",
        "this instance  bob (version 0.1.0, up 10m)",
        "role           standby",
    ] {
        assert!(told.contains(&line), "{line:?} in {stdout}");
    }
    assert_eq!(code, 0);

    let (code, stdout, _) = run(&url, &["collections"]).await;
    assert_eq!(
        lines(&stdout)[1],
        "0197a000-0000-7000-8000-000000000001  running  request   2m     -   -       0  alice"
    );
    assert_eq!(code, 0);
}

#[tokio::test]
async fn an_error_is_one_line_with_code_place_message_and_reason() {
    let (url, _) = server().await;
    for (args, told) in [
        (&["counts", "nosuch"][..], "NOT_FOUND from URL: no query is named nosuch (UNKNOWN_QUERY)"),
        (&["counts", "--max-age", "1s"], "FAILED_PRECONDITION from URL: blobs is 150s old (DATA_TOO_OLD)"),
        (&["collections", "x", "-o", "json"], "NOT_FOUND from URL: no collection has this id (COLLECTION_NOT_FOUND)"),
        (&["resign"], "UNAVAILABLE from URL: nobody holds the lease (NO_LEADER)"),
    ] {
        let stderr = format!("error: {}\n", told.replace("URL", &url));
        assert_eq!(run(&url, args).await, (1, String::new(), stderr), "{args:?}");
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_the_timeout() {
    let (url, metadata) = server().await;
    let (code, stdout, stderr) = run(&url, &["counts", "silence", "--timeout", "300ms"]).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with(&format!("error: DEADLINE_EXCEEDED from {url}: ")), "{stderr}");
    assert!(stderr.ends_with("; raise --timeout\n"), "{stderr}");
    assert_eq!(metadata.lock().unwrap().get("grpc-timeout").unwrap(), "300000u");
}

#[tokio::test]
async fn an_unreachable_server_is_told_with_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let stderr = format!(
        "error: cannot reach {url}: Connection refused (os error 111); is `rowcount serve` running there? \
         set --server or ROWCOUNT_SERVER\n"
    );
    assert_eq!(run("", &["lease", "--server", &url]).await, (1, String::new(), stderr));
}

#[tokio::test]
async fn wrong_usage_exits_2() {
    let token = tempfile::NamedTempFile::new().unwrap();
    let token = token.path().to_str().unwrap();
    for (args, told) in [
        (&["frobnicate"][..], "unrecognized subcommand 'frobnicate'"),
        (&["counts", "--timeout", "10"], "time unit needed"),
        (&["counts", "--server", "localhost:50051"], "want http://HOST:PORT"),
        (&["counts", "--output", "xml"], "possible values: table, json"),
        (&["counts", "--tls-cert", "x"], "--tls-key"),
        (&["counts", "--tls-ca", "x"], "--tls-ca and --tls-cert are for https"),
        (&["trigger", "--request-id", "1"], "--request-id"),
        (&["counts", "--server", "http://10.0.0.1:1", "--token-file", token], "a token is not sent in plaintext"),
    ] {
        let (code, stdout, stderr) = run("", args).await;
        assert_eq!((code, stdout.as_str()), (2, ""), "{args:?}: {stderr}");
        assert!(stderr.contains(told), "{args:?}: {stderr}");
    }
}

#[tokio::test]
async fn a_token_goes_with_the_call_on_this_machine() {
    let (url, metadata) = server().await;
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&token, "hunter2\n").unwrap();
    let (code, _, _) = run(&url, &["counts", "--token-file", token.path().to_str().unwrap()]).await;
    assert_eq!(code, 0);
    assert_eq!(metadata.lock().unwrap().get("authorization").unwrap(), "Bearer hunter2");

    let (code, _, stderr) = run(&url, &["counts", "--token-file", "/nonexistent/token"]).await;
    assert_eq!(code, 1);
    assert_eq!(stderr, "error: cannot read --token-file /nonexistent/token: No such file or directory (os error 2)\n");
}

#[tokio::test]
async fn watch_prints_a_table_then_changes_and_goes_on_where_its_stream_ended_a_few_times() {
    let (url, _) = server().await;
    let (code, stdout, stderr) = run(&url, &["watch"]).await;
    let told = lines(&stdout);
    assert_eq!(told[..2], ["QUERY   ROWS  AGE  METHOD  ERROR", "blobs  1,000   2m  exact"]);
    assert!(told[2].ends_with("Z  blobs         1,200      +200  exact"), "{stdout}");
    assert!(told[3].ends_with("Z  blobs         1,300      +100  exact"), "{stdout}");
    assert_eq!(told.len(), 4, "{stdout}");
    assert_eq!(stderr, format!("error: UNAVAILABLE from {url}: the server is stopping; try again in 10ms\n"));
    assert_eq!(code, 1);

    let (_, stdout, _) = run(&url, &["watch", "-o", "json"]).await;
    let revisions: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["revision"].clone()).collect();
    assert_eq!(revisions, [json!(1), json!(1), json!(2), json!(3)]);
}

#[tokio::test]
async fn a_stream_that_the_server_completes_is_a_success() {
    let (url, _) = server().await;
    let (code, stdout, stderr) = run(&url, &["lease", "--watch"]).await;
    let told = lines(&stdout);
    assert!(told[0].ends_with("Z  held         epoch 3  holder alice  at 10.0.0.1:50051"), "{stdout}");
    assert!(told[1].ends_with("Z  free         epoch 3  last holder alice  at 10.0.0.1:50051"), "{stdout}");
    assert_eq!((code, told.len(), stderr.as_str()), (0, 2, ""));
}

/// A watch that goes on for ever, after its first line.
async fn endless_watch(url: &str) -> (Child, BufReader<tokio::process::ChildStdout>) {
    let mut child = command(url, &["watch", "endless"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    tokio::time::timeout(BOUND, stdout.read_line(&mut line)).await.expect("a first line in time").unwrap();
    assert!(line.starts_with("QUERY"), "{line}");
    (child, stdout)
}

async fn ended(mut child: Child) -> (Option<i32>, String) {
    let status = tokio::time::timeout(BOUND, child.wait()).await.expect("the command ends in time").unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
    (status.code(), stderr)
}

#[tokio::test]
async fn an_interrupt_ends_a_watch_without_complaint() {
    let (url, _) = server().await;
    let (child, _stdout) = endless_watch(&url).await;
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(ended(child).await, (Some(0), String::new()));
}

#[tokio::test]
async fn a_reader_that_leaves_ends_a_watch_without_complaint() {
    let (url, _) = server().await;
    let (child, stdout) = endless_watch(&url).await;
    drop(stdout);
    assert_eq!(ended(child).await, (Some(0), String::new()));
}

#[tokio::test]
async fn trigger_returns_at_once_unless_told_to_wait() {
    let (url, metadata) = server().await;
    let (code, stdout, stderr) = run(&url, &["trigger"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("state       running\n"), "{stdout}");

    let (code, stdout, stderr) = run(&url, &["trigger", "--wait", "30s"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("state       succeeded\n"), "{stdout}");
    assert_eq!(metadata.lock().unwrap().get("grpc-timeout").unwrap(), "40000000u", "the wait adds to the timeout");
}

#[tokio::test]
async fn trigger_fails_when_the_collection_does_or_the_wait_ends_first() {
    let (url, _) = server().await;
    let (code, stdout, stderr) = run(&url, &["trigger", "--wait", "300ms"]).await;
    assert_eq!(
        (code, stderr),
        (1, format!("error: collection {ID} is running after 300ms; `rowcount collections {ID}` tells when it ends\n"))
    );
    assert!(stdout.contains("state       running\n"), "{stdout}");

    let (code, stdout, stderr) = run(&url, &["trigger", "broken"]).await;
    assert_eq!(code, 1);
    assert!(stderr.starts_with(&format!("error: collection {ID} ended as failed")), "{stderr}");
    assert!(stdout.contains("state       failed\n"), "{stdout}");
}

#[tokio::test]
async fn healthcheck_succeeds_only_when_serving() {
    let (url, _) = server().await;
    assert_eq!(run(&url, &["healthcheck"]).await, (0, "SERVING\n".to_owned(), String::new()));
    let (code, stdout, stderr) = run(&url, &["healthcheck", "--service", "rowcount.v1.RowCountService"]).await;
    assert_eq!((code, stdout.as_str()), (1, "NOT_SERVING\n"));
    assert_eq!(stderr, "error: the server's health \"rowcount.v1.RowCountService\" is NOT_SERVING\n");
    let (code, _, stderr) = run(&url, &["healthcheck", "--service", "nosuch"]).await;
    assert_eq!(code, 1);
    assert!(stderr.starts_with("error: NOT_FOUND from "), "{stderr}");
}

#[tokio::test]
async fn colour_is_for_terminals_and_never_with_no_color() {
    let (url, _) = server().await;
    let stdout = async |settings: &[&str]| {
        let mut command = command(&url, &["counts"]);
        command.envs(settings.iter().map(|name| (name, "1")));
        String::from_utf8(output(command).await.stdout).unwrap()
    };
    assert!(!stdout(&[]).await.contains('\u{1b}'));
    assert!(stdout(&["CLICOLOR_FORCE"]).await.contains("\u{1b}[31m"));
    assert!(!stdout(&["CLICOLOR_FORCE", "NO_COLOR"]).await.contains('\u{1b}'));
}

#[tokio::test]
async fn completions_and_the_manual_name_every_command() {
    let (_, manual, _) = run("", &["man"]).await;
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, stderr) = run("", &["completions", shell]).await;
        assert_eq!((code, stderr.as_str()), (0, ""));
        for name in COMMANDS {
            let last = name.split('-').next_back().unwrap();
            assert!(script.contains(last), "{shell}: {name}");
            assert!(manual.contains(&format!(".TH rowcount-{name} 1")), "{name}");
        }
    }
}
