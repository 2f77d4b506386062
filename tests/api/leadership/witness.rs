//! Who shows rows: a scraper for each instance, and the one question whether two ever showed them at a time.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::fleet::{Instance, http_get, sample};

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
    /// Begins to scrape these instances, whether or not they answer.
    pub fn of(instances: &[&Instance]) -> Self {
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
        Self { scrapers, seen }
    }

    /// How often this instance was seen with rows of this epoch.
    pub fn sightings_of(&self, id: &str, epoch: i64) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|sighting| sighting.id == id && sighting.epoch == epoch as f64).count()
    }

    /// Those who showed rows, in the order of their epochs; fails when one of them did while a later one already did.
    pub fn exporters(self) -> Vec<String> {
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
