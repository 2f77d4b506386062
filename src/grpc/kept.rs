//! The answer of everything, which is what most callers of GetRowCounts ask for: made once a change of the board, not
//! once a call. Whatever is in it must be of the board or of the time, and only of these.

use std::{
    ops::RangeInclusive,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use crate::{board::view::Seen, proto::v1, snapshot::Count};

/// Longer than any board stays the same; only to have an end.
const FOREVER: Duration = Duration::from_secs(3600);

/// The last answer that was made.
#[derive(Default)]
pub struct Kept(RwLock<Option<Arc<Answer>>>);

struct Answer {
    /// What it was made of. Held, so that nothing newer can get this one's address.
    seen: Arc<Seen>,
    /// While no value of it turns stale.
    times: RangeInclusive<SystemTime>,
    response: v1::GetRowCountsResponse,
}

// === impl Kept ===

impl Kept {
    /// The answer of `seen` as of `now`, made by `make` unless it is the kept one.
    pub fn response(
        &self,
        seen: &Arc<Seen>,
        now: SystemTime,
        make: impl FnOnce() -> v1::GetRowCountsResponse,
    ) -> v1::GetRowCountsResponse {
        // The lock is held for a pointer's sake only.
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(kept) = kept.filter(|kept| Arc::ptr_eq(&kept.seen, seen) && kept.times.contains(&now)) {
            return kept.response.clone();
        }
        let response = make();
        let answer = Answer { seen: seen.clone(), times: now..=fresh_until(seen, now), response: response.clone() };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(answer));
        response
    }
}

/// The time after which the first of the values that are fresh `now` is stale; `now` when it cannot be told.
fn fresh_until(seen: &Seen, now: SystemTime) -> SystemTime {
    let counts = seen.state.snapshot.iter().flat_map(|snapshot| snapshot.counts.values());
    let end = |count: &Count| count.observe_time.map(|at| at.checked_add(count.stale_after).unwrap_or(now));
    let ends = counts.filter(|count| !count.is_stale(now)).filter_map(end);
    ends.min().unwrap_or(now + FOREVER)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{board::State, query::Method, snapshot::Snapshot};

    fn seen(ages: &[u64], now: SystemTime) -> Arc<Seen> {
        let count = |age: &u64| Count {
            value: Some(1),
            observe_time: Some(now - Duration::from_secs(*age)),
            ..Count::never_run(Method::Exact, Duration::from_secs(10), Duration::from_secs(30))
        };
        let counts = ages.iter().map(|age| (format!("aged_{age}").parse().unwrap(), count(age))).collect();
        let (epoch, revision, token) = (1, 1, "token".to_owned());
        let snapshot = Snapshot { epoch, token, revision, publish_time: now, last_collection: None, counts };
        Arc::new(Seen { state: State { snapshot: Some(snapshot), ..State::default() }, ..Seen::default() })
    }

    #[test]
    fn an_answer_is_kept_until_the_board_changes_or_a_value_turns_stale() {
        let now = SystemTime::now();
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        let kept = Kept::default();
        let made = Cell::new(0);
        let ask = |seen: &Arc<Seen>, now: SystemTime| {
            let revision = made.get() + 1;
            let response = kept.response(seen, now, || {
                made.set(revision);
                v1::GetRowCountsResponse { revision, ..Default::default() }
            });
            response.revision
        };

        let first = seen(&[5, 20, 100], now);
        assert_eq!([ask(&first, now), ask(&first, at(1)), ask(&first, at(10))], [1, 1, 1]);
        assert_eq!(ask(&first, at(11)), 2, "the second value has turned stale");
        assert_eq!([ask(&first, at(25)), ask(&first, at(26)), ask(&first, at(1000))], [2, 3, 3]);
        assert_eq!(ask(&first, now), 4, "the clock went back");

        let second = seen(&[5, 20, 100], now);
        assert_eq!([ask(&second, now), ask(&first, now)], [5, 6]);
    }
}
