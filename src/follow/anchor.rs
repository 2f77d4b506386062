//! An exact count and the changes around it: how it becomes bounds.

use super::{Bounds, ServerTime};

/// Belongs to the exact count of a leaf that was begun: a count of an earlier beginning must not be taken for its.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub(super) u64);

/// An exact count of one leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its rows.
    pub rows: i64,
    /// After the statement had counted them.
    pub end: ServerTime,
}

/// An exact count under way, from a reading before it to the first that has all that it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    pub ticket: Ticket,
    inserted: i64,
    deleted: i64,
    /// `None`: the count has not ended.
    pub counted: Option<Counted>,
}

// === impl Anchor ===

impl Anchor {
    /// Begins at the last reading.
    pub fn new(ticket: Ticket) -> Self {
        Self { ticket, inserted: 0, deleted: 0, counted: None }
    }

    /// What one more reading found. Live rows are not used: a TRUNCATE from before the count may be pending.
    pub fn take(&mut self, inserted: i64, deleted: i64) {
        self.inserted = self.inserted.saturating_add(inserted);
        self.deleted = self.deleted.saturating_add(deleted);
    }

    /// The bounds, once every commit that the count may have seen has been flushed: each change since the beginning was
    /// counted or was not.
    pub fn bounds(&self, complete_until: Option<ServerTime>) -> Option<Bounds> {
        let Counted { rows, end } = self.counted?;
        (complete_until? > end).then(|| Bounds {
            lower: rows.saturating_sub(self.deleted),
            value: rows,
            upper: rows.saturating_add(self.inserted),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_only_when_all_that_the_count_saw_is_flushed() {
        let at = |us| Some(ServerTime::from_us(us));
        let mut anchor = Anchor::new(Ticket(1));
        anchor.take(3, 1);
        assert_eq!(anchor.bounds(at(1_000)), None, "nothing is counted yet");
        anchor.counted = Some(Counted { rows: 50, end: ServerTime::from_us(100) });
        anchor.take(2, 0);
        for early in [None, at(99), at(100)] {
            assert_eq!(anchor.bounds(early), None, "{early:?}");
        }
        assert_eq!(anchor.bounds(at(101)), Some(Bounds { lower: 49, value: 50, upper: 55 }));
    }
}
