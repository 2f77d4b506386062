//! What the own ports show and ask for: certificates, keys, authorities of clients and bearer tokens, made from files.
//! All of it or nothing: one file that is wrong makes no credentials, so what is in use always fits together.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use ring::digest;

pub use names::{AllowedNames, Name, names};
pub use tls::{PortTls, TlsSource, TlsVersion};
pub use tokens::{Role, TokenSource, Tokens};

mod names;
mod tls;
mod tokens;

/// A port of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// gRPC.
    Grpc,
    /// The ops port.
    Http,
}

/// A file, with the setting that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The dotted path of the setting.
    pub setting: String,
    /// Where the file is.
    pub path: PathBuf,
}

/// Every file, as the settings name them.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `grpc.tls`; `None`: plaintext.
    pub grpc: Option<TlsSource>,
    /// `http.tls`; `None`: plaintext.
    pub http: Option<TlsSource>,
    /// `auth.tokens`; empty: none is asked for.
    pub tokens: Vec<TokenSource>,
}

/// What the files held at one moment. Has no `Debug`: it holds keys and tokens.
pub struct Contents(BTreeMap<PathBuf, Result<Vec<u8>, String>>);

/// Tells contents apart without keeping them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Fingerprint([u8; digest::SHA256_OUTPUT_LEN]);

/// What is wrong with a file. Never quotes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {message}")]
pub struct Fault {
    /// The setting that names it.
    pub setting: String,
    /// The file and what is wrong with it.
    pub message: String,
}

/// What the ports show and ask for. The default is plaintext that everybody may use.
#[derive(Clone, Default)]
pub struct Credentials {
    grpc: Option<Arc<PortTls>>,
    http: Option<Arc<PortTls>>,
    /// Asked for on both ports, unless there are none.
    pub tokens: Arc<Tokens>,
    /// What is odd, and no reason to refuse: one line each.
    pub warnings: Vec<String>,
    /// Of the contents that it is made of.
    pub made_of: Fingerprint,
}

// === impl Port ===

impl Port {
    /// Every port.
    pub const ALL: [Self; 2] = [Self::Grpc, Self::Http];

    /// As in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }

    /// The protocol that TLS agrees on.
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::Grpc => b"h2",
            Self::Http => b"http/1.1",
        }
    }
}

// === impl Source ===

impl Source {
    /// What is wrong with this file.
    fn fault(&self, message: impl fmt::Display) -> Fault {
        Fault { setting: self.setting.clone(), message: format!("{}: {message}", self.path.display()) }
    }
}

// === impl Sources ===

impl Sources {
    /// The TLS of a port.
    pub fn tls(&self, port: Port) -> Option<&TlsSource> {
        match port {
            Port::Grpc => self.grpc.as_ref(),
            Port::Http => self.http.as_ref(),
        }
    }

    /// Whether there is no file at all.
    pub fn is_empty(&self) -> bool {
        self.files().next().is_none()
    }

    /// Reads every file, each once. Blocks.
    pub fn read(&self) -> Contents {
        let read = |path: &Path| fs::read(path).map_err(|error| error.to_string());
        Contents(self.files().map(|source| (source.path.clone(), read(&source.path))).collect())
    }

    fn files(&self) -> impl Iterator<Item = &Source> {
        let ports = Port::ALL.into_iter().filter_map(|port| self.tls(port));
        ports.flat_map(TlsSource::files).chain(self.tokens.iter().map(|token| &token.file))
    }
}

// === impl Contents ===

impl Contents {
    /// The same for the same contents, and for nothing else.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut add = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_le_bytes());
            context.update(bytes);
        };
        for (path, content) in &self.0 {
            add(path.as_os_str().as_encoded_bytes());
            match content {
                Ok(bytes) => [&b"ok"[..], bytes].into_iter().for_each(&mut add),
                Err(message) => [&b"error"[..], message.as_bytes()].into_iter().for_each(&mut add),
            }
        }
        let mut fingerprint = [0; digest::SHA256_OUTPUT_LEN];
        fingerprint.copy_from_slice(context.finish().as_ref());
        Fingerprint(fingerprint)
    }

    fn of(&self, source: &Source) -> Result<&[u8], Fault> {
        match self.0.get(&source.path) {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(message)) => Err(source.fault(message)),
            None => Err(source.fault("was not read")),
        }
    }
}

// === impl Credentials ===

impl Credentials {
    /// Made from what `sources` held; the error lists everything that is wrong.
    pub fn new(sources: &Sources, contents: &Contents) -> Result<Self, Vec<Fault>> {
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        let [grpc, http] = Port::ALL.map(|port| {
            let source = sources.tls(port)?;
            PortTls::new(port, source, contents, &mut faults, &mut warnings).map(Arc::new)
        });
        let tokens = Tokens::new(&sources.tokens, contents, &mut faults, &mut warnings);
        let made_of = contents.fingerprint();
        if faults.is_empty() {
            Ok(Self { grpc, http, tokens: Arc::new(tokens), warnings, made_of })
        } else {
            Err(faults)
        }
    }

    /// The TLS of a port; `None`: plaintext.
    pub fn tls(&self, port: Port) -> Option<&Arc<PortTls>> {
        match port {
            Port::Grpc => self.grpc.as_ref(),
            Port::Http => self.http.as_ref(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
