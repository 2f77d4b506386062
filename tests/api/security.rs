//! Who may reach the own ports: TLS, client certificates, tokens, and what happens when their files change.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind},
    sync::Arc,
};

use rowcount::proto::v1::row_count_service_client::RowCountServiceClient;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::{
    certificates::Certificates,
    fleet::{Fleet, Instance},
};

mod callers;
mod certificates;
mod commands;
mod handshakes;
mod reload;
mod tokens;

const READ: &str = "read-hunter2-0123456789abcdef0123";
const OPERATE: &str = "operate-hunter2-0123456789abcdef0123";

/// A fleet, and files for its ports.
struct Secured {
    fleet: Fleet,
    files: Certificates,
}

/// What somebody shows: the name of a certificate of `Certificates`, and a token.
#[derive(Clone, Copy, Default)]
struct Caller<'a> {
    certificate: Option<&'a str>,
    token: Option<&'a str>,
}

/// Adds the token to each call.
#[derive(Clone)]
struct Bearer(Option<String>);

type Client = RowCountServiceClient<InterceptedService<Channel, Bearer>>;

/// What the ops port answers.
struct Answer {
    status: u16,
    /// In lower case.
    head: String,
    body: String,
}

// === impl Secured ===

impl Secured {
    /// Certificates of a server on this machine and of the client `admin`, and two tokens.
    async fn start() -> Self {
        let (fleet, files) = (Fleet::start().await, Certificates::new());
        files.issue("ca", "server", "DNS:localhost,IP:127.0.0.1");
        files.issue("ca", "admin", "DNS:admin.svc");
        fs::write(files.path("read"), format!("{READ}\n")).unwrap();
        fs::write(files.path("operate"), format!("{OPERATE}\n")).unwrap();
        Self { fleet, files }
    }

    /// Settings by which both ports speak TLS.
    fn tls(&self) -> BTreeMap<String, String> {
        let mut settings = BTreeMap::new();
        for port in ["GRPC", "HTTP"] {
            settings.insert(format!("ROWCOUNT_{port}_TLS_CERTIFICATE"), self.files.text("server.pem"));
            settings.insert(format!("ROWCOUNT_{port}_TLS_KEY"), self.files.text("server.key"));
        }
        settings
    }

    /// Settings by which both ports want a certificate of `ca` with one of these names, too.
    fn mtls(&self, names: &str) -> BTreeMap<String, String> {
        let mut settings = self.tls();
        for port in ["GRPC", "HTTP"] {
            settings.insert(format!("ROWCOUNT_{port}_TLS_CLIENTCAS"), self.files.text("ca.pem"));
            settings.insert(format!("ROWCOUNT_{port}_TLS_ALLOWEDNAMES"), names.to_owned());
        }
        settings
    }

    /// The setting by which both ports want a token.
    fn tokens(&self) -> (String, String) {
        let token = |name: &str| serde_json::json!({"name": name, "role": name, "tokenfile": self.files.text(name)});
        let tokens = serde_json::json!([token("read"), token("operate")]);
        ("ROWCOUNT_AUTH_TOKENS".to_owned(), tokens.to_string())
    }

    async fn instance(&self, settings: impl IntoIterator<Item = (String, String)>) -> Instance {
        let settings: Vec<_> = settings.into_iter().collect();
        let settings: Vec<_> = settings.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        self.fleet.instance_with("a", &settings).await
    }

    /// A client over TLS; connects at its first call.
    fn client(&self, instance: &Instance, caller: Caller<'_>) -> Client {
        let channel = self.channel(instance, caller.certificate);
        RowCountServiceClient::with_interceptor(channel, Bearer(caller.token.map(str::to_owned)))
    }

    fn channel(&self, instance: &Instance, certificate: Option<&str>) -> Channel {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.files.read("ca.pem")));
        if let Some(name) = certificate {
            let file = |suffix: &str| self.files.read(&format!("{name}.{suffix}"));
            tls = tls.identity(Identity::from_pem(file("pem"), file("key")));
        }
        let endpoint = Endpoint::from_shared(format!("https://localhost:{}", port(&instance.grpc))).unwrap();
        endpoint.tls_config(tls).unwrap().connect_lazy()
    }

    /// A page of the ops port over TLS.
    async fn get(&self, instance: &Instance, path: &str, caller: Caller<'_>) -> io::Result<Answer> {
        let stream = self.connect(&instance.http, caller.certificate, &[&TLS12, &TLS13], b"http/1.1").await?;
        exchange(stream, path, caller.token).await
    }

    /// A connection whose handshake is done, as far as the client is concerned.
    async fn connect(
        &self,
        addr: &str,
        certificate: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[u8],
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&self.files.read("ca.pem")).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let file = |suffix: &str| self.files.read(&format!("{name}.{suffix}"));
                let chain = vec![CertificateDer::from_pem_slice(&file("pem")).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&file("key")).unwrap()).unwrap()
            }
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(addr).await?).await
    }
}

// === impl Bearer ===

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let value = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

/// One request and the whole answer.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    token: Option<&str>,
) -> io::Result<Answer> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n{authorization}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(ErrorKind::InvalidData)?;
    Ok(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
}

fn port(addr: &str) -> &str {
    addr.rsplit_once(':').unwrap().1
}
