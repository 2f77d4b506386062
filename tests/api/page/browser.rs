//! Chromium, driven by WebDriver over plain HTTP. One at a time: it takes all of a small machine.

use std::{io, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    sync::{Mutex, MutexGuard},
    time::timeout,
};

use crate::{
    fleet::{PATIENCE, eventually},
    tools::tool,
};

static TURN: Mutex<()> = Mutex::const_new(());

/// What headless Chromium wants as root and in a container, and no talk with anybody but the page.
const ARGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A browser with one tab; dropping it ends it and removes its profile.
pub struct Browser {
    driver: String,
    session: String,
    /// The browser itself: it would outlive a driver that is killed.
    chromium: Pid,
    _process: Child,
    _home: TempDir,
    _turn: MutexGuard<'static, ()>,
}

// === impl Browser ===

impl Browser {
    /// A browser that has opened nothing; `None` where there is none.
    pub async fn start() -> Option<Self> {
        let (driver, chromium) = (tool("chromedriver")?, tool("chromium")?);
        let turn = TURN.lock().await;
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(driver);
        command.arg("--port=0").env("HOME", home.path()).env("TMPDIR", home.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the driver tells its port");
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    return port.trim_end_matches('.').to_owned();
                }
            }
        };
        let driver = format!("127.0.0.1:{}", timeout(PATIENCE, port).await.expect("the driver starts"));
        // Whatever it has to say later is for nobody, but somebody must take it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });

        let mut args = ARGS.map(str::to_owned).to_vec();
        args.push(format!("--user-data-dir={}", home.path().join("profile").display()));
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": chromium, "args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let made = request(&driver, "/session", &wanted).await;
        let pid = made["capabilities"]["goog:processID"].as_i64().expect("the driver tells what it started");
        let chromium = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let session = format!("/session/{}", made["sessionId"].as_str().unwrap());
        Some(Self { driver, session, chromium, _process: process, _home: home, _turn: turn })
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) {
        self.command("url", json!({ "url": url })).await;
    }

    /// What a script returns.
    pub async fn run(&self, script: &str) -> Value {
        self.command("execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Waits until a script returns something true.
    pub async fn until(&self, what: &str, script: &str) -> Value {
        eventually(what, async || {
            let value = self.run(script).await;
            (!matches!(value, Value::Null | Value::Bool(false))).then_some(value)
        })
        .await
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, params: Value) {
        self.command("goog/cdp/execute", json!({ "cmd": command, "params": params })).await;
    }

    /// The tab as a phone of this width, in CSS pixels, or as a desktop's.
    pub async fn resize(&self, width: u32, height: u32, mobile: bool) {
        let params = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        self.devtools("Emulation.setDeviceMetricsOverride", params).await;
    }

    /// What the user prefers: `light` or `dark`.
    pub async fn prefer(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Types into what has the focus.
    pub async fn type_text(&self, text: &str) {
        self.devtools("Input.insertText", json!({ "text": text })).await;
    }

    /// What was written to the console since the last call, but for what `is_expected` knows.
    pub async fn complaints(&self, is_expected: impl Fn(&str) -> bool) -> Vec<String> {
        let entries = self.command("se/log", json!({ "type": "browser" })).await;
        let messages = entries.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned());
        messages.filter(|message| !is_expected(message)).collect()
    }

    async fn command(&self, path: &str, body: Value) -> Value {
        request(&self.driver, &format!("{}/{path}", self.session), &body).await
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = kill_process(self.chromium, Signal::KILL);
    }
}

/// The driver's answer to a command; a refusal fails the test.
async fn request(driver: &str, path: &str, body: &Value) -> Value {
    let answer = timeout(2 * PATIENCE, post(driver, path, &body.to_string())).await;
    let answer = answer.unwrap_or_else(|_| panic!("the browser does not answer to {path}")).unwrap();
    let mut answer: Value = serde_json::from_str(&answer).unwrap();
    let value = answer["value"].take();
    assert!(value["error"].is_null(), "{path} {body}: {value}");
    value
}

async fn post(addr: &str, path: &str, body: &str) -> io::Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(addr).await?);
    let head = format!("POST {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).await?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap()
            }
            None if line.trim().is_empty() => break,
            _ => {}
        }
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    Ok(String::from_utf8(answer).unwrap())
}
