//! Who shows rows: a scraper for each instance, and the one question whether two ever showed them at a time.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rowcount::proto::v1;
use tokio::task::JoinSet;

use crate::fleet::{Instance, eventually, http_get, sample};

/// Between two scrapes of one instance.
const PAUSE: Duration = Duration::from_millis(20);

/// Scrapes until it is asked what it saw.
pub struct Witness {
    scrapers: JoinSet<()>,
    seen: Arc<Mutex<Vec<Sighting>>>,
}

/// A page with rows. They were shown at some moment between `begun` and `ended`.
struct Sighting {
    id: String,
    epoch: f64,
    begun: Instant,
    ended: Instant,
}

// === impl Witness ===

impl Witness {
    /// Begins to scrape these instances, whether or not they answer; returns when one was seen with rows.
    pub async fn of(instances: &[&Instance]) -> Self {
        let (mut scrapers, seen) = (JoinSet::new(), Arc::<Mutex<Vec<_>>>::default());
        for instance in instances {
            let (id, addr, seen) = (instance.id.clone(), instance.http.clone(), seen.clone());
            scrapers.spawn(async move {
                loop {
                    let begun = Instant::now();
                    let page = http_get(&addr, "/metrics").await.unwrap_or_default().1;
                    if let Some(epoch) = shows_rows(&page).then(|| sample(&page, "rowcount_lease_epoch")).flatten() {
                        let sighting = Sighting { id: id.clone(), epoch, begun, ended: Instant::now() };
                        seen.lock().unwrap().push(sighting);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        eventually("somebody shows rows", async || (!seen.lock().unwrap().is_empty()).then_some(())).await;
        Self { scrapers, seen }
    }

    /// Those who showed rows, in the order of their epochs, as soon as the holder of `last` does; fails when one of them
    /// did while a later one already did.
    pub async fn exporters(self, last: &v1::Lease) -> Vec<String> {
        let is_last = |seen: &Sighting| seen.id == last.holder_id && seen.epoch == last.epoch as f64;
        eventually("the last holder is seen with rows", async || {
            self.seen.lock().unwrap().iter().any(is_last).then_some(())
        })
        .await;
        drop(self.scrapers);
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.sort_by(|a, b| a.epoch.total_cmp(&b.epoch));
        for (at, old) in seen.iter().enumerate() {
            let overlap = seen[at..].iter().find(|new| new.epoch > old.epoch && new.ended < old.begun);
            if let Some(new) = overlap {
                let late = old.begun - new.ended;
                panic!("{} shows rows of epoch {} {late:?} after {} did of {}", old.id, old.epoch, new.id, new.epoch);
            }
        }
        let mut exporters: Vec<_> = seen.into_iter().map(|sighting| (sighting.epoch, sighting.id)).collect();
        exporters.dedup_by(|a, b| a.0 == b.0);
        exporters.into_iter().map(|(_, id)| id).collect()
    }
}

/// Whether there is a row count on a page.
pub fn shows_rows(page: &str) -> bool {
    page.contains("registry_database_rows{")
}
