//! From one reading of a leaf to the next: what voids it, and how the number of its rows changed.

use std::fmt;

use super::{Bounds, Counters, Sample};

/// Why nothing is known of a leaf any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Void {
    /// Counters of the server were reset or lost.
    Reset,
    /// The server is a standby.
    Recovery,
    /// It was truncated, rewritten or dropped.
    Filenode,
    /// A counter went back.
    Counter,
    /// The live rows changed by more than was inserted or deleted.
    Live,
    /// Two exact counts exclude each other.
    Contradiction,
}

// === impl Void ===

impl Void {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Reset, Self::Recovery, Self::Filenode, Self::Counter, Self::Live, Self::Contradiction];

    /// The name in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Recovery => "recovery",
            Self::Filenode => "filenode",
            Self::Counter => "counter",
            Self::Live => "live",
            Self::Contradiction => "contradiction",
        }
    }
}

impl fmt::Display for Void {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "statistics were reset or lost, or the server was restarted",
            Self::Recovery => "the server is a standby",
            Self::Filenode => "it was truncated, rewritten or dropped",
            Self::Counter => "a counter went back",
            Self::Live => "the live rows changed by more than was inserted or deleted",
            Self::Contradiction => "two exact counts exclude each other",
        })
    }
}

/// Whether `next` cannot be compared with `previous`. Live rows are not looked at: where there is no exact count yet, a
/// TRUNCATE may be pending that has not set them to zero.
pub fn void(previous: &Sample, next: &Sample) -> Option<Void> {
    if next.filenode.is_none() || next.filenode != previous.filenode {
        return Some(Void::Filenode);
    }
    let (p, n) = (&previous.counters, &next.counters);
    let fell = n.inserted < p.inserted
        || n.updated < p.updated
        || n.deleted < p.deleted
        || n.vacuums < p.vacuums
        || n.analyzes < p.analyzes
        || (n.modified < p.modified && n.analyzes == p.analyzes);
    fell.then_some(Void::Counter)
}

/// By how much the rows changed, from counters that `void` has nothing against.
pub fn change(previous: &Counters, next: &Counters) -> Result<Bounds, Void> {
    let inserted = next.inserted.saturating_sub(previous.inserted);
    let updated = next.updated.saturating_sub(previous.updated);
    let deleted = next.deleted.saturating_sub(previous.deleted);
    let is_untouched = next.vacuums == previous.vacuums && next.analyzes == previous.analyzes;
    // Live rows leave aborted work out, which makes them exact; but they are overwritten by VACUUM and ANALYZE, and when
    // more is deleted than they have they stop at zero.
    if is_untouched && previous.live >= deleted {
        let live = next.live.saturating_sub(previous.live);
        return if (-deleted..=inserted).contains(&live) { Ok(Bounds::exactly(live)) } else { Err(Void::Live) };
    }
    let all = inserted.saturating_add(updated).saturating_add(deleted);
    let aborted = all.saturating_sub(committed(previous, next)).max(0);
    let value = inserted.saturating_sub(deleted);
    Ok(Bounds {
        lower: value.saturating_sub(aborted.min(inserted)),
        value,
        upper: value.saturating_add(aborted.min(deleted)),
    })
}

/// At least so many of the changes were committed. ANALYZE sets the number to zero, so what it has now came since; but
/// ANALYZE of some columns only leaves it as it was, which shows in that it did not fall.
fn committed(previous: &Counters, next: &Counters) -> i64 {
    let is_reset = next.analyzes != previous.analyzes && next.modified < previous.modified;
    if is_reset { next.modified } else { next.modified.saturating_sub(previous.modified) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Counters =
        Counters { inserted: 100, updated: 10, deleted: 20, live: 80, modified: 50, vacuums: 3, analyzes: 2 };

    fn sample(counters: Counters, filenode: Option<u32>) -> Sample {
        Sample { counters, filenode }
    }

    fn bounds(lower: i64, value: i64, upper: i64) -> Bounds {
        Bounds { lower, value, upper }
    }

    #[test]
    fn a_new_filenode_or_none_voids() {
        let before = sample(BEFORE, Some(7));
        assert_eq!(void(&before, &sample(BEFORE, Some(7))), None);
        assert_eq!(void(&before, &sample(BEFORE, Some(8))), Some(Void::Filenode));
        assert_eq!(void(&before, &sample(BEFORE, None)), Some(Void::Filenode));
        assert_eq!(void(&sample(BEFORE, None), &sample(BEFORE, None)), Some(Void::Filenode));
    }

    #[test]
    fn a_counter_that_falls_voids() {
        let falls: [fn(&mut Counters); 6] = [
            |c| c.inserted -= 1,
            |c| c.updated -= 1,
            |c| c.deleted -= 1,
            |c| c.vacuums -= 1,
            |c| c.analyzes -= 1,
            |c| c.modified -= 1,
        ];
        for fall in falls {
            let mut after = BEFORE;
            fall(&mut after);
            assert_eq!(void(&sample(BEFORE, Some(7)), &sample(after, Some(7))), Some(Void::Counter), "{after:?}");
        }
    }

    #[test]
    fn neither_analyze_nor_the_live_rows_void_by_themselves() {
        let analyzed = Counters { modified: 0, analyzes: 3, ..BEFORE };
        assert_eq!(void(&sample(BEFORE, Some(7)), &sample(analyzed, Some(7))), None);
        let truncated = Counters { live: 0, ..BEFORE };
        assert_eq!(void(&sample(BEFORE, Some(7)), &sample(truncated, Some(7))), None, "a TRUNCATE may be pending");
    }

    #[test]
    fn untouched_live_rows_leave_aborted_work_out() {
        // 30 inserted of which 10 were aborted, 5 deleted.
        let after = Counters { inserted: 130, deleted: 25, live: 95, modified: 75, ..BEFORE };
        assert_eq!(change(&BEFORE, &after), Ok(Bounds::exactly(15)));
        assert_eq!(change(&BEFORE, &BEFORE), Ok(Bounds::exactly(0)));
    }

    #[test]
    fn live_rows_out_of_range_void() {
        let after = Counters { inserted: 103, deleted: 22, ..BEFORE };
        for (live, want) in [(77, None), (78, Some(-2)), (83, Some(3)), (84, None)] {
            let want = want.map(Bounds::exactly).ok_or(Void::Live);
            assert_eq!(change(&BEFORE, &Counters { live, ..after }), want, "{live}");
        }
    }

    #[test]
    fn live_rows_that_may_have_stopped_at_zero_are_not_used() {
        let few = Counters { live: 4, ..BEFORE };
        let after = Counters { deleted: 25, live: 0, modified: 55, ..few };
        assert_eq!(change(&few, &after), Ok(Bounds::exactly(-5)), "five were deleted, and live could fall by four");
        let enough = Counters { live: 5, ..BEFORE };
        assert_eq!(change(&enough, &Counters { live: 0, ..after }), Ok(Bounds::exactly(-5)));
    }

    #[test]
    fn over_a_vacuum_the_aborted_work_is_what_did_not_count_as_a_change() {
        // VACUUM counts rows of its own; 30 + 2 + 8 done, of which 10 aborted.
        let after =
            Counters { inserted: 130, updated: 12, deleted: 28, live: 999, modified: 80, vacuums: 4, analyzes: 2 };
        assert_eq!(change(&BEFORE, &after), Ok(bounds(12, 22, 30)));
        let nothing_aborted = Counters { modified: 90, ..after };
        assert_eq!(change(&BEFORE, &nothing_aborted), Ok(Bounds::exactly(22)));
    }

    #[test]
    fn over_an_analyze_only_what_changed_since_is_known_to_be_committed() {
        let after = Counters { inserted: 130, live: 999, modified: 12, analyzes: 3, ..BEFORE };
        assert_eq!(change(&BEFORE, &after), Ok(bounds(12, 30, 30)));
        let long_since = Counters { modified: 40, ..after };
        assert_eq!(change(&BEFORE, &long_since), Ok(Bounds::exactly(30)));
    }

    #[test]
    fn an_analyze_of_some_columns_leaves_the_changes_standing() {
        // Ten inserted and aborted: 50 changes from before say nothing about them.
        let after = Counters { inserted: 110, live: 999, analyzes: 3, ..BEFORE };
        assert_eq!(change(&BEFORE, &after), Ok(bounds(0, 10, 10)));
    }
}
