//! What the holder still has to write to the board. Ends of collections go out at once; begins and single counts wait a
//! moment for company, so a tick whose queries take milliseconds costs one write.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    clock::BootTime,
    collection::{Collection, CollectionId},
};

/// How long a change waits for others: short beside the shortest interval, long beside a count.
const COMPANY_WAIT: Duration = Duration::from_millis(250);

/// Between tries while the board does not answer.
pub const RETRY_WAIT: Duration = Duration::from_millis(200);

/// Changes that are not on the board yet.
#[derive(Default)]
pub struct Outbox {
    collections: BTreeMap<CollectionId, Collection>,
    /// When to write; `None` when there is nothing.
    due: Option<BootTime>,
}

/// What one write carries.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Collections that began or ended. Counts always go along: they are the newest whenever it is written.
    pub collections: BTreeMap<CollectionId, Collection>,
}

// === impl Outbox ===

impl Outbox {
    /// A count changed.
    pub fn counts_changed(&mut self, now: BootTime) {
        self.write_at(now + COMPANY_WAIT);
    }

    /// A collection began or ended.
    pub fn collection(&mut self, collection: Collection, now: BootTime) {
        self.write_at(if collection.state.is_done() { now } else { now + COMPANY_WAIT });
        self.collections.insert(collection.id, collection);
    }

    /// Takes back what a failed write carried, unless something newer is there.
    pub fn take_back(&mut self, batch: Batch, now: BootTime) {
        for (id, collection) in batch.collections {
            self.collections.entry(id).or_insert(collection);
        }
        self.due = Some(now + RETRY_WAIT);
    }

    /// When to write.
    pub fn due(&self) -> Option<BootTime> {
        self.due
    }

    /// Takes everything, when it is time.
    pub fn take_due(&mut self, now: BootTime) -> Option<Batch> {
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        let Self { collections, .. } = std::mem::take(self);
        Some(Batch { collections })
    }

    /// Has everything written at `due` or sooner.
    pub fn write_at(&mut self, due: BootTime) {
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }
}
