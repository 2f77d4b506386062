//! Connections to a port of our own, after their handshake. Handshakes run beside each other, each with a time limit, so
//! a client that is slow, silent or wrong holds up nobody else.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;
use tonic::transport::server::Connected;
use tracing::debug;

use crate::credentials::{Credentials, Name, Port, names};

/// A handshake takes a few round trips.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes at a time. More clients wait in the kernel's queue until one is done, which is after
/// `HANDSHAKE_TIMEOUT` at the latest.
const MAX_HANDSHAKES: usize = 256;

/// The clients of one port.
pub struct Incoming {
    listener: TcpListener,
    port: Port,
    credentials: watch::Receiver<Arc<Credentials>>,
    /// Those that have not been taken yet; `None`: it failed.
    handshakes: JoinSet<Option<Connection>>,
}

/// A client's connection, in plaintext or over TLS.
pub struct Connection {
    io: Either<TcpStream, tokio_rustls::server::TlsStream<TcpStream>>,
    peer: Peer,
}

/// Who is at the other end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub addr: SocketAddr,
    /// The names of its certificate, which was verified; `None`: it has shown none.
    pub names: Option<Arc<[Name]>>,
}

// === impl Incoming ===

impl Incoming {
    /// The clients of `listener`, each by the TLS that the port has when it comes.
    pub fn new(listener: TcpListener, port: Port, credentials: watch::Receiver<Arc<Credentials>>) -> Self {
        Self { listener, port, credentials, handshakes: JoinSet::new() }
    }

    /// The next client whose handshake is done. Nothing is lost when this is dropped and called again.
    pub async fn accept(&mut self) -> Connection {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
                // Survives running out of file descriptors: it waits a second and tries again.
                (stream, addr) = Listener::accept(&mut self.listener), if self.handshakes.len() < MAX_HANDSHAKES => {
                    // Answers are written whole, so there is nothing to wait for; a socket without it works too.
                    let _ = stream.set_nodelay(true);
                    let Some(tls) = self.tls() else {
                        return Connection { io: Either::Left(stream), peer: Peer { addr, names: None } };
                    };
                    self.handshakes.spawn(handshake(tls, stream, addr, self.port));
                }
            }
        }
    }

    fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.credentials.borrow().tls(self.port).map(|tls| tls.server.clone())
    }
}

// === impl Connection ===

impl Connection {
    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

/// What tonic hands to each call.
impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

async fn handshake(tls: Arc<ServerConfig>, stream: TcpStream, addr: SocketAddr, port: Port) -> Option<Connection> {
    let failed = |error: &dyn std::fmt::Display| debug!(port = port.as_str(), peer = %addr, %error, "Handshake failed");
    match timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let names = shown.map(|certificate| names(certificate).into());
            Some(Connection { io: Either::Right(stream), peer: Peer { addr, names } })
        }
        Ok(Err(error)) => {
            failed(&error);
            None
        }
        Err(late) => {
            failed(&late);
            None
        }
    }
}
