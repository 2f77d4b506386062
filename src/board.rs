//! The board: what the instances of a fleet share. The holder writes, guarded by its proof; every instance reads its
//! own copy (`view::View`), which events keep current, so no reader ever waits for the store.
//!
//! What must stay true: a write is accepted only from the confirmed holder and only with a greater (epoch, revision);
//! a reader never shows a snapshot of a lower epoch or revision than it has shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::{
    claim::Proof,
    collection::{Collection, CollectionId},
    follow,
    query::QueryName,
    snapshot::Snapshot,
};

mod followed;
mod message;
mod record;
mod retention;
mod subscription;
mod wait;

pub mod memory;
pub mod mirror;
pub mod redis;
pub mod view;

pub use retention::to_forget;
pub use wait::{WaitOutcome, wait_for_end};

/// Events that a receiver may lag behind until it has to load instead: a holder's publication is two of them, so even a
/// burst of a hundred is taken; at some 10 kB a snapshot this is 2.5 MB at worst.
const EVENTS_BOUND: usize = 256;

/// How long a request id is remembered at least, and a requested collection after its end.
const REQUEST_RETENTION: Duration = Duration::from_secs(600);

/// Why the board did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Out of reach, or not able to answer now; a retry may help.
    #[error("the board is out of reach: {0}")]
    Unavailable(String),
    /// An answer that this version does not understand.
    #[error("the board gave an answer that is not understood: {0}")]
    Malformed(String),
}

/// Everything on the board.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The newest snapshot.
    pub snapshot: Option<Snapshot>,
    /// Collections that have begun, by id: the last 100, and every requested one until 10 minutes after its end.
    pub collections: BTreeMap<CollectionId, Collection>,
    /// The one collection that is accepted and has not begun.
    pub pending: Option<Pending>,
    /// The last wish that a holder resign.
    pub resign: Option<Resign>,
    /// Why something on the board is missing here: this version does not understand it. The rest is as good as ever.
    pub unreadable: Option<String>,
}

/// The collection that calls have asked for and that has not begun.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// Its id, also when it runs.
    pub id: CollectionId,
    /// When the first call was accepted, by the store's clock.
    pub create_time: SystemTime,
    /// The union of what the calls asked for.
    pub query_names: BTreeSet<QueryName>,
    /// Grows with each call that adds a query: `begin` takes it off only as it was seen. A call that adds none leaves it
    /// alone, so a storm of equal calls cannot keep the holder from beginning.
    pub version: i64,
}

/// A wish that the holder of an epoch give the lease up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resign {
    /// Whom it is for; the holder of any other epoch does not obey.
    pub epoch: i64,
    /// Until when, by the store's clock, the one who resigns does not compete.
    pub until: SystemTime,
}

/// A call of TriggerCollection.
#[derive(Clone, Debug)]
pub struct TriggerRequest {
    /// The caller's, or a random one.
    pub request_id: Uuid,
    /// Not empty.
    pub query_names: BTreeSet<QueryName>,
    /// Id of the collection, should one be made.
    pub new_id: CollectionId,
}

/// What became of a call of TriggerCollection.
#[derive(Clone, Debug, PartialEq)]
pub enum Triggered {
    /// A new pending collection was made.
    Created(CollectionId),
    /// The call joined the pending collection, or repeated a request id.
    Joined(CollectionId),
    /// The request id is known with other queries.
    Reused,
}

/// What became of a guarded write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is on the board.
    Accepted,
    /// The store does not show the writer as the confirmed holder, or holds something newer. The holder renews at
    /// once and writes again.
    NotHolder,
}

/// What became of the wish to begin the pending collection.
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    /// It is off the pending place and RUNNING on the board.
    Accepted,
    /// It has changed or gone meanwhile; this is what is pending now.
    Changed(Option<Pending>),
    /// As `Written::NotHolder`.
    NotHolder,
}

/// A guarded write.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// New counts.
    pub snapshot: Option<Snapshot>,
    /// What the next holder needs to go on following; `None`: as it was.
    pub followed: Option<follow::State>,
    /// Collections that began or ended. Readers hear of them after the snapshot, so whoever waits for the end of a
    /// collection finds its counts.
    pub collections: Vec<Collection>,
    /// Collections to remove.
    pub forget: Vec<CollectionId>,
}

/// What instances hear without asking.
#[derive(Clone, Debug)]
pub enum Event {
    /// The subscription stands (anew): what happened before may have been missed.
    Subscribed,
    /// The subscription broke.
    Unsubscribed,
    /// The subscription was proven alive.
    Alive,
    /// Somebody was granted this epoch.
    Granted(i64),
    /// The holder of this epoch released it.
    Released(i64),
    /// New counts.
    Snapshot(Box<Snapshot>),
    /// A collection began or ended.
    Collection(Box<Collection>),
    /// Collections that are no longer kept.
    Forgotten(Vec<CollectionId>),
    /// The pending collection was made or joined.
    Pending(Pending),
    /// A wish to resign.
    Resign(Resign),
    /// The revision of the snapshot on the board, seen in a reply of the lease: whoever has an older one loads.
    Revision(i64),
    /// A message that this version does not understand, and why: what it told is missing from the copy.
    Unreadable(String),
}

/// The shared state, in memory or in Redis.
#[async_trait]
pub trait Board: Send + Sync {
    /// Everything that is on it.
    async fn load(&self) -> Result<State, Error>;

    /// What the last holder followed; `load` is without it, since only the next holder needs it.
    async fn followed(&self) -> Result<Option<follow::State>, Error>;

    /// Writes, when `proof` is that of the confirmed holder.
    async fn publish(&self, proof: &Proof, publication: Publication) -> Result<Written, Error>;

    /// Asks for a collection. Idempotent by `request_id` for at least 10 minutes.
    async fn trigger(&self, request: TriggerRequest) -> Result<Triggered, Error>;

    /// Takes the pending collection off and writes `running`, which has its id, in one step: whoever triggered before
    /// gets counts read after the call, whoever comes later makes the next one.
    async fn begin(&self, proof: &Proof, pending: &Pending, running: Collection) -> Result<Begun, Error>;

    /// Asks the holder of `epoch` to give the lease up and not to compete for `hold_off`.
    async fn resign(&self, epoch: i64, hold_off: Duration) -> Result<(), Error>;

    /// Events from now on.
    fn events(&self) -> broadcast::Receiver<Event>;
}
