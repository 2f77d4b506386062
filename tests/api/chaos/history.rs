//! What happened in one fleet: as its processes tell it, as its Redis carried it out, and as whoever scrapes it saw it.
//! Times are microseconds since boot, one clock for all of them.

use std::{collections::BTreeMap, fmt, time::Duration};

use rowcount::clock::{Clock, SystemClock};
use serde_json::Value;

use super::fault::Fault;

pub type Micros = u64;

/// Of one fleet, from its start to its end.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Of each process in its own order.
    pub events: Vec<Event>,
    /// By process: a moment at which it was dead.
    pub deaths: BTreeMap<usize, Micros>,
    /// What Redis carried out, in its order.
    pub ledger: Vec<Entry>,
    /// Pages on which a process showed itself as the holder.
    pub sightings: Vec<Sighting>,
    /// Counts that were read of a process by gRPC, in its order.
    pub readings: Vec<Reading>,
    /// What was done to them, in order.
    pub faults: Vec<Fault>,
    /// When nothing more was watched.
    pub end: Micros,
}

/// A line of a process's own history.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub process: usize,
    pub at: Micros,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Granted {
        token: String,
        epoch: i64,
        sent: Micros,
        deadline: Micros,
    },
    Renewed {
        token: String,
        epoch: i64,
        sent: Micros,
        deadline: Micros,
        reclaimed: bool,
    },
    Ended {
        token: String,
        epoch: i64,
    },
    Releasing {
        token: String,
        epoch: i64,
    },
    /// Through the gate, on the way to the board.
    Published {
        token: String,
        epoch: i64,
        revision: i64,
        deadline: Micros,
    },
    Written {
        token: String,
        epoch: i64,
        revision: i64,
        outcome: String,
    },
    /// The gate opened for scrapes.
    Shown {
        token: String,
        epoch: i64,
        deadline: Micros,
    },
    Hidden,
}

/// A command that Redis carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When its script began.
    pub at: Micros,
    pub change: Change,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// What was not heard may have happened before; the lease stands so.
    Begins(LeaseWrite),
    /// Fields of the lease record were written.
    Lease(LeaseWrite),
    /// A snapshot was accepted.
    Snapshot { token: String, epoch: i64, revision: i64 },
    /// The lease record is gone.
    Forgotten,
}

/// Those fields of the lease record that were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeaseWrite {
    pub token: Option<String>,
    pub epoch: Option<i64>,
    pub until: Option<Micros>,
    /// End of the quarantine.
    pub quarantine: Option<Micros>,
    pub renewals: Option<i64>,
}

/// A page that showed counts, or the lease as held. It was so at some moment between `begun` and `ended`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    pub process: usize,
    /// As last observed by the process.
    pub epoch: i64,
    pub begun: Micros,
    pub ended: Micros,
}

/// The revision of the counts that a process told a reader; 0 before it had any.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub process: usize,
    pub at: Micros,
    pub revision: i64,
}

/// A claim as its process believed in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Belief {
    pub process: usize,
    pub token: String,
    pub epoch: i64,
    /// When the command was sent to which the grant was the answer.
    pub sent: Micros,
    pub from: Micros,
    /// From here on it was believed in no more.
    pub until: Micros,
}

// === impl History ===

impl History {
    /// Every claim that was believed in, in the order of their beginnings.
    pub fn beliefs(&self) -> Vec<Belief> {
        let mut beliefs: Vec<Belief> = Vec::new();
        let mut of = BTreeMap::new();
        for event in &self.in_order() {
            match &event.what {
                What::Granted { token, epoch, sent, deadline } => {
                    of.insert((event.process, token.clone()), beliefs.len());
                    let (process, token, epoch, sent) = (event.process, token.clone(), *epoch, *sent);
                    beliefs.push(Belief { process, token, epoch, sent, from: event.at, until: *deadline });
                }
                What::Renewed { token, deadline, .. } => {
                    if let Some(index) = of.get(&(event.process, token.clone())) {
                        let belief = &mut beliefs[*index];
                        belief.until = belief.until.max(*deadline);
                    }
                }
                What::Ended { token, .. } => {
                    if let Some(index) = of.get(&(event.process, token.clone())) {
                        let belief = &mut beliefs[*index];
                        belief.until = belief.until.min(event.at);
                    }
                }
                _ => {}
            }
        }
        for belief in &mut beliefs {
            if let Some(death) = self.deaths.get(&belief.process) {
                belief.until = belief.until.min(*death);
            }
        }
        beliefs.sort_by_key(|belief| belief.from);
        beliefs
    }

    /// The events in the order of the readings of the clock that they rest on.
    pub fn in_order(&self) -> Vec<Event> {
        let mut events = self.events.clone();
        events.sort_by_key(|event| event.at);
        events
    }
}

impl fmt::Display for History {
    /// Everything but the sightings and readings, which are many, in the order of time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<(Micros, String)> = Vec::new();
        lines
            .extend(self.events.iter().map(|event| (event.at, format!("process {}: {:?}", event.process, event.what))));
        lines.extend(self.deaths.iter().map(|(process, at)| (*at, format!("process {process} is dead"))));
        lines.extend(self.ledger.iter().map(|entry| (entry.at, format!("redis: {:?}", entry.change))));
        for Fault { kind, begin, from } in &self.faults {
            lines.push((*begin, format!("fault: {kind}")));
            lines.push((*from, format!("fault out of the way: {kind}")));
        }
        lines.push((self.end, "the end".to_owned()));
        lines.sort_by_key(|(at, _)| *at);
        lines.iter().try_for_each(|(at, line)| writeln!(f, "{at} {line}"))
    }
}

// === impl Event ===

impl Event {
    /// The event of a line of a process's log; `None` when it is no line of its history.
    pub fn parse(process: usize, line: &str) -> Option<Self> {
        // Most lines are of something else, and are not worth parsing.
        if !line.contains(r#""at_us":"#) {
            return None;
        }
        let line: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| Some(line[name].as_str()?.to_owned());
        let time = |name: &str| line[name].as_u64();
        let (token, epoch) = (text("token"), line["epoch"].as_i64());
        let what = match line["msg"].as_str()? {
            "lease granted" => {
                What::Granted { token: token?, epoch: epoch?, sent: time("sent_us")?, deadline: time("deadline_us")? }
            }
            "lease renewed" => What::Renewed {
                token: token?,
                epoch: epoch?,
                sent: time("sent_us")?,
                deadline: time("deadline_us")?,
                reclaimed: line["reclaimed"].as_bool()?,
            },
            "lease claim ended" => What::Ended { token: token?, epoch: epoch? },
            "lease release sent" => What::Releasing { token: token?, epoch: epoch? },
            "counts published" => What::Published {
                token: token?,
                epoch: epoch?,
                revision: line["revision"].as_i64()?,
                deadline: time("deadline_us")?,
            },
            "counts written" => What::Written {
                token: token?,
                epoch: epoch?,
                revision: line["revision"].as_i64()?,
                outcome: text("outcome")?,
            },
            "counts shown" => What::Shown { token: token?, epoch: epoch?, deadline: time("deadline_us")? },
            "counts hidden" => What::Hidden,
            _ => return None,
        };
        Some(Self { process, at: time("at_us")?, what })
    }
}

// === impl LeaseWrite ===

impl LeaseWrite {
    /// The record after this write.
    pub fn merge(&mut self, written: &Self) {
        let Self { token, epoch, until, quarantine, renewals } = written;
        self.token = token.clone().or(self.token.take());
        self.epoch = epoch.or(self.epoch);
        self.until = until.or(self.until);
        self.quarantine = quarantine.or(self.quarantine);
        self.renewals = renewals.or(self.renewals);
    }
}

/// The time since boot.
pub fn now() -> Micros {
    micros(SystemClock.now().since_boot())
}

pub fn micros(span: Duration) -> Micros {
    u64::try_from(span.as_micros()).unwrap()
}
