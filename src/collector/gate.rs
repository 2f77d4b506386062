//! The publish gate: the one way by which counts leave the holder, and the one place that `/metrics` reads them from.
//! It asks the clock at the moment of the effect, when counts go in and again when they are read, so a process woken
//! from a long stop shows nothing.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};

use tokio::sync::watch;

use crate::{
    claim::{Claim, Grant, Role},
    clock::{BootTime, Clock},
    history,
    snapshot::Snapshot,
};

/// Lets counts through only while this instance holds the lease by its own clock.
pub struct PublishGate {
    role: watch::Receiver<Role>,
    clock: Arc<dyn Clock>,
    /// The last snapshot that went through. Never locked across an await.
    published: Mutex<Option<Arc<Snapshot>>>,
    /// The epoch whose counts were last shown; 0: none were.
    shown: AtomicI64,
}

// === impl PublishGate ===

impl PublishGate {
    /// A gate behind which nothing lies yet.
    pub fn new(role: watch::Receiver<Role>, clock: Arc<dyn Clock>) -> Self {
        Self { role, clock, published: Mutex::new(None), shown: AtomicI64::new(0) }
    }

    /// The claim under which something may have an effect now.
    pub fn current_claim(&self) -> Option<Claim> {
        self.claim_at(self.clock.now())
    }

    /// Lets `snapshot` through; false when its claim is over or something newer went through before.
    pub fn publish(&self, snapshot: Snapshot) -> bool {
        let now = self.clock.now();
        let Some(claim) = self.claim_at(now) else { return false };
        let mut published = self.published.lock().expect("no holder of this lock panics");
        let is_newer =
            published.as_ref().is_none_or(|last| (last.epoch, last.revision) < (snapshot.epoch, snapshot.revision));
        let is_ours = claim.grant == Grant { token: snapshot.token.clone(), epoch: snapshot.epoch };
        if is_newer && is_ours {
            history::published(&claim, snapshot.revision, now);
            *published = Some(Arc::new(snapshot));
        }
        is_newer && is_ours
    }

    /// The holder's counts; `None` from the moment at which the lease is over.
    pub fn rows(&self) -> Option<Arc<Snapshot>> {
        let now = self.clock.now();
        let claim = self.claim_at(now);
        let published = || self.published.lock().expect("no holder of this lock panics").clone();
        let rows = claim.as_ref().and_then(|claim| {
            published().filter(|last| last.token == claim.grant.token && last.epoch == claim.grant.epoch)
        });
        let epoch = rows.as_ref().map_or(0, |rows| rows.epoch);
        if self.shown.swap(epoch, Ordering::Relaxed) != epoch {
            match claim.filter(|_| rows.is_some()) {
                Some(claim) => history::shown(&claim, now),
                None => history::hidden(now),
            }
        }
        rows
    }

    fn claim_at(&self, now: BootTime) -> Option<Claim> {
        self.role.borrow().current_claim(now).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        time::{Duration, SystemTime},
    };

    use super::*;
    use crate::clock::BootTime;

    struct HandClock(Mutex<BootTime>);

    impl Clock for HandClock {
        fn now(&self) -> BootTime {
            *self.0.lock().unwrap()
        }
    }

    fn snapshot(epoch: i64, revision: i64) -> Snapshot {
        Snapshot {
            epoch,
            token: format!("token-{epoch}"),
            revision,
            publish_time: SystemTime::now(),
            last_collection: None,
            counts: BTreeMap::new(),
        }
    }

    fn holder(epoch: i64, deadline: BootTime) -> Role {
        Role::Holder(Claim {
            grant: Grant { token: format!("token-{epoch}"), epoch },
            mark_us: 1,
            acquire_time: SystemTime::now(),
            soft_deadline: deadline,
            deadline,
        })
    }

    fn gate(role: Role) -> (PublishGate, watch::Sender<Role>, Arc<HandClock>) {
        let clock = Arc::new(HandClock(Mutex::new(BootTime::default())));
        let (tx, rx) = watch::channel(role);
        (PublishGate::new(rx, clock.clone()), tx, clock)
    }

    #[test]
    fn nothing_is_shown_from_the_deadline_on() {
        let deadline = BootTime::from_boot(Duration::from_secs(10));
        let (gate, _tx, clock) = gate(holder(5, deadline));
        assert!(gate.publish(snapshot(5, 1)));
        assert!(gate.rows().is_some());
        *clock.0.lock().unwrap() = deadline;
        assert!(gate.rows().is_none(), "the role still says holder, the clock does not");
        assert!(!gate.publish(snapshot(5, 2)));
    }

    #[test]
    fn counts_of_another_epoch_are_neither_taken_nor_shown() {
        let deadline = BootTime::from_boot(Duration::from_secs(10));
        let (gate, tx, _clock) = gate(holder(5, deadline));
        assert!(!gate.publish(snapshot(4, 9)));
        assert!(gate.publish(snapshot(5, 1)));
        tx.send_replace(holder(6, deadline));
        assert!(gate.rows().is_none());
        assert!(!gate.publish(snapshot(5, 2)));
        assert!(gate.publish(snapshot(6, 1)));
        tx.send_replace(Role::Standby);
        assert!(gate.rows().is_none());
    }

    #[test]
    fn counts_never_go_back() {
        let (gate, _tx, _clock) = gate(holder(5, BootTime::from_boot(Duration::from_secs(10))));
        assert!(gate.publish(snapshot(5, 2)));
        assert!(!gate.publish(snapshot(5, 2)));
        assert!(!gate.publish(snapshot(5, 1)));
        assert_eq!(gate.rows().unwrap().revision, 2);
    }
}
