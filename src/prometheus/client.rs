//! Instant queries over HTTP. Nothing is followed, nothing goes through a proxy, and time and length of an answer are
//! bounded, so a Prometheus that is slow, elsewhere or endless costs a clear error and nothing else.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{
    RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION},
    redirect::Policy,
};

use crate::config::{PrometheusConfig, Secret};

use super::{
    answer::{self, Answer},
    error::{Cause, Error, brief, root},
    promql::{self, Moment},
    tls::TlsFiles,
};

/// A hundred thousand series, ten times as many as the largest registry has.
const LONGEST_ANSWER: usize = 8 << 20;

/// The queries of one estimate share connections; the next estimate comes when a proxy may have closed them.
const IDLE: Duration = Duration::from_secs(5);

/// Asks one Prometheus; a cheap clone. Secrets and TLS files are read at each query, so rotated ones need no restart.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    config: PrometheusConfig,
    /// Of instant queries.
    endpoint: Url,
    /// Never locked across an await.
    kept: Mutex<Kept>,
}

/// A client and its connections, with the files that it was made of.
struct Kept {
    files: TlsFiles,
    http: reqwest::Client,
}

// === impl Client ===

impl Client {
    /// A client that has not connected yet; an error when the TLS files cannot be used.
    pub fn new(config: PrometheusConfig) -> Result<Self, Error> {
        let mut endpoint = config.url.clone();
        endpoint.set_path(&format!("{}/api/v1/query", config.url.path().trim_end_matches('/')));
        let kept = Kept::new(&config).map_err(|cause| Error { url: endpoint.to_string(), cause })?;
        Ok(Self { shared: Arc::new(Shared { config, endpoint, kept: Mutex::new(kept) }) })
    }

    /// What `cause` comes to with this Prometheus.
    pub fn error(&self, cause: Cause) -> Error {
        Error { url: self.shared.endpoint.to_string(), cause }
    }

    /// The vector that `promql` is at `at`.
    pub async fn query(&self, promql: &str, at: Moment) -> Result<Answer, Error> {
        self.ask(promql, at).await.map_err(|cause| self.error(cause))
    }

    async fn ask(&self, promql: &str, at: Moment) -> Result<Answer, Cause> {
        let Shared { config, endpoint, kept: _ } = &*self.shared;
        let form = [("query", promql), ("time", &at.to_string()), ("timeout", &promql::duration(config.timeout))];
        let request = authorized(config, self.http()?.post(endpoint.clone()).form(&form))?;
        let response = request.send().await.map_err(|error| Cause::of_request(&error, config.timeout))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(Cause::Redirect { status, location: location(endpoint, response.headers()) });
        }
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            return Err(Cause::Refused(status));
        }
        let body = body(response, config.timeout).await?;
        if status.is_success() {
            return answer::read(&body);
        }
        // Prometheus says in JSON what it refuses; a gateway before it does not.
        Err(answer::refusal(&body).unwrap_or(Cause::Status(status)))
    }

    /// The client, made anew when a file has changed.
    fn http(&self) -> Result<reqwest::Client, Cause> {
        let files = tls_files(&self.shared.config)?;
        let mut kept = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.files != files {
            *kept = Kept { http: http(&self.shared.config, &files)?, files };
        }
        Ok(kept.http.clone())
    }
}

// === impl Kept ===

impl Kept {
    fn new(config: &PrometheusConfig) -> Result<Self, Cause> {
        let files = tls_files(config)?;
        Ok(Self { http: http(config, &files)?, files })
    }
}

/// What the files hold; nothing beside plain HTTP, where they are ignored.
fn tls_files(config: &PrometheusConfig) -> Result<TlsFiles, Cause> {
    if config.url.scheme() == "http" { Ok(TlsFiles::default()) } else { TlsFiles::read(&config.tls) }
}

fn http(config: &PrometheusConfig, files: &TlsFiles) -> Result<reqwest::Client, Cause> {
    // reqwest takes the process's provider, and panics without one. It is what the other clients name by themselves, so
    // it does not matter who came first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("rowcount/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .http1_only()
        .pool_idle_timeout(IDLE)
        .connect_timeout(config.timeout)
        .timeout(config.timeout);
    let builder = match config.url.scheme() {
        // Plain HTTP must work on a machine that has no authorities at all.
        "http" => builder.tls_certs_only([]),
        _ => files.apply(builder)?.tls_danger_accept_invalid_certs(config.tls.insecure),
    };
    builder.build().map_err(|error| Cause::Client(root(&error)))
}

fn authorized(config: &PrometheusConfig, mut request: RequestBuilder) -> Result<RequestBuilder, Cause> {
    let PrometheusConfig { token, username, password, tenant, url: _, timeout: _, tls: _ } = config;
    if let Some(token) = token {
        const TOKEN: &str = "rates.prometheus.token";
        let token = Some(read(TOKEN, token)?).filter(|token| !token.is_empty());
        let value = token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
        let wrong = || Cause::Setting { setting: TOKEN, why: "want one line of visible ASCII characters".to_owned() };
        let mut value = value.ok_or_else(wrong)?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    if let Some(username) = username {
        let password = password.as_ref().map(|secret| read("rates.prometheus.password", secret)).transpose()?;
        request = request.basic_auth(username, password);
    }
    if let Some(tenant) = tenant {
        request = request.header("x-scope-orgid", tenant);
    }
    Ok(request)
}

fn read(setting: &'static str, secret: &Secret) -> Result<String, Cause> {
    secret.read().map_err(|error| Cause::Setting { setting, why: brief(&error.to_string()) })
}

/// The whole body; reading is within the time-out of the request too.
async fn body(mut response: Response, timeout: Duration) -> Result<Vec<u8>, Cause> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Cause::of_request(&error, timeout))? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err(Cause::TooLarge(LONGEST_ANSWER));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Where a redirect leads. Its query may hold what nobody should read.
fn location(url: &Url, headers: &HeaderMap) -> String {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let Some(mut location) = location.and_then(|location| url.join(location).ok()) else {
        return "nowhere".to_owned();
    };
    location.set_query(None);
    location.set_fragment(None);
    // A URL that can have no user has none.
    let _ = location.set_username("").and_then(|()| location.set_password(None));
    brief(location.as_str())
}
