//! Waiting for the end of a collection, on any instance's view.

use tokio::time::{Instant, timeout_at};

use super::view::View;
use crate::collection::{Collection, CollectionId};

/// How a wait ended.
#[derive(Clone, Debug, PartialEq)]
pub enum WaitOutcome {
    /// The collection has ended.
    Done(Collection),
    /// The time is up; the collection as it is, if it is known here yet.
    NotYet(Option<Collection>),
    /// The board has lost it: nobody will ever end it.
    Vanished,
}

/// Waits until the collection has ended, at most until `deadline`. It may be so new that this instance has not heard of
/// it yet.
pub async fn wait_for_end(view: &View, id: CollectionId, deadline: Instant) -> WaitOutcome {
    let mut changes = view.subscribe();
    let load_count = view.now().load_count;
    let mut was_known = false;
    loop {
        let seen = changes.borrow_and_update().clone();
        let found = seen.collection(id);
        match found {
            Some(collection) if collection.state.is_done() => return WaitOutcome::Done(collection),
            Some(_) => was_known = true,
            // A load that ended first since then may have begun before the collection was made; the second did not.
            None if was_known || seen.load_count >= load_count + 2 => return WaitOutcome::Vanished,
            None => {}
        }
        match timeout_at(deadline, changes.changed()).await {
            Ok(Ok(())) => {}
            // The view outlives the wait, so the only other end is that of the time.
            Ok(Err(_)) | Err(_) => return WaitOutcome::NotYet(view.now().collection(id)),
        }
    }
}
