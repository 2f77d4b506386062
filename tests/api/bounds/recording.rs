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

/// Between two hand-overs, in readings.
const TERM: usize = 40;

/// For whatever the follower asks for.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub enum Event {
    Read(Box<Reading>),
    /// An exact count of a leaf began, after the reading before.
    Begin(Oid),
    /// It ended; `None`: it failed.
    Ended(Oid, Option<Counted>),
    /// Another one goes on from what this one hands on; the count under way is lost.
    HandOver,
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
        let counting = counting(url);
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
    counting: Counting,
    stop: CancellationToken,
    now: Arc<std::sync::Mutex<BTreeMap<Oid, Bounds>>>,
) -> Vec<Event> {
    let tables: BTreeSet<String> = TABLES.map(str::to_owned).into();
    let never = CancellationToken::new();
    let mut follower = Follower::default();
    let mut events = Vec::new();
    let mut count: Option<(Oid, Ticket, JoinHandle<Option<Counted>>)> = None;
    let mut readings = 0;
    while !stop.is_cancelled() {
        if readings == TERM {
            readings = 0;
            follower = successor(&follower);
            // Its place is taken, and what it still hears is nobody's.
            count = None;
            events.push(Event::HandOver);
            sleep(PAUSE * 4).await;
        }
        if let Some((oid, ticket, task)) = count.take_if(|(_, _, task)| task.is_finished()) {
            let counted = task.await.unwrap();
            end(&mut follower, oid, ticket, counted);
            events.push(Event::Ended(oid, counted));
        }
        // A reading that fails, or that leaves came or went under, is as though there had been none.
        if let Ok(Some(reading)) = counting.read_statistics(&tables, &follower.resting(&[].into()), LIMIT, &never).await
        {
            follower.take(&reading);
            events.push(Event::Read(Box::new(reading)));
            readings += 1;
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
    let mut told = Vec::new();
    for event in events {
        match event {
            Event::Read(reading) => {
                let broken = mutant.map(|mutant| mutant.reading(reading));
                let taken = broken.as_ref().unwrap_or(reading);
                follower.take(taken);
                told.extend(tell(&follower, taken, mutant));
            }
            Event::HandOver => {
                follower = successor(&follower);
                tickets.clear();
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

fn successor(follower: &Follower) -> Follower {
    follower.state().map(Follower::resume).unwrap_or_default()
}

/// What a follower tells by the reading that it took last. Of a leaf that rests nothing is told.
pub fn tell(follower: &Follower, taken: &Reading, mutant: Option<Mutant>) -> impl Iterator<Item = Told> {
    let (complete_until, end) = (taken.activity.complete_until(), taken.end);
    followed(follower).filter_map(move |(oid, bounds)| {
        let counters = taken.counters.get(&oid)?;
        let bounds = mutant.map_or(bounds, |mutant| mutant.bounds(bounds, counters));
        Some(Told { oid, bounds, complete_until, end })
    })
}

/// The service's own reader.
pub fn counting(url: &str) -> Counting {
    let target = DatabaseTarget::Url(Secret::Inline(url.to_owned()));
    Counting::new(DatabaseConfig { target, connect_timeout: LIMIT, connections: 2 }, "bounds")
}

fn end(follower: &mut Follower, oid: Oid, ticket: Ticket, counted: Option<Counted>) {
    match counted {
        Some(counted) => follower.counted(oid, ticket, counted),
        None => follower.abandon_anchor(oid, ticket, true),
    }
}

fn followed(follower: &Follower) -> impl Iterator<Item = (Oid, Bounds)> {
    let leaves = follower.state().map(|state| state.leaves).unwrap_or_default();
    leaves.into_iter().map(|(oid, leaf)| (oid, leaf.bounds))
}
