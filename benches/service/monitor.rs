//! Redis' own record of its commands, with its own clock. It sees the release of a lease and the next grant where they
//! take effect, so neither the network nor this process is part of what is measured.

use std::time::Duration;

use rowcount::demo::redis::RedisServer;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    time::timeout,
};

use super::fleet::PATIENCE;

/// The record from now on.
pub struct Monitor {
    lines: Lines<BufReader<OwnedReadHalf>>,
    /// Closing it would end the record.
    _open: OwnedWriteHalf,
}

/// One command.
struct Command {
    /// When it ran, since 1970 by the server's clock.
    at: Duration,
    /// Its name in lower case.
    name: String,
    text: String,
}

// === impl Monitor ===

impl Monitor {
    pub async fn start(redis: &RedisServer) -> Self {
        let stream = TcpStream::connect(redis.addr()).await.expect("Redis listens");
        let (read, mut write) = stream.into_split();
        write.write_all(b"MONITOR\r\n").await.expect("Redis reads");
        let mut lines = BufReader::new(read).lines();
        let answer = lines.next_line().await.expect("Redis answers");
        assert_eq!(answer.as_deref(), Some("+OK"));
        Self { lines, _open: write }
    }

    /// When the fleet was next told `word` of an epoch: `released` or `granted`.
    pub async fn told(&mut self, word: &str) -> Duration {
        let word = format!("\"{word}:");
        let found = async {
            loop {
                let command = self.next().await;
                if command.name == "publish" && command.text.contains(&word) {
                    return command.at;
                }
            }
        };
        timeout(PATIENCE, found).await.expect("the lease changes hands")
    }

    async fn next(&mut self) -> Command {
        let line = self.lines.next_line().await.expect("Redis runs").expect("Redis runs");
        Command::parse(&line).unwrap_or_else(|| panic!("no line of MONITOR: {line}"))
    }
}

// === impl Command ===

impl Command {
    /// `+1700000000.123456 [0 127.0.0.1:4000] "PUBLISH" ...`
    fn parse(line: &str) -> Option<Self> {
        let (at, rest) = line.strip_prefix('+')?.split_once(" [")?;
        let (seconds, micros) = at.split_once('.')?;
        let at = Duration::new(seconds.parse().ok()?, micros.parse::<u32>().ok()? * 1000);
        let (_, text) = rest.split_once("] ")?;
        let name = text.split('"').nth(1)?.to_lowercase();
        Some(Self { at, name, text: text.to_owned() })
    }
}
