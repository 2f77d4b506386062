//! The gate of the estimate: it asks the clock at the moment of the effect, when an estimate goes in and again when it
//! is read, so that a process woken from a long stop shows none.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    claim::{Grant, Role},
    clock::{BootTime, Clock},
    metrics::estimate::Shown,
};

/// An estimate that was not made anew for this many intervals is none any more.
const INTERVALS: u32 = 3;

/// Lets an estimate through only under the claim that it was made under, and only while it is recent.
pub struct EstimateGate {
    role: watch::Receiver<Role>,
    clock: Arc<dyn Clock>,
    kept_for: Duration,
    /// The last that went through. Never locked across an await.
    published: Mutex<Option<Published>>,
}

struct Published {
    grant: Grant,
    at: BootTime,
    shown: Shown,
}

// === impl EstimateGate ===

impl EstimateGate {
    /// A gate behind which nothing lies yet; an estimate is made each `interval`.
    pub fn new(role: watch::Receiver<Role>, clock: Arc<dyn Clock>, interval: Duration) -> Self {
        Self { role, clock, kept_for: interval * INTERVALS, published: Mutex::new(None) }
    }

    /// Lets an estimate through; false when the claim under `grant` is over.
    pub fn publish(&self, grant: &Grant, shown: Shown) -> bool {
        let now = self.clock.now();
        let is_ours = self.is_held(grant, now);
        if is_ours {
            let mut published = self.published.lock().expect("no holder of this lock panics");
            *published = Some(Published { grant: grant.clone(), at: now, shown });
        }
        is_ours
    }

    /// The holder's estimate; `None` from the moment at which the lease is over or the estimate too old.
    pub fn shown(&self) -> Option<Shown> {
        let now = self.clock.now();
        let published = self.published.lock().expect("no holder of this lock panics");
        let Published { grant, at, shown } = published.as_ref()?;
        (self.is_held(grant, now) && now.saturating_since(*at) <= self.kept_for).then_some(*shown)
    }

    fn is_held(&self, grant: &Grant, now: BootTime) -> bool {
        self.role.borrow().current_claim(now).is_some_and(|claim| claim.grant == *grant)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::claim::Claim;

    struct HandClock(Mutex<BootTime>);

    impl Clock for HandClock {
        fn now(&self) -> BootTime {
            *self.0.lock().unwrap()
        }
    }

    fn at(seconds: u64) -> BootTime {
        BootTime::from_boot(Duration::from_secs(seconds))
    }

    fn grant(epoch: i64) -> Grant {
        Grant { token: format!("token-{epoch}"), epoch }
    }

    fn holder(epoch: i64, deadline: BootTime) -> Role {
        let acquire_time = SystemTime::now();
        Role::Holder(Claim { grant: grant(epoch), mark_us: 1, acquire_time, soft_deadline: deadline, deadline })
    }

    fn gate(role: Role) -> (EstimateGate, watch::Sender<Role>, Arc<HandClock>) {
        let clock = Arc::new(HandClock(Mutex::new(at(0))));
        let (tx, rx) = watch::channel(role);
        (EstimateGate::new(rx, clock.clone(), Duration::from_secs(100)), tx, clock)
    }

    #[test]
    fn an_estimate_goes_with_the_claim_that_it_was_made_under() {
        let (gate, tx, clock) = gate(holder(5, at(10)));
        assert!(!gate.publish(&grant(4), Shown::default()));
        assert!(gate.publish(&grant(5), Shown::default()));
        assert!(gate.shown().is_some());
        *clock.0.lock().unwrap() = at(10);
        assert_eq!(gate.shown(), None, "the role still says holder, the clock does not");
        assert!(!gate.publish(&grant(5), Shown::default()));
        tx.send_replace(holder(6, at(1_000)));
        assert_eq!(gate.shown(), None, "it is of another claim");
    }

    #[test]
    fn an_estimate_that_was_not_made_anew_for_three_intervals_is_none() {
        let (gate, _tx, clock) = gate(holder(5, at(10_000)));
        assert!(gate.publish(&grant(5), Shown::default()));
        *clock.0.lock().unwrap() = at(300);
        assert!(gate.shown().is_some());
        *clock.0.lock().unwrap() = at(301);
        assert_eq!(gate.shown(), None);
    }
}
