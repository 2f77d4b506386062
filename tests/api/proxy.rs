//! A TCP proxy on which subscriptions can fall silent: the connections stay open, and nothing comes any more.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

pub struct Proxy {
    addr: String,
    connections: Arc<Mutex<Vec<Arc<Connection>>>>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Connection {
    /// It has asked for messages.
    subscribes: AtomicBool,
    is_silent: AtomicBool,
}

// === impl Proxy ===

impl Proxy {
    /// In front of `server`, a `host:port`.
    pub async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let connections = Arc::<Mutex<Vec<_>>>::default();
        let known = connections.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                let connection = Arc::<Connection>::default();
                known.lock().unwrap().push(connection.clone());
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                let asks = connection.clone();
                tokio::spawn(pass_on(from_client, to_server, move |bytes| {
                    if bytes.windows(9).any(|word| word == b"SUBSCRIBE") {
                        asks.subscribes.store(true, Ordering::SeqCst);
                    }
                    true
                }));
                tokio::spawn(pass_on(from_server, to_client, move |_| !connection.is_silent.load(Ordering::SeqCst)));
            }
        });
        Self { addr, connections, accepting }
    }

    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Silences the subscriptions that stand now; those that are made later are not.
    pub fn silence_subscriptions(&self) {
        let connections = self.connections.lock().unwrap();
        let subscribed = connections.iter().filter(|connection| connection.subscribes.load(Ordering::SeqCst));
        let silenced = subscribed.map(|connection| connection.is_silent.store(true, Ordering::SeqCst)).count();
        assert!(silenced > 0, "nobody has subscribed through the proxy");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Passes on what `is_heard`, and the end.
async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_heard: impl Fn(&[u8]) -> bool) {
    let mut bytes = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if is_heard(&bytes[..length]) && to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
