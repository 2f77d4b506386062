//! The checker: the properties of docs/lease.md as one pure function of a history. It believes no process that what it
//! says is all that happened: what Redis carried out and what scrapes saw must agree with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use super::{
    fault::Fault,
    history::{Belief, Change, Event, History, LeaseWrite, Micros, What},
};

mod liveness;
#[cfg(test)]
mod tests;

/// What the fleet was told to go by.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub ttl: Duration,
    pub margin: Duration,
    pub quarantine: Duration,
    /// What a busy machine may add to the bounds of L1 to L3; nothing is ever added to S1 to S7.
    pub slack: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    S1,
    S2,
    S3,
    S4,
    S5,
    S6,
    S7,
    L1,
    L2,
    L3,
}

/// A property that did not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    pub property: Property,
    pub at: Micros,
    pub text: String,
}

/// What the checker found.
#[derive(Debug, Default)]
pub struct Verdict {
    pub violations: Vec<Violation>,
    /// By fault: how long nobody held after it, and how long that may be.
    pub gaps: Vec<Gap>,
}

#[derive(Clone, Debug)]
pub struct Gap {
    pub fault: Fault,
    pub without_a_holder: Duration,
    /// By how much it was longer than what is owed, the machine's share not counted.
    pub over: Duration,
}

/// Judges a history.
pub fn check(history: &History, terms: Terms) -> Verdict {
    let beliefs = history.beliefs();
    let events = history.in_order();
    let mut violations = Vec::new();
    let rules =
        [one_token_an_epoch, epochs_increase, only_the_holder_writes, only_the_holder_releases, readers_never_go_back];
    violations.extend(rules.iter().flat_map(|rule| rule(history)));
    violations.extend(no_two_believe(&beliefs));
    violations.extend(deadlines_are_from_before_the_send(&events, terms));
    violations.extend(over_is_over(&events));
    violations.extend(nothing_is_shown_after_the_end(history, &beliefs));
    violations.extend(no_reclaim_beside_a_grant(&events, &beliefs));
    let gaps = liveness::gaps(history, &beliefs, terms);
    violations.extend(liveness::late(&gaps, terms));
    violations.sort_by_key(|violation| violation.at);
    Verdict { violations, gaps }
}

// === impl Violation ===

impl Violation {
    fn new(property: Property, at: Micros, text: String) -> Self {
        Self { property, at, text }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}: {}", self.property, self.at, self.text)
    }
}

/// S1, by everything that names both.
fn one_token_an_epoch(history: &History) -> Vec<Violation> {
    let mut first: BTreeMap<i64, &str> = BTreeMap::new();
    let mut found = Vec::new();
    let said = history.events.iter().filter_map(|event| Some((event.at, event.grant()?)));
    let written = history.ledger.iter().filter_map(|entry| Some((entry.at, entry.change.grant()?)));
    for (at, (token, epoch)) in said.chain(written) {
        let known = *first.entry(epoch).or_insert(token);
        if known != token {
            found.push(Violation::new(Property::S1, at, format!("epoch {epoch} has the tokens {known} and {token}")));
        }
    }
    found
}

/// S2.
fn no_two_believe(beliefs: &[Belief]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut longest: Option<&Belief> = None;
    for belief in beliefs.iter().filter(|belief| belief.from < belief.until) {
        if let Some(other) = longest.filter(|other| belief.from < other.until) {
            let overlap = other.until.min(belief.until) - belief.from;
            let text = format!(
                "process {} believes in epoch {} beside process {} in epoch {} for {overlap} us",
                belief.process, belief.epoch, other.process, other.epoch
            );
            found.push(Violation::new(Property::S2, belief.from, text));
        }
        if longest.is_none_or(|other| other.until < belief.until) {
            longest = Some(belief);
        }
    }
    found
}

/// S5, whose D is a margin before the earliest moment at which the lease can end in Redis.
fn deadlines_are_from_before_the_send(events: &[Event], terms: Terms) -> Vec<Violation> {
    let span = u64::try_from((terms.ttl - terms.margin).as_micros()).unwrap();
    let late = events.iter().filter_map(|event| match &event.what {
        What::Granted { epoch, sent, deadline, .. } | What::Renewed { epoch, sent, deadline, .. }
            if *deadline > sent + span =>
        {
            let text = format!("process {}: D of epoch {epoch} is {deadline}, sent at {sent}", event.process);
            Some(Violation::new(Property::S5, event.at, text))
        }
        _ => None,
    });
    late.collect()
}

/// S3, in the order in which Redis granted, and between processes: whoever asked after another's grant was heard got a
/// greater epoch.
fn epochs_increase(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut last = 0;
    for entry in &history.ledger {
        if let Some(epoch) = entry.change.granted() {
            if epoch <= last {
                found.push(Violation::new(Property::S3, entry.at, format!("{epoch} is granted after {last}")));
            }
            last = last.max(epoch);
        }
    }
    let beliefs = history.beliefs();
    for (index, earlier) in beliefs.iter().enumerate() {
        let later = beliefs[index + 1..].iter().find(|later| later.sent > earlier.from && later.epoch <= earlier.epoch);
        if let Some(later) = later {
            let text = format!(
                "process {} asked after process {} was granted {} and got {}",
                later.process, earlier.process, earlier.epoch, later.epoch
            );
            found.push(Violation::new(Property::S3, later.from, text));
        }
    }
    found
}

/// S4, the board: accepted is what the confirmed holder writes, and nothing older than what was accepted before.
fn only_the_holder_writes(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut lease = LeaseWrite::default();
    let mut last = (0, 0);
    for entry in &history.ledger {
        let mut violation = |text| found.push(Violation::new(Property::S4, entry.at, text));
        match &entry.change {
            Change::Begins(read) => lease = read.clone(),
            Change::Forgotten => lease = LeaseWrite::default(),
            Change::Lease(written) => lease.merge(written),
            Change::Snapshot { token, epoch, revision } => {
                let is_holder = lease.token.as_ref() == Some(token) && lease.epoch == Some(*epoch);
                if !is_holder || lease.until.is_none_or(|until| until <= entry.at) {
                    violation(format!("the board took revision {revision} of epoch {epoch} while it showed {lease:?}"));
                }
                if (*epoch, *revision) < last {
                    violation(format!("the board took revision {revision} of epoch {epoch} after {last:?}"));
                }
                last = last.max((*epoch, *revision));
            }
        }
    }
    found
}

/// S4, the page: every sighting lies at least partly in a time in which the process believed in a claim, and none that
/// began after a later epoch was seen is of an earlier one.
fn nothing_is_shown_after_the_end(history: &History, beliefs: &[Belief]) -> Vec<Violation> {
    let mut found = Vec::new();
    for seen in &history.sightings {
        let of_it = |belief: &&Belief| belief.process == seen.process;
        let held = |belief: &Belief| belief.from <= seen.ended && seen.begun < belief.until;
        if !beliefs.iter().filter(of_it).any(held) {
            let text = format!(
                "process {} shows itself as the holder in a scrape from {} to {} and believes in nothing",
                seen.process, seen.begun, seen.ended
            );
            found.push(Violation::new(Property::S4, seen.begun, text));
        }
    }
    let mut by_end: Vec<_> = history.sightings.iter().collect();
    by_end.sort_by_key(|seen| seen.ended);
    let mut by_begin = by_end.clone();
    by_begin.sort_by_key(|seen| seen.begun);
    let mut ended = by_end.into_iter().peekable();
    let mut greatest: Option<(i64, usize)> = None;
    for seen in by_begin {
        while let Some(before) = ended.next_if(|before| before.ended <= seen.begun) {
            greatest = greatest.max(Some((before.epoch, before.process)));
        }
        if let Some((epoch, process)) =
            greatest.filter(|(epoch, process)| *epoch > seen.epoch && *process != seen.process)
        {
            let text = format!(
                "process {} shows epoch {} after process {process} was seen with {epoch}",
                seen.process, seen.epoch
            );
            found.push(Violation::new(Property::S4, seen.begun, text));
        }
    }
    found
}

/// S4, the readers: no instance tells counts older than it has told, or counts that no holder let out.
fn readers_never_go_back(history: &History) -> Vec<Violation> {
    let published = |event: &Event| match event.what {
        What::Published { revision, .. } => Some(revision),
        _ => None,
    };
    let published: BTreeSet<_> = history.events.iter().filter_map(published).collect();
    let mut last: BTreeMap<usize, i64> = BTreeMap::new();
    let mut found = Vec::new();
    for reading in history.readings.iter().filter(|reading| reading.revision != 0) {
        let mut violation = |what: String| {
            let text = format!("process {} tells revision {} {what}", reading.process, reading.revision);
            found.push(Violation::new(Property::S4, reading.at, text));
        };
        let last = last.entry(reading.process).or_default();
        if reading.revision < *last {
            violation(format!("after {last}"));
        }
        if !published.contains(&reading.revision) {
            violation("that nobody published".to_owned());
        }
        *last = reading.revision.max(*last);
    }
    found
}

/// S5 and S4: nothing is confirmed, published or shown under a claim at or after its deadline in force, or after its
/// end.
fn over_is_over(events: &[Event]) -> Vec<Violation> {
    let mut found = Vec::new();
    // By process and token: the deadlines so far.
    let mut deadlines: BTreeMap<(usize, &str), BTreeSet<Micros>> = BTreeMap::new();
    let mut ended: BTreeSet<(usize, &str)> = BTreeSet::new();
    for event in events {
        let Some((token, epoch)) = event.grant() else { continue };
        let claim = (event.process, token);
        let mut violation = |property, what: &str| {
            let text = format!("process {}: epoch {epoch} is {what}", event.process);
            found.push(Violation::new(property, event.at, text));
        };
        match &event.what {
            What::Granted { deadline, .. } => {
                deadlines.entry(claim).or_default().insert(*deadline);
            }
            What::Renewed { deadline, .. } => {
                let known = deadlines.entry(claim).or_default();
                match known.last() {
                    None => violation(Property::S5, "renewed and was never granted"),
                    Some(last) if event.at >= *last => violation(Property::S5, "renewed at or after its deadline"),
                    Some(last) if deadline < last => violation(Property::S5, "renewed, and its deadline moves back"),
                    Some(_) => {}
                }
                if ended.contains(&claim) {
                    violation(Property::S5, "renewed after its end");
                }
                known.insert(*deadline);
            }
            What::Published { deadline, .. } | What::Shown { deadline, .. } => {
                if event.at >= *deadline {
                    violation(Property::S4, "published or shown at or after its deadline");
                }
                if !deadlines.get(&claim).is_some_and(|known| known.contains(deadline)) {
                    violation(Property::S5, "published or shown under a deadline that no answer gave");
                }
                if ended.contains(&claim) {
                    violation(Property::S5, "published or shown after its end");
                }
            }
            What::Ended { .. } => {
                ended.insert(claim);
            }
            What::Releasing { .. } | What::Written { .. } | What::Hidden => {}
        }
    }
    found
}

/// S6: a token leaves the record only when the process that it belongs to has sent its release.
fn only_the_holder_releases(history: &History) -> Vec<Violation> {
    let mut sent: BTreeMap<&str, Micros> = BTreeMap::new();
    for event in &history.events {
        if let What::Releasing { token, .. } = &event.what {
            sent.entry(token).and_modify(|at| *at = event.at.min(*at)).or_insert(event.at);
        }
    }
    let mut found = Vec::new();
    let mut lease = LeaseWrite::default();
    for entry in &history.ledger {
        match &entry.change {
            Change::Begins(read) => lease = read.clone(),
            Change::Forgotten => lease = LeaseWrite::default(),
            Change::Lease(written) => {
                let holder = lease.token.as_deref().filter(|token| !token.is_empty());
                if let (Some(""), Some(holder)) = (written.token.as_deref(), holder)
                    && !sent.contains_key(holder)
                {
                    let text = format!("token {holder} of epoch {:?} is released, and not by its owner", lease.epoch);
                    found.push(Violation::new(Property::S6, entry.at, text));
                }
                lease.merge(written);
            }
            Change::Snapshot { .. } => {}
        }
    }
    found
}

/// S7: whoever is let back in asked before another one was granted the lease.
fn no_reclaim_beside_a_grant(events: &[Event], beliefs: &[Belief]) -> Vec<Violation> {
    let late = events.iter().filter_map(|event| {
        let What::Renewed { epoch, sent, reclaimed: true, .. } = &event.what else { return None };
        let other = beliefs.iter().find(|belief| belief.epoch > *epoch && belief.from < *sent)?;
        let text = format!(
            "process {} is let back in under {epoch} after process {} was granted {}",
            event.process, other.process, other.epoch
        );
        Some(Violation::new(Property::S7, event.at, text))
    });
    late.collect()
}

impl Event {
    /// Token and epoch that it names together.
    fn grant(&self) -> Option<(&str, i64)> {
        match &self.what {
            What::Granted { token, epoch, .. }
            | What::Renewed { token, epoch, .. }
            | What::Ended { token, epoch }
            | What::Releasing { token, epoch }
            | What::Published { token, epoch, .. }
            | What::Written { token, epoch, .. }
            | What::Shown { token, epoch, .. } => Some((token.as_str(), *epoch)).filter(|(_, epoch)| *epoch != 0),
            What::Hidden => None,
        }
    }
}

impl Change {
    /// Token and epoch that it names together.
    fn grant(&self) -> Option<(&str, i64)> {
        match self {
            Self::Begins(lease) | Self::Lease(lease) => {
                Some((lease.token.as_deref().filter(|token| !token.is_empty())?, lease.epoch?))
            }
            Self::Snapshot { token, epoch, .. } => Some((token.as_str(), *epoch)),
            Self::Forgotten => None,
        }
    }

    /// The epoch, when it is a grant and no reclaim: only a grant starts the count of renewals anew.
    fn granted(&self) -> Option<i64> {
        match self {
            Self::Lease(LeaseWrite { epoch, renewals: Some(0), .. }) => *epoch,
            _ => None,
        }
    }
}
