//! Calls to one instance. Every call has a deadline, told to the server; a token leaves this machine only over TLS.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use clap::{CommandFactory, error::ErrorKind};
use http::Uri;
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_types::StatusExt;

use super::{Cli, fault, output::Format};

/// A stream may be silent for long; pings tell a quiet server from a dead one.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A ping's answer.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often in a row a stream that the server ended is called again; from the start after one that lasted.
const CALLS_AGAIN: u32 = 5;

/// A stream this long has lasted.
const LASTING: Duration = Duration::from_secs(60);

/// Before calling again, where the server does not say.
const CALL_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Options of every command that asks a server.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Client options")]
pub struct ClientArgs {
    /// Any instance of the fleet
    #[arg(long, value_name = "URL", env = "ROWCOUNT_SERVER", default_value = "http://127.0.0.1:50051")]
    #[arg(value_parser = server_url)]
    server: Uri,
    /// Certificate authorities that may vouch for the server, PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Key of the client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// File that holds the token to send
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How long to wait for a connection and for an answer
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// How answers are written
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub output: Format,
}

/// The connection with its credentials, as a generated client takes it.
pub type Service = InterceptedService<Channel, Credentials>;

/// A connected client.
pub struct Client {
    /// As it was given, for messages.
    server: String,
    timeout: Duration,
    service: Service,
}

/// Adds the token to each call.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Marked sensitive, so it is shown nowhere.
    authorization: Option<MetadataValue<Ascii>>,
}

// === impl ClientArgs ===

impl ClientArgs {
    fn refuse_contradictions(&self) -> Result<(), clap::Error> {
        let plaintext = self.server.scheme_str() == Some("http");
        let usage = |text: String| Err(Cli::command().error(ErrorKind::ArgumentConflict, text));
        if plaintext && (self.tls_ca.is_some() || self.tls_cert.is_some()) {
            return usage(format!("--tls-ca and --tls-cert are for https, but --server is {}", self.server));
        }
        if plaintext && self.token_file.is_some() && !is_loopback(&self.server) {
            return usage(format!("a token is not sent in plaintext to {}: use an https --server", self.server));
        }
        Ok(())
    }

    fn credentials(&self) -> anyhow::Result<Credentials> {
        let Some(path) = &self.token_file else { return Ok(Credentials { authorization: None }) };
        let token = read("--token-file", path)?;
        let mut value = std::str::from_utf8(&token)
            .ok()
            .and_then(|token| MetadataValue::try_from(format!("Bearer {}", token.trim())).ok())
            .with_context(|| format!("--token-file {}: want one line of visible ASCII characters", path.display()))?;
        value.set_sensitive(true);
        Ok(Credentials { authorization: Some(value) })
    }

    fn endpoint(&self) -> anyhow::Result<Endpoint> {
        let endpoint = Endpoint::from(self.server.clone())
            .user_agent(concat!("rowcount/", env!("CARGO_PKG_VERSION")))?
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        if self.server.scheme_str() == Some("http") {
            return Ok(endpoint);
        }
        let mut tls = match &self.tls_ca {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("--tls-ca", path)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            tls = tls.identity(Identity::from_pem(read("--tls-cert", cert)?, read("--tls-key", key)?));
        }
        endpoint.tls_config(tls).map_err(|error| anyhow!("cannot use the --tls- files: {}", fault::root(&error)))
    }
}

// === impl Client ===

impl Client {
    /// Connects, so that an unreachable server is told from one that fails.
    pub async fn connect(args: &ClientArgs) -> anyhow::Result<Self> {
        args.refuse_contradictions()?;
        let credentials = args.credentials()?;
        let server = args.server.to_string().trim_end_matches('/').to_owned();
        let unreachable = |why: String| {
            anyhow!("cannot reach {server}: {why}; is `rowcount serve` running there? set --server or ROWCOUNT_SERVER")
        };
        let channel = tokio::time::timeout(args.timeout, args.endpoint()?.connect())
            .await
            .map_err(|_| unreachable(format!("no connection within {}", humantime::format_duration(args.timeout))))?
            .map_err(|error| unreachable(fault::root(&error).to_string()))?;
        Ok(Self { server, timeout: args.timeout, service: InterceptedService::new(channel, credentials) })
    }

    /// One call. `wait` is what the server is asked to wait, on top of the time for the answer.
    pub async fn call<Q, R>(
        &self,
        message: Q,
        wait: Duration,
        rpc: impl AsyncFnOnce(Service, Request<Q>) -> Result<Response<R>, Status>,
    ) -> anyhow::Result<R> {
        let bound = self.timeout + wait;
        let mut request = Request::new(message);
        request.set_timeout(bound);
        let answer = bounded(bound, rpc(self.service.clone(), request)).await;
        Ok(answer.map_err(|status| self.fault(&status))?.into_inner())
    }

    /// A call that answers with a stream: hands each message to `each` until the stream ends or the user interrupts. A
    /// stream that the server ends with UNAVAILABLE and a time to retry after is called again, with a new `message`.
    pub async fn follow<Q, R>(
        &self,
        message: impl Fn() -> Q,
        rpc: impl AsyncFn(Service, Request<Q>) -> Result<Response<Streaming<R>>, Status>,
        mut each: impl FnMut(R) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut interrupt = pin!(tokio::signal::ctrl_c());
        let mut calls_again = 0;
        loop {
            let began = Instant::now();
            let mut was_open = false;
            let end = tokio::select! {
                end = self.read(message(), &rpc, &mut each, &mut was_open) => end?,
                _ = &mut interrupt => return Ok(()),
            };
            let Err(status) = end else { return Ok(()) };
            if was_open && began.elapsed() >= LASTING {
                calls_again = 0;
            }
            let delay = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
            // While calling again, also the instance that has gone and the next one that is not there yet.
            let may_help = status.code() == Code::Unavailable && (calls_again > 0 || (was_open && delay.is_some()));
            if !may_help || calls_again == CALLS_AGAIN {
                return Err(self.fault(&status));
            }
            calls_again += 1;
            tokio::select! {
                () = tokio::time::sleep(delay.unwrap_or(CALL_AGAIN_AFTER).min(self.timeout)) => {}
                _ = &mut interrupt => return Ok(()),
            }
        }
    }

    /// One stream to its end. The outer error is that of `each`.
    async fn read<Q, R>(
        &self,
        message: Q,
        rpc: &impl AsyncFn(Service, Request<Q>) -> Result<Response<Streaming<R>>, Status>,
        each: &mut impl FnMut(R) -> anyhow::Result<()>,
        was_open: &mut bool,
    ) -> anyhow::Result<Result<(), Status>> {
        let mut stream = match bounded(self.timeout, rpc(self.service.clone(), Request::new(message))).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Ok(Err(status)),
        };
        *was_open = true;
        loop {
            match stream.message().await {
                Ok(Some(message)) => each(message)?,
                Ok(None) => return Ok(Ok(())),
                Err(status) => return Ok(Err(status)),
            }
        }
    }

    fn fault(&self, status: &Status) -> anyhow::Error {
        anyhow!(fault::line(status, &self.server))
    }
}

// === impl Credentials ===

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.authorization {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

async fn bounded<R>(bound: Duration, rpc: impl Future<Output = Result<R, Status>>) -> Result<R, Status> {
    tokio::time::timeout(bound, rpc).await.unwrap_or_else(|_| {
        Err(Status::deadline_exceeded(format!("no answer within {}", humantime::format_duration(bound))))
    })
}

fn server_url(text: &str) -> Result<Uri, String> {
    let wanted = "want http://HOST:PORT or https://HOST:PORT";
    let uri: Uri = text.parse().map_err(|error| format!("{error}; {wanted}"))?;
    let authority = uri.authority().ok_or(wanted)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(wanted.to_owned());
    }
    if authority.as_str().contains('@') {
        return Err(format!("{wanted}; credentials go into --token-file"));
    }
    Ok(uri)
}

fn is_loopback(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn read(option: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {option} {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_url_of_scheme_host_and_port() {
        for good in ["http://127.0.0.1:50051", "https://rowcount.example", "http://[::1]:1/"] {
            assert!(server_url(good).is_ok(), "{good}");
        }
        for bad in ["127.0.0.1:50051", "localhost", "ftp://a:1", "http://a/path", "http://u:p@a:1", "http://a?x=1", ""]
        {
            assert!(server_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let loopback = |url: &str| is_loopback(&server_url(url).unwrap());
        for here in ["http://127.0.0.1:1", "http://127.8.9.1:1", "http://[::1]:1", "http://localhost:1"] {
            assert!(loopback(here), "{here}");
        }
        for there in ["http://10.0.0.1:1", "http://localhost.example:1", "http://[fe80::1]:1", "http://0.0.0.0:1"] {
            assert!(!loopback(there), "{there}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "hunter2\n").unwrap();
        let path = file.path().to_str().unwrap();
        let cli = <Cli as clap::Parser>::try_parse_from(["rowcount", "queries", "--token-file", path]).unwrap();
        let super::super::Command::Queries(args) = cli.command else { panic!("queries is queries") };
        let credentials = args.credentials().unwrap();
        assert_eq!(credentials.authorization.as_ref().unwrap(), "Bearer hunter2");
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
