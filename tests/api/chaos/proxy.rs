//! A TCP proxy that does what networks do: holds, delays, cuts, forgets one side, and sends things twice.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

#[cfg(test)]
mod tests;

/// Connections whose bytes are kept, and how many of each: the commands of some seconds.
const RECORDINGS: usize = 8;
const RECORDED: usize = 64 * 1024;

/// A proxy in front of one server; dropping it cuts every connection.
pub struct Proxy {
    pub addr: SocketAddr,
    rules: watch::Sender<Rules>,
    recordings: Arc<Mutex<VecDeque<Recording>>>,
    task: JoinHandle<()>,
}

/// What holds now.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// Where connections lead; `None`: they wait.
    upstream: Option<SocketAddr>,
    to_server: Flow,
    to_client: Flow,
    /// How often each of these was done; it meets the connections that were there then.
    cuts: u64,
    half_opens: u64,
    truncations: u64,
}

/// What happens to bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flow {
    Pass,
    /// They pass this much later.
    Late(Duration),
    /// They wait until something else holds.
    Hold,
}

/// The first bytes that a client sent on one connection.
type Recording = Arc<Mutex<Vec<u8>>>;

// === impl Proxy ===

impl Proxy {
    /// A proxy on a free port that leads to `upstream`.
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let upstream = Some(upstream);
        let (to_server, to_client) = (Flow::Pass, Flow::Pass);
        let rules =
            watch::Sender::new(Rules { upstream, to_server, to_client, cuts: 0, half_opens: 0, truncations: 0 });
        let recordings = Arc::<Mutex<VecDeque<Recording>>>::default();
        let task = tokio::spawn(accept(listener, rules.clone(), recordings.clone()));
        Self { addr, rules, recordings, task }
    }

    /// What happens to the bytes of all connections from now on.
    pub fn flow(&self, to_server: Flow, to_client: Flow) {
        self.rules.send_modify(|rules| (rules.to_server, rules.to_client) = (to_server, to_client));
    }

    /// Cuts every connection by RST; new ones wait until there is somewhere to lead them.
    pub fn lead_nowhere(&self) {
        self.rules.send_modify(|rules| {
            rules.upstream = None;
            rules.cuts += 1;
        });
    }

    /// New connections lead to `upstream`; earlier ones are cut.
    pub fn lead_to(&self, upstream: SocketAddr) {
        self.rules.send_modify(|rules| {
            rules.upstream = Some(upstream);
            rules.cuts += 1;
        });
    }

    /// Cuts every connection by RST.
    pub fn reset(&self) {
        self.rules.send_modify(|rules| rules.cuts += 1);
    }

    /// The server's side of every connection is gone, and no client is told.
    pub fn half_open(&self) {
        self.rules.send_modify(|rules| rules.half_opens += 1);
    }

    /// The next bytes to each client break off in the middle, and the connection with them.
    pub fn truncate(&self) {
        self.rules.send_modify(|rules| rules.truncations += 1);
    }

    /// Sends what the first bytes of the last connections were once more, each on a connection of its own whose answers
    /// nobody hears.
    pub async fn duplicate(&self) {
        let Some(upstream) = self.rules.borrow().upstream else { return };
        let recordings: Vec<_> = self.recordings.lock().unwrap().iter().cloned().collect();
        for recording in recordings {
            let bytes = recording.lock().unwrap().clone();
            let Ok(mut server) = TcpStream::connect(upstream).await else { return };
            if server.write_all(&bytes).await.is_ok() && server.shutdown().await.is_ok() {
                // Read to the end, so that the server need not stop in the middle.
                _ = tokio::time::timeout(Duration::from_secs(1), tokio::io::copy(&mut server, &mut tokio::io::sink()))
                    .await;
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.reset();
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, rules: watch::Sender<Rules>, recordings: Arc<Mutex<VecDeque<Recording>>>) {
    while let Ok((client, _)) = listener.accept().await {
        let recording = Recording::default();
        {
            let mut recordings = recordings.lock().unwrap();
            recordings.push_back(recording.clone());
            if recordings.len() > RECORDINGS {
                recordings.pop_front();
            }
        }
        tokio::spawn(connection(client, rules.subscribe(), recording));
    }
}

async fn connection(mut client: TcpStream, mut rules: watch::Receiver<Rules>, recording: Recording) {
    // What was done before it leads anywhere does not meet it.
    let Ok(born) = rules.wait_for(|rules| rules.upstream.is_some()).await.map(|rules| *rules) else { return };
    let Ok(mut server) = TcpStream::connect(born.upstream.expect("waited for")).await else { return };
    _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut cut, mut half_open) = (rules.clone(), rules.clone());
    let mut cut = std::pin::pin!(cut.wait_for(|rules| rules.cuts > born.cuts));
    let is_half_open = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = Pump { rules: rules.clone(), born, is_up: true };
        let down = Pump { rules, born, is_up: false };
        tokio::select! {
            _ = &mut cut => None,
            _ = half_open.wait_for(|rules| rules.half_opens > born.half_opens) => Some(true),
            _ = async { tokio::try_join!(up.run(from_client, to_server, Some(recording)), down.run(from_server, to_client, None)) } => Some(false),
        }
    };
    match is_half_open {
        Some(false) => {}
        Some(true) => {
            _ = server.set_zero_linger();
            drop(server);
            let mut nowhere = tokio::io::sink();
            tokio::select! {
                _ = &mut cut => { _ = client.set_zero_linger(); }
                _ = tokio::io::copy(&mut client, &mut nowhere) => {}
            }
        }
        None => _ = (client.set_zero_linger(), server.set_zero_linger()),
    }
}

/// One direction of a connection.
struct Pump {
    rules: watch::Receiver<Rules>,
    /// What held when the connection was made.
    born: Rules,
    is_up: bool,
}

impl Pump {
    async fn run(
        mut self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        recording: Option<Recording>,
    ) -> io::Result<()> {
        let mut recording = recording;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = from.read(&mut buffer).await?;
            let is_up = self.is_up;
            let flow = |rules: &Rules| if is_up { rules.to_server } else { rules.to_client };
            let late = flow(&self.rules.borrow());
            if let Flow::Late(delay) = late {
                tokio::time::sleep(delay).await;
            }
            let rules =
                *self.rules.wait_for(|rules| flow(rules) != Flow::Hold).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
            if length == 0 {
                return to.shutdown().await;
            }
            let bytes = &buffer[..length];
            if !is_up && rules.truncations > self.born.truncations {
                to.write_all(&bytes[..length / 2]).await?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if let Some(kept) = &recording {
                let mut kept = kept.lock().unwrap();
                if kept.len() + length <= RECORDED {
                    kept.extend_from_slice(bytes);
                } else {
                    drop(kept);
                    recording = None;
                }
            }
            to.write_all(bytes).await?;
        }
    }
}
