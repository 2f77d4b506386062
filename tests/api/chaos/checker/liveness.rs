//! L1 to L3: after each fault, for how long nobody held, and by when somebody had to.

use std::time::Duration;

use super::{Gap, Property, Terms, Violation};
use crate::chaos::{
    fault::{Fault, Owed},
    history::{Belief, Change, History, LeaseWrite, Micros, micros},
};

/// L2: after the end of the lease in Redis.
const AFTER_THE_END: Duration = Duration::from_millis(50);

/// The longest time without a holder after each fault, until the next one.
pub fn gaps(history: &History, beliefs: &[Belief], terms: Terms) -> Vec<Gap> {
    let ends = history.faults.iter().skip(1).map(|next| next.begin).chain([history.end]);
    let gap = |(fault, end): (&Fault, Micros)| {
        let (start, stop) = longest_gap(beliefs, fault.from, end);
        let due = due(history, beliefs, fault, start, terms);
        let (without_a_holder, over) = (stop - start, stop.saturating_sub(due).min(stop - start));
        Gap {
            fault: fault.clone(),
            without_a_holder: Duration::from_micros(without_a_holder),
            over: Duration::from_micros(over),
        }
    };
    history.faults.iter().zip(ends).map(gap).collect()
}

/// Those that were longer than what is owed and what a busy machine may add.
pub fn late(gaps: &[Gap], terms: Terms) -> Vec<Violation> {
    let late = gaps.iter().filter(|gap| gap.over > terms.slack).map(|gap| {
        let property = match gap.fault.kind.owed() {
            Owed::Handover => Property::L1,
            Owed::Crash => Property::L2,
            Owed::Recovery => Property::L3,
        };
        let Gap { fault, without_a_holder, over } = gap;
        let text = format!("{}: nobody held for {without_a_holder:?}, {over:?} longer than owed", fault.kind);
        Violation::new(property, fault.begin, text)
    });
    late.collect()
}

/// By when somebody must hold after a gap that began at `start`.
fn due(history: &History, beliefs: &[Belief], fault: &Fault, start: Micros, terms: Terms) -> Micros {
    let a_lease_later = start + micros(terms.ttl);
    if fault.kind.owed() == Owed::Recovery {
        return fault.from.max(start) + micros(terms.quarantine + terms.ttl);
    }
    let last = beliefs.iter().filter(|belief| belief.from <= start).max_by_key(|belief| belief.until);
    let Ends { lease, quarantine } = ends_in_redis(history, last.map_or(0, |last| last.epoch), a_lease_later);
    let due = match fault.kind.owed() {
        Owed::Handover => a_lease_later,
        _ => lease.unwrap_or(a_lease_later).max(start) + micros(AFTER_THE_END),
    };
    // An earlier loss of data may still keep everybody out.
    due.max(quarantine + micros(AFTER_THE_END))
}

/// What keeps others out.
#[derive(Default)]
struct Ends {
    /// Of the lease of an epoch; 0 once it is released, `None` when Redis never knew it.
    lease: Option<Micros>,
    quarantine: Micros,
}

/// As Redis last wrote them before `until`.
fn ends_in_redis(history: &History, epoch: i64, until: Micros) -> Ends {
    let mut lease = LeaseWrite::default();
    let mut ends = Ends::default();
    for entry in history.ledger.iter().take_while(|entry| entry.at <= until) {
        match &entry.change {
            Change::Begins(read) => lease = read.clone(),
            Change::Lease(written) => lease.merge(written),
            Change::Forgotten => lease = LeaseWrite::default(),
            Change::Snapshot { .. } => {}
        }
        if lease.epoch == Some(epoch) && lease.until.is_some() {
            ends.lease = lease.until;
        }
        ends.quarantine = lease.quarantine.unwrap_or_default();
    }
    ends
}

/// The longest stretch in which nobody believed to hold; an empty one when somebody always did.
fn longest_gap(beliefs: &[Belief], from: Micros, end: Micros) -> (Micros, Micros) {
    let mut longest = (from, from);
    let mut free_from = from;
    for belief in beliefs.iter().filter(|belief| belief.until > from) {
        let held_from = belief.from.min(end);
        if held_from > free_from && held_from - free_from > longest.1 - longest.0 {
            longest = (free_from, held_from);
        }
        free_from = free_from.max(belief.until);
    }
    if end > free_from && end - free_from > longest.1 - longest.0 {
        longest = (free_from, end);
    }
    longest
}
