//! The board of a fleet of one, in memory: the same operations with the same outcomes as in Redis, each under one lock.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use tokio::sync::broadcast;
use uuid::Uuid;

use super::{
    Begun, Board, EVENTS_BOUND, Error, Event, Pending, Publication, REQUEST_RETENTION, Resign, State, TriggerRequest,
    Triggered, Written,
};
use crate::{
    claim::Proof,
    collection::{Collection, CollectionId},
    follow,
    memory_store::MemoryStore,
};

/// A board that only this process sees.
pub struct MemoryBoard {
    store: Arc<MemoryStore>,
    /// Never locked across an await. Events are posted under it, so their order is that of the writes.
    inner: Mutex<Inner>,
    /// Bounded by `EVENTS_BOUND`: a receiver that lags behind loads.
    events: broadcast::Sender<Event>,
}

#[derive(Default)]
struct Inner {
    state: State,
    followed: Option<follow::State>,
    requests: HashMap<Uuid, Request>,
    /// The last collection that began, and under which token: a repeated `begin` is answered as the first was.
    begun: Option<(CollectionId, String)>,
}

/// What a request id was used for. At most the calls of the last 10 minutes are remembered.
struct Request {
    call: TriggerRequest,
    collection: CollectionId,
    expire: SystemTime,
}

// === impl MemoryBoard ===

impl MemoryBoard {
    /// An empty board, guarded by this lease store.
    pub fn new(store: Arc<MemoryStore>) -> Arc<Self> {
        Arc::new(Self { store, inner: Mutex::default(), events: broadcast::Sender::new(EVENTS_BOUND) })
    }

    /// Where the lease posts what its replies tell.
    pub fn event_sender(&self) -> broadcast::Sender<Event> {
        self.events.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post(&self, event: Event) {
        // Nobody listens: nobody misses it.
        let _ = self.events.send(event);
    }
}

#[async_trait]
impl Board for MemoryBoard {
    async fn load(&self) -> Result<State, Error> {
        Ok(self.lock().state.clone())
    }

    async fn followed(&self) -> Result<Option<follow::State>, Error> {
        Ok(self.lock().followed.clone())
    }

    async fn publish(&self, proof: &Proof, publication: Publication) -> Result<Written, Error> {
        let mut inner = self.lock();
        if !self.store.is_confirmed_holder(proof) {
            return Ok(Written::NotHolder);
        }
        let Publication { snapshot, followed, collections, forget } = publication;
        if let Some(snapshot) = snapshot {
            debug_assert_eq!(snapshot.epoch, proof.epoch, "a snapshot is published under its own epoch");
            let stored = inner.state.snapshot.as_ref();
            let is_repeated = stored == Some(&snapshot);
            let goes_back = stored.is_some_and(|old| snapshot.epoch < old.epoch || snapshot.revision <= old.revision);
            if goes_back && !is_repeated {
                return Ok(Written::NotHolder);
            }
            inner.state.snapshot = Some(snapshot.clone());
            self.post(Event::Snapshot(Box::new(snapshot)));
        }
        if followed.is_some() {
            inner.followed = followed;
        }
        for collection in collections {
            inner.state.collections.insert(collection.id, collection.clone());
            self.post(Event::Collection(Box::new(collection)));
        }
        if !forget.is_empty() {
            inner.state.collections.retain(|id, _| !forget.contains(id));
            self.post(Event::Forgotten(forget));
        }
        Ok(Written::Accepted)
    }

    async fn trigger(&self, request: TriggerRequest) -> Result<Triggered, Error> {
        let mut inner = self.lock();
        let now = self.store.now();
        inner.requests.retain(|_, known| known.expire >= now);
        if let Some(Request { call, collection, .. }) = inner.requests.get(&request.request_id) {
            let is_same = call.query_names == request.query_names;
            return Ok(if is_same { Triggered::Joined(*collection) } else { Triggered::Reused });
        }
        let triggered = match &mut inner.state.pending {
            Some(pending) => {
                if !request.query_names.is_subset(&pending.query_names) {
                    pending.query_names.extend(request.query_names.iter().cloned());
                    pending.version += 1;
                    self.post(Event::Pending(pending.clone()));
                }
                Triggered::Joined(pending.id)
            }
            none => {
                let query_names = request.query_names.clone();
                let pending = Pending { id: request.new_id, create_time: now, query_names, version: 1 };
                self.post(Event::Pending(pending.clone()));
                *none = Some(pending);
                Triggered::Created(request.new_id)
            }
        };
        if let Triggered::Created(collection) | Triggered::Joined(collection) = triggered {
            let expire = now + REQUEST_RETENTION;
            inner.requests.insert(request.request_id, Request { call: request, collection, expire });
        }
        Ok(triggered)
    }

    async fn begin(&self, proof: &Proof, pending: &Pending, running: Collection) -> Result<Begun, Error> {
        let mut inner = self.lock();
        if !self.store.is_confirmed_holder(proof) {
            return Ok(Begun::NotHolder);
        }
        let place = &mut inner.state.pending;
        if place.as_ref().is_some_and(|found| (found.id, found.version) == (pending.id, pending.version)) {
            *place = None;
            inner.begun = Some((pending.id, proof.token.clone()));
            inner.state.collections.insert(running.id, running.clone());
            self.post(Event::Collection(Box::new(running)));
            return Ok(Begun::Accepted);
        }
        if inner.begun.as_ref().is_some_and(|(id, token)| *id == pending.id && *token == proof.token) {
            return Ok(Begun::Accepted);
        }
        Ok(Begun::Changed(inner.state.pending.clone()))
    }

    async fn resign(&self, epoch: i64, hold_off: Duration) -> Result<(), Error> {
        let resign = Resign { epoch, until: self.store.now() + hold_off };
        let mut inner = self.lock();
        inner.state.resign = Some(resign);
        self.post(Event::Resign(resign));
        Ok(())
    }

    /// The subscription always stands, so every new receiver hears that first; the others hear it again.
    fn events(&self) -> broadcast::Receiver<Event> {
        let receiver = self.events.subscribe();
        self.post(Event::Subscribed);
        receiver
    }
}
