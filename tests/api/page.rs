//! The status page in a real browser.

#![allow(clippy::unwrap_used, reason = "all of it is test code, also what is no test itself")]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rowcount::{
    access::Access,
    credentials::{Credentials, Port},
    incoming::Incoming,
    metrics::Exporter,
    ops::{self, OpsState},
    proto::{
        json,
        v1::{GetLeaseStatusResponse, GetRowCountsResponse, Method, RowCount, lease::State},
    },
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::fleet::{Fleet, Instance, eventually};

use browser::Browser;

mod browser;

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

/// For every text that is seen: its contrast, when it is less than what WCAG asks for at AA.
const FAINT: &str = r#"
    const numbers = (color) => color.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
        .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = (node) => {
        const color = numbers(getComputedStyle(node).backgroundColor);
        return color.length === 4 && color[3] === 0 ? ground(node.parentElement) : color;
    };
    const faint = [];
    let checked = 0;
    for (const node of document.querySelectorAll("body *")) {
        const hasText = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
        if (!hasText || node.getClientRects().length === 0) continue;
        const [a, b] = [light(numbers(getComputedStyle(node).color)), light(ground(node))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        checked += 1;
        if (contrast < 4.5) faint.push(`${node.tagName} ${node.className} ${node.textContent}: ${contrast}`);
    }
    return {faint, checked, ground: light(ground(document.body))};
"#;

#[tokio::test]
async fn the_page_is_readable_on_a_phone_and_in_the_dark_and_stands_still() {
    let Some(browser) = Browser::start().await else { return };
    let mut fleet = Fleet::start().await;
    // As long as a name can be.
    let long = format!("ROWCOUNT_QUERIES_{}_SQL", "LONG_NAME_".repeat(6) + "END");
    fleet.set(long.leak(), "SELECT count(no_such_column_of_a_table) FROM tags");
    fleet.set("ROWCOUNT_QUERIES_STALE_SQL", "SELECT count(*) FROM brief");
    fleet.sql("CREATE TABLE brief (n int)").await;
    let instance = fleet.instance(&"instance-of-a-long-name-".repeat(3)).await;
    browser.resize(360, 740, true).await;
    browser.open(&url(&instance)).await;
    shows(&browser, "all is counted", |page| {
        let counts = page["counts"].as_object().unwrap();
        counts.len() > 10 && counts.values().all(|count| count["value"] != "–" || count["reason"] != "")
    })
    .await;
    fleet.sql("DROP TABLE brief").await;
    shows(&browser, "one is stale", |page| page["counts"]["stale"]["stale"] == "stale").await;

    for (width, mobile) in [(360, true), (320, true), (768, false), (1280, false)] {
        browser.resize(width, 740, mobile).await;
        // A phone widens its view for what does not fit.
        let fits = "const width = document.documentElement.scrollWidth; return [innerWidth, width <= innerWidth]";
        assert_eq!(browser.run(fits).await, json!([width, true]), "nothing is to the right of the screen");
    }
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        for (width, mobile) in [(360, true), (1280, false)] {
            browser.resize(width, 740, mobile).await;
            let found = browser.run(FAINT).await;
            assert_eq!(found["faint"], json!([]), "{scheme}");
            assert!(found["checked"].as_u64() > Some(100), "{found}");
            grounds.push(found["ground"].as_f64().unwrap());
        }
    }
    assert!(grounds[0] > 0.8 && grounds[2] < 0.05, "{grounds:?}");

    // Whoever hears the page instead of seeing it, or has no mouse.
    let unnamed = "return [...document.querySelectorAll('table, section, nav, dialog, input, button')]
        .filter((node) => !(node.ariaLabel || node.getAttribute('aria-labelledby') || node.labels?.[0] || node.textContent))
        .map((node) => node.outerHTML)";
    assert_eq!(browser.run(unnamed).await, json!([]));
    let heads = "return [...document.querySelectorAll('table')].map((table) => [table.caption.textContent !== '',
        [...table.querySelectorAll('thead th')].every((head) => head.scope === 'col')])";
    assert_eq!(browser.run(heads).await, json!([[true, true], [true, true]]));

    // From the blank page on, over a few answers.
    browser.open(&url(&instance)).await;
    browser
        .run(
            "window.moved = []; window.answers = 0;
             const place = ({node, previousRect: from, currentRect: to}) =>
                 `${node?.outerHTML ?? node?.textContent} from ${from.x},${from.y} to ${to.x},${to.y}`;
             const add = (list) => list.getEntries().forEach((entry) => window.moved.push(...entry.sources.map(place)));
             new PerformanceObserver(add).observe({type: 'layout-shift', buffered: true});
             const count = (list) => (window.answers += list.getEntries().filter((one) => one.name.includes('/status')).length);
             new PerformanceObserver(count).observe({type: 'resource', buffered: true});",
        )
        .await;
    browser.until("it has asked four times", "return window.answers >= 4").await;
    assert_eq!(browser.run("return window.moved").await, json!([]));
    assert_eq!(browser.complaints(|_| false).await, [""; 0]);
}

#[tokio::test]
async fn without_a_token_the_page_shows_nothing_and_asks_for_one() {
    let Some(browser) = Browser::start().await else { return };
    let fleet = fleet().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, READER).unwrap();
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

/// The ops port with a status that is made up, of real messages: for what takes long to come about.
async fn made_up(counts: GetRowCountsResponse, history: Value) -> String {
    let lease = GetLeaseStatusResponse { lease: Some(Default::default()), instance: Some(Default::default()) };
    let mut status = json::value(&lease).unwrap();
    let fields = status.as_object_mut().unwrap();
    fields.extend(json::value(&counts).unwrap().as_object().unwrap().clone());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let rest = json!({"history": history, "parts": [], "build": {"version": "0", "revision": "0"}, "unixSeconds": now});
    fields.extend(rest.as_object().unwrap().clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let credentials = watch::channel(Arc::new(Credentials::default())).1;
    let state = OpsState {
        ready: Arc::new(|| true),
        parts: Arc::new(Vec::new),
        status: Arc::new(move |_| Ok(status.clone())),
        config: "".into(),
        metrics: Exporter::new().unwrap(),
        access: Access::new(Port::Http, credentials.clone()),
    };
    let incoming = Incoming::new(listener, Port::Http, credentials);
    tokio::spawn(ops::serve(incoming, state, CancellationToken::new()));
    format!("http://{addr}/")
}

#[tokio::test]
async fn bounds_are_told_where_a_count_is_not_exact_and_a_line_has_the_gaps_of_its_values() {
    let Some(browser) = Browser::start().await else { return };
    let count = |name: &str, method: Method, lower_bound, upper_bound| RowCount {
        query_name: name.to_owned(),
        row_count: Some(9_007_199_254_740_993),
        method: method.into(),
        lower_bound,
        upper_bound,
        observe_time: Some(SystemTime::now().into()),
        ..Default::default()
    };
    let row_counts = vec![
        count("capped", Method::ExactCapped, Some(1000), None),
        count("estimated", Method::Estimated, None, None),
        count("exact", Method::Exact, Some(5), Some(5)),
        count("followed", Method::Followed, Some(1_234_000), Some(1_235_000)),
    ];
    // Every ten seconds, with half a minute left out.
    let ago = |seconds: u64| (SystemTime::now() - Duration::from_secs(seconds)).duration_since(UNIX_EPOCH).unwrap();
    let points: Vec<_> = [100, 90, 80, 40, 30].map(|seconds| json!([ago(seconds).as_millis() as u64, seconds])).into();
    let history = json!({"size": 120, "revision": "1", "points": {"exact": points}});
    let url = made_up(GetRowCountsResponse { row_counts, ..Default::default() }, history).await;
    browser.open(&url).await;
    let page = shows(&browser, "it shows them", |page| page["counts"]["exact"]["value"] != Value::Null).await;
    let told = |name: &str| ["method", "bounds", "value"].map(|field| page["counts"][name][field].as_str().unwrap());
    let value = "9,007,199,254,740,993";
    assert_eq!(told("capped"), ["exact capped", "at least 1,000", value]);
    assert_eq!(told("estimated"), ["estimated", "", value]);
    assert_eq!(told("exact"), ["exact", "", value]);
    assert_eq!(told("followed"), ["followed", "1,234,000 to 1,235,000", value]);
    let line = page["counts"]["exact"]["line"].as_str().unwrap();
    assert_eq!((line.matches('M').count(), line.matches('L').count()), (2, 3), "{line}");
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
