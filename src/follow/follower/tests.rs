//! The follower over readings made by hand.

use std::time::{Duration, SystemTime};

use super::*;
use crate::follow::{Activity, Counters, LocalTimes, Session, SessionId, SessionKind, SessionState};

const TABLE: &str = "tags";

fn at(seconds: i64) -> ServerTime {
    ServerTime::from_us(1_700_000_000_000_000 + seconds * 1_000_000)
}

fn tree(leaves: &[Oid]) -> Tree {
    let name = |oid: &Oid| (*oid, LeafName { name: format!("public.tags_{oid}"), estimate: None });
    Tree::Leaves(leaves.iter().map(name).collect())
}

/// A reading in which nobody is at work and every leaf has so many rows inserted.
fn reading(seconds: i64, leaves: &[(Oid, i64)]) -> Reading {
    let oids: Vec<_> = leaves.iter().map(|(oid, _)| *oid).collect();
    let counters = |inserted| Counters { inserted, live: inserted, modified: inserted, ..Counters::default() };
    let local = SystemTime::UNIX_EPOCH + Duration::from_secs(5_000);
    Reading {
        activity: Activity { now: at(seconds), sessions: Vec::new() },
        counters: leaves.iter().map(|(oid, inserted)| (*oid, counters(*inserted))).collect(),
        sentinels: Sentinels {
            database_reset: None,
            writer_reset: Some(at(-100)),
            server_start: at(-100),
            system: 7,
            in_recovery: false,
        },
        end: at(seconds),
        local_end: LocalTimes { asked: local, answered: local + Duration::from_millis(2) },
        filenodes: oids.iter().map(|oid| (*oid, Some(100 + *oid))).collect(),
        trees: [(TABLE.to_owned(), tree(&oids))].into(),
    }
}

fn anchor(follower: &mut Follower, oid: Oid, rows: i64, end: i64) {
    let (ticket, _) = follower.begin_anchor(oid).unwrap();
    follower.counted(oid, ticket, Counted { rows, end: at(end) });
}

/// Two leaves, counted at 10 and 20 rows.
fn followed() -> Follower {
    let mut follower = Follower::default();
    follower.take(&reading(0, &[(1, 5), (2, 5)]));
    anchor(&mut follower, 1, 10, 0);
    anchor(&mut follower, 2, 20, 1);
    assert_eq!(follower.take(&reading(13, &[(1, 5), (2, 5)])), []);
    follower
}

fn exactly(rows: i64, anchored_at: i64) -> Option<Rows> {
    Some(Rows::Followed { bounds: Bounds::exactly(rows), anchored_at: Some(at(anchored_at)) })
}

#[test]
fn the_sum_is_followed_when_every_leaf_is() {
    let mut follower = Follower::default();
    assert_eq!(follower.rows(TABLE), None);
    follower.take(&reading(0, &[(1, 5), (2, 5)]));
    assert!(matches!(follower.rows(TABLE), Some(Rows::Unknown(_))));
    anchor(&mut follower, 1, 10, 0);
    assert!(matches!(follower.rows(TABLE), Some(Rows::Unknown(leaf)) if leaf == "public.tags_2"));
    anchor(&mut follower, 2, 20, 2);
    assert_eq!(follower.rows(TABLE), Some(Rows::Estimated(30)), "counted, and not known to be complete");
    follower.take(&reading(13, &[(1, 5), (2, 5)]));
    assert_eq!(follower.rows(TABLE), Some(Rows::Estimated(30)), "one of them is complete");
    follower.take(&reading(14, &[(1, 5), (2, 6)]));
    let bounds = Bounds { lower: 30, value: 30, upper: 31 };
    assert_eq!(follower.rows(TABLE), Some(Rows::Followed { bounds, anchored_at: Some(at(0)) }));
}

#[test]
fn a_leaf_that_was_never_analyzed_is_unknown_and_not_empty() {
    let mut follower = Follower::default();
    let mut first = reading(0, &[(1, 5), (2, 5)]);
    let leaf = |estimate| LeafName { name: "l".to_owned(), estimate };
    first.trees.insert(TABLE.to_owned(), Tree::Leaves([(1, leaf(Some(40))), (2, leaf(None))].into()));
    follower.take(&first);
    assert_eq!(follower.rows(TABLE), Some(Rows::Unknown("l".to_owned())));
    assert_eq!(follower.wanted_anchor(), Some(2), "so it is counted first");
    first.trees.insert(TABLE.to_owned(), Tree::Leaves([(1, leaf(Some(40))), (2, leaf(Some(0)))].into()));
    follower.take(&first);
    assert_eq!(follower.rows(TABLE), Some(Rows::Estimated(40)));
}

#[test]
fn a_table_without_leaves_has_no_rows() {
    let mut follower = Follower::default();
    follower.take(&reading(0, &[]));
    assert_eq!(follower.rows(TABLE), Some(Rows::Followed { bounds: Bounds::default(), anchored_at: None }));
    assert_eq!(follower.rows("other"), None);
}

#[test]
fn whatever_moves_of_the_sentinels_voids_every_leaf() {
    let moves: [fn(&mut Sentinels); 4] =
        [|s| s.database_reset = Some(at(1)), |s| s.writer_reset = None, |s| s.server_start = at(1), |s| s.system = 8];
    for change in moves {
        let mut follower = followed();
        let mut next = reading(14, &[(1, 5), (2, 5)]);
        change(&mut next.sentinels);
        assert_eq!(follower.take(&next), [Note::AllVoided(Void::Reset, 2)]);
        assert!(matches!(follower.rows(TABLE), Some(Rows::Unknown(_))));
        anchor(&mut follower, 1, 11, 14);
        anchor(&mut follower, 2, 21, 14);
        let mut later = reading(26, &[(1, 5), (2, 5)]);
        later.sentinels = next.sentinels;
        follower.take(&later);
        assert_eq!(follower.rows(TABLE), exactly(32, 14), "it follows anew from there");
    }
}

#[test]
fn a_reset_voids_leaves_that_the_reading_is_not_of() {
    let mut follower = followed();
    let mut next = reading(14, &[(1, 5), (2, 5)]);
    next.counters.remove(&2);
    next.sentinels.database_reset = Some(at(1));
    assert_eq!(follower.take(&next), [Note::AllVoided(Void::Reset, 2)]);
    let mut later = reading(15, &[(1, 5), (2, 5)]);
    later.sentinels = next.sentinels;
    follower.take(&later);
    assert_eq!(follower.state().unwrap().leaves.len(), 0);
}

#[test]
fn a_standby_voids_and_tells_nothing() {
    let mut follower = followed();
    let mut next = reading(14, &[(1, 5), (2, 5)]);
    next.sentinels.in_recovery = true;
    assert_eq!(follower.take(&next), [Note::AllVoided(Void::Recovery, 2)]);
    assert_eq!((follower.rows(TABLE), follower.wanted_anchor()), (None, None));
}

#[test]
fn a_changed_list_of_leaves_concerns_those_that_came_or_went() {
    let mut follower = followed();
    assert_eq!(follower.take(&reading(14, &[(2, 5), (3, 9)])), []);
    assert!(matches!(follower.rows(TABLE), Some(Rows::Unknown(leaf)) if leaf == "public.tags_3"));
    assert_eq!(follower.take(&reading(15, &[(2, 7)])), []);
    assert_eq!(follower.rows(TABLE), exactly(22, 1));
    follower.take(&reading(16, &[(1, 5), (2, 7)]));
    assert!(matches!(follower.rows(TABLE), Some(Rows::Unknown(leaf)) if leaf == "public.tags_1"));
}

#[test]
fn a_voided_leaf_is_named_and_the_others_go_on() {
    let mut follower = followed();
    let mut next = reading(14, &[(1, 5), (2, 8)]);
    next.filenodes.insert(1, None);
    assert_eq!(follower.take(&next), [Note::Voided(Void::Filenode, "public.tags_1".to_owned())]);
    assert_eq!(follower.wanted_anchor(), None, "it is gone, and the other is exact");
    assert_eq!(follower.state().unwrap().leaves[&2].bounds, Bounds::exactly(23));
}

#[test]
fn no_count_begins_while_a_session_hides_what_it_does() {
    let mut follower = Follower::default();
    let mut hidden = reading(0, &[(1, 5)]);
    hidden.activity.sessions.push(Session {
        id: SessionId { pid: 1, start: None },
        kind: SessionKind::Client,
        state: Some(SessionState::Disabled),
        xact_start: None,
        query_start: None,
        state_change: None,
    });
    follower.take(&hidden);
    assert_eq!(follower.wanted_anchor(), None);
    assert_eq!(hidden.complete_until_time(), None);
    follower.take(&reading(1, &[(1, 5)]));
    assert_eq!(follower.wanted_anchor(), Some(1));
}

#[test]
fn a_table_of_which_a_leaf_was_left_out_is_not_told() {
    let mut follower = followed();
    let mut next = reading(14, &[(1, 5), (2, 5)]);
    next.counters.remove(&2);
    follower.take(&next);
    assert_eq!(follower.rows(TABLE), None);
    follower.take(&reading(15, &[(1, 5), (2, 6)]));
    assert_eq!(follower.rows(TABLE), exactly(31, 0));
}

#[test]
fn leaves_that_do_not_move_rest() {
    let mut follower = followed();
    follower.take(&reading(80, &[(1, 5), (2, 6)]));
    assert_eq!(follower.resting(&["other"].into()), [1].into());
    assert_eq!(follower.resting(&[TABLE].into()), [].into(), "whoever waits for it wants all of it");
}

#[test]
fn another_follower_goes_on_from_the_last_reading() {
    let state = followed().state().unwrap();
    let mut next = Follower::resume(state.clone());
    assert_eq!(next.rows(TABLE), None, "nothing is told before a reading");
    assert_eq!(next.state(), Some(state.clone()));
    assert_eq!(next.take(&reading(700, &[(1, 105), (2, 5)])), []);
    assert_eq!(next.rows(TABLE), exactly(130, 0));

    let mut restarted = Follower::resume(state.clone());
    let mut later = reading(700, &[(1, 105), (2, 5)]);
    later.sentinels.server_start = at(600);
    assert_eq!(restarted.take(&later), [Note::AllVoided(Void::Reset, 2)]);

    let mut truncated = Follower::resume(state);
    let mut later = reading(700, &[(1, 105), (2, 5)]);
    later.filenodes.insert(1, Some(999));
    assert_eq!(truncated.take(&later), [Note::Voided(Void::Filenode, "public.tags_1".to_owned())]);
}

#[test]
fn what_was_handed_on_waits_until_its_table_is_read() {
    let mut follower = Follower::resume(followed().state().unwrap());
    let mut other = reading(20, &[]);
    other.trees = [("blobs".to_owned(), tree(&[]))].into();
    follower.take(&other);
    follower.take(&reading(30, &[(1, 5), (2, 7)]));
    assert_eq!(follower.rows(TABLE), exactly(32, 0));
}

#[test]
fn what_was_handed_on_and_nobody_reads_is_forgotten_in_the_end() {
    let mut follower = Follower::resume(followed().state().unwrap());
    let read_other = |follower: &mut Follower, second| {
        let mut other = reading(second, &[]);
        other.trees = [("blobs".to_owned(), tree(&[]))].into();
        follower.take(&other);
        follower.state().unwrap().leaves.len()
    };
    assert_eq!([20, 3_619, 3_620].map(|second| read_other(&mut follower, second)), [2, 2, 0]);
}

#[test]
fn times_of_the_server_become_times_of_this_machine_on_the_safe_side() {
    let reading = reading(100, &[]);
    let asked = reading.local_end.asked;
    assert_eq!(reading.observe_time(), asked + Duration::from_millis(2));
    assert_eq!(reading.complete_until_time(), Some(asked - Duration::from_secs(11)));
    assert_eq!(reading.local(at(90)), asked - Duration::from_secs(10));
}

#[test]
fn a_leaf_that_is_voided_again_and_again_waits_behind_the_others() {
    let mut follower = Follower::default();
    let mut first = reading(0, &[(1, 5), (2, 5)]);
    follower.take(&first);
    let mut counted = Vec::new();
    for filenode in 0..3 {
        let oid = follower.wanted_anchor().unwrap();
        counted.push(oid);
        anchor(&mut follower, oid, 10, 0);
        // Truncated before the count is of any use.
        first.filenodes.insert(2, Some(200 + filenode));
        first.activity.now = first.activity.now + Duration::from_secs(1);
        follower.take(&first);
    }
    assert_eq!(counted, [2, 1, 2]);
}
