//! Asks each call for what its method needs. By the path, before any service sees the call: an interceptor would not know
//! which method is called.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::{Span, debug};

use crate::{
    access::{Access, Caller},
    incoming::Peer,
};

use super::{method::Methods, status};

/// Wraps every service of the port.
#[derive(Clone)]
pub struct GuardLayer {
    access: Access,
    methods: Methods,
}

/// A service with `GuardLayer` around it.
#[derive(Clone)]
pub struct GuardService<S> {
    inner: S,
    layer: GuardLayer,
}

// === impl GuardLayer ===

impl GuardLayer {
    /// A layer for a port that asks for `access` and serves `methods`.
    pub fn new(access: Access, methods: Methods) -> Self {
        Self { access, methods }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = GuardService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GuardService { inner, layer: self.clone() }
    }
}

// === impl GuardService ===

impl<S> Service<Request<Body>> for GuardService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Self::Response, Self::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let GuardLayer { access, methods } = &self.layer;
        let method = methods.find(request.uri().path());
        let Some(needed) = method.needed else { return Either::Left(self.inner.call(request)) };
        match access.admit(needed, request.headers(), request.extensions().get::<Peer>()) {
            Ok(caller) => {
                tell(&method.name, &caller);
                Either::Left(self.inner.call(request))
            }
            Err(denial) => {
                let peer = request.extensions().get::<Peer>().map(|peer| tracing::field::display(peer.addr));
                debug!(method = &*method.name, peer, %denial, "Call denied");
                Either::Right(ready(Ok(status::denied(&denial).into_http())))
            }
        }
    }
}

/// Who calls, in the log and on the span of the call; by name, never by token.
fn tell(method: &str, caller: &Caller) {
    let Caller { token, certificate } = caller;
    let span = Span::current();
    if let Some(name) = token {
        span.record("rowcount.token.name", &**name);
    }
    if let Some(name) = certificate {
        span.record("rowcount.certificate.name", &**name);
    }
    if token.is_some() || certificate.is_some() {
        debug!(method, token_name = token.as_deref(), certificate_name = certificate.as_deref(), "Call admitted");
    }
}
