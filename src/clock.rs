//! The clock that leases are judged by: time since boot, suspend included. `std::time::Instant` is CLOCK_MONOTONIC on
//! Linux and stands still in suspend, so a woken holder would believe in a lease that has long passed on.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// Time since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

/// Tells the time since boot; tests have one of their own.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> BootTime;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

// === impl BootTime ===

impl BootTime {
    /// The time that lies this long after boot.
    pub fn from_boot(since: Duration) -> Self {
        Self(since)
    }

    /// Time since boot.
    pub fn since_boot(self) -> Duration {
        self.0
    }

    /// Time from `earlier` to here; zero when `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0 + span)
    }
}

impl Sub<Duration> for BootTime {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span))
    }
}

// === impl SystemClock ===

impl Clock for SystemClock {
    fn now(&self) -> BootTime {
        let now = clock_gettime(ClockId::Boottime);
        BootTime(Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0)))
    }
}
