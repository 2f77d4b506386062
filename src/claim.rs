//! A claim: the fact that this instance may count, until when, and under which epoch. It is judged by its reader at the
//! moment of the effect, so a process woken from a long stop finds it expired.

use std::time::{Duration, SystemTime};

use crate::clock::BootTime;

/// How long after the end that an observation told its follower may still be under way: a bid at that end, answered.
const FOLLOW_UP: Duration = Duration::from_secs(1);

/// What makes a holder: who, under which epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Random, one a campaign, never used again.
    pub token: String,
    /// The epoch under which the token was granted.
    pub epoch: i64,
}

/// What goes with every write to the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Whose write it is.
    pub token: String,
    /// Under which epoch.
    pub epoch: i64,
    /// The last time that the store had lost its past, as far as the writer has heard.
    pub mark_us: i64,
}

/// The lease as its holder knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Token and epoch.
    pub grant: Grant,
    /// The store's last mark, as the last reply told it.
    pub mark_us: i64,
    /// When it was won, by the wall clock.
    pub acquire_time: SystemTime,
    /// From here on no query starts and running ones are ended.
    pub soft_deadline: BootTime,
    /// From here on nothing is published or exported: the claim is over, whatever arrives later.
    pub deadline: BootTime,
}

/// What this instance does, and until when.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Role {
    /// Holds the lease, while the claim is current.
    Holder(Claim),
    /// Waits for the lease.
    #[default]
    Standby,
    /// Does not compete: denied once, resigned, disabled or stopping.
    Observer,
}

/// What is known of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Held by `holder`.
    Held,
    /// Nobody holds it.
    Free,
    /// Nobody new is let in yet, after the store lost its past.
    Quarantined,
    /// The store is out of reach; the rest is the last observation.
    Unknown,
}

/// The lease as the store showed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// What is known.
    pub state: LeaseState,
    /// Holder, or the last one when nobody holds it; empty when there never was one.
    pub holder: String,
    /// host:port at which the holder serves; empty when unknown.
    pub holder_address: String,
    /// Epoch of the holder, or of the last one.
    pub epoch: i64,
    /// When the holder won it.
    pub acquire_time: Option<SystemTime>,
    /// When the holder last renewed it.
    pub renew_time: Option<SystemTime>,
    /// When it ends unless renewed.
    pub expire_time: Option<SystemTime>,
    /// Length of the holder's lease; zero when there never was one.
    pub lease_duration: Duration,
    /// Time left when it was observed.
    pub remaining: Duration,
    /// Time until new holders are let in.
    pub quarantine_remaining: Duration,
    /// When the store was heard; the Unix epoch when it never was.
    pub observe_time: SystemTime,
}

// === impl Claim ===

impl Claim {
    /// Whether the claim may still have an effect.
    pub fn is_current(&self, now: BootTime) -> bool {
        now < self.deadline
    }

    /// What goes with a write to the board now.
    pub fn proof(&self) -> Proof {
        let Grant { token, epoch } = self.grant.clone();
        Proof { token, epoch, mark_us: self.mark_us }
    }

    /// Time in which new work may still be done; `None` from the soft deadline on.
    pub fn time_to_work(&self, now: BootTime) -> Option<Duration> {
        (now < self.soft_deadline).then(|| self.soft_deadline.saturating_since(now))
    }
}

// === impl Role ===

impl Role {
    /// The claim, when it may still have an effect.
    pub fn current_claim(&self, now: BootTime) -> Option<&Claim> {
        match self {
            Self::Holder(claim) if claim.is_current(now) => Some(claim),
            _ => None,
        }
    }
}

// === impl LeaseState ===

impl LeaseState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Held, Self::Free, Self::Quarantined, Self::Unknown];

    /// The name in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Free => "free",
            Self::Quarantined => "quarantined",
            Self::Unknown => "unknown",
        }
    }
}

// === impl Observation ===

impl Observation {
    /// As it is to be taken this long after it was made: less time is left, and what has run out is not known any more.
    pub fn after(self, age: Duration) -> Self {
        let lasts = match self.state {
            LeaseState::Held => self.remaining,
            LeaseState::Quarantined => self.quarantine_remaining,
            LeaseState::Free | LeaseState::Unknown => Duration::MAX,
        };
        Self {
            state: if age > lasts.saturating_add(FOLLOW_UP) { LeaseState::Unknown } else { self.state },
            remaining: self.remaining.saturating_sub(age),
            quarantine_remaining: self.quarantine_remaining.saturating_sub(age),
            ..self
        }
    }

    /// Nothing was ever heard of the store.
    pub fn unknown() -> Self {
        Self {
            state: LeaseState::Unknown,
            holder: String::new(),
            holder_address: String::new(),
            epoch: 0,
            acquire_time: None,
            renew_time: None,
            expire_time: None,
            lease_duration: Duration::ZERO,
            remaining: Duration::ZERO,
            quarantine_remaining: Duration::ZERO,
            observe_time: SystemTime::UNIX_EPOCH,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_run_out_since_it_was_observed_is_not_known_any_more() {
        let (remaining, quarantine_remaining) = (Duration::from_secs(6), Duration::from_secs(20));
        let seen = |state, age| {
            let seen = Observation { state, remaining, quarantine_remaining, ..Observation::unknown() };
            let seen = seen.after(Duration::from_secs(age));
            (seen.state, seen.remaining.as_secs(), seen.quarantine_remaining.as_secs())
        };
        assert_eq!(seen(LeaseState::Held, 5), (LeaseState::Held, 1, 15));
        assert_eq!(seen(LeaseState::Held, 8), (LeaseState::Unknown, 0, 12));
        assert_eq!(seen(LeaseState::Quarantined, 19), (LeaseState::Quarantined, 0, 1));
        assert_eq!(seen(LeaseState::Quarantined, 22), (LeaseState::Unknown, 0, 0));
        assert_eq!(seen(LeaseState::Free, 3600), (LeaseState::Free, 0, 0));
    }
}
