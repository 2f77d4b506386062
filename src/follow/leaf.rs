//! One leaf: its last reading, the bounds that follow from an exact count of it, and the next such count under way.

use std::time::Duration;

use super::{
    Bounds, Sample, ServerTime, Void,
    anchor::{Anchor, Counted, Ticket},
    step,
};

/// A leaf whose counters have not moved for so long is quiet: a count begun now will most likely be exact.
const QUIET: Duration = Duration::from_secs(3);

/// About as long as an exact count stays under way: what moved in such a span is how wide a new one would be.
const WINDOW: Duration = Duration::from_secs(12);

/// A leaf that has not moved for so long rests: it is read less often.
const RESTS_AFTER: Duration = Duration::from_secs(60);

/// How often a resting leaf is read.
const RESTING_READ: Duration = Duration::from_secs(10);

/// Between tries of a count that failed: doubled each time.
const RETRY_WAIT: Duration = Duration::from_secs(30);

/// Doublings at most: half an hour.
const RETRY_DOUBLINGS: u32 = 6;

/// What is known of one leaf.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The last reading.
    last: Sample,
    read_at: ServerTime,
    /// Its rows as of the last reading; `None` without an exact count that is known to be complete.
    followed: Option<Followed>,
    /// The exact count under way.
    anchor: Option<Anchor>,
    /// When the last one began.
    begun_at: Option<ServerTime>,
    motion: Motion,
    /// Counts that failed one after the other, and when the next may be tried.
    failures: u32,
    retry_at: Option<ServerTime>,
}

/// The rows of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// As of the last reading.
    pub bounds: Bounds,
    /// When it was last counted.
    pub anchored_at: ServerTime,
}

/// How much its counters move.
#[derive(Clone, Copy, Debug)]
struct Motion {
    moved_at: ServerTime,
    window_start: ServerTime,
    /// Rows inserted and deleted in this window and in the one before; a lot when that is not known yet.
    now: i64,
    before: i64,
}

// === impl Leaf ===

impl Leaf {
    /// A leaf read for the first time.
    pub fn new(first: Sample, now: ServerTime) -> Self {
        Self {
            last: first,
            read_at: now,
            followed: None,
            anchor: None,
            begun_at: None,
            motion: Motion { moved_at: now, window_start: now, now: 0, before: i64::MAX },
            failures: 0,
            retry_at: None,
        }
    }

    /// A leaf that somebody else has followed up to a reading.
    pub fn resumed(last: Sample, followed: Followed) -> Self {
        // If the next reading finds it as it was, it has not moved for long, whenever it did.
        let never = ServerTime::from_us(0);
        Self { followed: Some(followed), ..Self::new(last, never) }
    }

    /// Goes on to the next reading; tells why nothing is known any more, if something was.
    pub fn take(&mut self, next: Sample, now: ServerTime, complete_until: Option<ServerTime>) -> Result<(), Void> {
        let last = std::mem::replace(&mut self.last, next);
        self.read_at = now;
        if let Some(why) = step::void(&last, &next) {
            self.motion.take(now, i64::MAX);
            return self.void(why);
        }
        let inserted = next.counters.inserted.saturating_sub(last.counters.inserted);
        let deleted = next.counters.deleted.saturating_sub(last.counters.deleted);
        self.motion.take(now, inserted.saturating_add(deleted));
        if let Some(followed) = &mut self.followed {
            match step::change(&last.counters, &next.counters) {
                Ok(change) => followed.bounds = followed.bounds + change,
                Err(why) => return self.void(why),
            }
        }
        let Some(anchor) = &mut self.anchor else { return Ok(()) };
        anchor.take(inserted, deleted);
        let (Some(found), Some(counted)) = (anchor.bounds(complete_until), anchor.counted) else { return Ok(()) };
        self.anchor = None;
        let bounds = match self.followed {
            None => found,
            Some(followed) => match followed.bounds.intersection(found) {
                Some(both) => both,
                None => return self.void(Void::Contradiction),
            },
        };
        self.followed = Some(Followed { bounds, anchored_at: counted.end });
        Ok(())
    }

    /// Its rows as of the last reading.
    pub fn followed(&self) -> Option<Followed> {
        self.followed
    }

    /// What it was counted at, until that is known to be complete.
    pub fn counted(&self) -> Option<i64> {
        self.anchor.as_ref()?.counted.map(|counted| counted.rows)
    }

    /// The last reading.
    pub fn last(&self) -> Sample {
        self.last
    }

    /// When that was.
    pub fn read_at(&self) -> ServerTime {
        self.read_at
    }

    /// Whether there is anything that could be voided.
    pub fn has_something(&self) -> bool {
        self.followed.is_some() || self.anchor.is_some()
    }

    /// How far its bounds are apart, if an exact count would bring them nearer; the most when it has none. `None` when
    /// none is wanted now.
    pub fn wants_anchor(&self, now: ServerTime) -> Option<i64> {
        let must_wait = self.retry_at.is_some_and(|at| now < at);
        if self.anchor.is_some() || self.last.filenode.is_none() || must_wait {
            return None;
        }
        let Some(Followed { bounds, .. }) = self.followed else { return Some(i64::MAX) };
        let width = bounds.width();
        (width > 0 && self.motion.allows(width, now)).then_some(width)
    }

    /// When an exact count last began; `None`: none ever did.
    pub fn begun_at(&self) -> Option<ServerTime> {
        self.begun_at
    }

    /// An exact count begins after the last reading.
    pub fn begin_anchor(&mut self, ticket: Ticket, now: ServerTime) {
        self.anchor = Some(Anchor::new(ticket));
        self.begun_at = Some(now);
    }

    /// It has ended.
    pub fn counted_by(&mut self, ticket: Ticket, counted: Counted) {
        if let Some(anchor) = self.anchor.as_mut().filter(|anchor| anchor.ticket == ticket) {
            anchor.counted = Some(counted);
            (self.failures, self.retry_at) = (0, None);
        }
    }

    /// It failed. When that `cost` the server something, each time it waits longer for the next one.
    pub fn abandon_anchor(&mut self, ticket: Ticket, cost: bool, now: ServerTime) {
        if self.anchor.take_if(|anchor| anchor.ticket == ticket).is_some() {
            self.retry_at = Some(now + RETRY_WAIT * 2_u32.pow(self.failures.min(RETRY_DOUBLINGS)));
            self.failures += u32::from(cost);
        }
    }

    /// Whether it need not be read now.
    pub fn rests(&self, now: ServerTime) -> bool {
        self.anchor.is_none()
            && self.followed.is_some()
            && now.since(self.motion.moved_at) >= RESTS_AFTER
            && now.since(self.read_at) < RESTING_READ
    }

    fn void(&mut self, why: Void) -> Result<(), Void> {
        let had_something = self.has_something();
        (self.followed, self.anchor) = (None, None);
        if had_something { Err(why) } else { Ok(()) }
    }
}

// === impl Motion ===

impl Motion {
    fn take(&mut self, now: ServerTime, moved: i64) {
        if now.since(self.window_start) >= WINDOW {
            (self.before, self.now, self.window_start) = (self.now, 0, now);
        }
        self.now = self.now.saturating_add(moved);
        if moved > 0 {
            self.moved_at = now;
        }
    }

    /// Whether a count that begins now would come to less than `width`.
    fn allows(&self, width: i64, now: ServerTime) -> bool {
        now.since(self.moved_at) >= QUIET || self.now.max(self.before) < width / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::Counters;

    const ANCHOR: Counted = Counted { rows: 50, end: at(1) };

    const fn at(seconds: i64) -> ServerTime {
        ServerTime::from_us(1_000_000_000 + seconds * 1_000_000)
    }

    fn sample(inserted: i64, deleted: i64) -> Sample {
        let counters = Counters { inserted, deleted, live: 50 + inserted - deleted, ..Counters::default() };
        Sample { counters: Counters { modified: inserted + deleted, ..counters }, filenode: Some(7) }
    }

    /// Counted at 50 rows, and followed from the reading after second 12.
    fn anchored(inserted: i64, deleted: i64) -> Leaf {
        let mut leaf = Leaf::new(sample(0, 0), at(0));
        leaf.begin_anchor(Ticket(1), at(0));
        leaf.counted_by(Ticket(1), ANCHOR);
        leaf.take(sample(inserted, deleted), at(13), Some(at(2))).unwrap();
        leaf
    }

    fn bounds(leaf: &Leaf) -> Option<(i64, i64, i64)> {
        leaf.followed().map(|Followed { bounds, .. }| (bounds.lower, bounds.value, bounds.upper))
    }

    #[test]
    fn a_count_becomes_bounds_and_goes_on_from_reading_to_reading() {
        let mut leaf = anchored(3, 1);
        assert_eq!(bounds(&leaf), Some((49, 50, 53)));
        leaf.take(sample(10, 1), at(14), None).unwrap();
        assert_eq!(bounds(&leaf), Some((56, 57, 60)), "which needs no W");
    }

    #[test]
    fn a_count_that_the_flushes_have_not_caught_up_with_is_no_bound_yet() {
        let mut leaf = Leaf::new(sample(0, 0), at(0));
        leaf.begin_anchor(Ticket(1), at(0));
        leaf.take(sample(1, 0), at(20), Some(at(9))).unwrap();
        assert_eq!(leaf.counted(), None);
        leaf.counted_by(Ticket(1), Counted { rows: 50, end: at(21) });
        leaf.take(sample(2, 0), at(31), Some(at(20))).unwrap();
        leaf.take(sample(4, 0), at(32), None).unwrap();
        assert_eq!((bounds(&leaf), leaf.counted()), (None, Some(50)));
        leaf.take(sample(8, 0), at(33), Some(at(22))).unwrap();
        assert_eq!(bounds(&leaf), Some((50, 50, 58)), "with every change since the reading before the count");
    }

    #[test]
    fn two_counts_leave_what_both_allow() {
        let mut leaf = anchored(3, 1);
        leaf.begin_anchor(Ticket(2), at(0));
        leaf.counted_by(Ticket(2), Counted { rows: 52, end: at(15) });
        leaf.take(sample(3, 1), at(27), Some(at(16))).unwrap();
        assert_eq!(bounds(&leaf), Some((52, 52, 52)));
        assert_eq!(leaf.followed().unwrap().anchored_at, at(15));
    }

    #[test]
    fn counts_that_exclude_each_other_void() {
        let mut leaf = anchored(3, 1);
        leaf.begin_anchor(Ticket(2), at(0));
        leaf.counted_by(Ticket(2), Counted { rows: 54, end: at(15) });
        assert_eq!(leaf.take(sample(3, 1), at(27), Some(at(16))), Err(Void::Contradiction));
        assert_eq!(bounds(&leaf), None);
        assert_eq!(leaf.take(sample(3, 1), at(28), Some(at(17))), Ok(()), "it is told once");
    }

    #[test]
    fn a_truncate_voids_the_count_under_way_too() {
        let mut leaf = anchored(0, 0);
        leaf.begin_anchor(Ticket(2), at(0));
        let truncated = Sample { filenode: Some(8), ..sample(0, 0) };
        assert_eq!(leaf.take(truncated, at(14), None), Err(Void::Filenode));
        leaf.counted_by(Ticket(2), ANCHOR);
        assert_eq!((bounds(&leaf), leaf.counted()), (None, None), "its count is of the rows before");
        assert_eq!(leaf.wants_anchor(at(14)), Some(i64::MAX));
    }

    #[test]
    fn live_rows_do_not_void_a_leaf_without_a_complete_count() {
        let mut leaf = Leaf::new(sample(9, 0), at(0));
        leaf.begin_anchor(Ticket(1), at(0));
        leaf.counted_by(Ticket(1), Counted { rows: 0, end: at(1) });
        let mut flushed = sample(9, 0);
        flushed.counters.live = 0;
        leaf.take(flushed, at(2), None).unwrap();
        leaf.take(flushed, at(13), Some(at(2))).unwrap();
        assert_eq!(bounds(&leaf), Some((0, 0, 0)));
    }

    #[test]
    fn a_count_of_an_earlier_beginning_is_not_taken() {
        let mut leaf = Leaf::new(sample(0, 0), at(0));
        leaf.begin_anchor(Ticket(1), at(0));
        leaf.abandon_anchor(Ticket(1), true, at(0));
        leaf.begin_anchor(Ticket(2), at(0));
        leaf.counted_by(Ticket(1), ANCHOR);
        leaf.abandon_anchor(Ticket(1), true, at(0));
        assert_eq!(leaf.counted(), None);
        leaf.counted_by(Ticket(2), ANCHOR);
        assert_eq!(leaf.counted(), Some(50));
    }

    #[test]
    fn a_count_that_failed_is_tried_again_ever_later() {
        let mut leaf = Leaf::new(sample(0, 0), at(0));
        for (begun, again) in [(0, 30), (30, 90), (90, 210)] {
            leaf.begin_anchor(Ticket(1), at(0));
            leaf.abandon_anchor(Ticket(1), true, at(begun));
            assert_eq!((leaf.wants_anchor(at(again - 1)), leaf.wants_anchor(at(again))), (None, Some(i64::MAX)));
        }
    }

    #[test]
    fn a_count_that_was_refused_is_tried_again_as_soon_each_time() {
        let mut leaf = Leaf::new(sample(0, 0), at(0));
        for begun in [0, 30, 60, 90] {
            leaf.begin_anchor(Ticket(1), at(0));
            leaf.abandon_anchor(Ticket(1), false, at(begun));
            assert_eq!(leaf.wants_anchor(at(begun + 30)), Some(i64::MAX));
        }
    }

    #[test]
    fn another_count_is_wanted_in_a_quiet_moment_while_the_bounds_are_apart() {
        let mut leaf = anchored(3, 1);
        assert_eq!(leaf.wants_anchor(at(15)), None, "it moved at 13");
        assert_eq!(leaf.wants_anchor(at(16)), Some(4));
        leaf.take(sample(4, 1), at(17), None).unwrap();
        assert_eq!(leaf.wants_anchor(at(17)), None);
        assert_eq!(anchored(0, 0).wants_anchor(at(1000)), None, "it is exact");
    }

    #[test]
    fn a_leaf_that_never_is_quiet_is_counted_when_that_helps() {
        let mut leaf = anchored(1000, 0);
        for second in 14..=40 {
            leaf.take(sample(1000 + (second - 13) * 10, 0), at(second), None).unwrap();
        }
        assert_eq!(leaf.wants_anchor(at(40)), Some(1000), "120 moved in such a span of late");
        let mut leaf = anchored(200, 0);
        for second in 14..=40 {
            leaf.take(sample(200 + (second - 13) * 10, 0), at(second), None).unwrap();
        }
        assert_eq!(leaf.wants_anchor(at(40)), None);
    }

    #[test]
    fn a_leaf_that_has_not_moved_for_long_is_read_less_often() {
        let mut leaf = anchored(3, 0);
        leaf.take(sample(3, 0), at(72), None).unwrap();
        assert!(!leaf.rests(at(72)), "it moved at 13");
        assert!(leaf.rests(at(73)) && leaf.rests(at(81)));
        assert!(!leaf.rests(at(82)), "it was read at 72");
        leaf.begin_anchor(Ticket(2), at(0));
        assert!(!leaf.rests(at(73)), "nor while it is being counted");
    }
}
