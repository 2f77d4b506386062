//! The TLS of one port: what it shows, whom it believes.

use std::{fmt, sync::Arc, time::SystemTime};

use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use x509_cert::{Certificate, der::Decode, time::Time};

use super::{AllowedNames, Contents, Fault, Port, Source};

/// The oldest version of TLS that a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2, and 1.3.
    Tls12,
    /// 1.3 only.
    Tls13,
}

/// The files of a port's TLS, and what needs no file.
#[derive(Clone, Debug)]
pub struct TlsSource {
    /// The chain, the port's own certificate first.
    pub certificate: Source,
    /// Its key.
    pub key: Source,
    /// Who may vouch for clients; empty: no certificate is asked for.
    pub client_cas: Vec<Source>,
    /// Names that a client's certificate may have.
    pub allowed_names: AllowedNames,
    /// The oldest version.
    pub minimum: TlsVersion,
}

/// The TLS of a port. Has no `Debug`: it holds a key.
pub struct PortTls {
    /// For handshakes.
    pub server: Arc<ServerConfig>,
    /// Who may call by certificate; `None`: no certificate is asked for.
    pub callers: Option<AllowedNames>,
    /// The end of the port's own certificate; `None` when that cannot be read.
    pub not_after: Option<SystemTime>,
}

// === impl TlsVersion ===

impl TlsVersion {
    fn and_later(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Tls12 => vec![&TLS12, &TLS13],
            Self::Tls13 => vec![&TLS13],
        }
    }
}

// === impl TlsSource ===

impl TlsSource {
    /// Every file.
    pub fn files(&self) -> impl Iterator<Item = &Source> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_cas)
    }
}

// === impl PortTls ===

impl PortTls {
    /// Made of the files; `None` with what is wrong added to the faults.
    pub(super) fn new(
        port: Port,
        source: &TlsSource,
        contents: &Contents,
        faults: &mut Vec<Fault>,
        warnings: &mut Vec<String>,
    ) -> Option<Self> {
        let TlsSource { certificate, key: key_source, client_cas, allowed_names, minimum } = source;
        let mut part = |fault: Fault| faults.push(fault);
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(certificate, contents).map_err(&mut part).ok();
        let key = private_key(key_source, contents).map_err(&mut part).ok();
        let verifier =
            verifier(client_cas, contents, &provider).map_err(|all| all.into_iter().for_each(&mut part)).ok();
        let (chain, key, verifier) = (chain?, key?, verifier?);
        let validity = chain.first().and_then(validity);
        if let Some((not_before, not_after)) = validity {
            warnings.extend(oddity(not_before, not_after).map(|told| certificate.fault(told).to_string()));
        }
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&minimum.and_later());
        let builder = builder.map_err(|error| faults.push(certificate.fault(error))).ok()?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let server = builder.with_single_cert(chain, key);
        let mut server = server.map_err(|error| faults.push(unfit(certificate, key_source, &error))).ok()?;
        server.alpn_protocols = vec![port.alpn().to_vec()];
        if !client_cas.is_empty() {
            // A session that is resumed is not verified again, so it would outlive the client's certificate.
            server.session_storage = Arc::new(NoServerSessionStorage {});
            server.send_tls13_tickets = 0;
        }
        let callers = (!client_cas.is_empty()).then(|| allowed_names.clone());
        Some(Self { server: Arc::new(server), callers, not_after: validity.map(|(_, not_after)| not_after) })
    }
}

/// Every certificate of a file, at least one. A PEM error is not told as it is: it may quote the file.
fn certificates(source: &Source, contents: &Contents) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(contents.of(source)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(source.fault("holds no certificate in PEM")),
        Ok(found) => Ok(found),
        Err(_) => Err(source.fault("is no PEM file, or not a whole one")),
    }
}

fn private_key(source: &Source, contents: &Contents) -> Result<PrivateKeyDer<'static>, Fault> {
    PrivateKeyDer::from_pem_slice(contents.of(source)?)
        .map_err(|_| source.fault("holds no private key in PEM; an encrypted one cannot be used"))
}

/// Believes the authorities of all files; `None` without a file. A client may come without a certificate: probes have
/// none. Who needs one is asked per call.
fn verifier(
    sources: &[Source],
    contents: &Contents,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Vec<Fault>> {
    let (mut roots, mut faults) = (RootCertStore::empty(), Vec::new());
    for source in sources {
        let add = |found: Vec<CertificateDer<'static>>| {
            found.into_iter().try_for_each(|found| roots.add(found).map_err(|error| source.fault(error)))
        };
        faults.extend(certificates(source, contents).and_then(add).err());
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let Some(first) = sources.first() else { return Ok(None) };
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = builder.allow_unauthenticated().build().map_err(|error| vec![first.fault(error)])?;
    Ok(Some(verifier))
}

/// Why certificate and key make no TLS.
fn unfit(certificate: &Source, key: &Source, error: &rustls::Error) -> Fault {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            let Source { setting, path } = certificate;
            key.fault(format_args!("is not the key of {setting}, {}", path.display()))
        }
        rustls::Error::InvalidCertificate(error) => certificate.fault(error),
        error => key.fault(error),
    }
}

/// From when to when a certificate holds.
fn validity(certificate: &CertificateDer<'_>) -> Option<(SystemTime, SystemTime)> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    let time = |time: Time| SystemTime::UNIX_EPOCH.checked_add(time.to_unix_duration());
    time(validity.not_before).zip(time(validity.not_after))
}

/// Clients judge by their own clocks, and ours may be wrong: so no reason to refuse.
fn oddity(not_before: SystemTime, not_after: SystemTime) -> Option<impl fmt::Display> {
    let now = SystemTime::now();
    let time = humantime::format_rfc3339_seconds;
    if now > not_after {
        Some(format!("the certificate ended at {}", time(not_after)))
    } else if now < not_before {
        Some(format!("the certificate begins at {}", time(not_before)))
    } else {
        None
    }
}
