//! A proxy that can hold back the next statement with a certain word in it: what is done meanwhile happens between two
//! statements of whoever talks through it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::oneshot,
    task::JoinHandle,
};

pub struct Gate {
    port: u16,
    closed: Arc<Mutex<Option<Bar>>>,
    accepting: JoinHandle<()>,
}

/// What a statement is held back by.
struct Bar {
    word: &'static str,
    reached: oneshot::Sender<()>,
    opened: oneshot::Receiver<()>,
}

/// A gate that is closed.
pub struct Closed {
    reached: oneshot::Receiver<()>,
    open: oneshot::Sender<()>,
}

// === impl Gate ===

impl Gate {
    /// In front of a server on this port.
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let closed = Arc::<Mutex<Option<Bar>>>::default();
        let bar = closed.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let ((from_client, mut to_client), (mut from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(pass_on(from_client, to_server, bar.clone()));
                tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
            }
        });
        Self { port, closed, accepting }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next statement with this word in it does not pass until it is opened.
    pub fn close_for(&self, word: &'static str) -> Closed {
        let ((reached, told), (open, opened)) = (oneshot::channel(), oneshot::channel());
        *self.closed.lock().unwrap() = Some(Bar { word, reached, opened });
        Closed { reached: told, open }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

// === impl Closed ===

impl Closed {
    /// Does something once the statement is there, and lets it pass.
    pub async fn meanwhile(self, work: impl Future<Output = ()>) {
        self.reached.await.expect("somebody sends such a statement");
        work.await;
        self.open.send(()).expect("it waits");
    }
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, closed: Arc<Mutex<Option<Bar>>>) {
    let mut bytes = vec![0; 65_536];
    let mut prepared = Prepared::default();
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let message = &bytes[..length];
        let statements = prepared.statements(message);
        let bar = closed.lock().unwrap().take_if(|bar| statements.iter().any(|text| text.contains(bar.word)));
        if let Some(Bar { reached, opened, .. }) = bar {
            let _ = reached.send(());
            let _ = opened.await;
        }
        if to.write_all(message).await.is_err() {
            return;
        }
    }
}

/// The texts of prepared statements by their names.
#[derive(Default)]
struct Prepared(HashMap<String, String>);

// === impl Prepared ===

impl Prepared {
    /// The texts of the statements that these messages prepare or run.
    fn statements(&mut self, mut messages: &[u8]) -> Vec<String> {
        let mut statements = Vec::new();
        while let [kind, a, b, c, d, rest @ ..] = messages {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            // The first message of a connection has no kind.
            let Some((body, next)) = length.checked_sub(4).and_then(|length| rest.split_at_checked(length)) else {
                break;
            };
            let mut words = body.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
            match (kind, words.next(), words.next()) {
                (b'P', Some(name), Some(text)) => {
                    self.0.insert(name, text.clone());
                    statements.push(text);
                }
                (b'B', Some(_portal), Some(name)) => statements.extend(self.0.get(&name).cloned()),
                (b'Q', Some(text), _) => statements.push(text),
                _ => {}
            }
            messages = next;
        }
        statements
    }
}
