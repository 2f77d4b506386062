//! The checker is not blind: a sound history has no violation, and each way of breaking a property is found as such.

use std::time::Duration;

use super::*;
use crate::chaos::{
    fault::{Fault, Kind},
    history::{Entry, Reading, Sighting},
};

/// A lease of 1 s.
const TERMS: Terms = Terms {
    ttl: Duration::from_secs(1),
    margin: Duration::from_millis(125),
    quarantine: Duration::from_millis(1_125),
    slack: Duration::ZERO,
};
const MS: Micros = 1_000;
const TTL: Micros = 1_000 * MS;
const D: Micros = 875 * MS;

/// A moment of the history: as many milliseconds after its beginning.
fn at(ms: Micros) -> Micros {
    60_000_000 + ms * MS
}

fn token(epoch: i64) -> String {
    format!("token-{epoch}")
}

fn said(process: usize, ms: Micros, what: What) -> Event {
    Event { process, at: at(ms), what }
}

fn granted(process: usize, ms: Micros, epoch: i64) -> Event {
    let sent = at(ms) - MS;
    said(process, ms, What::Granted { token: token(epoch), epoch, sent, deadline: sent + D })
}

fn renewed(process: usize, ms: Micros, epoch: i64) -> Event {
    let sent = at(ms) - MS;
    said(process, ms, What::Renewed { token: token(epoch), epoch, sent, deadline: sent + D, reclaimed: false })
}

fn reclaimed(process: usize, ms: Micros, epoch: i64) -> Event {
    let sent = at(ms) - MS;
    said(process, ms, What::Renewed { token: token(epoch), epoch, sent, deadline: sent + D, reclaimed: true })
}

fn ended(process: usize, ms: Micros, epoch: i64) -> Event {
    said(process, ms, What::Ended { token: token(epoch), epoch })
}

fn releasing(process: usize, ms: Micros, epoch: i64) -> Event {
    said(process, ms, What::Releasing { token: token(epoch), epoch })
}

/// Under the claim of the answer that came at `since`.
fn published(process: usize, ms: Micros, epoch: i64, revision: i64, since: Micros) -> Event {
    let deadline = at(since) - MS + D;
    said(process, ms, What::Published { token: token(epoch), epoch, revision, deadline })
}

fn shown(process: usize, ms: Micros, epoch: i64, since: Micros) -> Event {
    said(process, ms, What::Shown { token: token(epoch), epoch, deadline: at(since) - MS + D })
}

fn wrote(ms: Micros, change: Change) -> Entry {
    Entry { at: at(ms), change }
}

fn lease(token: &str, epoch: i64, until: Micros, renewals: Option<i64>) -> LeaseWrite {
    let (token, epoch, until) = (Some(token.to_owned()), Some(epoch), Some(until));
    LeaseWrite { token, epoch, until, renewals, ..LeaseWrite::default() }
}

fn redis_granted(ms: Micros, epoch: i64) -> Entry {
    wrote(ms, Change::Lease(lease(&token(epoch), epoch, at(ms) + TTL, Some(0))))
}

fn redis_reclaimed(ms: Micros, epoch: i64) -> Entry {
    wrote(ms, Change::Lease(lease(&token(epoch), epoch, at(ms) + TTL, Some(1))))
}

fn redis_renewed(ms: Micros, renewals: i64) -> Entry {
    let write = LeaseWrite { until: Some(at(ms) + TTL), renewals: Some(renewals), ..LeaseWrite::default() };
    wrote(ms, Change::Lease(write))
}

fn redis_released(ms: Micros) -> Entry {
    let write = LeaseWrite { token: Some(String::new()), until: Some(0), ..LeaseWrite::default() };
    wrote(ms, Change::Lease(write))
}

fn accepted(ms: Micros, epoch: i64, revision: i64) -> Entry {
    wrote(ms, Change::Snapshot { token: token(epoch), epoch, revision })
}

fn seen(process: usize, begun: Micros, ended: Micros, epoch: i64) -> Sighting {
    Sighting { process, epoch, begun: at(begun), ended: at(ended) }
}

fn read(process: usize, ms: Micros, revision: i64) -> Reading {
    Reading { process, at: at(ms), revision }
}

fn fault(ms: Micros, kind: Kind) -> Fault {
    Fault { kind, begin: at(ms), from: at(ms) }
}

/// Alice, process 0, holds, renews, publishes and hands over to bob, process 1.
fn sound() -> History {
    History {
        events: vec![
            granted(0, 1, 7),
            published(0, 5, 7, 8, 1),
            shown(0, 20, 7, 1),
            renewed(0, 201, 7),
            published(0, 250, 7, 9, 201),
            ended(0, 301, 7),
            releasing(0, 301, 7),
            said(0, 320, What::Hidden),
            granted(1, 303, 10),
            published(1, 305, 10, 11, 303),
            shown(1, 310, 10, 303),
        ],
        ledger: vec![
            wrote(0, Change::Begins(LeaseWrite::default())),
            redis_granted(0, 7),
            accepted(6, 7, 8),
            redis_renewed(200, 1),
            accepted(251, 7, 9),
            redis_released(301),
            redis_granted(302, 10),
            accepted(306, 10, 11),
        ],
        sightings: vec![seen(0, 20, 21, 7), seen(0, 290, 320, 7), seen(1, 315, 316, 10)],
        readings: vec![read(0, 6, 8), read(1, 7, 8), read(1, 306, 11), read(0, 307, 11)],
        faults: vec![fault(0, Kind::Start), fault(300, Kind::Resign)],
        end: at(500),
        ..History::default()
    }
}

/// The properties that the history breaks once `change` was made to it.
fn broken(change: impl FnOnce(&mut History)) -> Vec<Property> {
    let mut history = sound();
    change(&mut history);
    let violations = check(&history, TERMS).violations;
    println!("{}", violations.iter().map(|violation| format!("{violation}\n")).collect::<String>());
    let found: BTreeSet<_> = violations.iter().map(|violation| violation.property).collect();
    found.into_iter().collect()
}

#[test]
fn a_sound_history_breaks_nothing() {
    assert_eq!(broken(|_| {}), []);
    let verdict = check(&sound(), TERMS);
    let gaps: Vec<_> = verdict.gaps.iter().map(|gap| gap.without_a_holder.as_micros()).collect();
    assert_eq!(gaps, [1_000, 2_000], "from the start to the first grant, from alice's end to bob's grant");
}

#[test]
fn s1_two_tokens_under_one_epoch() {
    let other = |history: &mut History| {
        history.events.retain(|event| event.process == 0);
        history.readings.clear();
        let (token, sent) = ("another".to_owned(), at(302));
        history.events.push(said(1, 303, What::Granted { token, epoch: 7, sent, deadline: sent + D }));
        history.ledger.truncate(6);
        history.sightings.pop();
    };
    assert_eq!(broken(other), [Property::S1, Property::S3]);
    let in_redis = |history: &mut History| {
        history.ledger.insert(3, wrote(100, Change::Lease(lease("another", 7, at(1_100), Some(1)))));
        history.ledger.insert(4, wrote(101, Change::Lease(lease(&token(7), 7, at(1_101), Some(2)))));
    };
    assert_eq!(broken(in_redis), [Property::S1], "without any process's word");
}

#[test]
fn s2_two_that_believe_at_the_same_time() {
    // Stopped before it could act on the loss: its claim is over at D and not before.
    assert_eq!(
        broken(|history| history.events.retain(|event| event.at < at(301) || event.process == 1)),
        [Property::S2, Property::S6]
    );
    let killed = |history: &mut History| {
        history.events.retain(|event| event.at < at(301) || event.process == 1);
        history.deaths.insert(0, at(302));
        history.ledger.remove(5);
    };
    assert_eq!(broken(killed), [], "a dead process believes in nothing");
}

#[test]
fn s5_a_deadline_from_after_the_reply() {
    let late = |history: &mut History| {
        let What::Renewed { deadline, .. } = &mut history.events[3].what else { panic!("a renewal") };
        *deadline += MS;
        let What::Published { deadline, .. } = &mut history.events[4].what else { panic!("a publication") };
        *deadline += MS;
    };
    assert_eq!(broken(late), [Property::S5]);
}

#[test]
fn s3_an_epoch_that_does_not_grow() {
    let redis = |history: &mut History| history.ledger.insert(6, redis_granted(301, 5));
    assert_eq!(broken(redis), [Property::S3]);
    let processes = |history: &mut History| {
        history.events.extend([granted(2, 290, 12), ended(2, 291, 12)]);
        history.events.retain(|event| event.at != at(250));
        history.events.push(ended(0, 289, 7));
        history.sightings.clear();
    };
    assert_eq!(broken(processes), [Property::S3]);
}

#[test]
fn s4_a_write_that_the_board_had_to_refuse() {
    assert_eq!(broken(|history| history.ledger.push(accepted(310, 7, 10))), [Property::S4], "of a former holder");
    assert_eq!(broken(|history| history.ledger.insert(6, accepted(301, 7, 10))), [Property::S4], "of nobody");
    assert_eq!(broken(|history| history.ledger.push(accepted(1_310, 10, 12))), [Property::S4], "its lease has ended");
    assert_eq!(broken(|history| history.ledger.push(accepted(310, 10, 9))), [Property::S4], "an older revision");
    let lost = |history: &mut History| {
        history.ledger.extend([wrote(309, Change::Forgotten), accepted(310, 10, 12)]);
    };
    assert_eq!(broken(lost), [Property::S4], "not confirmed since Redis forgot it");
    let earlier = |history: &mut History| {
        history.ledger.extend([wrote(309, Change::Forgotten), redis_reclaimed(310, 10), accepted(311, 10, 9)]);
    };
    assert_eq!(broken(earlier), [Property::S4], "of before Redis forgot it");
}

#[test]
fn s4_published_or_shown_at_the_deadline() {
    let since = 303;
    let deadline = 302 + 875;
    assert_eq!(broken(|history| history.events.push(published(1, deadline, 10, 12, since))), [Property::S4]);
    assert_eq!(broken(|history| history.events.push(shown(1, deadline, 10, since))), [Property::S4]);
    assert_eq!(broken(|history| history.events.push(shown(1, deadline - 1, 10, since))), []);
}

#[test]
fn s4_a_page_that_shows_what_is_over() {
    assert_eq!(broken(|history| history.sightings.push(seen(0, 302, 400, 7))), [Property::S4], "by its own history");
    assert_eq!(broken(|history| history.sightings.push(seen(2, 100, 101, 7))), [Property::S4], "never granted");
    assert_eq!(broken(|history| history.sightings.push(seen(0, 299, 400, 7))), [], "asked before the end");
    let blind_history = |history: &mut History| {
        // The process tells of no end, and dies of none: only another's page tells.
        history.events.retain(|event| event.process == 0 && event.at < at(301));
        history.ledger.truncate(5);
        history.sightings.push(seen(1, 330, 331, 10));
        history.sightings.push(seen(0, 332, 333, 7));
        history.events.extend([granted(1, 310, 10), ended(1, 318, 10)]);
    };
    assert!(broken(blind_history).contains(&Property::S4));
}

#[test]
fn s4_a_reader_that_goes_back() {
    assert_eq!(broken(|history| history.readings.push(read(1, 400, 9))), [Property::S4]);
    assert_eq!(broken(|history| history.readings.push(read(2, 400, 9))), [], "it has told nothing newer");
    assert_eq!(broken(|history| history.readings.push(read(2, 400, 10))), [Property::S4], "of nobody");
    assert_eq!(broken(|history| history.readings.push(read(1, 400, 0))), [], "a heartbeat before anything was read");
}

#[test]
fn s5_a_claim_that_goes_on_after_its_end() {
    let revived = |history: &mut History| {
        let late = 200 + 875;
        history.events.retain(|event| event.process == 0 && event.at < at(301));
        history.readings.clear();
        history.ledger.truncate(5);
        history.sightings.pop();
        history.events.push(renewed(0, late, 7));
        history.end = at(late + 1);
    };
    assert_eq!(broken(revived), [Property::S5], "an answer at D");
    assert_eq!(broken(|history| history.events.push(published(0, 302, 7, 10, 201))), [Property::S5]);
    assert_eq!(broken(|history| history.events.push(published(1, 306, 10, 12, 304))), [Property::S5], "unknown D");
    let back = |history: &mut History| {
        let What::Renewed { deadline, .. } = &mut history.events[3].what else { panic!("a renewal") };
        *deadline = at(800);
        history.events.remove(4);
    };
    assert_eq!(broken(back), [Property::S5], "D moves back");
}

#[test]
fn s6_a_release_by_another() {
    assert_eq!(broken(|history| history.ledger.push(redis_released(320))), [Property::S6]);
    assert_eq!(
        broken(|history| history.events.retain(|event| event.what != releasing(0, 301, 7).what)),
        [Property::S6]
    );
}

#[test]
fn s7_let_back_in_after_another_was_granted() {
    let late = |history: &mut History| {
        history.events.retain(|event| event.what != ended(0, 301, 7).what);
        history.events.push(reclaimed(0, 320, 7));
    };
    assert!(broken(late).contains(&Property::S7));
    let before = |history: &mut History| {
        let What::Renewed { reclaimed, .. } = &mut history.events[3].what else { panic!("a renewal") };
        *reclaimed = true;
    };
    assert_eq!(broken(before), []);
}

#[test]
fn l1_to_l3_somebody_who_comes_too_late() {
    // Nothing but the holder's end, and who comes when.
    let after = |kind: Kind, next: Micros| {
        broken(|history| {
            history.events.retain(|event| event.process == 0 && event.at <= at(301));
            history.readings.clear();
            history.ledger.truncate(if kind == Kind::Resign { 6 } else { 5 });
            history.sightings.clear();
            history.faults[1].kind = kind;
            history.events.push(granted(1, next, 10));
            history.end = at(next);
        })
    };
    assert_eq!(after(Kind::Resign, 1_300), []);
    assert_eq!(after(Kind::Resign, 1_302), [Property::L1]);
    // The lease that was last renewed at 200 ends at 1200.
    assert_eq!(after(Kind::KillHolder, 1_250), []);
    assert_eq!(after(Kind::KillHolder, 1_251), [Property::L2]);
    // A quarantine and a lease after the end at 301.
    assert_eq!(after(Kind::FlushAll, 2_426), []);
    assert_eq!(after(Kind::FlushAll, 2_427), [Property::L3]);
}

#[test]
fn l2_is_not_owed_while_a_quarantine_runs() {
    let after = |next: Micros| {
        broken(|history| {
            history.events.retain(|event| event.process == 0 && event.at < at(301));
            history.readings.clear();
            history.sightings.clear();
            history.ledger.truncate(5);
            let write = LeaseWrite { quarantine: Some(at(1_400)), ..LeaseWrite::default() };
            history.ledger.push(wrote(260, Change::Lease(write)));
            history.faults[1].kind = Kind::KillHolder;
            history.deaths.insert(0, at(300));
            history.events.push(granted(1, next, 10));
            history.end = at(next);
        })
    };
    assert_eq!(after(1_450), []);
    assert_eq!(after(1_451), [Property::L2]);
}

#[test]
fn l3_nobody_ever() {
    let nobody = |history: &mut History| {
        history.events.retain(|event| event.process == 0);
        history.readings.clear();
        history.ledger.truncate(6);
        history.sightings.pop();
        history.faults[1].kind = Kind::FlushAll;
        history.end = at(10_000);
    };
    assert_eq!(broken(nobody), [Property::L3]);
}
