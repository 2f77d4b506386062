//! Following, driven as the holder drives it.

use super::*;
use crate::{
    catalog,
    follow::{Activity, Counters, LocalTimes, Sentinels, Tree},
};

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> BootTime {
    BootTime::from_boot(Duration::from_secs(1_000 + seconds))
}

/// By the server's clock.
fn server(seconds: u64) -> ServerTime {
    ServerTime::from_us(1_700_000_000_000_000) + Duration::from_secs(seconds)
}

fn query(method: Method) -> Query {
    let tags = "tags".parse().unwrap();
    Query { method, ..catalog::builtin(&tags, 10 * SECOND, 5 * SECOND).unwrap() }
}

fn tables() -> BTreeMap<String, Duration> {
    [("tags".to_owned(), 5 * SECOND)].into()
}

fn supported() -> Result<Support, Failure> {
    Ok(Support {
        version: 150_000,
        version_name: "15".to_owned(),
        is_standby: false,
        tracks_counts: true,
        may_see_sessions: true,
        role: "r".to_owned(),
        untracked: None,
    })
}

/// A reading of a table of one leaf with so many inserted, at the moment of the server's that `at` stands for.
fn reading(seconds: u64, inserted: i64, estimate: Option<i64>) -> Reading {
    let counters = Counters { inserted, live: inserted, modified: inserted, ..Counters::default() };
    let leaf = LeafName { name: "public.tags".to_owned(), estimate };
    let local = SystemTime::UNIX_EPOCH + Duration::from_secs(5_000 + seconds);
    Reading {
        activity: Activity { now: server(seconds), sessions: Vec::new() },
        counters: [(1, counters)].into(),
        sentinels: Sentinels {
            database_reset: None,
            writer_reset: None,
            server_start: server(0),
            system: 7,
            in_recovery: false,
        },
        end: server(seconds),
        local_end: LocalTimes { asked: local, answered: local },
        filenodes: [(1, Some(1))].into(),
        trees: [("tags".to_owned(), Tree::Leaves([(1, leaf)].into()))].into(),
    }
}

/// What follows tables already.
fn following() -> Following {
    let mut following = Following::new(None, at(0));
    assert_eq!(following.next(at(0), &tables()), Some(Step::Probe));
    assert_eq!(following.probed(&supported(), at(0)), Some(&Standing::Supported));
    following
}

fn is_read(step: Option<Step>) -> bool {
    matches!(step, Some(Step::Read { .. }))
}

/// Begins to count, and tells the ticket.
fn begin_count(following: &mut Following, now: BootTime) -> Option<Ticket> {
    match following.next(now, &tables()) {
        Some(Step::Count { ticket, .. }) => Some(ticket),
        None => None,
        other => panic!("{other:?}"),
    }
}

fn count(following: &mut Following, rows: i64, seconds: u64) {
    let ticket = begin_count(following, at(seconds)).unwrap();
    following.counted(1, ticket, Ok(Counted { rows, end: server(seconds) }), SECOND, at(seconds));
}

fn only(mut settled: Vec<Settled>) -> Result<counting::Reading, Failure> {
    assert_eq!(settled.len(), 1, "{settled:?}");
    match settled.remove(0) {
        Settled::Ended(_, outcome) => outcome,
        other @ Settled::Unfollowed(_) => panic!("{other:?}"),
    }
}

#[test]
fn a_run_is_answered_by_a_reading_that_began_after_it() {
    let mut following = following();
    assert!(is_read(following.next(at(1), &tables())));
    following.wait_for(query(Method::Auto), at(2), SystemTime::now());
    following.read(at(1), Some(&reading(1, 5, Some(40))), at(3));
    assert!(following.settle(at(3)).is_empty());
    assert!(is_read(following.next(at(3), &tables())), "at once, not a second after the last");
    following.read(at(3), Some(&reading(3, 5, Some(40))), at(3));
    let estimated = only(following.settle(at(3))).unwrap();
    assert_eq!((estimated.value, estimated.method, estimated.lower_bound), (40, Method::Estimated, None));
}

#[test]
fn once_counted_it_is_followed_with_its_bounds_and_times() {
    let mut following = following();
    following.next(at(1), &tables());
    following.read(at(1), Some(&reading(1, 5, None)), at(1));
    count(&mut following, 40, 1);
    following.next(at(13), &tables());
    following.read(at(13), Some(&reading(13, 7, None)), at(13));
    following.wait_for(query(Method::Auto), at(14), SystemTime::now());
    assert!(is_read(following.next(at(14), &tables())));
    following.read(at(14), Some(&reading(14, 8, None)), at(14));
    let counted = only(following.settle(at(14))).unwrap();
    assert_eq!((counted.value, counted.method), (41, Method::Followed));
    assert_eq!((counted.lower_bound, counted.upper_bound), (Some(41), Some(43)));
    let local = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(5_000 + seconds);
    assert_eq!(counted.observe_time, local(14));
    assert_eq!((counted.complete_until_time, counted.anchor_time), (Some(local(3)), Some(local(1))));
}

#[test]
fn exact_counts_rest_nineteen_times_as_long_as_they_took() {
    let mut following = following();
    following.next(at(1), &tables());
    following.read(at(1), Some(&reading(1, 5, None)), at(1));
    let ticket = begin_count(&mut following, at(1)).unwrap();
    assert_eq!(begin_count(&mut following, at(1)), None, "one at a time");
    let failure = Failure::new(FailureReason::Locked, "");
    following.counted(1, ticket, Err(&failure), 4 * SECOND, at(5));
    following.next(at(80), &tables());
    following.read(at(80), Some(&reading(80, 5, None)), at(80));
    assert_eq!(begin_count(&mut following, at(80)), None);
    assert_eq!(following.next_wake(at(80), true), Some(at(81)));
    assert!(is_read(following.next(at(81), &tables())));
    following.read(at(81), Some(&reading(81, 5, None)), at(81));
    assert!(begin_count(&mut following, at(81)).is_some());
}

#[test]
fn statistics_are_read_each_second_and_at_once_when_leaves_came_or_went() {
    let mut following = following();
    assert!(is_read(following.next(at(0), &tables())));
    assert_eq!(following.next(at(0), &tables()), None, "one at a time");
    following.read(at(0), None, at(0));
    assert!(is_read(following.next(at(0), &tables())));
    following.read(at(0), Some(&reading(0, 5, None)), at(0));
    following.next(at(0), &tables());
    assert!(!is_read(following.next(at(0), &tables())));
    assert_eq!(following.next_wake(at(0), true), Some(at(1)));
    assert!(is_read(following.next(at(1), &tables())));
    assert_eq!(following.next_wake(at(1), false), Some(at(300)), "but for the next probe");
}

#[test]
fn a_table_of_which_nothing_is_known_is_waited_for_and_then_told() {
    let mut following = following();
    following.wait_for(query(Method::Auto), at(0), SystemTime::now());
    following.next(at(0), &tables());
    following.read(at(0), Some(&reading(0, 5, None)), at(0));
    assert!(following.settle(at(4)).is_empty());
    let late = only(following.settle(at(5))).unwrap_err();
    assert_eq!(late.reason, FailureReason::Timeout);
    assert!(late.message.contains("public.tags was never analyzed"), "{late}");

    following.wait_for(query(Method::Auto), at(6), SystemTime::now());
    following.next(at(6), &tables());
    following.read(at(6), Some(&reading(6, 5, None)), at(6));
    count(&mut following, 40, 6);
    assert_eq!(only(following.settle(at(6))).unwrap().value, 40, "counted, and not yet known to be complete");
}

#[test]
fn a_missing_table_is_told_as_by_a_count() {
    let mut following = following();
    following.wait_for(query(Method::Auto), at(0), SystemTime::now());
    following.next(at(0), &tables());
    let missing = Reading { trees: [("tags".to_owned(), Tree::Missing)].into(), ..reading(0, 5, None) };
    following.read(at(0), Some(&missing), at(0));
    assert_eq!(only(following.settle(at(0))).unwrap_err().reason, FailureReason::TableMissing);
}

#[test]
fn where_nothing_can_be_followed_only_who_must_follow_fails() {
    let mut following = Following::new(None, at(0));
    assert!(!following.is_settled(at(0)) && following.is_settled(at(1)));
    following.next(at(0), &tables());
    let hidden = supported().map(|support| Support { may_see_sessions: false, ..support });
    assert!(matches!(following.probed(&hidden, at(0)), Some(Standing::Refused(_))));
    assert!(following.is_settled(at(0)));
    assert!(following.refusal("tags").unwrap().contains("GRANT pg_read_all_stats TO r"));
    assert_eq!(following.next(at(0), &tables()), None);

    following.wait_for(query(Method::Auto), at(1), SystemTime::now());
    assert!(matches!(following.settle(at(1))[..], [Settled::Unfollowed(_)]));
    following.wait_for(query(Method::Followed), at(1), SystemTime::now());
    let failure = only(following.settle(at(1))).unwrap_err();
    assert_eq!(failure.reason, FailureReason::Permission);

    assert_eq!(following.next(at(30), &tables()), Some(Step::Probe), "it may change");
    assert_eq!(following.probed(&hidden, at(30)), None, "which is no news");
    following.next(at(60), &tables());
    following.probed(&supported(), at(60));
    assert_eq!(following.refusal("tags"), None);
}

#[test]
fn a_table_that_cannot_be_followed_is_told_by_name() {
    let mut following = following();
    following.wait_for(query(Method::Followed), at(0), SystemTime::now());
    following.next(at(0), &tables());
    let view = Tree::Refused("public.tags is a view".to_owned());
    let reading = Reading { trees: [("tags".to_owned(), view)].into(), ..reading(0, 5, None) };
    following.read(at(0), Some(&reading), at(0));
    let failure = only(following.settle(at(0))).unwrap_err();
    assert_eq!(failure.to_string(), "sql: tags cannot be followed: public.tags is a view");
}

#[test]
fn a_table_whose_leaves_may_not_be_counted_is_refused_until_they_may() {
    let mut following = following();
    following.next(at(0), &tables());
    following.read(at(0), Some(&reading(0, 5, Some(9))), at(0));
    let ticket = begin_count(&mut following, at(0)).unwrap();
    let denied = Failure::new(FailureReason::Permission, "permission denied for table tags");
    following.counted(1, ticket, Err(&denied), Duration::ZERO, at(0));
    assert_eq!(following.refusal("tags").as_ref(), Some(&denied.message));
    following.wait_for(query(Method::Followed), at(1), SystemTime::now());
    assert_eq!(only(following.settle(at(1))).unwrap_err(), denied);

    following.next(at(40), &tables());
    following.read(at(40), Some(&reading(40, 5, Some(9))), at(40));
    count(&mut following, 9, 40);
    assert_eq!(following.refusal("tags"), None);
}

#[test]
fn a_count_of_one_leaf_says_nothing_of_another_that_may_not_be_counted() {
    let two = |seconds| {
        let mut reading = reading(seconds, 5, Some(9));
        reading.counters.insert(2, reading.counters[&1]);
        reading.filenodes.insert(2, Some(2));
        let leaf = LeafName { name: "public.tags_2".to_owned(), estimate: Some(3) };
        let Some(Tree::Leaves(leaves)) = reading.trees.get_mut("tags") else { panic!("it has leaves") };
        leaves.insert(2, leaf);
        reading
    };
    let mut following = following();
    following.next(at(0), &tables());
    following.read(at(0), Some(&two(0)), at(0));
    let denied = Failure::new(FailureReason::Permission, "permission denied for table tags_2");
    let begin = |following: &mut Following| match following.next(at(0), &tables()) {
        Some(Step::Count { oid, ticket, .. }) => (oid, ticket),
        other => panic!("{other:?}"),
    };
    for _ in 0..2 {
        match begin(&mut following) {
            (2, ticket) => following.counted(2, ticket, Err(&denied), Duration::ZERO, at(0)),
            (oid, ticket) => {
                let counted = Counted { rows: 9, end: server(0) };
                following.counted(oid, ticket, Ok(counted), Duration::ZERO, at(0));
            }
        }
    }
    assert_eq!(following.refusal("tags").as_ref(), Some(&denied.message));

    following.next(at(1), &tables());
    following.read(at(1), Some(&reading(1, 5, Some(9))), at(1));
    assert_eq!(following.refusal("tags"), None, "that leaf is gone");
}

#[test]
fn a_server_that_becomes_a_standby_is_not_followed_any_more() {
    let mut following = following();
    following.next(at(0), &tables());
    let mut reading = reading(0, 5, Some(9));
    reading.sentinels.in_recovery = true;
    following.read(at(0), Some(&reading), at(0));
    assert!(following.refusal("tags").unwrap().contains("standby"));
    assert_eq!(following.next(at(1), &tables()), None);
}

#[test]
fn a_reading_that_fails_fails_those_who_wait_for_it() {
    let mut following = following();
    following.wait_for(query(Method::Auto), at(0), SystemTime::now());
    assert!(is_read(following.next(at(0), &tables())));
    let failure = Failure::new(FailureReason::Connection, "gone");
    assert_eq!(only(following.read_failed(&failure, at(1))).unwrap_err(), failure);
    assert_eq!(following.next(at(2), &tables()), None);
    following.wait_for(query(Method::Auto), at(3), SystemTime::now());
    assert!(is_read(following.next(at(3), &tables())), "whoever asks has it tried again");
}

#[test]
fn the_state_is_handed_on() {
    let mut first = following();
    assert_eq!(first.state(), None);
    first.next(at(1), &tables());
    first.read(at(1), Some(&reading(1, 5, None)), at(1));
    count(&mut first, 40, 1);
    first.next(at(13), &tables());
    first.read(at(13), Some(&reading(13, 5, None)), at(13));
    assert_eq!(first.state_to_save(at(9)), None);
    let state = first.state_to_save(at(13)).unwrap();
    assert_eq!(first.state_to_save(at(14)), None);

    let mut next = Following::new(Some(state), at(100));
    next.next(at(100), &tables());
    next.probed(&supported(), at(100));
    next.wait_for(query(Method::Auto), at(100), SystemTime::now());
    assert!(is_read(next.next(at(100), &tables())));
    next.read(at(100), Some(&reading(100, 25, None)), at(100));
    let counted = only(next.settle(at(100))).unwrap();
    assert_eq!((counted.value, counted.lower_bound, counted.upper_bound), (60, Some(60), Some(60)));
}
