//! This instance's copy of the board, which readers use without waiting. What is shown never goes back: no snapshot of a
//! lower epoch or revision, or of the same epoch under another token, and none of an epoch after which a later one was
//! granted; no ended collection that runs again.

use std::{
    cmp::Reverse,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::SystemTime,
};

use tokio::sync::watch;

use super::{
    Error, Pending, Resign, State,
    record::{from_us, to_us},
};
use crate::{
    collection::{Collection, CollectionId, CollectionState, Trigger},
    snapshot::Snapshot,
};

/// What this instance knows of the board at one moment.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The copy.
    pub state: State,
    /// Complete loads so far; zero: nothing was ever read from the board.
    pub load_count: u64,
    /// Whether the board answered the last load, understood or not.
    pub connected: bool,
    /// Why the copy may be old or incomplete; `None` when it is current as far as is known.
    pub last_error: Option<String>,
}

/// The copy, for any number of readers.
pub struct View {
    seen: watch::Sender<Arc<Seen>>,
    /// When the board was last heard, in microseconds; zero: never. Apart from `seen`, so that a PING wakes no reader.
    heard_us: AtomicI64,
    /// The largest epoch known to be granted: what was written under an earlier one is old, whatever its revision.
    floor: AtomicI64,
}

// === impl Seen ===

impl Seen {
    /// The collection of this id, be it pending or begun.
    pub fn collection(&self, id: CollectionId) -> Option<Collection> {
        let pending = self.state.pending.as_ref().filter(|pending| pending.id == id);
        self.state.collections.get(&id).cloned().or_else(|| pending.map(not_begun))
    }

    /// Every collection, the pending one with them.
    pub fn collections_newest_first(&self) -> Vec<Collection> {
        let pending = self.state.pending.as_ref().map(not_begun);
        let mut all: Vec<_> = self.state.collections.values().cloned().chain(pending).collect();
        all.sort_by_key(|one| Reverse(one.id));
        all
    }

    /// Revision of the snapshot that is shown; zero without one.
    pub fn revision(&self) -> i64 {
        self.state.snapshot.as_ref().map_or(0, |snapshot| snapshot.revision)
    }
}

// === impl View ===

impl View {
    /// A view that has seen nothing.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { seen: watch::Sender::default(), heard_us: AtomicI64::default(), floor: AtomicI64::default() })
    }

    /// What is known now.
    pub fn now(&self) -> Arc<Seen> {
        self.seen.borrow().clone()
    }

    /// Tells of every change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Seen>> {
        self.seen.subscribe()
    }

    /// When this instance last heard from the board; `None` before the first time.
    pub fn read_time(&self) -> Option<SystemTime> {
        let us = self.heard_us.load(Ordering::Relaxed);
        (us > 0).then(|| from_us(us))
    }

    /// Shows a snapshot when it is newer than the shown one: the board's, or the holder's own before the board has it.
    pub fn offer(&self, snapshot: Snapshot) {
        self.change(|state| {
            let is_newer = state.snapshot.as_ref().is_none_or(|shown| self.follows(&snapshot, shown));
            if is_newer {
                state.snapshot = Some(snapshot);
            }
            is_newer
        });
    }

    /// Notes that this epoch was granted: nothing of an earlier one is shown any more.
    pub fn granted(&self, epoch: i64) {
        self.floor.fetch_max(epoch, Ordering::Relaxed);
    }

    /// Notes that the board was heard.
    pub(super) fn heard(&self) {
        self.heard_us.store(to_us(SystemTime::now()), Ordering::Relaxed);
    }

    /// Takes a complete load in place of the copy, but for a snapshot that would go back. Returns whether the copy
    /// was old or incomplete before.
    pub(super) fn replace(&self, loaded: State) -> bool {
        self.heard();
        let mut was_failing = false;
        self.seen.send_modify(|seen| {
            let seen = Arc::make_mut(seen);
            let shown = seen.state.snapshot.take();
            seen.state = loaded;
            // After a loss of data the board has an older one or none: the copy goes on answering, with its ages.
            if let Some(shown) = shown
                && seen.state.snapshot.as_ref().is_none_or(|read| !self.follows(read, &shown))
            {
                seen.state.snapshot = Some(shown);
            }
            seen.load_count += 1;
            seen.connected = true;
            let unreadable = seen.state.unreadable.clone();
            was_failing = std::mem::replace(&mut seen.last_error, unreadable).is_some();
        });
        was_failing
    }

    /// Keeps the copy and notes why a load failed. Returns whether that is news.
    pub(super) fn fail(&self, error: &Error) -> bool {
        self.doubt(error.to_string(), matches!(error, Error::Malformed(_)))
    }

    /// Keeps the copy and notes what made it incomplete.
    pub(super) fn miss(&self, message: String) {
        self.doubt(message, self.now().connected);
    }

    /// Takes in a collection that began or ended.
    pub(super) fn collection(&self, collection: Collection) {
        self.change(|state| {
            let known = state.collections.get(&collection.id);
            if known.is_some_and(|known| *known == collection || (known.state.is_done() && !collection.state.is_done()))
            {
                return false;
            }
            state.pending.take_if(|pending| pending.id == collection.id);
            state.collections.insert(collection.id, collection);
            true
        });
    }

    /// Takes collections out.
    pub(super) fn forget(&self, forgotten: &[CollectionId]) {
        self.change(|state| {
            let before = state.collections.len();
            state.collections.retain(|id, _| !forgotten.contains(id));
            state.collections.len() < before
        });
    }

    /// Takes in the pending collection, unless what is known is newer: the event may have waited behind a load.
    pub(super) fn pending(&self, pending: Pending) {
        self.change(|state| {
            let age = |pending: &Pending| (pending.create_time, pending.version);
            let is_old = state.collections.contains_key(&pending.id)
                || state.pending.as_ref().is_some_and(|known| age(known) >= age(&pending));
            if !is_old {
                state.pending = Some(pending);
            }
            !is_old
        });
    }

    /// Takes in a wish to resign.
    pub(super) fn resign(&self, resign: Resign) {
        self.change(|state| state.resign.replace(resign) != Some(resign));
    }

    /// Whether `next` may be shown after `shown`.
    fn follows(&self, next: &Snapshot, shown: &Snapshot) -> bool {
        let is_same_claim = next.epoch == shown.epoch && next.token == shown.token;
        let is_current = next.epoch >= self.floor.load(Ordering::Relaxed);
        is_current && (next.epoch > shown.epoch || is_same_claim) && next.revision > shown.revision
    }

    fn doubt(&self, error: String, connected: bool) -> bool {
        self.seen.send_if_modified(|seen| {
            if seen.last_error.as_ref() == Some(&error) && seen.connected == connected {
                return false;
            }
            let seen = Arc::make_mut(seen);
            seen.last_error = Some(error);
            seen.connected = connected;
            true
        })
    }

    /// Wakes the readers when `change` says that there was one.
    fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        self.seen.send_if_modified(|seen| change(&mut Arc::make_mut(seen).state));
    }
}

fn not_begun(pending: &Pending) -> Collection {
    let Pending { id, create_time, query_names, version: _ } = pending;
    Collection {
        id: *id,
        state: CollectionState::Pending,
        trigger: Trigger::Request,
        create_time: *create_time,
        start_time: None,
        end_time: None,
        query_names: query_names.clone(),
        failed_query_names: [].into(),
        instance_id: String::new(),
        epoch: 0,
        failure: None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn snapshot(epoch: i64, token: &str, revision: i64) -> Snapshot {
        let publish_time = from_us(revision);
        Snapshot { epoch, token: token.to_owned(), revision, publish_time, last_collection: None, counts: [].into() }
    }

    fn pending(version: i64) -> Pending {
        let query_names = ["tags".parse().unwrap()].into();
        Pending { id: CollectionId::generate(), create_time: from_us(1_000_000), query_names, version }
    }

    #[test]
    fn neither_epoch_nor_revision_nor_token_goes_back() {
        let view = View::new();
        let shown = snapshot(10, "alice", 12);
        view.offer(shown.clone());
        let older =
            [snapshot(9, "zoe", 13), snapshot(10, "bob", 13), snapshot(10, "alice", 11), snapshot(11, "bob", 12)];
        for older in older {
            view.offer(older.clone());
            assert_eq!(view.now().state.snapshot.as_ref(), Some(&shown), "offered {older:?}");
            view.replace(State { snapshot: Some(older.clone()), ..State::default() });
            assert_eq!(view.now().state.snapshot.as_ref(), Some(&shown), "loaded {older:?}");
        }
        view.replace(State::default());
        assert_eq!(view.now().revision(), 12, "the copy outlives the board's data");
        view.offer(snapshot(11, "bob", 13));
        assert_eq!(view.now().revision(), 13);
        view.granted(12);
        view.offer(snapshot(11, "bob", 14));
        assert_eq!(view.now().revision(), 13, "a later holder is known");
        view.offer(snapshot(12, "carol", 15));
        assert_eq!(view.now().revision(), 15);
    }

    #[test]
    fn an_old_event_does_not_undo_what_a_load_told() {
        let view = View::new();
        let asked = pending(2);
        let running = Collection { state: CollectionState::Running, ..not_begun(&asked) };
        let done =
            Collection { state: CollectionState::Succeeded, end_time: Some(SystemTime::now()), ..running.clone() };
        view.replace(State { collections: [(done.id, done.clone())].into(), ..State::default() });
        view.pending(asked.clone());
        view.collection(running);
        assert_eq!(view.now().collection(asked.id), Some(done));
        assert_eq!(view.now().collections_newest_first().len(), 1);

        let next = pending(2);
        view.pending(next.clone());
        view.pending(Pending { version: 1, ..next.clone() });
        assert_eq!(view.now().state.pending, Some(next.clone()));
        let newest: Vec<_> = view.now().collections_newest_first().iter().map(|one| one.id).collect();
        assert_eq!(newest, [next.id, asked.id]);
    }

    #[tokio::test]
    async fn only_a_change_wakes_the_readers() {
        let view = View::new();
        view.offer(snapshot(10, "alice", 12));
        let mut changes = view.subscribe();
        changes.mark_unchanged();
        assert_eq!(view.read_time(), None);
        view.heard();
        view.offer(snapshot(10, "alice", 12));
        assert!(!changes.has_changed().unwrap());
        assert!(view.read_time().unwrap().elapsed().unwrap() < Duration::from_secs(5));
        let error = Error::Unavailable("down".to_owned());
        assert!(view.fail(&error) && changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert!(!view.fail(&error) && !changes.has_changed().unwrap());
        let seen = view.now();
        assert_eq!((seen.connected, seen.last_error.as_deref()), (false, Some(error.to_string().as_str())));
        assert!(view.replace(State::default()));
        assert_eq!((view.now().connected, view.now().last_error.as_deref()), (true, None));
    }
}
