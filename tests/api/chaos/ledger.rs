//! The ledger: what a Redis carried out, in its order, as MONITOR tells it, the writes inside of scripts with it. So the
//! check need not believe what the processes say of themselves.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::StreamExt;
use redis::Client;
use tokio::sync::watch;
use uuid::Uuid;

use super::history::{Change, Entry, History, LeaseWrite, Micros, micros, now};

/// Between two tries to listen.
const RETRY: Duration = Duration::from_millis(10);

/// Reads the lease at one point of the ledger, which its argument marks.
const MARK: &str = "return redis.call('TYPE', KEYS[1]).ok == 'hash' and redis.call('HGETALL', KEYS[1]) or {}";

/// Writes the ledger of the server at `url` into `history`, and of the next one when `url` changes, for ever.
pub async fn keep(mut url: watch::Receiver<String>, cluster: &'static str, history: Arc<Mutex<History>>) {
    let keys = Keys::of(cluster);
    loop {
        let at = url.borrow_and_update().clone();
        tokio::select! {
            () = listen(&at, &keys, &history) => {}
            changed = url.changed() => if changed.is_err() { return },
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// The keys of a fleet that the ledger is about.
struct Keys {
    lease: String,
    snapshot: String,
}

/// A line of MONITOR: when, from a script or not, what.
struct Line {
    at: Micros,
    in_script: bool,
    words: Vec<String>,
}

/// Listens until the server goes; what it does meanwhile is in the history.
async fn listen(url: &str, keys: &Keys, history: &Mutex<History>) {
    let Ok(client) = Client::open(url) else { return };
    let (Ok(monitor), Ok(mut connection)) =
        (client.get_async_monitor().await, client.get_multiplexed_async_connection().await)
    else {
        return;
    };
    let mut lines = monitor.into_on_message::<String>();
    let mark = Uuid::new_v4().to_string();
    let mut read = redis::cmd("EVAL");
    read.arg(MARK).arg(1).arg(&keys.lease).arg(&mark);
    let Ok(lease) = read.query_async::<BTreeMap<String, String>>(&mut connection).await else { return };
    while let Some(line) = lines.next().await {
        if line.contains(&mark) {
            break;
        }
    }
    let begins = Entry { at: now(), change: Change::Begins(lease_write(lease.into_iter())) };
    history.lock().unwrap().ledger.push(begins);
    // A script's `now` is no earlier than the line of the call that started it.
    let mut script_at = 0;
    while let Some(line) = lines.next().await {
        let Some(line) = Line::parse(&line) else { continue };
        if !line.in_script {
            script_at = line.at;
        }
        if let Some(change) = keys.change(&line.words) {
            let at = if line.in_script { script_at } else { line.at };
            history.lock().unwrap().ledger.push(Entry { at, change });
        }
    }
}

// === impl Keys ===

impl Keys {
    fn of(cluster: &str) -> Self {
        let rowcount::redis_link::Keys { keys: [lease, snapshot, ..], .. } =
            rowcount::redis_link::Keys::new(cluster, 0);
        Self { lease, snapshot }
    }

    fn change(&self, words: &[String]) -> Option<Change> {
        let [command, arguments @ ..] = words else { return None };
        match (command.to_ascii_uppercase().as_str(), arguments) {
            ("FLUSHALL", _) => Some(Change::Forgotten),
            ("DEL", [key]) if *key == self.lease => Some(Change::Forgotten),
            ("HSET", [key, fields @ ..]) if *key == self.lease => Some(Change::Lease(lease_write(pairs(fields)))),
            ("HSET", [key, fields @ ..]) if *key == self.snapshot => {
                let fields: BTreeMap<_, _> = pairs(fields).collect();
                let number = |name: &str| fields.get(name)?.parse().ok();
                let (token, epoch, revision) = (fields.get("token")?.clone(), number("epoch")?, number("revision")?);
                Some(Change::Snapshot { token, epoch, revision })
            }
            _ => None,
        }
    }
}

// === impl Line ===

impl Line {
    /// `seconds.micros [db address] "word" "word" …`
    fn parse(line: &str) -> Option<Self> {
        let (time, rest) = line.split_once(" [")?;
        let (source, rest) = rest.split_once("] ")?;
        let (seconds, fraction) = time.split_once('.')?;
        let at: u64 = format!("{seconds}{fraction:0>6}").parse().ok()?;
        Some(Self { at: since_boot(at), in_script: source.ends_with(" lua"), words: words(rest) })
    }
}

/// The quoted words of a line, their escapes undone.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut characters = text.chars();
    while characters.by_ref().any(|character| character == '"') {
        let mut word = String::new();
        while let Some(character) = characters.next() {
            match character {
                '"' => break,
                '\\' => match characters.next() {
                    Some('x') => {
                        let code: String = characters.by_ref().take(2).collect();
                        word.push(u8::from_str_radix(&code, 16).map_or('?', char::from));
                    }
                    Some(escaped) => word.push(escaped),
                    None => {}
                },
                character => word.push(character),
            }
        }
        words.push(word);
    }
    words
}

fn pairs(fields: &[String]) -> impl Iterator<Item = (String, String)> {
    fields.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()))
}

fn lease_write(fields: impl Iterator<Item = (String, String)>) -> LeaseWrite {
    let mut write = LeaseWrite::default();
    for (name, value) in fields {
        match name.as_str() {
            "token" => write.token = Some(value),
            "epoch" => write.epoch = value.parse().ok(),
            "until_us" => write.until = value.parse().ok().map(since_boot),
            "q_us" => write.quarantine = value.parse().ok().map(since_boot),
            "renewals" => write.renewals = value.parse().ok(),
            _ => {}
        }
    }
    write
}

/// A moment of the wall clock, which a Redis on this machine goes by.
fn since_boot(wall: Micros) -> Micros {
    let unix = micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
    // Read anew each time: the wall clock may have been set since the start.
    wall.saturating_sub(unix.saturating_sub(now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_monitor_is_read_with_its_escapes() {
        let line = r#"1795765349.000307 [0 lua] "HSET" "{rowcount:x}:lease" "token" "a\"\n\x01\\" "until_us" "5""#;
        let line = Line::parse(line).unwrap();
        assert!(line.in_script);
        assert_eq!(line.words[..3], ["HSET", "{rowcount:x}:lease", "token"]);
        assert_eq!(line.words[3], "a\"n\u{1}\\");
        let client = Line::parse(r#"1795765349.726650 [0 127.0.0.1:54652] "flushall""#).unwrap();
        assert_eq!((client.in_script, client.at > line.at), (false, true));
        assert_eq!(Keys::of("x").change(&client.words), Some(Change::Forgotten));
        let Some(Change::Lease(write)) = Keys::of("x").change(&line.words) else { panic!("a write of the lease") };
        assert_eq!((write.epoch, write.until.is_some()), (None, true));
        assert_eq!(Keys::of("other").change(&line.words), None);
    }
}
