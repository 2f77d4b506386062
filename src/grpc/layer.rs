//! What every call goes through, whichever method it is for: its deadline, its end when the instance stops, its span
//! with the caller's trace as the parent, and its time and code in the metrics.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field::Empty, info_span};

use crate::{
    metrics::rpc::{RpcMetrics, code_name},
    telemetry,
};

use super::{method::Methods, status};

/// What bodies are made of.
type Data = <Body as HttpBody>::Data;

/// When the caller stops waiting, told to handlers by an extension of the request.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Instant);

/// Wraps every service of the port.
#[derive(Clone)]
pub struct CallLayer {
    metrics: Arc<RpcMetrics>,
    methods: Methods,
    /// Cancelled when the instance stops: answers that go on are ended.
    stop: CancellationToken,
}

/// A service with `CallLayer` around it.
#[derive(Clone)]
pub struct CallService<S> {
    inner: S,
    layer: CallLayer,
}

/// Notes the code at the end of a response, wherever that comes: in the headers, in the trailers, or never.
struct Observed {
    body: Body,
    ended: Ended,
    stop: CancellationToken,
    /// Waits for `stop`. Made when the body first has nothing to send; that of a single answer never gets there.
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Whether it was ended in place of the body.
    is_cut: bool,
}

/// Counts one call exactly once; dropped before its end, it counts as cancelled.
struct Ended {
    metrics: Arc<RpcMetrics>,
    /// Ends with the call, which for a stream is long after its handler.
    span: Span,
    method: Arc<str>,
    began: Instant,
    code: Option<Code>,
}

// === impl CallLayer ===

impl CallLayer {
    /// A layer for a port that serves `methods` until `stop`.
    pub fn new(metrics: Arc<RpcMetrics>, methods: Methods, stop: CancellationToken) -> Self {
        Self { metrics, methods, stop }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CallService { inner, layer: self.clone() }
    }
}

// === impl CallService ===

impl<S> Service<Request<Body>> for CallService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let method = self.layer.methods.find(request.uri().path()).name.clone();
        let span = info_span!(
            "rpc",
            otel.name = %method,
            otel.kind = "server",
            otel.status_code = Empty,
            rpc.system.name = "grpc",
            rpc.method = %method,
            rpc.response.status_code = Empty,
            rowcount.token.name = Empty,
            rowcount.certificate.name = Empty,
        );
        telemetry::parent_from(request.headers(), &span);

        let began = Instant::now();
        let ended = Ended { metrics: self.layer.metrics.clone(), span: span.clone(), method, began, code: None };
        let deadline = timeout(request.headers()).and_then(|timeout| began.checked_add(timeout));
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(Deadline(deadline));
        }
        // Made before tonic's own timer, which would answer CANCELLED, so this one is always first.
        let expired = deadline.map(tokio::time::sleep_until);
        // Within the span: what looks at the request there notes who calls.
        let answer = span.in_scope(|| self.inner.call(request));
        let stop = self.layer.stop.clone();
        let call = async move {
            let expired = async {
                match expired {
                    Some(expired) => expired.await,
                    None => std::future::pending().await,
                }
            };
            let response = tokio::select! {
                biased;
                response = answer => response?,
                () = expired => status::deadline_exceeded().into_http(),
            };
            Ok(ended.observe(response, stop))
        };
        Box::pin(call.instrument(span))
    }
}

// === impl Ended ===

impl Ended {
    fn observe(mut self, response: Response<Body>, stop: CancellationToken) -> Response<Body> {
        self.code = code(response.headers());
        let (parts, body) = response.into_parts();
        if self.code.is_some() {
            return Response::from_parts(parts, body);
        }
        let observed = Observed { body, ended: self, stop, stopping: None, is_cut: false };
        Response::from_parts(parts, Body::new(observed))
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        self.span.record("rpc.response.status_code", code_name(code));
        if is_ours(code) {
            self.span.record("otel.status_code", "ERROR");
        }
        self.metrics.observe(&self.method, code, self.began.elapsed());
    }
}

// === impl Observed ===

impl Observed {
    /// The end of an answer that has nothing to send while the instance stops.
    fn poll_stop(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Data>, Status>>> {
        let stop = &self.stop;
        let stopping = self.stopping.get_or_insert_with(|| Box::pin(stop.clone().cancelled_owned()));
        ready!(stopping.as_mut().poll(context));
        self.is_cut = true;
        let (status, mut trailers) = (status::shutting_down(), HeaderMap::new());
        self.ended.code = Some(status.code());
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }
}

impl HttpBody for Observed {
    type Data = Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.is_cut {
            return Poll::Ready(None);
        }
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_pending() {
            return self.poll_stop(context);
        }
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.ended.code = code(trailers);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.is_cut || self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// When the caller of `request` stops waiting; `None`: never.
pub fn deadline<T>(request: &tonic::Request<T>) -> Option<Deadline> {
    request.extensions().get().copied()
}

/// Codes that tell of a fault of the server's, after the semantic conventions; the others are what a caller asked for.
fn is_ours(code: Code) -> bool {
    use Code::{DataLoss, DeadlineExceeded, Internal, Unavailable, Unimplemented, Unknown};
    matches!(code, Unknown | DeadlineExceeded | Unimplemented | Internal | Unavailable | DataLoss)
}

/// The code that these headers or trailers carry.
fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

/// `grpc-timeout`: at most eight digits and a unit. One that cannot be read is none, as everywhere in gRPC.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(n * 3600)),
        "M" => Some(Duration::from_secs(n * 60)),
        "S" => Some(Duration::from_secs(n)),
        "m" => Some(Duration::from_millis(n)),
        "u" => Some(Duration::from_micros(n)),
        "n" => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_in_every_unit_and_nonsense_is_none() {
        let parse = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            timeout(&headers)
        };
        assert_eq!(parse("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse("2S"), Some(Duration::from_secs(2)));
        assert_eq!(parse("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(parse("5u"), Some(Duration::from_micros(5)));
        for nonsense in ["", "S", "10", "-1S", "1.5S", "999999999S", "10x"] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
    }
}
