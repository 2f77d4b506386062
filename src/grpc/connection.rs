//! HTTP/2 connections with bounds on their number, their silence before the first request and their age. hyper has none
//! of the three: it waits for a preface for ever, and tonic only asks an old connection to end.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};
use tonic::transport::server::Connected;

use crate::incoming::{Connection, HANDSHAKE_TIMEOUT, Incoming};

use super::{CONNECTION_AGE, streams};

/// The limits of the gRPC port.
pub const LIMITS: Limits = Limits {
    connections: 512,
    preface: HANDSHAKE_TIMEOUT,
    // Streams that began just before the connection was asked to end have reached their own age by then.
    age: CONNECTION_AGE.saturating_add(streams::MAX_AGE).saturating_add(Duration::from_secs(60)),
};

/// What every client says first, in bytes.
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// What clients may take.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Open at a time, after their handshakes: a client has one. More wait until one ends. With the handshakes and the
    /// ops port, the sum stays below the 1,024 file descriptors that a process has by default.
    connections: usize,
    /// Until the whole preface is there; from then on the keepalive finds out who is gone.
    preface: Duration,
    /// From the preface on, whatever is open.
    age: Duration,
}

/// A connection that ends by itself.
pub struct Bounded<C> {
    connection: C,
    /// Of the preface, and then of all.
    deadline: Pin<Box<Sleep>>,
    /// Bytes of the preface that are not there yet.
    missing: usize,
    age: Duration,
    _slot: OwnedSemaphorePermit,
}

/// Whoever comes, at most `limits.connections` at a time.
pub fn bounded(
    incoming: Incoming,
    limits: Limits,
) -> impl Stream<Item = Result<Bounded<Connection>, Infallible>> + Send {
    let slots = Arc::new(Semaphore::new(limits.connections));
    stream::unfold((incoming, slots), move |(mut incoming, slots)| async move {
        let slot = slots.clone().acquire_owned().await.expect("nobody closes the semaphore");
        let connection = incoming.accept().await;
        Some((Ok(Bounded::new(connection, limits, slot)), (incoming, slots)))
    })
}

// === impl Bounded ===

impl<C> Bounded<C> {
    fn new(connection: C, limits: Limits, slot: OwnedSemaphorePermit) -> Self {
        let deadline = Box::pin(sleep(limits.preface));
        Self { connection, deadline, missing: PREFACE, age: limits.age, _slot: slot }
    }

    fn took(&mut self, bytes: usize) {
        if self.missing > 0 {
            self.missing = self.missing.saturating_sub(bytes);
            if self.missing == 0 {
                self.deadline.as_mut().reset(Instant::now() + self.age);
            }
        }
    }
}

impl<C: Connected> Connected for Bounded<C> {
    type ConnectInfo = C::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.connection.connect_info()
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Bounded<C> {
    /// HTTP/2 is always reading, so the deadline is always looked at. What has come before it is taken after it, too: on
    /// a busy machine that is our delay.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if let Poll::Ready(done) = Pin::new(&mut self.connection).poll_read(cx, buf) {
            self.took(buf.filled().len() - before);
            return Poll::Ready(done);
        }
        ready!(self.deadline.as_mut().poll(cx));
        let late = if self.missing > 0 { "no HTTP/2 preface in time" } else { "the connection is too old" };
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, late)))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Bounded<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::StreamExt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        net::{TcpListener, TcpStream},
        sync::watch,
    };

    use super::*;
    use crate::credentials::{Credentials, Port};

    const SHORT: Limits = Limits { connections: 2, preface: Duration::from_secs(5), age: Duration::from_secs(60) };

    fn slot() -> OwnedSemaphorePermit {
        Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_preface_that_is_not_whole_in_time_ends_the_connection() {
        for said in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            let (mut client, server) = duplex(100);
            client.write_all(said).await.unwrap();
            let began = Instant::now();
            let end = Bounded::new(server, SHORT, slot()).read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!((end.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 5), "{said:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_preface_only_the_age_ends_it() {
        let (mut client, server) = duplex(100);
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n and more").await.unwrap();
        let began = Instant::now();
        let mut said = Vec::new();
        let end = Bounded::new(server, SHORT, slot()).read_to_end(&mut said).await.unwrap_err();
        assert_eq!((end.to_string(), began.elapsed().as_secs()), ("the connection is too old".to_owned(), 60));
        assert!(said.ends_with(b"and more"));
    }

    #[tokio::test]
    async fn one_more_than_there_may_be_waits_until_one_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let credentials = watch::channel(Arc::new(Credentials::default())).1;
        let mut clients = pin!(bounded(Incoming::new(listener, Port::Grpc, credentials), SHORT));
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(TcpStream::connect(addr).await.unwrap());
        }
        let (first, _second) = (clients.next().await.unwrap(), clients.next().await.unwrap());
        assert!(futures_util::poll!(clients.next()).is_pending());
        drop(first);
        let third = tokio::time::timeout(Duration::from_secs(30), clients.next()).await;
        assert!(third.expect("the third is taken").is_some());
    }
}
