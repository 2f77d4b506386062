//! The names that a client's certificate has, and those that may call.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// A name of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A DNS name, in lower case: its case means nothing.
    Dns(String),
    /// A URI, an address, an e-mail address or a common name.
    Exact(String),
}

/// The names that may call; empty: every name that an authority vouches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedNames(pub Vec<String>);

// === impl Name ===

impl Name {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Dns(text) | Self::Exact(text) => text,
        }
    }

    fn is(&self, allowed: &str) -> bool {
        match self {
            Self::Dns(text) => text.eq_ignore_ascii_case(allowed),
            Self::Exact(text) => text == allowed,
        }
    }
}

// === impl AllowedNames ===

impl AllowedNames {
    /// The first of a certificate's `names` that may call; without a list any may, also a certificate without a name.
    pub fn admit<'a>(&self, names: &'a [Name]) -> Option<&'a str> {
        if self.0.is_empty() {
            return Some(names.first().map_or("", Name::as_str));
        }
        names.iter().find(|name| self.0.iter().any(|allowed| name.is(allowed))).map(Name::as_str)
    }
}

/// The names of a certificate: its subject alternative names, or else its common name. None of one that cannot be read.
pub fn names(certificate: &CertificateDer<'_>) -> Vec<Name> {
    let Ok(certificate) = Certificate::from_der(certificate) else { return Vec::new() };
    let certificate = certificate.tbs_certificate();
    let alternative = match certificate.get_extension::<SubjectAltName>() {
        Ok(Some((_, SubjectAltName(names)))) => names.iter().filter_map(name).collect(),
        Ok(None) => Vec::new(),
        Err(_) => return Vec::new(),
    };
    if !alternative.is_empty() {
        return alternative;
    }
    let common = certificate.subject().common_name().ok().flatten();
    common.map(|name| Name::Exact(name.value().into_owned())).into_iter().collect()
}

fn name(name: &GeneralName) -> Option<Name> {
    match name {
        GeneralName::DnsName(text) => Some(Name::Dns(text.as_str().to_ascii_lowercase())),
        GeneralName::UniformResourceIdentifier(text) | GeneralName::Rfc822Name(text) => {
            Some(Name::Exact(text.as_str().to_owned()))
        }
        GeneralName::IpAddress(bytes) => address(bytes.as_bytes()).map(|address| Name::Exact(address.to_string())),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_allowed_as_it_is_written_but_for_the_case_of_dns() {
        let allowed = AllowedNames(["Admin.svc", "spiffe://a/B", "10.0.0.1"].map(str::to_owned).into());
        let exact = |text: &str| Name::Exact(text.to_owned());
        let dns = |text: &str| Name::Dns(text.to_owned());
        assert_eq!(allowed.admit(&[dns("other"), dns("admin.svc")]), Some("admin.svc"));
        assert_eq!(allowed.admit(&[exact("spiffe://a/B")]), Some("spiffe://a/B"));
        assert_eq!(allowed.admit(&[exact("10.0.0.1")]), Some("10.0.0.1"));
        for other in [exact("spiffe://a/b"), exact("admin.svc"), dns("x.admin.svc"), dns("admin.svc.x")] {
            assert_eq!(allowed.admit(std::slice::from_ref(&other)), None, "{other:?}");
        }
        assert_eq!(allowed.admit(&[]), None);
        assert_eq!(AllowedNames::default().admit(&[]), Some(""));
        assert_eq!(AllowedNames::default().admit(&[dns("any")]), Some("any"));
    }
}
