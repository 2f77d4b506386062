//! How one server is reached: its URL, TLS and token. A token leaves this machine only over TLS.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, error::ErrorKind, parser::ValueSource};
use http::Uri;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

use super::{Cli, fault};

/// A stream may be silent for long; pings tell a quiet server from a dead one.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A ping's answer.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of every command that reaches for a server.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Client options")]
pub struct ConnectionArgs {
    #[command(flatten)]
    server: Server,
    /// Certificate authorities that may vouch for the server, PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Key of the client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// File that holds the token to send
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How long to wait for a connection and for an answer
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// Adds the token to each call.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Marked sensitive, so it is shown nowhere.
    authorization: Option<MetadataValue<Ascii>>,
}

/// The server, and whether it was named among the arguments: some commands ask one only then.
#[derive(Debug)]
struct Server {
    url: Uri,
    is_given: bool,
}

/// The option itself.
#[derive(Debug, clap::Args)]
struct ServerArg {
    /// Any instance of the fleet
    #[arg(long, value_name = "URL", env = "ROWCOUNT_SERVER", default_value = "http://127.0.0.1:50051")]
    #[arg(value_parser = server_url)]
    server: Uri,
}

// === impl ConnectionArgs ===

impl ConnectionArgs {
    /// The server's URL, for messages.
    pub fn server(&self) -> String {
        self.server.url.to_string().trim_end_matches('/').to_owned()
    }

    /// Whether the server was named among the arguments: the environment and the default do not count.
    pub fn has_server(&self) -> bool {
        self.server.is_given
    }

    /// Refuses TLS files and tokens that `url`, which `option` gave, has no use for or would betray.
    pub fn suit(&self, option: &str, url: &Uri) -> Result<(), clap::Error> {
        let plaintext = url.scheme_str() == Some("http");
        let usage = |text: String| Err(Cli::command().error(ErrorKind::ArgumentConflict, text));
        if plaintext && (self.tls_ca.is_some() || self.tls_cert.is_some()) {
            return usage(format!("--tls-ca and --tls-cert are for https, but {option} is {url}"));
        }
        if plaintext && self.token_file.is_some() && !is_loopback(url) {
            return usage(format!("a token is not sent in plaintext to {url}: use an https {option}"));
        }
        Ok(())
    }

    /// The token, as each call takes it along.
    pub fn credentials(&self) -> anyhow::Result<Credentials> {
        let Some(path) = &self.token_file else { return Ok(Credentials { authorization: None }) };
        let token = read("--token-file", path)?;
        let mut value = std::str::from_utf8(&token)
            .ok()
            .and_then(|token| MetadataValue::try_from(format!("Bearer {}", token.trim())).ok())
            .with_context(|| format!("--token-file {}: want one line of visible ASCII characters", path.display()))?;
        value.set_sensitive(true);
        Ok(Credentials { authorization: Some(value) })
    }

    /// The server, as a channel is made from it.
    pub fn endpoint(&self) -> anyhow::Result<Endpoint> {
        self.suit("--server", &self.server.url)?;
        let endpoint = Endpoint::from(self.server.url.clone())
            .user_agent(concat!("rowcount/", env!("CARGO_PKG_VERSION")))?
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        if self.server.url.scheme_str() == Some("http") {
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

// === impl Credentials ===

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.authorization {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

// === impl Server ===

impl FromArgMatches for Server {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        // Neither the environment nor the default is somebody's word for this one call.
        let is_given = matches.value_source("server") == Some(ValueSource::CommandLine);
        Ok(Self { url: ServerArg::from_arg_matches(matches)?.server, is_given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Server {
    fn augment_args(command: Command) -> Command {
        ServerArg::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        ServerArg::augment_args_for_update(command)
    }
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
        let credentials = args.connection.credentials().unwrap();
        assert_eq!(credentials.authorization.as_ref().unwrap(), "Bearer hunter2");
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
