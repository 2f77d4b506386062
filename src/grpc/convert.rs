//! Domain values to messages. A field that is not known stays unset; nothing becomes a zero.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use tonic::Status;

use crate::{
    claim::{LeaseState, Observation},
    collection::{Collection, CollectionState, Trigger},
    proto::v1,
    query::{Method, Query, QueryName},
    snapshot::Count,
};

use super::status;

/// One count, with `stale` as of `now`.
pub fn row_count(name: &QueryName, count: &Count, now: SystemTime) -> v1::RowCount {
    v1::RowCount {
        query_name: name.to_string(),
        row_count: count.value,
        method: count.value.map_or(v1::Method::Unspecified, |_| method(count.method)).into(),
        lower_bound: count.lower_bound,
        upper_bound: count.upper_bound,
        observe_time: count.observe_time.map(Timestamp::from),
        complete_until_time: count.complete_until_time.map(Timestamp::from),
        anchor_time: count.anchor_time.map(Timestamp::from),
        attempt_time: count.attempt_time.map(Timestamp::from),
        query_duration: count.query_duration.map(duration),
        error: count.failure.as_ref().map(status::of_failure),
        stale: count.is_stale(now),
        collection_id: count.collection_id.map(|id| id.to_string()).unwrap_or_default(),
        epoch: count.epoch,
    }
}

/// A configured query as it is counted now; `count` is its newest, where there is one.
pub fn query(query: &Query, count: Option<&Count>) -> v1::Query {
    // Until a count tells otherwise; `auto` means exact.
    let counted_by = count.filter(|count| count.value.is_some()).map_or(Method::Exact, |count| count.method);
    let chosen = if query.method == Method::Auto { method(counted_by) } else { v1::Method::Unspecified };
    v1::Query {
        query_name: query.name.to_string(),
        description: query.description.clone(),
        method: method(query.method).into(),
        chosen_method: chosen.into(),
        table: query.table().unwrap_or_default().to_owned(),
        interval: Some(duration(count.map_or(query.interval, |count| count.interval))),
        statement_timeout: Some(duration(query.timeout)),
    }
}

/// A collection.
pub fn collection(collection: &Collection) -> v1::Collection {
    let names = |names: &std::collections::BTreeSet<QueryName>| names.iter().map(ToString::to_string).collect();
    v1::Collection {
        collection_id: collection.id.to_string(),
        state: collection_state(collection.state).into(),
        trigger: trigger(collection.trigger).into(),
        create_time: Some(collection.create_time.into()),
        start_time: collection.start_time.map(Timestamp::from),
        end_time: collection.end_time.map(Timestamp::from),
        query_names: names(&collection.query_names),
        failed_query_names: names(&collection.failed_query_names),
        instance_id: collection.instance_id.clone(),
        epoch: collection.epoch,
        error: collection.failure.as_ref().map(status::of_failure),
    }
}

/// The lease of this name as it was observed.
pub fn lease(name: &str, observed: &Observation) -> v1::Lease {
    let known = |span: Duration| (!span.is_zero()).then(|| duration(span));
    v1::Lease {
        lease_name: name.to_owned(),
        state: lease_state(observed.state).into(),
        holder_id: observed.holder.clone(),
        holder_address: observed.holder_address.clone(),
        epoch: observed.epoch,
        acquire_time: observed.acquire_time.map(Timestamp::from),
        renew_time: observed.renew_time.map(Timestamp::from),
        expire_time: observed.expire_time.map(Timestamp::from),
        lease_duration: known(observed.lease_duration),
        remaining_duration: known(observed.remaining),
        quarantine_remaining_duration: known(observed.quarantine_remaining),
        // A store that was never heard of was observed at no time.
        observe_time: (observed.observe_time > SystemTime::UNIX_EPOCH).then(|| observed.observe_time.into()),
    }
}

/// A span; more than protobuf can say becomes its longest.
pub fn duration(span: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(span).unwrap_or(prost_types::Duration { seconds: 315_576_000_000, nanos: 0 })
}

/// A span of the caller's; unset is `None`.
pub fn optional_span(field: &str, span: Option<prost_types::Duration>) -> Result<Option<Duration>, Status> {
    let Some(span) = span else { return Ok(None) };
    Duration::try_from(span).map(Some).map_err(|_| status::invalid_field(field, "must not be negative"))
}

fn method(method: Method) -> v1::Method {
    match method {
        Method::Exact => v1::Method::Exact,
        Method::ExactCapped => v1::Method::ExactCapped,
        Method::Followed => v1::Method::Followed,
        Method::Estimated => v1::Method::Estimated,
        Method::Auto => v1::Method::Auto,
    }
}

fn collection_state(state: CollectionState) -> v1::collection::State {
    match state {
        CollectionState::Pending => v1::collection::State::Pending,
        CollectionState::Running => v1::collection::State::Running,
        CollectionState::Succeeded => v1::collection::State::Succeeded,
        CollectionState::PartiallySucceeded => v1::collection::State::PartiallySucceeded,
        CollectionState::Failed => v1::collection::State::Failed,
        CollectionState::Cancelled => v1::collection::State::Cancelled,
    }
}

fn trigger(trigger: Trigger) -> v1::collection::Trigger {
    match trigger {
        Trigger::Schedule => v1::collection::Trigger::Schedule,
        Trigger::Request => v1::collection::Trigger::Request,
        Trigger::Leadership => v1::collection::Trigger::Leadership,
    }
}

fn lease_state(state: LeaseState) -> v1::lease::State {
    match state {
        LeaseState::Held => v1::lease::State::Held,
        LeaseState::Free => v1::lease::State::Free,
        LeaseState::Quarantined => v1::lease::State::Quarantined,
        LeaseState::Unknown => v1::lease::State::Unknown,
    }
}
