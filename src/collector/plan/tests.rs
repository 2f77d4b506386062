//! The plan, driven as the holder drives it.

use super::*;
use crate::{catalog, catalog::Catalog};

const SECOND: Duration = Duration::from_secs(1);
const START: Duration = Duration::from_secs(1000);

fn plan(slots: usize) -> (Plan, BootTime) {
    let queries = catalog::queries(Catalog::All, 10 * SECOND, 10 * SECOND);
    let now = BootTime::from_boot(START);
    (Plan::new(&queries, slots, now), now)
}

fn names(names: &[&str]) -> BTreeSet<QueryName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn collection(trigger: Trigger, query_names: BTreeSet<QueryName>) -> Collection {
    Collection {
        id: CollectionId::generate(),
        state: CollectionState::Running,
        trigger,
        create_time: SystemTime::now(),
        start_time: Some(SystemTime::now()),
        end_time: None,
        query_names,
        failed_query_names: BTreeSet::new(),
        instance_id: "alice".into(),
        epoch: 1,
        failure: None,
    }
}

fn timeout() -> Failure {
    Failure::new(FailureReason::Timeout, "too slow")
}

#[test]
fn a_request_that_begins_during_a_run_gets_a_run_of_its_own() {
    let (mut plan, _) = plan(2);
    let tags: QueryName = "tags".parse().unwrap();
    assert!(plan.open(collection(Trigger::Schedule, names(&["tags"]))).is_none());
    assert_eq!(plan.start_next().unwrap().query.name, tags);

    let request = collection(Trigger::Request, names(&["tags"]));
    let id = request.id;
    assert!(plan.open(request).is_none());
    assert!(plan.start_next().is_none(), "one run of a query at a time");

    let done = plan.finish(&tags, Some(1), SECOND, None);
    assert!(done.iter().all(|collection| collection.id != id), "the run began before the request");
    assert_eq!(plan.start_next().unwrap().query.name, tags);
    assert_eq!(plan.finish(&tags, Some(1), SECOND, None)[0].id, id);
}

#[test]
fn a_run_that_has_not_begun_serves_schedule_and_request() {
    let (mut plan, _) = plan(2);
    let tags: QueryName = "tags".parse().unwrap();
    plan.open(collection(Trigger::Schedule, names(&["tags"])));
    plan.open(collection(Trigger::Request, names(&["tags"])));
    plan.start_next().unwrap();
    assert_eq!(plan.finish(&tags, Some(1), SECOND, None).len(), 2);
    assert!(plan.start_next().is_none());
}

#[test]
fn a_tick_that_finds_its_query_running_is_skipped_not_queued() {
    let (mut plan, now) = plan(2);
    let (due, skipped) = plan.take_due(now);
    assert_eq!((due.len(), skipped.len()), (19, 0));
    plan.open(collection(Trigger::Schedule, names(&["tags"])));
    plan.start_next().unwrap();
    let (due, skipped) = plan.take_due(now + 10 * SECOND);
    assert!(!due.contains("tags"));
    assert_eq!(skipped, ["tags".parse().unwrap()]);
    assert_eq!(plan.next_due(), Some(now + 20 * SECOND));
}

#[test]
fn missed_ticks_are_not_made_up_for() {
    let (mut plan, now) = plan(2);
    plan.take_due(now + 35 * SECOND);
    assert_eq!(plan.next_due(), Some(now + 45 * SECOND));
}

#[test]
fn a_table_found_large_is_put_off_and_comes_back_when_it_shrinks() {
    let (mut plan, now) = plan(2);
    let tags: QueryName = "tags".parse().unwrap();
    plan.take_due(now);
    plan.open(collection(Trigger::Schedule, names(&["tags"])));
    plan.start_next().unwrap();
    plan.finish(&tags, Some(200_000), SECOND, None);
    assert_eq!(plan.interval(&tags), Some(pace::LARGE_TABLE_INTERVAL));
    assert!(!plan.take_due(now + 10 * SECOND).0.contains("tags"));
    assert!(plan.take_due(now + pace::LARGE_TABLE_INTERVAL).0.contains("tags"));
    plan.open(collection(Trigger::Schedule, names(&["tags"])));
    plan.start_next().unwrap();
    plan.finish(&tags, Some(20), SECOND, None);
    assert!(plan.take_due(now + pace::LARGE_TABLE_INTERVAL + 10 * SECOND).0.contains("tags"));
}

#[test]
fn a_new_holder_does_not_count_a_large_table_again() {
    let (mut plan, now) = plan(2);
    plan.carry_over(&"layers".parse().unwrap(), 1_000_000, Method::Exact, 60 * SECOND, now);
    plan.carry_over(&"tags".parse().unwrap(), 10, Method::Exact, 60 * SECOND, now);
    let (due, _) = plan.take_due(now);
    assert!(!due.contains("layers") && due.contains("tags"));
    assert!(plan.take_due(now + 540 * SECOND).0.contains("layers"));
}

#[test]
fn a_new_holder_does_not_count_a_large_table_of_a_long_interval_again() {
    let now = BootTime::from_boot(START);
    let mut queries = catalog::queries(Catalog::All, 3600 * SECOND, 10 * SECOND);
    queries.retain(|query| ["layers", "tags"].contains(&query.name.as_str()));
    let mut plan = Plan::new(&queries, 2, now);
    plan.carry_over(&"layers".parse().unwrap(), 1_000_000, Method::Exact, 60 * SECOND, now);
    plan.carry_over(&"tags".parse().unwrap(), 10, Method::Exact, 60 * SECOND, now);
    assert_eq!(plan.take_due(now).0, names(&["tags"]));
}

fn start(plan: &mut Plan, name: &str) -> Start {
    plan.open(collection(Trigger::Schedule, names(&[name])));
    plan.start_next().unwrap()
}

#[test]
fn a_table_found_large_is_followed_at_its_own_interval_where_it_can_be() {
    let (mut plan, now) = plan(1);
    let tags: QueryName = "tags".parse().unwrap();
    plan.take_due(now);
    assert_eq!(plan.learn_refusals(|_| false), [].into(), "of none that is not followed anyway");
    let first = start(&mut plan, "tags");
    assert!(first.may_follow && !first.follows);
    assert!(plan.found_rows(&tags, 200_000), "so it waits for the follower");
    assert_eq!(plan.followed_tables(), [("tags".to_owned(), 10 * SECOND)].into());
    assert!(!start(&mut plan, "blobs").follows, "and leaves its slot to another");
    plan.finish(&tags, Some(200_000), SECOND, None);
    assert_eq!(plan.interval(&tags), Some(10 * SECOND));
    assert!(plan.take_due(now + 10 * SECOND).0.contains("tags"));
    assert!(start(&mut plan, "tags").follows, "without a free slot");
    plan.finish(&tags, Some(50_000), SECOND, None);
    assert_eq!(plan.followed_tables(), [].into());
}

#[test]
fn a_table_that_cannot_be_followed_is_counted_seldom_until_it_can() {
    let (mut plan, now) = plan(2);
    let tags: QueryName = "tags".parse().unwrap();
    plan.carry_over(&tags, 1_000_000, Method::Followed, 60 * SECOND, now);
    assert!(!plan.take_due(now).0.contains("tags"), "nobody knows yet whether it can be");
    assert_eq!(plan.learn_refusals(|table| table != "tags"), [("tags".to_owned(), false)].into());
    assert!(plan.take_due(now).0.contains("tags"), "it is an hour late by its own interval");
    assert!(start(&mut plan, "tags").follows);
    assert!(plan.counts_instead(&tags).is_some());
    assert_eq!(plan.learn_refusals(|_| true), [("tags".to_owned(), true)].into());
    plan.finish(&tags, Some(1_000_000), SECOND, None);
    assert_eq!(plan.interval(&tags), Some(pace::LARGE_TABLE_INTERVAL));
    assert!(!start(&mut plan, "tags").follows, "a request is not held up by that");
    assert_eq!(plan.followed_tables().len(), 1, "it is looked at all the same");
}

#[test]
fn who_must_follow_does_not_count_instead() {
    let now = BootTime::from_boot(START);
    let mut queries = catalog::queries(Catalog::All, 10 * SECOND, 10 * SECOND);
    queries.retain(|query| query.name.as_str() == "tags");
    queries[0].method = Method::Followed;
    let mut plan = Plan::new(&queries, 2, now);
    assert!(plan.may_follow());
    assert!(start(&mut plan, "tags").follows);
    plan.finish(&"tags".parse().unwrap(), Some(1), SECOND, None);
    assert!(start(&mut plan, "tags").follows, "however small it is");
}

#[test]
fn a_cancelled_run_cancels_its_collection_and_a_failed_one_tells_why() {
    let (mut plan, _) = plan(2);
    for (reasons, state, why) in [
        ([FailureReason::Connection, FailureReason::Connection], CollectionState::Failed, FailureReason::Connection),
        ([FailureReason::Cancelled, FailureReason::Timeout], CollectionState::Cancelled, FailureReason::Cancelled),
    ] {
        plan.open(collection(Trigger::Schedule, names(&["blobs", "tags"])));
        let mut done = Vec::new();
        for reason in reasons {
            let Start { query, .. } = plan.start_next().unwrap();
            let failure = Failure::new(reason, "");
            done.extend(plan.finish(&query.name, None, SECOND, Some(&failure)));
        }
        assert_eq!(done[0].state, state);
        assert_eq!(done[0].failure.as_ref().map(|failure| failure.reason), Some(why));
    }
}

#[test]
fn slow_tables_leave_a_slot_to_the_others() {
    let (mut plan, _) = plan(2);
    for name in ["tags", "blobs"] {
        plan.open(collection(Trigger::Schedule, names(&[name])));
        let Start { query, .. } = plan.start_next().unwrap();
        plan.finish(&query.name, None, 10 * SECOND, Some(&timeout()));
    }
    plan.open(collection(Trigger::Request, names(&["tags", "blobs", "layers"])));
    assert_eq!(plan.start_next().unwrap().query.name.as_str(), "layers");
    assert!(["tags", "blobs"].contains(&plan.start_next().unwrap().query.name.as_str()));
    plan.finish(&"layers".parse().unwrap(), Some(1), SECOND, None);
    assert!(plan.start_next().is_none(), "the last slot is not for a second suspect");
}

#[test]
fn the_state_of_a_collection_tells_how_many_failed() {
    let (mut plan, _) = plan(2);
    for (failing, state) in [
        (&[][..], CollectionState::Succeeded),
        (&["tags"][..], CollectionState::PartiallySucceeded),
        (&["blobs", "tags"][..], CollectionState::Failed),
    ] {
        plan.open(collection(Trigger::Schedule, names(&["blobs", "tags"])));
        let mut done = Vec::new();
        while let Some(Start { query, .. }) = plan.start_next() {
            let failure = failing.contains(&query.name.as_str()).then(timeout);
            done.extend(plan.finish(&query.name, None, SECOND, failure.as_ref()));
        }
        assert_eq!(done.last().map(|collection| collection.state), Some(state));
    }
}

#[test]
fn a_missing_table_is_no_failure() {
    let (mut plan, _) = plan(2);
    plan.open(collection(Trigger::Schedule, names(&["tags"])));
    plan.start_next().unwrap();
    let missing = Failure::new(FailureReason::TableMissing, "no table");
    let done = plan.finish(&"tags".parse().unwrap(), None, SECOND, Some(&missing));
    assert_eq!(done[0].state, CollectionState::Succeeded);
}

#[test]
fn a_query_that_is_not_configured_here_fails_alone() {
    let (mut plan, _) = plan(2);
    let done = plan.open(collection(Trigger::Request, names(&["nobody_knows_me"]))).unwrap();
    assert_eq!(done.state, CollectionState::Failed);
    assert!(plan.open(collection(Trigger::Request, names(&["nobody_knows_me", "tags"]))).is_none());
}
