//! Who may call. Both edges ask here before anything else looks at a request; what needs no right does not ask.

use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};
use tokio::sync::watch;

use crate::{
    credentials::{Credentials, Port, Role},
    incoming::Peer,
};

/// What one port asks of its callers. Cheap to clone; what is asked for changes with the files.
#[derive(Clone)]
pub struct Access {
    port: Port,
    credentials: watch::Receiver<Arc<Credentials>>,
}

/// Who called, as far as the port asks. Names only: never a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Of the token.
    pub token: Option<Arc<str>>,
    /// Of the certificate.
    pub certificate: Option<Arc<str>>,
}

/// Why a call is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The port has authorities of clients, and the caller has no certificate.
    #[error("a client certificate is needed")]
    NoCertificate,
    /// It has one, whose names are not on the list.
    #[error("the client certificate has none of the names that may call")]
    NameNotAllowed,
    /// There are tokens, and the caller has shown none.
    #[error("a token is needed: authorization: Bearer TOKEN")]
    NoToken,
    /// It has shown something that is none of them.
    #[error("the token is not known")]
    UnknownToken,
    /// Its token may not do that.
    #[error("the token {name} has the role {}, and this needs {}", .has.as_str(), .needed.as_str())]
    WeakRole {
        /// Of the token.
        name: Arc<str>,
        /// What it may do.
        has: Role,
        /// What it would have to be good for.
        needed: Role,
    },
}

// === impl Access ===

impl Access {
    /// What `port` asks for by `credentials`.
    pub fn new(port: Port, credentials: watch::Receiver<Arc<Credentials>>) -> Self {
        Self { port, credentials }
    }

    /// Whether the peer may do what needs this role: by its certificate, where the port has authorities of clients, and
    /// by the token in these headers, where there are tokens.
    pub fn admit(&self, needed: Role, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Caller, Denial> {
        let credentials = self.credentials.borrow().clone();
        let mut caller = Caller::default();
        if let Some(allowed) = credentials.tls(self.port).and_then(|tls| tls.callers.as_ref()) {
            let names = peer.and_then(|peer| peer.names.as_deref()).ok_or(Denial::NoCertificate)?;
            caller.certificate = Some(allowed.admit(names).ok_or(Denial::NameNotAllowed)?.into());
        }
        if !credentials.tokens.is_empty() {
            let shown = bearer(headers)?;
            let (name, has) = credentials.tokens.find(shown).ok_or(Denial::UnknownToken)?;
            if has < needed {
                return Err(Denial::WeakRole { name: name.clone(), has, needed });
            }
            caller.token = Some(name.clone());
        }
        Ok(caller)
    }
}

// === impl Denial ===

impl Denial {
    /// Whether another token would help.
    pub fn is_of_token(&self) -> bool {
        match self {
            Self::NoToken | Self::UnknownToken | Self::WeakRole { .. } => true,
            Self::NoCertificate | Self::NameNotAllowed => false,
        }
    }

    /// Whether the caller is not known at all, rather than known and not allowed.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::NoCertificate | Self::NoToken | Self::UnknownToken => true,
            Self::NameNotAllowed | Self::WeakRole { .. } => false,
        }
    }
}

/// The one bearer token of these headers.
fn bearer(headers: &HeaderMap) -> Result<&[u8], Denial> {
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let first = shown.next().ok_or(Denial::NoToken)?;
    // Which of two would be meant is not for us to say.
    if shown.next().is_some() {
        return Err(Denial::UnknownToken);
    }
    let (scheme, token) = first.as_bytes().split_at_checked(b"bearer ".len()).ok_or(Denial::NoToken)?;
    if scheme.eq_ignore_ascii_case(b"bearer ") { Ok(token.trim_ascii()) } else { Err(Denial::NoToken) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn one_bearer_token_is_read_and_nothing_else() {
        let shown = |values: &[&'static str]| {
            let headers = values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value)));
            bearer(&headers.collect()).map(<[u8]>::to_vec)
        };
        for good in ["Bearer abc", "bearer abc", "BEARER  abc"] {
            assert_eq!(shown(&[good]), Ok(b"abc".to_vec()), "{good}");
        }
        for none in [&[][..], &["Basic YTpi"], &["Bearer"], &["abc"], &[""]] {
            assert_eq!(shown(none), Err(Denial::NoToken), "{none:?}");
        }
        assert_eq!(shown(&["Bearer abc", "Bearer abc"]), Err(Denial::UnknownToken));
    }
}
