//! Moments by the server's clock, which need not agree with this machine's.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// A moment by the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerTime(i64);

// === impl ServerTime ===

impl ServerTime {
    /// The moment that lies so many microseconds after 1970 began.
    pub const fn from_us(us: i64) -> Self {
        Self(us)
    }

    /// Microseconds since 1970 began.
    pub const fn us(self) -> i64 {
        self.0
    }

    /// Time from `earlier` to here; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or_default())
    }
}

impl Add<Duration> for ServerTime {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(us(span)))
    }
}

impl Sub<Duration> for ServerTime {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(us(span)))
    }
}

fn us(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
