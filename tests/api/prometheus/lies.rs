//! A Prometheus that is slow, dead, huge or lying gives an error of its own, and never a number.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use rowcount::{
    config::PrometheusConfig,
    prometheus::{Cause, Error, Observed, Prometheus, Query},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use super::hours;
use crate::fleet::PATIENCE;

/// What a request said.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method and path.
    pub line: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The fields of the form.
    pub form: BTreeMap<String, String>,
}

/// How a request is answered.
pub enum Lie {
    /// With these bytes, then with the end of the connection.
    Bytes(String),
    /// With these bytes again and again.
    Endless(&'static str),
    /// With one byte each 20 ms.
    Drip,
    /// Not at all.
    Silence,
}

/// A server of lies.
pub struct Liar {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Bytes that could be written of answers without end.
    written: Arc<Mutex<usize>>,
}

// === impl Liar ===

impl Liar {
    pub async fn start(lie: impl Fn(&Asked) -> Lie + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, written) = (Arc::default(), Arc::default());
        let liar = Self { url, asked, written };
        let (asked, written, lie) = (liar.asked.clone(), liar.written.clone(), Arc::new(lie));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (asked, written, lie) = (asked.clone(), written.clone(), lie.clone());
                tokio::spawn(async move { answer(stream, &asked, &written, &*lie).await });
            }
        });
        liar
    }

    /// Answers each query with a vector of these elements.
    pub async fn vector(elements: &'static str) -> Self {
        Self::start(move |_| Lie::Bytes(json(200, &vector(elements)))).await
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(
    mut stream: TcpStream,
    asked: &Mutex<Vec<Asked>>,
    written: &Mutex<usize>,
    lie: &(dyn Fn(&Asked) -> Lie + Sync),
) {
    let mut bytes = Vec::new();
    let request = loop {
        if let Some(request) = parsed(&bytes) {
            break request;
        }
        if !stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
            return;
        }
        if std::str::from_utf8(&bytes).is_err() {
            // No HTTP, so somebody who wants TLS.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
            return;
        }
    };
    let lie = lie(&request);
    asked.lock().unwrap().push(request);
    match lie {
        Lie::Bytes(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
        }
        Lie::Endless(bytes) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let bytes = bytes.repeat(1000);
            while stream.write_all(bytes.as_bytes()).await.is_ok() {
                *written.lock().unwrap() += bytes.len();
            }
        }
        Lie::Drip => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Lie::Silence => {
            let _ = stream.read(&mut [0]).await;
        }
    }
}

/// The request, once all of it is there.
fn parsed(bytes: &[u8]) -> Option<Asked> {
    let text = std::str::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let line = lines.next()?.rsplit_once(' ')?.0.to_owned();
    let headers: BTreeMap<_, _> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, text)| (name.to_lowercase(), text.into())).collect();
    let length = headers.get("content-length").map_or(0, |length: &String| length.parse().unwrap());
    let form = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    (body.len() == length).then_some(Asked { line, headers, form })
}

fn http(status: u16, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Some Reason\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: \
         close\r\n\r\n{body}",
        body.len()
    )
}

fn json(status: u16, body: &str) -> String {
    http(status, "application/json", body)
}

fn vector(elements: &str) -> String {
    format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{elements}]}}}}"#)
}

async fn ask(mut config: PrometheusConfig) -> Result<Observed, Error> {
    config.timeout = Duration::from_millis(500);
    let query = Query { window: hours(48), times: Vec::new(), excluded_codes: Vec::new() };
    let start = Instant::now();
    let observed = Prometheus::new(config)?.request_rates(&query).await;
    assert!(start.elapsed() < PATIENCE, "it took {:?}", start.elapsed());
    observed
}

/// The error of asking what is at `url`, which it names.
async fn refused(url: &str) -> Error {
    let error = ask(PrometheusConfig::at(url).unwrap()).await.expect_err("a lie must give no number");
    let start = format!("Prometheus at {url}/api/v1/query: ");
    assert!(error.to_string().starts_with(&start), "{error}");
    error
}

async fn lied(lie: impl Fn(&Asked) -> Lie + Send + Sync + 'static) -> Error {
    refused(&Liar::start(lie).await.url).await
}

#[tokio::test]
async fn each_answer_that_is_none_is_told_by_its_cause() {
    let html = "<html><body>Welcome</body></html>";
    let of = async |answer: String| lied(move |_| Lie::Bytes(answer.clone())).await.cause;
    assert!(matches!(of(http(200, "text/html", html)).await, Cause::NotJson(_)));
    assert!(matches!(of(http(502, "text/html", html)).await, Cause::Status(status) if status == 502));
    assert!(matches!(of(http(404, "text/plain", "404 page not found")).await, Cause::Status(status) if status == 404));
    assert!(matches!(of(json(401, "{}")).await, Cause::Refused(status) if status == 401));
    assert!(matches!(of(json(403, "{}")).await, Cause::Refused(status) if status == 403));
    assert!(matches!(of(json(200, r#"{"results":[]}"#)).await, Cause::Shape(_)));
    assert!(matches!(of("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_owned()).await, Cause::Broken(_)));
    assert!(matches!(of("SSH-2.0-OpenSSH_9.2\r\n".to_owned()).await, Cause::Broken(_)));
    assert!(matches!(of(String::new()).await, Cause::Broken(_)));
    assert!(matches!(of(json(200, &vector(""))).await, Cause::NoSeries { .. }));
    let refusal =
        r#"{"status":"error","errorType":"execution","error":"query processing would load too many samples"}"#;
    for status in [200, 422, 503] {
        let Cause::Api { kind, message } = of(json(status, refusal)).await else { panic!("want what it says") };
        assert_eq!((kind.as_str(), message.as_str()), ("execution", "query processing would load too many samples"));
    }
    for (result, found) in [("matrix", "[]"), ("scalar", r#"[1,"1"]"#), ("string", r#"[1,"a"]"#)] {
        let answer = format!(r#"{{"status":"success","data":{{"resultType":"{result}","result":{found}}}}}"#);
        assert!(matches!(of(json(200, &answer)).await, Cause::ResultType(found) if found == result));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_its_target_told_without_what_is_secret() {
    let elsewhere = Liar::vector("").await;
    let location = format!("{}/login?token=hunter2#x", elsewhere.url.replace("http://", "http://u:hunter2@"));
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    let error = lied(move |_| Lie::Bytes(redirect.clone())).await;
    let want = format!("answers 302 Found and leads to {}/login, which is not followed", elsewhere.url);
    assert!(error.to_string().contains(&want), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn an_answer_without_end_is_read_for_a_bounded_time_and_length() {
    let liar = Liar::start(|_| Lie::Endless("                                ")).await;
    let mut config = PrometheusConfig::at(&liar.url).unwrap();
    config.timeout = PATIENCE;
    let query = Query { window: hours(48), times: Vec::new(), excluded_codes: Vec::new() };
    let error = Prometheus::new(config).unwrap().request_rates(&query).await.unwrap_err();
    assert!(matches!(error.cause, Cause::TooLarge(8_388_608)), "{error}");
    let written = *liar.written.lock().unwrap();
    assert!(written < 64 << 20, "what is between the two is in the buffers of the sockets: {written}");

    assert!(matches!(lied(|_| Lie::Drip).await.cause, Cause::Timeout(_)));
    let error = lied(|_| Lie::Silence).await;
    assert!(error.to_string().contains("no whole answer within 500ms; "), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_speaks_no_tls_is_told_as_that() {
    // Bound, so that nobody else gets the port, but not listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = refused(&format!("http://{}", socket.local_addr().unwrap())).await;
    assert!(matches!(&error.cause, Cause::Connect(why) if why.contains("onnection refused")), "{error}");
    let plain = Liar::vector("").await;
    let error = refused(&plain.url.replace("http://", "https://")).await;
    assert!(matches!(error.cause, Cause::Tls(_)), "{error}");
}

#[tokio::test]
async fn no_query_may_lie_where_the_others_are_right() {
    // A registry that was there all the time, then one lie in one kind of answer.
    let honest = |asked: &Asked| {
        let query = &asked.form["query"];
        let time: f64 = asked.form["time"].parse().unwrap();
        let value = if query.starts_with("min_over_time") { time - 172_800.0 } else { time };
        let labels = if query.contains(" by (") { r#"{"method":"get","route":"/v2/","code":"200"}"# } else { "{}" };
        let value = if query.starts_with("count_over_time") { 576.0 } else { value };
        let value = if query.contains("rate(") { 9.0 } else { value };
        vector(&format!(r#"{{"metric":{labels},"value":[{time},"{value}"]}}"#))
    };
    let liar = Liar::start(move |asked| Lie::Bytes(json(200, &honest(asked)))).await;
    let observed = ask(PrometheusConfig::at(&liar.url).unwrap()).await.unwrap();
    assert_eq!((observed.rates[0].per_second, observed.warnings.len()), (9.0, 0), "{observed:?}");
    let kind = |asked: &Asked| asked.form["query"].split('(').next().unwrap().to_owned();
    let kinds: BTreeSet<String> = liar.asked().iter().map(kind).collect();
    assert_eq!(kinds.len(), 5, "{kinds:?}");

    for target in kinds {
        for value in ["NaN", "+Inf", "-1"] {
            let target = target.clone();
            let error = lied(move |asked| {
                let lie = vector(&format!(r#"{{"metric":{{}},"value":[1,"{value}"]}}"#));
                Lie::Bytes(json(200, &if kind(asked) == target { lie } else { honest(asked) }))
            })
            .await;
            assert!(matches!(&error.cause, Cause::Value { value: told, .. } if told == value), "{error}");
        }
    }
}

#[tokio::test]
async fn what_prometheus_warns_of_is_passed_on_once() {
    let liar = Liar::start(|asked| {
        let time: f64 = asked.form["time"].parse().unwrap();
        let value = if asked.form["query"].contains("rate(") { 1.0 } else { time - 172_800.0 };
        let warning = r#""warnings":["a store did not answer"],"infos":["metric might not be a counter"]"#;
        let vector = vector(&format!(r#"{{"metric":{{"code":"200"}},"value":[{time},"{value}"]}}"#));
        Lie::Bytes(json(200, &format!("{},{warning}}}", vector.strip_suffix('}').unwrap())))
    })
    .await;
    let observed = ask(PrometheusConfig::at(&liar.url).unwrap()).await.unwrap();
    assert_eq!(observed.warnings, ["a store did not answer", "metric might not be a counter"]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let asked = &liar.asked()[0];
    assert_eq!((asked.line.as_str(), asked.form["timeout"].as_str()), ("POST /api/v1/query", "500ms"));
    assert!((asked.form["time"].parse::<f64>().unwrap() - now).abs() < 60.0, "no times are now: {asked:?}");
}
