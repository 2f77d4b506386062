//! Whoever scrapes: asks a process for its page again and again, also while it does not answer, so that questions wait
//! for it when it wakes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::task::JoinSet;

use super::history::{History, Sighting, now};
use crate::fleet::{http_get, sample};

/// Between two scrapes of a process that answers; each one that waits for its answer doubles it.
const PACE: Duration = Duration::from_millis(100);

/// Questions that may wait at a time.
const WAITING: usize = 8;

/// Scrapes `addr` for ever.
pub async fn watch(process: usize, addr: String, history: Arc<Mutex<History>>) {
    let mut waiting = JoinSet::new();
    loop {
        while waiting.try_join_next().is_some() {}
        if waiting.len() < WAITING {
            waiting.spawn(scrape(process, addr.clone(), history.clone()));
        }
        tokio::time::sleep(PACE * (1 << (waiting.len().max(1) - 1))).await;
    }
}

/// One scrape; what it saw is in the history.
pub async fn scrape(process: usize, addr: String, history: Arc<Mutex<History>>) {
    let begun = now();
    let Ok((200, page)) = http_get(&addr, "/metrics").await else { return };
    let ended = now();
    let shows = page.contains("registry_database_rows{") || sample(&page, "rowcount_lease_held") == Some(1.0);
    if let Some(epoch) = shows.then(|| sample(&page, "rowcount_lease_epoch")).flatten() {
        // Whole numbers of this size are exact.
        let sighting = Sighting { process, epoch: epoch as i64, begun, ended };
        history.lock().unwrap().sightings.push(sighting);
    }
}
