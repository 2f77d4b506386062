//! HTTP/1.1 connections with bounds on their number, their silence and their age, so that slow or forgetful clients
//! never keep a probe or a scrape out for long.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{Router, http::Request};
use hyper::{body::Incoming as Body, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::Semaphore, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

use crate::incoming::{Connection, Incoming};

/// The limits of the ops port.
pub const LIMITS: Limits = Limits {
    connections: 64,
    silence: Duration::from_secs(10),
    age: Duration::from_secs(60),
    grace: Duration::from_secs(1),
};

/// What clients may take.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Open at a time, after their handshakes; probes and a few scrapers need a handful. More wait until one ends.
    connections: usize,
    /// For the whole head of a request; a connection that is idle for so long is closed too.
    silence: Duration,
    /// From this age on a connection is asked to end, so one whose client does not read its answer does not stay.
    age: Duration,
    /// For what has begun when a connection is asked to end.
    grace: Duration,
}

/// Serves until `stop`, then for `limits.grace` at most what has begun.
pub async fn serve(mut incoming: Incoming, router: Router, limits: Limits, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    let accept = async {
        loop {
            let slot = slots.clone().acquire_owned().await.expect("nobody closes the semaphore");
            let connection = drive(incoming.accept().await, router.clone(), limits, stop.clone());
            connections.spawn(async move {
                connection.await;
                drop(slot);
            });
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = accept => {}
    }
    // New clients are refused at once instead of waiting for an answer that will not come.
    drop(incoming);
    connections.close();
    connections.wait().await;
}

async fn drive(connection: Connection, router: Router, limits: Limits, stop: CancellationToken) {
    let peer = connection.peer().clone();
    let answer = service_fn(move |mut request: Request<Body>| {
        request.extensions_mut().insert(peer.clone());
        // A router is always ready.
        router.clone().call(request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.silence)
            .serve_connection(TokioIo::new(connection), answer)
    );
    // An error is the client's: it went away, was too slow, or did not speak HTTP.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = time::sleep(limits.age) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = time::timeout(limits.grace, connection).await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::watch,
    };

    use super::*;
    use crate::credentials::{Credentials, Port};

    const BOUND: Duration = Duration::from_secs(10);
    const SHORT: Limits = Limits { connections: 2, silence: Duration::from_millis(100), ..LIMITS };

    async fn start(limits: Limits) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/", get(|| async { "hello" }));
        let credentials = watch::channel(Arc::new(Credentials::default())).1;
        let incoming = Incoming::new(listener, Port::Http, credentials);
        (addr, stop.clone(), tokio::spawn(serve(incoming, router, limits, stop)))
    }

    async fn everything(mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        time::timeout(BOUND, stream.read_to_end(&mut answer)).await.expect("the connection ends").unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn clients_that_stay_silent_do_not_keep_others_out() {
        let (addr, _stop, _task) = start(SHORT).await;
        let idle = TcpStream::connect(addr).await.unwrap();
        let mut slow = TcpStream::connect(addr).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
        let mut probe = TcpStream::connect(addr).await.unwrap();
        probe.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(everything(probe).await.ends_with("hello"));
        everything(idle).await;
        everything(slow).await;
    }

    #[tokio::test]
    async fn a_connection_that_is_kept_alive_is_closed_when_idle() {
        let (addr, _stop, _task) = start(SHORT).await;
        let mut kept = TcpStream::connect(addr).await.unwrap();
        kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(everything(kept).await.ends_with("hello"));
    }

    #[tokio::test]
    async fn an_old_connection_is_asked_to_end() {
        let (addr, _stop, _task) = start(Limits { age: Duration::from_millis(100), ..LIMITS }).await;
        let mut kept = TcpStream::connect(addr).await.unwrap();
        kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(everything(kept).await.ends_with("hello"));
    }

    #[tokio::test]
    async fn stopping_waits_for_no_client_longer_than_the_grace() {
        let (addr, stop, task) = start(Limits { grace: Duration::from_millis(100), ..LIMITS }).await;
        let mut slow = TcpStream::connect(addr).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
        // Answered, so the slow one before it was accepted too.
        let mut kept = TcpStream::connect(addr).await.unwrap();
        kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        kept.read_u8().await.unwrap();
        stop.cancel();
        time::timeout(LIMITS.silence / 2, task).await.expect("it stops").unwrap();
        assert!(TcpStream::connect(addr).await.is_err());
    }
}
