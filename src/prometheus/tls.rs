//! The PEM files of a connection to Prometheus, as they are now: they are small, so each call reads them, and a renewed
//! certificate needs no restart.

use std::{fs, path::PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity};

use crate::config::PrometheusTls;

use super::error::{Cause, brief, root};

const CA: &str = "rates.prometheus.tls.ca";
const CERTIFICATE: &str = "rates.prometheus.tls.certificate";
const KEY: &str = "rates.prometheus.tls.key";

/// What the files hold. Has no `Debug`: it holds a key.
#[derive(Default, PartialEq, Eq)]
pub struct TlsFiles {
    ca: Option<Vec<u8>>,
    /// Certificate and key, in this order.
    identity: Option<Vec<u8>>,
}

// === impl TlsFiles ===

impl TlsFiles {
    /// Reads them.
    pub fn read(tls: &PrometheusTls) -> Result<Self, Cause> {
        let PrometheusTls { ca, certificate, key, insecure: _ } = tls;
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                Some([read(CERTIFICATE, certificate)?, b"\n".to_vec(), read(KEY, key)?].concat())
            }
            _ => None,
        };
        Ok(Self { ca: ca.as_ref().map(|path| read(CA, path)).transpose()?, identity })
    }

    /// Has a client trust and show what they hold.
    pub fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, Cause> {
        if let Some(pem) = &self.ca {
            let certificates = Certificate::from_pem_bundle(pem).map_err(|error| unusable(CA, &error))?;
            if certificates.is_empty() {
                return Err(Cause::Setting { setting: CA, why: "the file holds no certificate".to_owned() });
            }
            builder = builder.tls_certs_only(certificates);
        }
        if let Some(pem) = &self.identity {
            builder = builder.identity(Identity::from_pem(pem).map_err(|error| unusable(CERTIFICATE, &error))?);
        }
        Ok(builder)
    }
}

fn read(setting: &'static str, path: &PathBuf) -> Result<Vec<u8>, Cause> {
    fs::read(path).map_err(|error| Cause::Setting { setting, why: brief(&format!("{}: {error}", path.display())) })
}

fn unusable(setting: &'static str, error: &reqwest::Error) -> Cause {
    Cause::Setting { setting, why: root(error) }
}
