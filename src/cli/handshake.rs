//! What to do about a handshake that failed, by its cause.

use std::{error::Error, io, iter};

use rustls::{AlertDescription, CertificateError};

/// What helps against the failure that lies in `error`; `None`: it is none of TLS.
pub fn hint(error: &(dyn Error + 'static)) -> Option<&'static str> {
    use CertificateError as Wrong;
    Some(match tls(error)? {
        rustls::Error::InvalidCertificate(Wrong::UnknownIssuer) => "name the authority that signed it with --tls-ca",
        rustls::Error::InvalidCertificate(Wrong::NotValidForName | Wrong::NotValidForNameContext { .. }) => {
            "call the server by a name that its certificate has"
        }
        rustls::Error::InvalidCertificate(Wrong::Expired | Wrong::ExpiredContext { .. }) => {
            "the server needs a new certificate"
        }
        rustls::Error::AlertReceived(alert) if is_of_certificate(*alert) => {
            "the server does not believe the certificate of --tls-cert"
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => "the server wants a newer version of TLS",
        rustls::Error::InvalidMessage(_) => "the server speaks no TLS there: use an http:// URL if it should not",
        _ => return None,
    })
}

/// Those that answer a certificate.
fn is_of_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::AccessDenied
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRequired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::DecryptError
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate
    )
}

/// The failure of TLS among the causes. An I/O error is not the source of what it wraps, but holds it.
fn tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    iter::successors(Some(error), |&error| error.source()).find_map(|error| {
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let held = held.and_then(|held| held.downcast_ref::<rustls::Error>());
        held.or_else(|| error.downcast_ref())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failure_is_found_within_what_wraps_it() {
        let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = anyhow::Error::from(io::Error::other(unknown())).context("transport error");
        assert_eq!(hint(wrapped.as_ref()), Some("name the authority that signed it with --tls-ca"));
        assert_eq!(hint(&unknown()), hint(wrapped.as_ref()));
        assert_eq!(hint(&io::Error::other("another")), None);
    }
}
