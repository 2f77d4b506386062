//! What the rest of the process sees of the lease task. Values go out by `watch`, so no reader ever waits for the
//! store.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    claim::{LeaseState, Observation, Role},
    clock::BootTime,
    lease::{Error, from_micros},
    lease_protocol::Standing,
};

/// Role, observation and error, as of now.
#[derive(Default)]
pub(super) struct View {
    role: watch::Sender<Role>,
    observation: watch::Sender<Option<Observation>>,
    /// Never locked across an await; locked while an observation is replaced.
    contact: Mutex<Contact>,
    acquires: AtomicI64,
}

/// How the store was last met.
#[derive(Default)]
struct Contact {
    heard: Option<Heard>,
    last_error: Option<String>,
}

/// The moment of the last observation by both clocks.
#[derive(Clone, Copy)]
struct Heard {
    at: BootTime,
    now_us: i64,
}

// === impl View ===

impl View {
    pub(super) fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    pub(super) fn set_role(&self, role: Role) {
        self.role.send_if_modified(|current| {
            let changed = *current != role;
            *current = role;
            changed
        });
    }

    pub(super) fn observation(&self) -> watch::Receiver<Option<Observation>> {
        self.observation.subscribe()
    }

    /// The last observation, and how old it is now.
    pub(super) fn last(&self, now: BootTime) -> Option<(Observation, Duration)> {
        let contact = self.contact();
        Some((self.observation.borrow().clone()?, now.saturating_since(contact.heard?.at)))
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.contact().last_error.clone()
    }

    pub(super) fn acquires(&self) -> i64 {
        self.acquires.load(Ordering::Relaxed)
    }

    pub(super) fn acquired(&self) {
        self.acquires.fetch_add(1, Ordering::Relaxed);
    }

    /// The store answered at `at` to what was asked at `sent`. What is shown never goes back.
    pub(super) fn heard(&self, standing: &Standing, sent: BootTime, at: BootTime) {
        let mut contact = self.contact();
        let shown = self.observation.borrow().clone();
        let shown_epoch = shown.as_ref().map_or(0, |shown| shown.epoch);
        // Of two questions that were under way at once, the later answer may be the older one. Otherwise the order is
        // sure, whatever the store's clock tells.
        let is_overtaken = contact
            .heard
            .is_some_and(|last| sent < last.at && (standing.epoch, standing.now_us) < (shown_epoch, last.now_us));
        if !is_overtaken {
            let shown = shown.filter(|shown| shown.epoch > standing.epoch);
            self.observation.send_replace(Some(match shown {
                Some(last) => forgotten(standing, last),
                None => observed(standing),
            }));
            contact.heard = Some(Heard { at, now_us: standing.now_us });
        }
        if contact.last_error.take().is_some() {
            info!("lease store is within reach again");
        }
    }

    /// The store did not answer; said once, until it does.
    pub(super) fn failed(&self, error: &Error) {
        self.doubt();
        if self.contact().last_error.replace(error.to_string()).is_none() {
            warn!(%error, "lease store does not answer");
        }
    }

    /// The last observation may no longer be true.
    pub(super) fn doubt(&self) {
        self.observation.send_if_modified(|observation| match observation {
            Some(observation) if observation.state != LeaseState::Unknown => {
                observation.state = LeaseState::Unknown;
                true
            }
            _ => false,
        });
    }

    fn contact(&self) -> MutexGuard<'_, Contact> {
        self.contact.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A moment of the store's clock; `None` when the record has none.
pub(super) fn moment(at_us: i64) -> Option<SystemTime> {
    (at_us > 0).then(|| UNIX_EPOCH + from_micros(at_us))
}

/// A store that has lost its past does not know the last holder any more; whoever has seen it does. A holder of before
/// that one is no news that anybody could use.
fn forgotten(standing: &Standing, last: Observation) -> Observation {
    let Observation { state, remaining, quarantine_remaining, observe_time, .. } = observed(standing);
    let state = if state == LeaseState::Held { LeaseState::Unknown } else { state };
    Observation { state, remaining, quarantine_remaining, observe_time, ..last }
}

fn observed(standing: &Standing) -> Observation {
    let Standing { now_us: _, state, holder, address, epoch, since_us, until_us, ttl_us, remaining_us, quarantine_us } =
        standing;
    Observation {
        state: *state,
        holder: holder.clone(),
        holder_address: address.clone(),
        epoch: *epoch,
        acquire_time: moment(*since_us),
        renew_time: moment(until_us - ttl_us),
        expire_time: moment(*until_us),
        lease_duration: from_micros(*ttl_us),
        remaining: from_micros(*remaining_us),
        quarantine_remaining: from_micros(*quarantine_us),
        observe_time: SystemTime::now(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(epoch: i64, now_us: i64, state: LeaseState) -> Standing {
        let holder = format!("holder of {epoch}");
        let (address, since_us, until_us, ttl_us, remaining_us, quarantine_us) = (String::new(), 1, 2, 1, 1, 0);
        Standing { now_us, state, holder, address, epoch, since_us, until_us, ttl_us, remaining_us, quarantine_us }
    }

    fn at(ms: u64) -> BootTime {
        BootTime::from_boot(Duration::from_millis(ms))
    }

    fn shown(view: &View) -> (i64, LeaseState) {
        let (seen, _) = view.last(at(0)).unwrap();
        assert_eq!(seen.holder, format!("holder of {}", seen.epoch));
        (seen.epoch, seen.state)
    }

    #[test]
    fn an_answer_that_was_overtaken_is_not_shown() {
        let view = View::default();
        view.heard(&standing(7, 500, LeaseState::Held), at(1), at(5));
        view.heard(&standing(6, 400, LeaseState::Held), at(2), at(6));
        view.heard(&standing(7, 499, LeaseState::Free), at(3), at(7));
        assert_eq!(shown(&view), (7, LeaseState::Held));
        view.heard(&standing(7, 501, LeaseState::Free), at(4), at(8));
        assert_eq!(shown(&view), (7, LeaseState::Free), "the later of two is shown");
        view.heard(&standing(7, 300, LeaseState::Held), at(9), at(10));
        assert_eq!(shown(&view), (7, LeaseState::Held), "asked after that answer, whatever the store's clock says");
    }

    #[test]
    fn the_epoch_stays_when_the_store_forgets_it() {
        let view = View::default();
        view.heard(&standing(7, 500, LeaseState::Held), at(1), at(2));
        view.heard(&standing(0, 600, LeaseState::Quarantined), at(3), at(4));
        assert_eq!(shown(&view), (7, LeaseState::Quarantined));
        view.heard(&standing(6, 700, LeaseState::Held), at(5), at(6));
        assert_eq!(shown(&view), (7, LeaseState::Unknown));
        view.heard(&standing(8, 800, LeaseState::Held), at(7), at(8));
        assert_eq!(shown(&view), (8, LeaseState::Held));
    }
}
