//! Rules of a follower, broken on purpose: it is given what was read as one without the rule would see it. Those of the
//! order of a reading's statements are broken in `traps`.

use std::time::Duration;

use rowcount::follow::{Bounds, Counters, Reading, ServerTime};

/// What is taken off the time of the oldest session.
const MARGIN: Duration = Duration::from_secs(11);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The server's live rows are the number.
    LiveRows,
    /// Whoever is idle has flushed.
    NoMargin,
    /// Who is at work may have committed since his transaction began, and not since his statement did.
    TransactionsOnly,
}

// === impl Mutant ===

impl Mutant {
    /// Those that any load finds.
    pub const FOUND_BY_LOAD: [Self; 2] = [Self::LiveRows, Self::NoMargin];

    /// The reading without the rule.
    pub fn reading(self, reading: &Reading) -> Reading {
        let mut broken = reading.clone();
        let sessions = broken.activity.sessions.iter_mut();
        match self {
            Self::LiveRows => {}
            Self::NoMargin => {
                // All of it later by the margin, which is taken off again.
                let later = |at: &mut ServerTime| *at = *at + MARGIN;
                later(&mut broken.activity.now);
                for session in sessions {
                    let times = [&mut session.xact_start, &mut session.query_start, &mut session.state_change];
                    times.into_iter().flatten().for_each(later);
                }
            }
            Self::TransactionsOnly => {
                sessions.for_each(|session| (session.query_start, session.state_change) = (None, None));
            }
        }
        broken
    }

    /// What is told of a followed leaf.
    pub fn bounds(self, bounds: Bounds, counters: &Counters) -> Bounds {
        match self {
            Self::LiveRows => Bounds::exactly(counters.live),
            Self::NoMargin | Self::TransactionsOnly => bounds,
        }
    }
}
