//! Every leaf of every followed table, from reading to reading.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Bounds, Reading, Sample, Sentinels, ServerTime, Void,
    anchor::{Counted, Ticket},
    leaf::{Followed, Leaf},
    restless::Restless,
    tree::{LeafName, Oid, Tree, Trees},
};

/// Leaves that another follower knew of are kept for so long without a table: which tables are followed is found out one
/// after the other.
const ORPHANS_LAST: Duration = Duration::from_secs(3600);

/// Follows tables.
#[derive(Clone, Debug, Default)]
pub struct Follower {
    /// Of the last reading; of whoever followed before, until the first.
    sentinels: Option<Sentinels>,
    trees: Trees,
    /// Those of `trees`, and those resumed of which no reading has told yet whose they are.
    leaves: BTreeMap<Oid, Leaf>,
    restless: Restless,
    last: Option<Moment>,
    /// The first reading.
    began: Option<ServerTime>,
    tickets: u64,
}

/// When the last reading was.
#[derive(Clone, Copy, Debug)]
struct Moment {
    now: ServerTime,
    complete_until: Option<ServerTime>,
}

/// The rows of a table as of the last reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// There is no such table.
    Missing,
    /// It cannot be followed, and why.
    Refused(String),
    /// Every leaf is followed.
    Followed {
        /// Their sum, not yet cut at zero.
        bounds: Bounds,
        /// When the leaf that was counted the longest ago was; `None` without leaves.
        anchored_at: Option<ServerTime>,
    },
    /// Some leaf is not followed yet, or not any more: a sum that promises nothing.
    Estimated(i64),
    /// Nothing at all is known of this leaf.
    Unknown(String),
}

/// What a reading brought that is worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Nothing is known of so many leaves any more.
    AllVoided(Void, usize),
    /// Nothing is known of this leaf any more.
    Voided(Void, String),
}

/// What a follower hands on to the next: its leaves as of their last readings. Counters are cumulative, so the next
/// reading can be compared with these however much later it is; whatever makes that untrue shows in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Of the last reading.
    pub sentinels: Sentinels,
    /// The leaves that are followed.
    pub leaves: BTreeMap<Oid, SavedLeaf>,
}

/// A followed leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedLeaf {
    /// Its last reading.
    pub last: Sample,
    /// Its rows as of that.
    pub bounds: Bounds,
    /// When it was last counted.
    pub anchored_at: ServerTime,
}

// === impl Follower ===

impl Follower {
    /// Goes on from where another one was.
    pub fn resume(state: State) -> Self {
        let State { sentinels, leaves } = state;
        let leaf = |SavedLeaf { last, bounds, anchored_at }| Leaf::resumed(last, Followed { bounds, anchored_at });
        let leaves = leaves.into_iter().map(|(oid, saved)| (oid, leaf(saved))).collect();
        Self { sentinels: Some(sentinels), leaves, ..Self::default() }
    }

    /// What another one needs to go on; `None` before the first reading.
    pub fn state(&self) -> Option<State> {
        let saved = self.leaves.iter().filter_map(|(oid, leaf)| {
            let Followed { bounds, anchored_at } = leaf.followed()?;
            Some((*oid, SavedLeaf { last: leaf.last(), bounds, anchored_at }))
        });
        Some(State { sentinels: self.sentinels.clone()?, leaves: saved.collect() })
    }

    /// Goes on to the next reading.
    pub fn take(&mut self, reading: &Reading) -> Vec<Note> {
        let mut notes = Vec::new();
        let Reading { activity, sentinels, trees, .. } = reading;
        let moment = Moment { now: activity.now, complete_until: activity.complete_until() };
        let before = self.sentinels.replace(sentinels.clone());
        if sentinels.in_recovery {
            notes.extend(self.void_all(Void::Recovery));
        } else if before.is_some_and(|before| before != *sentinels) {
            notes.extend(self.void_all(Void::Reset));
        }
        self.restless.take(activity);
        self.last = Some(moment);
        let began = *self.began.get_or_insert(moment.now);
        self.drop_gone(trees.clone(), moment.now.since(began) >= ORPHANS_LAST);
        if sentinels.in_recovery {
            return notes;
        }
        for (oid, sample) in reading.samples() {
            let Some(leaf) = self.leaves.get_mut(&oid) else {
                self.leaves.insert(oid, Leaf::new(sample, moment.now));
                continue;
            };
            if let Err(why) = leaf.take(sample, moment.now, moment.complete_until) {
                notes.push(Note::Voided(why, self.name(oid)));
            }
        }
        notes
    }

    /// The rows of a table; `None` when the last reading was not of all of it.
    pub fn rows(&self, table: &str) -> Option<Rows> {
        let tree = match self.trees.get(table)? {
            Tree::Missing => return Some(Rows::Missing),
            Tree::Refused(why) => return Some(Rows::Refused(why.clone())),
            tree @ Tree::Leaves(_) => tree,
        };
        let now = self.last?.now;
        let mut sum = Bounds::default();
        let mut anchored_at: Option<ServerTime> = None;
        let mut is_followed = true;
        for (oid, name) in tree.leaves() {
            let leaf = self.leaves.get(&oid).filter(|leaf| leaf.read_at() == now)?;
            if let Some(Followed { bounds, anchored_at: at }) = leaf.followed() {
                sum = sum + bounds;
                anchored_at = Some(anchored_at.map_or(at, |oldest| oldest.min(at)));
            } else if let Some(rows) = leaf.counted().or(name.estimate) {
                is_followed = false;
                sum = sum + Bounds::exactly(rows);
            } else {
                return Some(Rows::Unknown(name.name.clone()));
            }
        }
        Some(if is_followed { Rows::Followed { bounds: sum, anchored_at } } else { Rows::Estimated(sum.value.max(0)) })
    }

    /// The leaf whose exact count is wanted most, if one may begin now: the one of which least is known, or whose bounds are
    /// farthest apart; of those alike the one that was begun the longest ago, so that no leaf which is voided again and
    /// again keeps another from its turn.
    pub fn wanted_anchor(&self) -> Option<Oid> {
        let Moment { now, complete_until } = self.last?;
        // Whoever hides what he does would keep it from ever ending.
        complete_until?;
        let leaves = self.trees.values().flat_map(Tree::leaves);
        let wanted = leaves.filter_map(|(oid, name)| {
            let leaf = self.leaves.get(&oid)?;
            Some(((leaf.wants_anchor(now)?, Reverse(leaf.begun_at()), name.estimate.is_none()), oid))
        });
        wanted.max_by_key(|(wish, _)| *wish).map(|(_, oid)| oid)
    }

    /// An exact count of a leaf begins now: after the last reading, which must have been of it.
    pub fn begin_anchor(&mut self, oid: Oid) -> Option<(Ticket, LeafName)> {
        let Moment { now, .. } = self.last?;
        let (_, name) = self.trees.values().flat_map(Tree::leaves).find(|(leaf, _)| *leaf == oid)?;
        let leaf = self.leaves.get_mut(&oid).filter(|leaf| leaf.last().filenode.is_some())?;
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        leaf.begin_anchor(ticket, now);
        Some((ticket, name.clone()))
    }

    /// It has ended.
    pub fn counted(&mut self, oid: Oid, ticket: Ticket, counted: Counted) {
        if let Some(leaf) = self.leaves.get_mut(&oid) {
            leaf.counted_by(ticket, counted);
        }
    }

    /// It failed, and `cost` the server something or did not.
    pub fn abandon_anchor(&mut self, oid: Oid, ticket: Ticket, cost: bool) {
        if let (Some(leaf), Some(last)) = (self.leaves.get_mut(&oid), self.last) {
            leaf.abandon_anchor(ticket, cost, last.now);
        }
    }

    /// Leaves that need not be read now, since they have not moved for long; none of the tables that are `wanted`: their
    /// sums are of one reading of all their leaves.
    pub fn resting(&self, wanted: &BTreeSet<&str>) -> BTreeSet<Oid> {
        let Some(Moment { now, .. }) = self.last else { return BTreeSet::new() };
        let mut resting: BTreeSet<Oid> =
            self.leaves.iter().filter(|(_, leaf)| leaf.rests(now)).map(|(oid, _)| *oid).collect();
        for (oid, _) in wanted.iter().filter_map(|table| self.trees.get(*table)).flat_map(Tree::leaves) {
            resting.remove(&oid);
        }
        resting
    }

    /// Sessions that have not been seen idle for over a minute.
    pub fn restless_sessions(&self) -> usize {
        self.last.map_or(0, |last| self.restless.count(last.now))
    }

    /// Why a table cannot be followed, by the last reading of it.
    pub fn refusal(&self, table: &str) -> Option<&str> {
        match self.trees.get(table)? {
            Tree::Refused(why) => Some(why),
            Tree::Missing | Tree::Leaves(_) => None,
        }
    }

    /// A table that a leaf belongs to.
    pub fn table_of(&self, oid: Oid) -> Option<&str> {
        let has = |tree: &Tree| matches!(tree, Tree::Leaves(leaves) if leaves.contains_key(&oid));
        self.trees.iter().find(|(_, tree)| has(tree)).map(|(table, _)| table.as_str())
    }

    fn void_all(&mut self, why: Void) -> Option<Note> {
        let leaves = std::mem::take(&mut self.leaves);
        let voided = leaves.values().filter(|leaf| leaf.has_something()).count();
        (voided > 0).then_some(Note::AllVoided(why, voided))
    }

    /// Forgets leaves that the tables had and have no more; in the end also those that nobody has asked for.
    fn drop_gone(&mut self, trees: Trees, orphans: bool) {
        let before = std::mem::replace(&mut self.trees, trees);
        let kept: BTreeSet<Oid> = self.trees.values().flat_map(Tree::leaves).map(|(oid, _)| oid).collect();
        for (oid, _) in before.values().flat_map(Tree::leaves) {
            if !kept.contains(&oid) {
                self.leaves.remove(&oid);
            }
        }
        if orphans {
            self.leaves.retain(|oid, _| kept.contains(oid));
        }
    }

    fn name(&self, oid: Oid) -> String {
        let mut leaves = self.trees.values().flat_map(Tree::leaves);
        leaves.find(|(leaf, _)| *leaf == oid).map_or_else(|| oid.to_string(), |(_, name)| name.name.clone())
    }
}

#[cfg(test)]
mod tests;
