//! What the rest of the process sees of the lease task. Values go out by `watch`, so no reader ever waits for the
//! store.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    claim::{LeaseState, Observation, Role},
    lease::{Error, from_micros},
    lease_protocol::Standing,
};

/// Role, observation and error, as of now.
#[derive(Default)]
pub(super) struct View {
    role: watch::Sender<Role>,
    observation: watch::Sender<Option<Observation>>,
    last_error: Mutex<Option<String>>,
    acquires: AtomicI64,
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

    pub(super) fn last_error(&self) -> Option<String> {
        self.error().clone()
    }

    pub(super) fn acquires(&self) -> i64 {
        self.acquires.load(Ordering::Relaxed)
    }

    pub(super) fn acquired(&self) {
        self.acquires.fetch_add(1, Ordering::Relaxed);
    }

    /// The store answered.
    pub(super) fn heard(&self, standing: &Standing) {
        self.observation.send_replace(Some(observed(standing)));
        if self.error().take().is_some() {
            info!("lease store is within reach again");
        }
    }

    /// The store did not answer; said once, until it does.
    pub(super) fn failed(&self, error: &Error) {
        self.doubt();
        if self.error().replace(error.to_string()).is_none() {
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

    /// Never locked across an await.
    fn error(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A moment of the store's clock; `None` when the record has none.
pub(super) fn moment(at_us: i64) -> Option<SystemTime> {
    (at_us > 0).then(|| UNIX_EPOCH + from_micros(at_us))
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
