//! The ops port over real HTTP.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rowcount::{
    access::Access,
    credentials::{Credentials, Port},
    incoming::Incoming,
    metrics::{Exporter, build},
    ops::{self, OpsState, Part},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const BOUND: Duration = Duration::from_secs(10);

struct Ops {
    addr: SocketAddr,
    ready: Arc<AtomicBool>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Ops {
    async fn start() -> Self {
        // An address that no other test binds: a port of 127.0.0.1 may be another's as soon as it is free.
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let metrics = Exporter::new().unwrap();
        build::export(&metrics.meter());
        let ready = Arc::new(AtomicBool::new(true));
        let stop = CancellationToken::new();
        // Plaintext, for everybody.
        let credentials = watch::channel(Arc::new(Credentials::default())).1;
        let state = OpsState {
            ready: {
                let ready = ready.clone();
                Arc::new(move || ready.load(Ordering::Relaxed))
            },
            parts: Arc::new(|| {
                vec![
                    Part { name: "postgres", ok: true, detail: String::new() },
                    Part { name: "redis", ok: false, detail: "no answer within 5s".to_owned() },
                    Part { name: "snapshot", ok: true, detail: "3s old".to_owned() },
                ]
            }),
            status: Arc::new(|after| Ok(serde_json::json!({ "after": after }))),
            config: "cluster: default\n".into(),
            metrics,
            access: Access::new(Port::Http, credentials.clone()),
        };
        let incoming = Incoming::new(listener, Port::Http, credentials);
        let task = tokio::spawn(ops::serve(incoming, state, stop.clone()));
        Self { addr, ready, stop, task }
    }

    async fn request(&self, method: &str, path: &str) -> Answer {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.addr);
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        timeout(BOUND, stream.read_to_string(&mut text)).await.expect("an answer").unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.request("GET", path).await
    }
}

#[tokio::test]
async fn every_page_is_there_and_no_other() {
    let ops = Ops::start().await;
    for (path, status, start) in [
        ("/livez", 200, "ok\n"),
        ("/readyz", 200, "ready\n"),
        ("/config", 200, "cluster: default\n"),
        ("/", 200, "<!doctype html>"),
        ("/metricsx", 404, "no such page"),
    ] {
        let answer = ops.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.body.starts_with(start), "{path}: {}", answer.body);
    }
    assert_eq!(ops.request("POST", "/livez").await.status, 405);
}

#[tokio::test]
async fn the_index_links_to_pages_that_exist() {
    let ops = Ops::start().await;
    let index = ops.get("/").await.body;
    let links: Vec<_> = index.split("<a href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(links.contains(&"metrics"), "relative, so that they work behind a proxy's prefix: {links:?}");
    for link in links {
        assert_eq!(ops.get(&format!("/{link}")).await.status, 200, "{link}");
    }
}

#[tokio::test]
async fn the_status_page_lets_nothing_in_but_its_own_script_and_style() {
    let answer = Ops::start().await.get("/").await;
    let policy = answer.head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
    let directives: Vec<_> = policy.split("; ").collect();
    for directive in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(directives.contains(&directive), "{policy}");
    }
    for kind in ["script-src 'sha256-", "style-src 'sha256-"] {
        assert!(directives.iter().any(|directive| directive.starts_with(kind)), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(answer.head.contains("x-content-type-options: nosniff"), "{}", answer.head);
    assert!(!answer.body.contains("/* s"), "style and script are in it");
    for outside in ["://", "//www", "@import"] {
        let used = answer.body.replace("http://www.w3.org/2000/svg", "");
        assert!(!used.contains(outside), "{outside}");
    }
}

#[tokio::test]
async fn the_status_is_json_that_nobody_keeps() {
    let ops = Ops::start().await;
    for (path, after) in [("/status", 0), ("/status?after=1795376873376706", 1_795_376_873_376_706_i64)] {
        let answer = ops.get(path).await;
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
        assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&answer.body).unwrap()["after"], after);
    }
    let refused = ops.get("/status?after=yesterday").await;
    assert_eq!((refused.status, refused.body.starts_with("after: ")), (400, true));
}

#[tokio::test]
async fn the_version_is_json() {
    let answer = Ops::start().await.get("/version").await;
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    let version: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["revision"].is_string());
}

#[tokio::test]
async fn the_metrics_page_says_its_format() {
    let answer = Ops::start().await.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{}", answer.head);
    assert!(answer.body.contains("rowcount_build_info{"), "{}", answer.body);
}

#[tokio::test]
async fn parts_are_listed_but_do_not_decide() {
    let ops = Ops::start().await;
    let verbose = ops.get("/readyz?verbose").await;
    assert_eq!(verbose.status, 200);
    assert_eq!(verbose.body, "[+]postgres ok\n[-]redis failed: no answer within 5s\n[+]snapshot ok: 3s old\nready\n");
    assert_eq!(ops.get("/readyz").await.body, "ready\n");
}

#[tokio::test]
async fn a_stopping_instance_is_alive_and_not_ready() {
    let ops = Ops::start().await;
    ops.ready.store(false, Ordering::Relaxed);
    assert_eq!(ops.get("/readyz").await.status, 503);
    assert_eq!(ops.get("/readyz?verbose").await.status, 503);
    assert_eq!(ops.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_stopped_port_refuses_new_clients() {
    let ops = Ops::start().await;
    assert_eq!(ops.get("/livez").await.status, 200);
    ops.stop.cancel();
    timeout(BOUND, ops.task).await.expect("it stops").unwrap();
    assert!(TcpStream::connect(ops.addr).await.is_err());
}
