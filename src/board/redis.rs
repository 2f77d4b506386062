//! The board in Redis. Each operation is one script, so it happens as a whole or not at all; the prelude's guard stands
//! before every write of the holder's, and messages go out of the script that wrote what they tell.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use redis::{FromRedisValue, RedisError, Script, from_redis_value};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::{
    Begun, Board, Error, Event, Pending, Publication, REQUEST_RETENTION, State, TriggerRequest, Triggered, Written,
    followed,
    message::{decode_pending, decode_resign},
    record::{decode_collection, decode_snapshot, encode_collection, encode_snapshot, parse},
    subscription::Subscription,
};
use crate::{
    claim::Proof,
    collection::Collection,
    follow,
    query::QueryName,
    redis_link::{self, RedisLink, Route},
};

/// The board of one fleet; its commands and its subscription have a connection each.
pub struct RedisBoard {
    link: RedisLink,
    scripts: Scripts,
    subscription: Subscription,
}

/// The six operations, and the rehearsal of them.
struct Scripts {
    load: Script,
    followed: Script,
    publish: Script,
    trigger: Script,
    begin: Script,
    resign: Script,
    rehearse: Script,
}

// === impl RedisBoard ===

impl RedisBoard {
    /// The board of the fleet whose keys `route` leads to. It connects when it is first used.
    pub fn new(route: &Arc<Route>) -> Arc<Self> {
        Arc::new(Self {
            subscription: Subscription::new(Arc::clone(route)),
            link: RedisLink::new(Arc::clone(route)),
            scripts: Scripts::new(),
        })
    }

    /// Where the lease posts what its replies tell.
    pub fn event_sender(&self) -> broadcast::Sender<Event> {
        self.subscription.event_sender()
    }

    /// Keeps the subscription standing until `stop`; without it no events come.
    pub async fn run_subscription(self: Arc<Self>, stop: CancellationToken) {
        self.subscription.run(stop).await;
    }

    /// Whether this user may do all that the service does on the board, without changing what is on it.
    pub async fn rehearse(&self) -> Result<(), Error> {
        let _: Vec<String> = self.run(&self.scripts.rehearse, &[]).await?;
        Ok(())
    }

    /// Whether the events can be subscribed to.
    pub async fn try_subscription(&self) -> Result<(), Error> {
        self.subscription.try_once().await.map_err(|error| unavailable(&error))
    }

    async fn run<T: FromRedisValue>(&self, script: &Script, args: &[&[u8]]) -> Result<T, Error> {
        let value =
            self.link.run(script, args, self.link.default_timeout()).await.map_err(|error| unavailable(&error))?;
        from_redis_value(value).map_err(|error| Error::Malformed(error.to_string()))
    }
}

#[async_trait]
impl Board for RedisBoard {
    async fn load(&self) -> Result<State, Error> {
        let (snapshot, collections, pending, resign): (Vec<u8>, Vec<Vec<u8>>, String, String) =
            self.run(&self.scripts.load, &[]).await?;
        // Record by record: what a newer instance wrote must not keep this one from reading the rest, nor from taking
        // over.
        let mut unreadable = None;
        Ok(State {
            snapshot: (!snapshot.is_empty())
                .then(|| decode_snapshot(&snapshot))
                .and_then(|one| ok(one, &mut unreadable)),
            collections: collections
                .iter()
                .filter_map(|record| ok(decode_collection(record), &mut unreadable))
                .map(|one| (one.id, one))
                .collect(),
            pending: ok(optional_pending(&pending), &mut unreadable).flatten(),
            resign: (!resign.is_empty()).then(|| decode_resign(&resign)).and_then(|one| ok(one, &mut unreadable)),
            unreadable,
        })
    }

    async fn followed(&self) -> Result<Option<follow::State>, Error> {
        let record: Vec<u8> = self.run(&self.scripts.followed, &[]).await?;
        (!record.is_empty()).then(|| followed::decode(&record)).transpose()
    }

    async fn publish(&self, proof: &Proof, publication: Publication) -> Result<Written, Error> {
        let Publication { snapshot, followed, collections, forget } = publication;
        let mut args = proof_args(proof);
        match &snapshot {
            Some(snapshot) => {
                debug_assert_eq!(snapshot.epoch, proof.epoch, "a snapshot is published under its own epoch");
                args.extend([snapshot.revision.to_string().into_bytes(), encode_snapshot(snapshot)]);
            }
            None => args.extend([Vec::new(), Vec::new()]),
        }
        args.push(followed.as_ref().map(followed::encode).unwrap_or_default());
        args.push(collections.len().to_string().into_bytes());
        for collection in &collections {
            args.extend([collection.id.to_string().into_bytes(), encode_collection(collection)]);
        }
        args.extend(forget.iter().map(|id| id.to_string().into_bytes()));
        let reply: Vec<String> = self.run(&self.scripts.publish, &borrowed(&args)).await?;
        match words(&reply)[..] {
            ["ACCEPTED"] => Ok(Written::Accepted),
            ["NOT_HOLDER"] => Ok(Written::NotHolder),
            _ => Err(not_understood(&reply)),
        }
    }

    async fn trigger(&self, request: TriggerRequest) -> Result<Triggered, Error> {
        let TriggerRequest { request_id, query_names, new_id } = request;
        let queries = query_names.iter().map(QueryName::as_str).collect::<Vec<_>>().join(",");
        let args = [request_id.to_string(), queries, new_id.to_string(), REQUEST_RETENTION.as_micros().to_string()];
        let reply: Vec<String> = self.run(&self.scripts.trigger, &args.each_ref().map(String::as_bytes)).await?;
        match words(&reply)[..] {
            ["CREATED", id] => Ok(Triggered::Created(parse("collection id", id)?)),
            ["JOINED", id] => Ok(Triggered::Joined(parse("collection id", id)?)),
            ["REUSED"] => Ok(Triggered::Reused),
            _ => Err(not_understood(&reply)),
        }
    }

    async fn begin(&self, proof: &Proof, pending: &Pending, running: Collection) -> Result<Begun, Error> {
        let mut args = proof_args(proof);
        args.extend([pending.id.to_string().into_bytes(), pending.version.to_string().into_bytes()]);
        args.push(encode_collection(&running));
        let reply: Vec<String> = self.run(&self.scripts.begin, &borrowed(&args)).await?;
        match words(&reply)[..] {
            ["ACCEPTED"] => Ok(Begun::Accepted),
            ["NOT_HOLDER"] => Ok(Begun::NotHolder),
            ["CHANGED", pending] => Ok(Begun::Changed(optional_pending(pending)?)),
            _ => Err(not_understood(&reply)),
        }
    }

    async fn resign(&self, epoch: i64, hold_off: Duration) -> Result<(), Error> {
        let args = [epoch.to_string(), hold_off.as_micros().to_string()];
        let _: Vec<String> = self.run(&self.scripts.resign, &args.each_ref().map(String::as_bytes)).await?;
        Ok(())
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.subscription.events()
    }
}

// === impl Scripts ===

impl Scripts {
    fn new() -> Self {
        let script = |body: &str| redis_link::script(&[include_str!("pending.lua"), body].concat());
        Self {
            load: script(include_str!("load.lua")),
            followed: script(include_str!("followed.lua")),
            publish: script(include_str!("publish.lua")),
            trigger: script(include_str!("trigger.lua")),
            begin: script(include_str!("begin.lua")),
            resign: script(include_str!("resign.lua")),
            rehearse: script(include_str!("rehearse.lua")),
        }
    }
}

fn proof_args(proof: &Proof) -> Vec<Vec<u8>> {
    let Proof { token, epoch, mark_us } = proof;
    vec![token.clone().into_bytes(), epoch.to_string().into_bytes(), mark_us.to_string().into_bytes()]
}

fn borrowed(args: &[Vec<u8>]) -> Vec<&[u8]> {
    args.iter().map(Vec::as_slice).collect()
}

fn words(reply: &[String]) -> Vec<&str> {
    reply.iter().map(String::as_str).collect()
}

fn optional_pending(text: &str) -> Result<Option<Pending>, Error> {
    if text.is_empty() { Ok(None) } else { decode_pending(text).map(Some) }
}

/// What was read; notes why it was not, the first time.
fn ok<T>(read: Result<T, Error>, unreadable: &mut Option<String>) -> Option<T> {
    read.map_err(|error| _ = unreadable.get_or_insert_with(|| error.to_string())).ok()
}

fn not_understood(reply: &[String]) -> Error {
    Error::Malformed(format!("reply {reply:?}"))
}

fn unavailable(error: &RedisError) -> Error {
    Error::Unavailable(redis_link::explained(error))
}
