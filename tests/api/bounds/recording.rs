//! What the follower was given, in order, so that it can be given the same again with a rule broken.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use rowcount::{
    config::{DatabaseConfig, DatabaseTarget, Secret},
    counting::Counting,
    follow::{Bounds, Counted, Follower, Oid, Reading, ServerTime, Ticket},
};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{mutant::Mutant, schema::TABLES};

/// Between two readings.
const PAUSE: Duration = Duration::from_millis(450);

/// For whatever the follower asks for.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub enum Event {
    Read(Box<Reading>),
    /// An exact count of a leaf began, after the reading before.
    Begin(Oid),
    /// It ended; `None`: it failed.
    Ended(Oid, Option<Counted>),
}

/// What the follower tells of a leaf by a reading.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub oid: Oid,
    pub bounds: Bounds,
    pub complete_until: Option<ServerTime>,
    pub end: ServerTime,
}

/// The real reader and the real follower on a database, at work until it is stopped.
pub struct Recorder {
    task: JoinHandle<Vec<Event>>,
    stop: CancellationToken,
    /// What is followed as of the last reading.
    now: Arc<std::sync::Mutex<BTreeMap<Oid, Bounds>>>,
}

// === impl Recorder ===

impl Recorder {
    pub fn start(url: &str) -> Self {
        let target = DatabaseTarget::Url(Secret::Inline(url.to_owned()));
        let config = DatabaseConfig { target, connect_timeout: LIMIT, connections: 2 };
        let counting = Arc::new(Counting::new(config, "bounds"));
        let (stop, now) = (CancellationToken::new(), Arc::<std::sync::Mutex<_>>::default());
        let task = tokio::spawn(record(counting, stop.clone(), now.clone()));
        Self { task, stop, now }
    }

    /// The leaves that are followed, as of the last reading.
    pub fn now(&self) -> BTreeMap<Oid, Bounds> {
        self.now.lock().unwrap().clone()
    }

    pub async fn end(self) -> Vec<Event> {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

async fn record(
    counting: Arc<Counting>,
    stop: CancellationToken,
    now: Arc<std::sync::Mutex<BTreeMap<Oid, Bounds>>>,
) -> Vec<Event> {
    let tables: BTreeSet<String> = TABLES.map(str::to_owned).into();
    let never = CancellationToken::new();
    let mut follower = Follower::default();
    let mut events = Vec::new();
    let mut count: Option<(Oid, Ticket, JoinHandle<Option<Counted>>)> = None;
    while !stop.is_cancelled() {
        if let Some((oid, ticket, task)) = count.take_if(|(_, _, task)| task.is_finished()) {
            let counted = task.await.unwrap();
            end(&mut follower, oid, ticket, counted);
            events.push(Event::Ended(oid, counted));
        }
        // A reading that fails, or that leaves came or went under, is as though there had been none.
        if let Ok(Some(reading)) = counting.read_statistics(&tables, &follower.resting(), LIMIT, &never).await {
            follower.take(&reading);
            events.push(Event::Read(Box::new(reading)));
            *now.lock().unwrap() = followed(&follower).collect();
        }
        if count.is_none()
            && let Some(oid) = follower.wanted_anchor()
            && let Some((ticket, leaf)) = follower.begin_anchor(oid)
        {
            events.push(Event::Begin(oid));
            let (counting, never) = (counting.clone(), never.clone());
            let task = async move { counting.count_leaf(oid, &leaf.name, LIMIT, LIMIT, &never).await.ok() };
            count = Some((oid, ticket, tokio::spawn(task)));
        }
        sleep(PAUSE).await;
    }
    events
}

/// Gives a follower all of it again, and hears what it tells; `mutant` breaks a rule on the way.
pub fn replay(events: &[Event], mutant: Option<Mutant>) -> Vec<Told> {
    let mut follower = Follower::default();
    let mut tickets = BTreeMap::new();
    let mut previous: Option<&Reading> = None;
    let mut told = Vec::new();
    for event in events {
        match event {
            Event::Read(reading) => {
                let broken = mutant.map(|mutant| mutant.reading(reading, previous));
                let taken = broken.as_ref().unwrap_or(reading);
                previous = Some(reading);
                follower.take(taken);
                let (complete_until, end) = (taken.activity.complete_until(), reading.end);
                for (oid, bounds) in followed(&follower) {
                    // Of a leaf that rests nothing is told by this reading.
                    let Some(counters) = taken.counters.get(&oid) else { continue };
                    let bounds = mutant.map_or(bounds, |mutant| mutant.bounds(bounds, counters));
                    told.push(Told { oid, bounds, complete_until, end });
                }
            }
            Event::Begin(oid) => {
                if let Some((ticket, _)) = follower.begin_anchor(*oid) {
                    tickets.insert(*oid, ticket);
                }
            }
            Event::Ended(oid, counted) => {
                if let Some(ticket) = tickets.remove(oid) {
                    end(&mut follower, *oid, ticket, *counted);
                }
            }
        }
    }
    told
}

fn end(follower: &mut Follower, oid: Oid, ticket: Ticket, counted: Option<Counted>) {
    match counted {
        Some(counted) => follower.counted(oid, ticket, counted),
        None => follower.abandon_anchor(oid, ticket),
    }
}

fn followed(follower: &Follower) -> impl Iterator<Item = (Oid, Bounds)> {
    let leaves = follower.state().map(|state| state.leaves).unwrap_or_default();
    leaves.into_iter().map(|(oid, leaf)| (oid, leaf.bounds))
}
