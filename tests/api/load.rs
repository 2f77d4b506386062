//! The request load through its front doors: what it says it sent is what PostgreSQL counted and what its page says.

use std::{
    collections::BTreeMap,
    process::{Output, Stdio},
};

use rowcount::demo::{
    load::{Error, Load, LoadOptions, Mix, Operations, Sent, counted},
    postgres::{PostgresOptions, PostgresServer},
    schema,
};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tokio::process::Command;

use crate::fleet::{PATIENCE, eventually, http_get};

/// The functions of a registry that count themselves beside the statements in them.
const WRAPPERS: [&str; 3] =
    ["media_type_safe_find_or_create_id", "namespace_safe_find_or_create", "repository_create_or_find_by_path"];

/// A server that counts statements, with a registry's rows; and the URL of its database.
async fn database() -> (PostgresServer, String) {
    let config = vec!["shared_preload_libraries = 'pg_stat_statements'".into()];
    let postgres = PostgresServer::start_with(PostgresOptions { config, ..Default::default() }).await.unwrap();
    let url = postgres.create_database("registry").await.unwrap();
    postgres.execute("registry", "CREATE EXTENSION pg_stat_statements").await.unwrap();
    schema::create(&url, 4).await.unwrap();
    schema::generate(&url, 40).await.unwrap();
    (postgres, url)
}

/// About 100 requests a second.
fn gentle(mix: Mix) -> LoadOptions {
    LoadOptions { mix, multiple: 0.33, ..Default::default() }
}

async fn page(load: &Load) -> String {
    let (status, page) = http_get(&load.addr().to_string(), "/metrics").await.unwrap();
    assert_eq!(status, 200, "{page}");
    page
}

/// The series of a metric, by their labels as printed.
fn series(page: &str, metric: &str) -> BTreeMap<String, u64> {
    let lines = page.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{')?.split_once("} "));
    lines.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
}

/// As the page should print them: kinds that share their labels are one series.
fn by_labels(sent: &Sent, handler: &str) -> BTreeMap<String, u64> {
    let mut requests = BTreeMap::new();
    for (kind, count) in &sent.requests {
        let labels = [("code", kind.code), ("method", kind.method), (handler, kind.handler)];
        let mut labels = labels.map(|(name, value)| format!("{name}=\"{value}\""));
        labels.sort();
        *requests.entry(labels.join(",")).or_default() += count;
    }
    requests
}

async fn what_is_sent_is_counted(mix: Mix, handler: &str) -> Sent {
    let (_postgres, url) = database().await;
    let before = counted(&url).await.unwrap();
    let mut load = Load::start(&url, gentle(mix)).await.unwrap();
    eventually("300 requests", async || (load.sent().total_requests() >= 300).then_some(())).await;
    let sent = load.stop().await.unwrap();

    assert_eq!(counted(&url).await.unwrap() - before, sent.statements);
    let page = page(&load).await;
    assert_eq!(series(&page, "registry_http_requests_total"), by_labels(&sent, handler));
    let queries = series(&page, "registry_database_queries_total");
    let is_wrapper = |labels: &str| WRAPPERS.iter().any(|name| labels == format!("name=\"{name}\""));
    let statements: u64 = queries.iter().filter(|(labels, _)| !is_wrapper(labels)).map(|(_, count)| count).sum();
    assert_eq!(statements, sent.statements.total());
    assert_eq!(load.finish().await.unwrap(), sent, "nothing is sent after a stop");
    sent
}

#[tokio::test]
async fn postgresql_and_the_page_count_what_is_sent_with_the_mix_of_2020() {
    let sent = what_is_sent_is_counted(Mix::Published2020, "handler").await;
    let Operations { select, insert, update, delete: _ } = sent.statements;
    assert!(select > 600 && insert > 0 && update == 0, "{sent:?}");
    let per_request = sent.statements.total() as f64 / sent.total_requests() as f64;
    assert!((2.3..2.7).contains(&per_request), "762 / 303, not {per_request}");
}

#[tokio::test]
async fn postgresql_and_the_page_count_what_is_sent_with_the_mix_of_today() {
    let sent = what_is_sent_is_counted(Mix::Registry432, "route").await;
    assert!(WRAPPERS.iter().all(|name| sent.queries[name] > 0), "{:?}", sent.queries);
    let of_code =
        |code| sent.requests.iter().filter(|(kind, _)| kind.code == code).map(|(_, count)| count).sum::<u64>();
    assert!(of_code("401") > 0 && of_code("404") > 0 && of_code("200") > 200, "{:?}", sent.requests);
}

#[tokio::test]
async fn a_share_decides_what_is_played() {
    let (_postgres, url) = database().await;
    let share = "put /v2/{name}/manifests/{reference} 201 new index by digest=1".parse().unwrap();
    let options = LoadOptions { shares: vec![share], multiple: 2.0, ..gentle(Mix::Registry432) };
    let load = Load::start(&url, options).await.unwrap();
    let pushed = |sent: Sent| {
        let pushes = sent.requests.into_iter().filter(|(kind, _)| kind.method == "put" && kind.code == "201");
        pushes.filter(|(kind, _)| kind.handler.contains("manifests")).map(|(kind, count)| (kind.name, count))
    };
    eventually("a push", async || pushed(load.sent()).any(|(_, count)| count > 0).then_some(())).await;
    let kinds: Vec<_> = pushed(load.finish().await.unwrap()).map(|(name, _)| name).collect();
    assert_eq!(kinds, ["new index by digest"]);
}

#[tokio::test]
async fn a_statement_that_fails_ends_the_load_with_its_name() {
    let (postgres, url) = database().await;
    let load = Load::start(&url, gentle(Mix::Published2020)).await.unwrap();
    eventually("a request", async || (load.sent().total_requests() > 0).then_some(())).await;
    postgres.execute("registry", "DROP TABLE tags").await.unwrap();
    tokio::time::timeout(PATIENCE, load.broken()).await.expect("it breaks");
    let Err(Error::Refused { what, request, .. }) = load.finish().await else { panic!("the table is gone") };
    assert!(what.contains("tag"), "{what} of {request}");
}

#[tokio::test]
async fn a_request_that_finds_other_rows_than_its_kind_ends_the_load() {
    let (postgres, url) = database().await;
    let load = Load::start(&url, gentle(Mix::Published2020)).await.unwrap();
    postgres.execute("registry", "UPDATE repositories SET deleted_at = now()").await.unwrap();
    tokio::time::timeout(PATIENCE, load.broken()).await.expect("it breaks");
    let Err(Error::Surprise { what, found, .. }) = load.finish().await else { panic!("no repository is left") };
    assert_eq!((what, found), ("repository_find_by_path", 0));
}

#[tokio::test]
async fn an_empty_database_is_refused() {
    let (postgres, _) = database().await;
    let url = postgres.create_database("empty").await.unwrap();
    schema::create(&url, 2).await.unwrap();
    let error = Load::start(&url, LoadOptions::default()).await.err().unwrap();
    assert_eq!(error.to_string(), "the database has no media type");
}

#[tokio::test]
async fn a_load_that_is_dropped_leaves_neither_a_page_nor_a_session() {
    let (postgres, url) = database().await;
    let load = Load::start(&url, gentle(Mix::Published2020)).await.unwrap();
    let addr = load.addr().to_string();
    drop(load);
    eventually("the page is gone", async || http_get(&addr, "/metrics").await.is_err().then_some(())).await;
    let mut connection = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
    eventually("its sessions are gone", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rowcount-load'";
        let sessions: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
        (sessions == 0).then_some(())
    })
    .await;
}

async fn command(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowcount"));
    command.arg("load").args(args).stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(PATIENCE, command.output()).await.expect("the command ends in time").unwrap()
}

#[tokio::test]
async fn the_command_prints_what_it_sent_beside_what_was_counted() {
    let (_postgres, url) = database().await;
    let args = ["--database", &url, "--mix", "registry-4.32", "--multiple", "0.5", "--for", "1s", "-o", "json"];
    let output = command(&args).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let totals: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(totals["sent"], totals["counted"]);
    assert!(totals["sent"]["select"].as_u64() > Some(100), "{totals}");
}

#[tokio::test]
async fn the_command_refuses_what_cannot_be_played() {
    for (args, message) in [
        (["--multiple", "0"], "error: multiple must be more than 0 and at most 1000, not 0\n"),
        (["--share", "get x 200 y=1"], "error: the mix has no requests of get x 200 y\n"),
    ] {
        let output = command(&args).await;
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(1), message));
    }
}
