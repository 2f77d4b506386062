//! The last values of each count, for the lines that the status page draws: from the copy of the board, so that every
//! instance has them, in this process's memory, and bounded.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    board::view::{Seen, View},
    query::QueryName,
};

/// Values of each query that are kept: 20 minutes of an interval of 10 s. At most 3 kB a query.
pub const SIZE: usize = 120;

/// What a count was, over a while.
#[derive(Default)]
pub struct History(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    /// Of the newest snapshot that was noted.
    revision: i64,
    /// In the order of their times, for every query of that snapshot.
    points: BTreeMap<QueryName, VecDeque<Point>>,
}

struct Point {
    /// Of the first snapshot that had it.
    revision: i64,
    at: SystemTime,
    value: i64,
}

// === impl History ===

impl History {
    /// Notes what the view shows until `stop`.
    pub async fn keep(self: Arc<Self>, view: Arc<View>, stop: CancellationToken) {
        let mut changes = view.subscribe();
        loop {
            let seen = changes.borrow_and_update().clone();
            self.note(&seen);
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// What was noted after the snapshot of this revision, which is what somebody has already: `[ms, rows]` a query,
    /// and the revision up to which it reaches.
    pub fn after(&self, revision: i64) -> Value {
        let lines = self.lines();
        let newer = |points: &VecDeque<Point>| {
            let newer = points.iter().filter(|point| point.revision > revision);
            newer.map(|point| json!([unix_ms(point.at), point.value])).collect::<Vec<_>>()
        };
        let points = lines.points.iter().map(|(name, points)| (name.to_string(), newer(points)));
        let points: BTreeMap<_, _> = points.filter(|(_, points)| !points.is_empty()).collect();
        json!({ "size": SIZE, "revision": lines.revision.to_string(), "points": points })
    }

    fn note(&self, seen: &Seen) {
        let Some(snapshot) = &seen.state.snapshot else { return };
        let mut lines = self.lines();
        if snapshot.revision <= lines.revision {
            return;
        }
        lines.revision = snapshot.revision;
        lines.points.retain(|name, _| snapshot.counts.contains_key(name));
        for (name, count) in &snapshot.counts {
            let (Some(value), Some(at)) = (count.value, count.observe_time) else { continue };
            let points = lines.points.entry(name.clone()).or_default();
            if points.back().is_some_and(|last| last.at == at) {
                continue;
            }
            // Of a clock that has been set back since, or of another holder's.
            while points.pop_back_if(|last| last.at > at).is_some() {}
            if points.len() == SIZE {
                points.pop_front();
            }
            points.push_back(Point { revision: snapshot.revision, at, value });
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        board::State,
        query::Method,
        snapshot::{Count, Snapshot},
    };

    const EVERY: Duration = Duration::from_secs(10);

    /// A snapshot of this revision, with the value and the second of each query's count.
    fn seen(revision: i64, counts: &[(&str, i64, u64)]) -> Seen {
        let count = |(name, value, second): &(&str, i64, u64)| {
            let never = Count::never_run(Method::Exact, EVERY, 3 * EVERY);
            let observe_time = Some(UNIX_EPOCH + Duration::from_secs(*second));
            (name.parse().unwrap(), Count { value: Some(*value), observe_time, ..never })
        };
        let (token, publish_time) = ("token".to_owned(), UNIX_EPOCH);
        let counts = counts.iter().map(count).collect();
        let snapshot = Snapshot { epoch: 1, token, revision, publish_time, last_collection: None, counts };
        Seen { state: State { snapshot: Some(snapshot), ..State::default() }, ..Seen::default() }
    }

    #[test]
    fn a_value_is_kept_once_and_told_once_to_whoever_remembers_it() {
        let history = History::default();
        assert_eq!(history.after(0), json!({"size": 120, "revision": "0", "points": {}}));
        history.note(&seen(7, &[("blobs", 5, 1), ("tags", 3, 1)]));
        history.note(&seen(8, &[("blobs", 5, 2), ("tags", 3, 1)]));
        let all = json!({"blobs": [[1000, 5], [2000, 5]], "tags": [[1000, 3]]});
        assert_eq!(history.after(0), json!({"size": 120, "revision": "8", "points": all}));
        assert_eq!(history.after(7)["points"], json!({"blobs": [[2000, 5]]}));
        assert_eq!(history.after(8)["points"], json!({}));
        history.note(&seen(7, &[("blobs", 9, 9)]));
        assert_eq!(history.after(0)["points"], all, "an older snapshot is no news");
    }

    #[test]
    fn it_keeps_the_newest_of_the_queries_that_there_are() {
        let history = History::default();
        history.note(&seen(1, &[("blobs", 1, 1), ("tags", 1, 1)]));
        let points = |history: &History| history.after(0)["points"].clone();
        for second in 2..=SIZE as u64 + 1 {
            history.note(&seen(second as i64, &[("blobs", second as i64, second)]));
        }
        assert_eq!(points(&history)["tags"], Value::Null);
        let kept = points(&history)["blobs"].as_array().unwrap().clone();
        assert_eq!((kept.len(), &kept[0], &kept[SIZE - 1]), (SIZE, &json!([2000, 2]), &json!([121_000, 121])));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_it() {
        let history = History::default();
        for (revision, second) in [(1, 10), (2, 4000), (3, 20)] {
            history.note(&seen(revision, &[("blobs", revision, second)]));
        }
        assert_eq!(history.after(0)["points"]["blobs"], json!([[10_000, 1], [20_000, 3]]));
    }
}
