//! The status page in a real browser.

#![allow(clippy::unwrap_used, reason = "all of it is test code, also what is no test itself")]

use std::{collections::BTreeMap, fs};

use rowcount::proto::v1::{GetRowCountsResponse, Method, RowCount, lease::State};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::fleet::{Fleet, Instance, eventually};

use browser::Browser;

mod browser;
mod looks;
mod made_up;

/// What the page shows, as text.
const SHOWN: &str = r##"
    const text = (id) => document.getElementById(id).textContent;
    const part = (row, name) => row.querySelector(`.${name}`);
    const seen = (node) => (node.hidden ? "" : node.textContent);
    const counts = [...document.querySelectorAll("#counts tr")].map((row) => [row.id.replace("count-", ""), {
        value: part(row, "value").textContent, bounds: part(row, "bounds").textContent,
        description: part(row, "description").textContent, method: part(row, "method").textContent,
        age: part(row, "age").textContent, stale: seen(part(row, "stale")), reason: seen(part(row, "reason")),
        message: part(row, "message").textContent, tried: part(row, "tried").textContent,
        line: row.querySelector("path").getAttribute("d"),
    }]);
    const collection = document.querySelector("#collections tr");
    return {
        isShown: !document.getElementById("status").hidden, asksForToken: !document.getElementById("login").hidden,
        title: document.title, cluster: text("cluster"), state: text("lease-state"), lease: text("lease-line"),
        epoch: text("lease-epoch"), left: text("lease-left"), seen: text("lease-seen"), role: text("instance-role"),
        instance: text("instance-id"), heard: text("heard-word"), trouble: text("trouble"), why: text("login-why"),
        parts: [...document.querySelectorAll("#parts li")].map((part) => part.textContent.trim()),
        problems: text("summary-problems"), counts: Object.fromEntries(counts), mark: window.mark ?? null,
        collection: collection && [...collection.cells].map((cell) => cell.textContent.trim()),
    }"##;

/// The token of a reader.
const READER: &str = "c6a1f0d0b7e94f38a4d2e5b96c0f7a13";

/// Ages as the page writes them, in seconds.
fn seconds(age: &str) -> Option<u64> {
    let words: Vec<_> = age.split(' ').filter(|word| *word != "ago").collect();
    let sizes = BTreeMap::from([("s", 1), ("min", 60), ("h", 3600), ("d", 86_400)]);
    words.chunks(2).map(|pair| Some(pair[0].parse::<u64>().ok()? * sizes.get(pair.get(1)?)?)).sum()
}

async fn shown(browser: &Browser) -> Value {
    browser.run(SHOWN).await
}

/// The page as soon as it is as it should be.
async fn shows(browser: &Browser, what: &str, is_right: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || {
        let page = shown(browser).await;
        is_right(&page).then_some(page)
    })
    .await
}

/// Values and methods by query, as the page writes them.
fn written(counts: &GetRowCountsResponse) -> BTreeMap<String, (String, String)> {
    let digits = |value: i64| {
        let text = value.to_string();
        let groups: Vec<_> = text.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
        groups.join(",")
    };
    let method = |method: Method| match method {
        Method::Unspecified => "–".to_owned(),
        other => other.as_str_name().replace("METHOD_", "").replace('_', " ").to_lowercase(),
    };
    let write = |count: &RowCount| {
        let value = count.row_count.map_or("–".to_owned(), digits);
        (count.query_name.clone(), (value, method(count.method())))
    };
    counts.row_counts.iter().map(write).collect()
}

fn counts(page: &Value) -> BTreeMap<String, (String, String)> {
    let text = |count: &Value, field: &str| count[field].as_str().unwrap().to_owned();
    let counts = page["counts"].as_object().unwrap().iter();
    counts.map(|(name, count)| (name.clone(), (text(count, "value"), text(count, "method")))).collect()
}

fn url(instance: &Instance) -> String {
    format!("http://{}/", instance.http)
}

/// Refused connections, which the browser itself writes to its console.
fn is_outage(message: &str) -> bool {
    message.contains("net::ERR_")
}

const MARKUP: &str = r#"<img src=x onerror="window.owned = true"> & <b>bold</b>"#;

/// A fleet that counts a table `t` of three rows, a number of seven digits, and what cannot be counted.
async fn fleet() -> Fleet {
    let mut fleet = Fleet::servers().await;
    fleet.set("ROWCOUNT_CATALOG", "none");
    fleet.set("ROWCOUNT_QUERIES_T_TABLE", "t");
    fleet.set("ROWCOUNT_QUERIES_T_DESCRIPTION", MARKUP);
    fleet.set("ROWCOUNT_QUERIES_MANY_SQL", "SELECT 1234567");
    fleet.set("ROWCOUNT_QUERIES_BROKEN_SQL", r#"SELECT count("<i>no</i>") FROM t"#);
    fleet.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2), (3)").await;
    fleet
}

#[tokio::test]
async fn the_page_of_a_standby_follows_the_fleet_without_a_reload() {
    let Some(browser) = Browser::start().await else { return };
    let mut fleet = fleet().await;
    let (alice, bob) = (fleet.instance("alice").await, fleet.instance("bob").await);
    let (holder, standby) = match &*fleet.holder(&[&alice, &bob]).await.id {
        "alice" => (&alice, &bob),
        _ => (&bob, &alice),
    };
    browser.open(&url(standby)).await;
    browser.run("window.mark = 'the same document'").await;

    // Who holds.
    let page = shows(&browser, "the page names the holder", |page| page["state"] == "HELD").await;
    let lease = standby.lease().await.lease.unwrap();
    assert_eq!(page["lease"], format!("by {}", holder.id));
    assert_eq!(page["epoch"], lease.epoch.to_string());
    assert_eq!((&page["role"], &page["instance"]), (&"standby".into(), &(&*standby.id).into()));
    assert_eq!((&page["cluster"], &page["heard"]), (&"default".into(), &"live".into()));
    assert_eq!(page["title"], format!("HELD by {} · rowcount", holder.id));

    // What was counted.
    let told = eventually("everything was tried", async || {
        let counts = standby.counts().await;
        counts.row_counts.iter().all(|count| count.attempt_time.is_some()).then_some(counts)
    })
    .await;
    let page = shows(&browser, "the page has the counts of the API", |page| counts(page) == written(&told)).await;
    assert_eq!((&page["counts"]["many"]["value"], &page["counts"]["t"]["value"]), (&"1,234,567".into(), &"3".into()));
    assert!(page["counts"]["t"]["line"].as_str().unwrap().starts_with('M'), "{page}");

    let page = shows(&browser, "a collection has ended", |page| page["collection"][0] == "partially succeeded").await;
    let row = &page["collection"];
    assert!(row[1] == "schedule" || row[1] == "leadership", "{row}");
    assert_eq!((&row[4], &row[6]), (&(&*holder.id).into(), &"broken".into()), "{row}");
    assert!(row[3].as_str().unwrap().ends_with(" ms"), "{row}");

    // What failed, as text whatever it holds.
    let broken = &page["counts"]["broken"];
    assert_eq!(
        (&broken["value"], &broken["age"], &broken["reason"]),
        (&"–".into(), &"never counted".into(), &"SQL".into())
    );
    assert!(broken["message"].as_str().unwrap().contains("<i>no</i>"), "{broken}");
    assert_eq!(page["counts"]["t"]["description"], MARKUP);
    assert_eq!(page["problems"], "Failing: broken.");
    let elements = browser.run("return [document.querySelectorAll('img, b, i').length, window.owned ?? null]").await;
    assert_eq!(elements, json!([0, null]));

    // A change, and then no more.
    fleet.sql("INSERT INTO t VALUES (4)").await;
    shows(&browser, "the new row is counted", |page| page["counts"]["t"]["value"] == "4").await;
    fleet.sql("ALTER TABLE t RENAME TO gone").await;
    let page = shows(&browser, "the old value grows old", |page| {
        let count = &page["counts"]["t"];
        count["stale"] == "stale" && seconds(count["age"].as_str().unwrap()) >= Some(3)
    })
    .await;
    let count = &page["counts"]["t"];
    assert_eq!((&count["value"], &count["reason"]), (&"4".into(), &"TABLE_MISSING".into()));
    assert!(count["message"].as_str().unwrap().contains("does not exist"), "{count}");
    assert!(count["tried"].as_str().unwrap().ends_with(" ago"), "{count}");

    // Another holder.
    holder.signal(Signal::KILL);
    let page = shows(&browser, "this instance holds", |page| page["lease"] == format!("by {}", standby.id)).await;
    let after = standby.lease().await.lease.unwrap();
    assert!(after.epoch > lease.epoch);
    assert_eq!((&page["epoch"], &page["state"]), (&after.epoch.to_string().into(), &"HELD".into()));
    shows(&browser, "it is the holder", |page| page["role"] == "holder").await;

    // No store.
    fleet.redis.kill().await.unwrap();
    let page = shows(&browser, "nobody knows who holds", |page| {
        page["state"] == "UNKNOWN" && seconds(page["seen"].as_str().unwrap()) >= Some(3)
    })
    .await;
    assert_eq!(standby.lease().await.lease.unwrap().state(), State::Unknown);
    assert_eq!(page["lease"], format!("the store is out of reach; last seen: {}", standby.id));
    assert!(page["parts"][1].as_str().unwrap().starts_with("failed redis"), "{page}");
    assert_eq!(page["counts"]["many"]["value"], "1,234,567");

    assert_eq!(page["mark"], "the same document");
    assert_eq!(browser.complaints(|_| false).await, [""; 0]);
}

#[tokio::test]
async fn without_a_token_the_page_shows_nothing_and_asks_for_one() {
    let Some(browser) = Browser::start().await else { return };
    let fleet = fleet().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, READER).unwrap();
    let tokens = json!([{"name": "browser", "role": "read", "tokenfile": file}]).to_string();
    let instance = fleet.instance_with("alice", &[("ROWCOUNT_AUTH_TOKENS", &tokens)]).await;
    let address = format!("http://{}/", instance.http);
    browser.open(&address).await;
    let page = shows(&browser, "it asks", |page| page["asksForToken"] == true).await;
    assert_eq!((&page["isShown"], &page["counts"]), (&false.into(), &json!({})));
    assert_eq!(page["why"], "This instance shows its status to those who have one.");
    let field = "const field = document.getElementById('token'); return [field.type, field === document.activeElement]";
    assert_eq!(browser.run(field).await, json!(["password", true]));

    let enter = "document.querySelector('#login button').click()";
    browser.type_text("of-nobody").await;
    browser.run(enter).await;
    shows(&browser, "it is refused", |page| page["why"] == "The token was refused.").await;
    assert_eq!(
        browser.run("return [sessionStorage.length, document.getElementById('token').value]").await,
        json!([0, ""])
    );

    browser.type_text(READER).await;
    browser.run(enter).await;
    let page = shows(&browser, "it shows the status", |page| page["counts"]["t"]["value"] == "3").await;
    assert_eq!((&page["asksForToken"], &page["isShown"]), (&false.into(), &true.into()));
    browser.open(&address).await;
    shows(&browser, "the tab remembers the token", |page| page["isShown"] == true).await;

    // A link would take no token along.
    browser.run("document.querySelector('nav a').click()").await;
    let text = "return document.getElementById('reader').open && document.getElementById('reader-text').textContent";
    let text = eventually("the metrics are there", async || {
        browser.run(text).await.as_str().filter(|text| text.contains("rowcount_build_info")).map(str::to_owned)
    })
    .await;
    assert!(text.contains("registry_database_rows{query_name=\"t\"} 3"), "{text}");

    browser.run("document.getElementById('forget').click()").await;
    let page = shows(&browser, "it asks again", |page| page["asksForToken"] == true).await;
    assert_eq!((&page["isShown"], &page["counts"]), (&false.into(), &json!({})));
    assert_eq!(browser.run("return sessionStorage.length").await, 0);
    assert_eq!(browser.complaints(|message| message.contains("401 (Unauthorized)")).await, [""; 0]);
}

#[tokio::test]
async fn a_page_whose_instance_is_gone_says_since_when_and_comes_back_by_itself() {
    let Some(browser) = Browser::start().await else { return };
    let fleet = fleet().await;
    let mut first = fleet.instance("first").await;
    browser.open(&url(&first)).await;
    shows(&browser, "it counts", |page| page["counts"]["t"]["value"] == "3").await;
    first.signal(Signal::KILL);
    first.exit().await;
    let trouble = |page: &Value| page["trouble"].as_str().unwrap().to_owned();
    let page = shows(&browser, "it says so", |page| trouble(page).starts_with("Not reachable since ")).await;
    let said = trouble(&page);
    assert!(said.ends_with("no connection. What is shown is older than that."), "{said}");
    let page =
        shows(&browser, "ages run on", |page| seconds(page["counts"]["t"]["age"].as_str().unwrap()) >= Some(5)).await;
    assert_eq!((&page["counts"]["t"]["value"], trouble(&page)), (&"3".into(), said));

    let http = first.http.clone();
    fleet.sql("INSERT INTO t VALUES (4), (5)").await;
    let _second = fleet.instance_with("second", &[("ROWCOUNT_HTTP_ADDR", &http)]).await;
    let page = shows(&browser, "it shows the new one", |page| {
        page["instance"] == "second" && page["counts"]["t"]["value"] == "5"
    })
    .await;
    assert_eq!((trouble(&page), &page["heard"]), (String::new(), &"live".into()));
    assert_eq!(browser.complaints(is_outage).await, [""; 0]);
}

#[tokio::test]
async fn before_anybody_may_hold_the_page_says_for_how_long() {
    let Some(browser) = Browser::start().await else { return };
    let mut fleet = fleet().await;
    fleet.set("ROWCOUNT_LEASE_QUARANTINE", "20s");
    let waiting = fleet.instance_with("waiting", &[("ROWCOUNT_LEASE_FIRSTSTART", "wait")]).await;
    browser.open(&url(&waiting)).await;
    let page = shows(&browser, "nobody is let in", |page| page["state"] == "QUARANTINED").await;
    let left = |page: &Value| seconds(page["left"].as_str().unwrap().strip_prefix("in ").unwrap()).unwrap();
    let first = left(&page);
    assert!((1..=20).contains(&first), "{page}");
    assert_eq!((&page["lease"], &page["role"]), (&"nobody new is let in yet".into(), &"standby".into()));
    assert_eq!((&page["counts"]["t"]["value"], &page["counts"]["t"]["age"]), (&"–".into(), &"never counted".into()));
    shows(&browser, "the time runs", |page| page["state"] == "QUARANTINED" && left(page) < first).await;

    let other = [("ROWCOUNT_CLUSTER", "other"), ("ROWCOUNT_DATABASE_METRICS_ENABLED", "false")];
    let looking = fleet.instance_with("looking", &other).await;
    browser.open(&url(&looking)).await;
    let page = shows(&browser, "nobody holds", |page| page["state"] == "FREE").await;
    assert_eq!((&page["lease"], &page["role"]), (&"nobody holds it".into(), &"observer".into()));
    assert_eq!((&page["cluster"], &page["epoch"]), (&"other".into(), &"–".into()));
    assert_eq!(browser.complaints(|_| false).await, [""; 0]);
}

/// A hidden tab asks nothing. Headless Chromium hides none, so the page is told so.
#[tokio::test]
async fn a_page_that_nobody_sees_asks_nothing() {
    let Some(browser) = Browser::start().await else { return };
    let fleet = fleet().await;
    let instance = fleet.instance("alice").await;
    browser.open(&url(&instance)).await;
    shows(&browser, "it counts", |page| page["counts"]["t"]["value"] == "3").await;
    let hide = |is_hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{configurable: true, value: {is_hidden}}});
             document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    browser.run(&hide(true)).await;
    fleet.sql("INSERT INTO t VALUES (4)").await;
    // Old enough for three questions.
    let page =
        shows(&browser, "ages run on", |page| seconds(page["counts"]["t"]["age"].as_str().unwrap()) >= Some(7)).await;
    assert_eq!(page["counts"]["t"]["value"], "3");
    browser.run(&hide(false)).await;
    shows(&browser, "it asks at once", |page| page["counts"]["t"]["value"] == "4").await;
}
