//! Which collections the board keeps: the last 100, and every requested one until 10 minutes after its end, so that who
//! asked for it can still hear how it ended. One that has not ended is never forgotten.

use std::time::SystemTime;

use super::{REQUEST_RETENTION, State};
use crate::collection::{Collection, CollectionId, Trigger};

/// Newest collections that are kept whatever started them.
const KEPT: usize = 100;

/// The collections that the board need not keep any longer.
pub fn to_forget(state: &State, now: SystemTime) -> Vec<CollectionId> {
    let older = state.collections.values().rev().skip(KEPT);
    older.filter(|collection| is_forgettable(collection, now)).map(|collection| collection.id).collect()
}

fn is_forgettable(collection: &Collection, now: SystemTime) -> bool {
    let just_ended = || {
        let end = collection.end_time.unwrap_or(collection.create_time);
        now.duration_since(end).unwrap_or_default() < REQUEST_RETENTION
    };
    collection.state.is_done() && !(collection.trigger == Trigger::Request && just_ended())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::collection::CollectionState;

    fn collection(state: CollectionState, trigger: Trigger, end: SystemTime) -> Collection {
        Collection {
            id: CollectionId::generate(),
            state,
            trigger,
            create_time: end,
            start_time: Some(end),
            end_time: state.is_done().then_some(end),
            query_names: [].into(),
            failed_query_names: [].into(),
            instance_id: "one".to_owned(),
            epoch: 1,
            failure: None,
        }
    }

    #[test]
    fn beyond_the_last_hundred_only_what_somebody_may_wait_for_is_kept() {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        let scheduled = collection(CollectionState::Succeeded, Trigger::Schedule, end);
        let requested = collection(CollectionState::Failed, Trigger::Request, end);
        let running = collection(CollectionState::Running, Trigger::Schedule, end);
        let old = [scheduled.clone(), requested.clone(), running];
        let mut state = State::default();
        state.collections.extend(old.map(|collection| (collection.id, collection)));
        assert!(to_forget(&state, end + Duration::from_secs(601)).is_empty(), "three are few");

        for _ in 0..KEPT {
            let newer = collection(CollectionState::Succeeded, Trigger::Schedule, end);
            state.collections.insert(newer.id, newer);
        }
        assert_eq!(to_forget(&state, end + Duration::from_secs(599)), [scheduled.id]);
        assert_eq!(to_forget(&state, end + Duration::from_secs(600)), [requested.id, scheduled.id]);
    }
}
