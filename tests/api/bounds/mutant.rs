//! Rules of a reading, broken on purpose: what was recorded is changed into what a reader without the rule would have
//! read.

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
    /// The counters are read before the sessions, not after.
    CountersFirst,
    /// The filenodes are those from before the counters were read.
    FilenodesFirst,
}

// === impl Mutant ===

impl Mutant {
    pub const ALL: [Self; 4] = [Self::LiveRows, Self::NoMargin, Self::CountersFirst, Self::FilenodesFirst];

    /// The reading without the rule. Whatever is read first was read with the reading before, at the latest.
    pub fn reading(self, reading: &Reading, previous: Option<&Reading>) -> Reading {
        let mut broken = reading.clone();
        match (self, previous) {
            (Self::NoMargin, _) => {
                // All of it later by the margin, which is taken off again.
                let later = |at: &mut ServerTime| *at = *at + MARGIN;
                later(&mut broken.activity.now);
                for session in &mut broken.activity.sessions {
                    let times = [&mut session.xact_start, &mut session.query_start, &mut session.state_change];
                    times.into_iter().flatten().for_each(later);
                }
            }
            (Self::CountersFirst, Some(previous)) => {
                for (oid, counters) in &mut broken.counters {
                    if let Some(before) = previous.counters.get(oid) {
                        *counters = *before;
                    }
                }
            }
            (Self::FilenodesFirst, Some(previous)) => {
                for (oid, filenode) in &mut broken.filenodes {
                    if let Some(before) = previous.filenodes.get(oid) {
                        *filenode = *before;
                    }
                }
            }
            (Self::LiveRows, _) | (Self::CountersFirst | Self::FilenodesFirst, None) => {}
        }
        broken
    }

    /// What is told of a followed leaf.
    pub fn bounds(self, bounds: Bounds, counters: &Counters) -> Bounds {
        match self {
            Self::LiveRows => Bounds::exactly(counters.live),
            Self::NoMargin | Self::CountersFirst | Self::FilenodesFirst => bounds,
        }
    }
}
