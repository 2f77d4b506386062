//! The lease protocol, explored: instances that decide by the program's own `Campaign` and `Holding`, a store that
//! answers by its own `step`, and every order in which messages, clocks and faults may come, within stated bounds.
//! docs/model.md says what is in it and what came of it; `make model` explores more.

#![allow(clippy::unwrap_used, reason = "all of it is test code, also what is no test itself")]

use std::{
    collections::BTreeSet,
    env,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use stateright::{Checker, CheckerBuilder, HasDiscoveries, Model};

use scope::{Budget, Mutant, Scope, Settings};
use world::World;

mod client;
mod normal;
mod property;
mod scope;
mod server;
mod world;

/// A lease of 8, whose margin is 1, and a quarantine that outlasts both; the clock steps back by less than that.
const SETTINGS: Settings = Settings { ttl: 8, quarantine: 12 };

/// The kinds of replies that a store can give.
const REPLIES: u64 = 0b0111_1111_1111;

/// What came of an exploration.
struct Found {
    /// The properties that do not hold, each with the steps that break it.
    broken: BTreeSet<&'static str>,
    /// Different states.
    states: usize,
    /// The kinds of replies that were given on the way, a bit each.
    replies: u64,
}

// === impl Scope ===

impl Scope {
    /// Two instances of the same settings on a store that knows its past, with so many faults.
    fn of(budget: Budget) -> Self {
        Self {
            instances: vec![SETTINGS; 2],
            tick: 4,
            budget,
            back: SETTINGS.quarantine - 1,
            ahead: 1,
            immediate: false,
            has_past: true,
            mutant: None,
        }
    }

    fn with(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }

    /// Explores all of it, depth first: what is found is not the shortest way, but there is more room.
    fn explore(self, what: &str) -> Found {
        self.run(what, |checker| summary(checker.spawn_dfs().join()))
    }

    /// Explores the shortest ways first, until a property breaks.
    fn seek(self, what: &str) -> Found {
        self.run(what, |checker| summary(checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join()))
    }

    fn run(self, what: &str, explore: impl FnOnce(CheckerBuilder<World>) -> (BTreeSet<&'static str>, usize)) -> Found {
        let world = World::new(self);
        let replies = world.replies.clone();
        let begun = Instant::now();
        let (broken, states) = explore(world.checker().threads(2));
        let took = Duration::from_millis(u64::try_from(begun.elapsed().as_millis()).unwrap());
        let replies = replies.load(Ordering::Relaxed);
        println!("| {what} | {states} | {} | {broken:?} |", humantime::format_duration(took));
        Found { broken, states, replies }
    }
}

fn summary(checker: impl Checker<World>) -> (BTreeSet<&'static str>, usize) {
    let mut broken = BTreeSet::new();
    for (name, path) in checker.discoveries() {
        println!("{name}: {:?}", path.into_actions());
        broken.insert(name);
    }
    (broken, checker.unique_state_count())
}

/// Nothing of what must hold breaks, in any of the states.
fn holds(what: &str, scope: Scope, at_least: usize) -> u64 {
    let found = scope.explore(what);
    assert_eq!(found.broken, BTreeSet::new(), "{what}");
    assert!(found.states >= at_least, "{what}: only {} states, so something no longer happens", found.states);
    found.replies
}

#[test]
fn within_its_assumptions_every_property_holds() {
    let loss = Budget { losses: 1, ..Budget::default() };
    let mut replies = 0;
    for (what, budget, at_least) in [
        ("a loss of data or fail-over, clock back by less than the quarantine", Budget { back: 1, ..loss }, 28_000),
        ("a loss, a message in arrears", Budget { delays: 1, ..loss }, 13_000),
        ("a loss, a crash, a copy", Budget { crashes: 1, copies: 1, ..loss }, 20_000),
        ("a loss, a command once more or too late", Budget { strays: 1, ..loss }, 65_000),
        ("a loss, two writes", Budget { writes: 2, ..loss }, 169_000),
        ("a write, clock ahead by the margin", Budget { writes: 1, ahead: 1, ..Budget::default() }, 1_000),
    ] {
        replies |= holds(what, Scope::of(budget), at_least);
    }
    assert_eq!(replies, REPLIES, "a rule of the store was never used");
}

#[test]
fn three_instances_fare_no_worse() {
    let scope = Scope::of(Budget { losses: 1, ..Budget::default() });
    holds("three instances, a loss", Scope { instances: vec![SETTINGS; 3], ..scope }, 23_000);
}

#[test]
fn each_rule_that_is_broken_is_noticed() {
    let none = Budget::default();
    let loss = Budget { losses: 1, ..none };
    let fine = Scope { tick: 1, ..Scope::of(Budget { ahead: 1, ..none }) };
    for (scope, mutant, broken) in [
        (Scope::of(Budget { delays: u8::MAX, ..none }), Mutant::DeadlineAfterReply, "S2"),
        (Scope::of(Budget { delays: u8::MAX, ..none }), Mutant::LateReplyRevives, "S5"),
        (Scope::of(loss), Mutant::NoQuarantine, "S2"),
        (Scope::of(loss), Mutant::PlainIncrement, "S3"),
        (Scope::of(Budget { back: 1, strays: 1, ..loss }), Mutant::GenerationWithoutQuarantine, "S3"),
        (Scope::of(Budget { strays: 1, ..none }), Mutant::OneToken, "S2"),
        (Scope::of(Budget { losses: 2, copies: 1, ..none }), Mutant::RunIdAlone, "S2"),
        (fine, Mutant::NoMargin, "S2"),
        (Scope::of(Budget { writes: 2, copies: 1, ..loss }), Mutant::GuardWithoutGeneration, "S4"),
        (Scope::of(Budget { writes: 2, ..loss }), Mutant::GuardWithoutMark, "S4"),
    ] {
        let what = format!("{mutant:?}");
        let found = scope.with(mutant).seek(&what);
        assert!(found.broken.contains(broken), "{what}: {:?}", found.broken);
    }
}

#[test]
fn a_quarantine_of_each_instances_own_is_noticed() {
    let mut scope = Scope::of(Budget { losses: 1, ..Budget::default() });
    scope.instances[0] = Settings { ttl: 20, quarantine: 8 };
    assert!(scope.seek("Q per instance").broken.contains("S2"));
}

#[test]
fn the_clock_must_not_step_back_by_a_quarantine() {
    let scope = Scope::of(Budget { losses: 1, back: 1, ..Budget::default() });
    let found = Scope { back: SETTINGS.quarantine, ..scope }.explore("clock back by the whole quarantine");
    assert!(["S1", "S3"].iter().all(|property| found.broken.contains(property)), "{:?}", found.broken);
}

#[test]
fn an_immediate_first_start_costs_what_a_loss_and_a_new_process_can_do_together() {
    let of = |budget| Scope { immediate: true, has_past: false, ..Scope::of(budget) };
    holds("immediate, on a store that never knew anything", of(Budget::default()), 100);
    holds("immediate, a crash", of(Budget { crashes: 1, ..Budget::default() }), 400);
    let found = of(Budget { losses: 1, crashes: 1, ..Budget::default() }).seek("immediate, a loss, a crash");
    assert!(found.broken.contains("S2"), "{:?}", found.broken);
}

/// What `make model` explores beyond the rest.
#[test]
fn with_more_faults_every_property_holds_too() {
    if env::var_os("ROWCOUNT_MODEL").is_none() {
        println!("skipped: `make model` explores it, in the release build");
        return;
    }
    let loss = Budget { losses: 1, ..Budget::default() };
    for (what, budget, at_least) in [
        ("two losses, two crashes, a copy", Budget { losses: 2, crashes: 2, copies: 1, ..loss }, 190_000),
        ("a loss, clock back, a stray", Budget { back: 1, strays: 1, ..loss }, 1_000_000),
        ("a loss, clock back, a copy, a message in arrears", Budget { back: 1, copies: 1, delays: 1, ..loss }, 950_000),
        ("two losses, clock back, a copy", Budget { losses: 2, back: 1, copies: 1, ..loss }, 1_100_000),
        ("a loss, two writes, clock ahead by the margin", Budget { writes: 2, ahead: 1, ..loss }, 450_000),
    ] {
        holds(what, Scope::of(budget), at_least);
    }
    let back = Budget { back: 1, ..loss };
    holds("three instances, a loss, clock back", Scope { instances: vec![SETTINGS; 3], ..Scope::of(back) }, 290_000);
}
