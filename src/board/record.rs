//! Snapshots and collections as bytes. Instances of two versions share one board during a rolling upgrade: fields that
//! are added later are ignored, and a record of a newer version is refused as a whole rather than half understood.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message;

use super::Error;
use crate::{
    collection::{Collection, CollectionId, CollectionState, Trigger},
    failure::{Failure, FailureReason},
    proto::board::{CollectionRecord, CountRecord, FailureRecord, SnapshotRecord},
    query::{Method, QueryName},
    snapshot::{Count, Snapshot},
};

/// The newest version that this program reads, and the one that it writes.
pub(super) const VERSION: i32 = 1;

/// A snapshot as bytes.
pub fn encode_snapshot(snapshot: &Snapshot) -> Vec<u8> {
    let Snapshot { epoch, token, revision, publish_time, last_collection, counts } = snapshot;
    SnapshotRecord {
        version: VERSION,
        epoch: *epoch,
        token: token.clone(),
        revision: *revision,
        publish_time_us: to_us(*publish_time),
        last_collection_id: id_text(*last_collection),
        counts: counts.iter().map(|(name, count)| count_record(name, count)).collect(),
    }
    .encode_to_vec()
}

/// The snapshot of these bytes.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Snapshot, Error> {
    let record = SnapshotRecord::decode(bytes).map_err(|error| malformed("a snapshot", error))?;
    check_version(record.version)?;
    Ok(Snapshot {
        epoch: record.epoch,
        token: record.token,
        revision: record.revision,
        publish_time: from_us(record.publish_time_us),
        last_collection: optional_id(&record.last_collection_id)?,
        counts: record.counts.into_iter().map(count_of).collect::<Result<_, _>>()?,
    })
}

/// A collection as bytes.
pub fn encode_collection(collection: &Collection) -> Vec<u8> {
    let Collection {
        id,
        state,
        trigger,
        create_time,
        start_time,
        end_time,
        query_names,
        failed_query_names,
        instance_id,
        epoch,
        failure,
    } = collection;
    CollectionRecord {
        version: VERSION,
        collection_id: id.to_string(),
        state: state.as_str().to_owned(),
        trigger: trigger.as_str().to_owned(),
        create_time_us: to_us(*create_time),
        start_time_us: start_time.map(to_us),
        end_time_us: end_time.map(to_us),
        query_names: query_names.iter().map(ToString::to_string).collect(),
        failed_query_names: failed_query_names.iter().map(ToString::to_string).collect(),
        instance_id: instance_id.clone(),
        epoch: *epoch,
        failure: failure.as_ref().map(failure_record),
    }
    .encode_to_vec()
}

/// The collection of these bytes.
pub fn decode_collection(bytes: &[u8]) -> Result<Collection, Error> {
    let record = CollectionRecord::decode(bytes).map_err(|error| malformed("a collection", error))?;
    check_version(record.version)?;
    Ok(Collection {
        id: parse("collection id", &record.collection_id)?,
        state: named("state", &CollectionState::ALL, CollectionState::as_str, &record.state)?,
        trigger: named("trigger", &Trigger::ALL, Trigger::as_str, &record.trigger)?,
        create_time: from_us(record.create_time_us),
        start_time: record.start_time_us.map(from_us),
        end_time: record.end_time_us.map(from_us),
        query_names: names(&record.query_names)?,
        failed_query_names: names(&record.failed_query_names)?,
        instance_id: record.instance_id,
        epoch: record.epoch,
        failure: record.failure.map(failure_of).transpose()?,
    })
}

/// Microseconds since the Unix epoch; zero before it.
pub fn to_us(time: SystemTime) -> i64 {
    span_us(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The time that lies so many microseconds after the Unix epoch.
pub fn from_us(us: i64) -> SystemTime {
    UNIX_EPOCH + span(us)
}

/// Parses one field of a record, naming it when it cannot be.
pub fn parse<T>(what: &str, text: &str) -> Result<T, Error>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text.parse().map_err(|error| malformed(what, error))
}

fn count_record(name: &QueryName, count: &Count) -> CountRecord {
    let Count {
        value,
        method,
        lower_bound,
        upper_bound,
        observe_time,
        complete_until_time,
        anchor_time,
        attempt_time,
        query_duration,
        failure,
        collection_id,
        epoch,
        interval,
        stale_after,
    } = count;
    CountRecord {
        query_name: name.to_string(),
        value: *value,
        method: method.as_str().to_owned(),
        lower_bound: *lower_bound,
        upper_bound: *upper_bound,
        observe_time_us: observe_time.map(to_us),
        complete_until_time_us: complete_until_time.map(to_us),
        anchor_time_us: anchor_time.map(to_us),
        attempt_time_us: attempt_time.map(to_us),
        query_duration_us: query_duration.map(span_us),
        failure: failure.as_ref().map(failure_record),
        collection_id: id_text(*collection_id),
        epoch: *epoch,
        interval_us: span_us(*interval),
        stale_after_us: span_us(*stale_after),
    }
}

fn count_of(record: CountRecord) -> Result<(QueryName, Count), Error> {
    let count = Count {
        value: record.value,
        method: named("method", &Method::ALL, Method::as_str, &record.method)?,
        lower_bound: record.lower_bound,
        upper_bound: record.upper_bound,
        observe_time: record.observe_time_us.map(from_us),
        complete_until_time: record.complete_until_time_us.map(from_us),
        anchor_time: record.anchor_time_us.map(from_us),
        attempt_time: record.attempt_time_us.map(from_us),
        query_duration: record.query_duration_us.map(span),
        failure: record.failure.map(failure_of).transpose()?,
        collection_id: optional_id(&record.collection_id)?,
        epoch: record.epoch,
        interval: span(record.interval_us),
        stale_after: span(record.stale_after_us),
    };
    Ok((parse("query name", &record.query_name)?, count))
}

fn failure_record(failure: &Failure) -> FailureRecord {
    FailureRecord { reason: failure.reason.as_str().to_owned(), message: failure.message.clone() }
}

fn failure_of(record: FailureRecord) -> Result<Failure, Error> {
    let reason = named("reason", &FailureReason::ALL, FailureReason::as_str, &record.reason)?;
    Ok(Failure::new(reason, record.message))
}

pub(super) fn check_version(version: i32) -> Result<(), Error> {
    if (1..=VERSION).contains(&version) {
        return Ok(());
    }
    Err(Error::Malformed(format!("a record of version {version}, and this instance reads up to {VERSION}: upgrade it")))
}

fn named<T: Copy>(what: &str, all: &[T], name: fn(T) -> &'static str, text: &str) -> Result<T, Error> {
    all.iter().copied().find(|one| name(*one) == text).ok_or_else(|| malformed(what, format!("unknown name {text:?}")))
}

fn names(texts: &[String]) -> Result<BTreeSet<QueryName>, Error> {
    texts.iter().map(|text| parse("query name", text)).collect()
}

fn id_text(id: Option<CollectionId>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

fn optional_id(text: &str) -> Result<Option<CollectionId>, Error> {
    if text.is_empty() { Ok(None) } else { parse("collection id", text).map(Some) }
}

fn span_us(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

fn span(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
}

pub(super) fn malformed(what: &str, error: impl std::fmt::Display) -> Error {
    Error::Malformed(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let full = Count {
            value: Some(7),
            method: Method::Followed,
            lower_bound: Some(0),
            upper_bound: Some(9),
            observe_time: Some(from_us(1_700_000_000_000_001)),
            complete_until_time: Some(from_us(1_700_000_000_000_000)),
            anchor_time: Some(from_us(1_600_000_000_000_000)),
            attempt_time: Some(from_us(1_700_000_000_000_002)),
            query_duration: Some(Duration::from_micros(3)),
            failure: Some(Failure::new(FailureReason::Locked, "held by another")),
            collection_id: Some(CollectionId::generate()),
            epoch: 1_700_000_000_000_000,
            interval: Duration::from_secs(10),
            stale_after: Duration::from_secs(30),
        };
        let never = Count::never_run(Method::Auto, Duration::from_secs(1), Duration::from_secs(3));
        Snapshot {
            epoch: 1_700_000_000_000_000,
            token: "token".to_owned(),
            revision: 1_700_000_000_000_004,
            publish_time: from_us(1_700_000_000_000_005),
            last_collection: Some(CollectionId::generate()),
            counts: [("tags".parse().unwrap(), full), ("blobs".parse().unwrap(), never)].into(),
        }
    }

    fn collection() -> Collection {
        Collection {
            id: CollectionId::generate(),
            state: CollectionState::PartiallySucceeded,
            trigger: Trigger::Request,
            create_time: from_us(1),
            start_time: Some(from_us(2)),
            end_time: Some(from_us(3)),
            query_names: ["blobs".parse().unwrap(), "tags".parse().unwrap()].into(),
            failed_query_names: ["tags".parse().unwrap()].into(),
            instance_id: "one".to_owned(),
            epoch: 4,
            failure: Some(Failure::new(FailureReason::Cancelled, "lost lease")),
        }
    }

    #[test]
    fn a_snapshot_comes_back_as_it_went() {
        let full = snapshot();
        assert_eq!(decode_snapshot(&encode_snapshot(&full)).unwrap(), full);
        let empty = Snapshot { last_collection: None, counts: [].into(), ..full };
        assert_eq!(decode_snapshot(&encode_snapshot(&empty)).unwrap(), empty);
    }

    #[test]
    fn a_collection_comes_back_in_every_state() {
        for state in CollectionState::ALL {
            let collection = Collection { state, ..collection() };
            assert_eq!(decode_collection(&encode_collection(&collection)).unwrap(), collection);
        }
        let bare = Collection {
            start_time: None,
            end_time: None,
            failed_query_names: [].into(),
            instance_id: String::new(),
            failure: None,
            ..collection()
        };
        assert_eq!(decode_collection(&encode_collection(&bare)).unwrap(), bare);
    }

    #[test]
    fn a_newer_version_is_refused() {
        let newer = CollectionRecord { version: VERSION + 1, ..CollectionRecord::default() };
        let error = decode_collection(&newer.encode_to_vec()).unwrap_err();
        assert!(matches!(&error, Error::Malformed(text) if text.contains("version 2")), "{error}");
        let newer = SnapshotRecord { version: VERSION + 1, ..SnapshotRecord::default() };
        assert!(matches!(decode_snapshot(&newer.encode_to_vec()), Err(Error::Malformed(_))));
    }

    #[test]
    fn a_field_added_later_is_ignored() {
        // Field 100, a varint, of value 1: what a newer program of the same version might add.
        let added = [0xa0, 0x06, 0x01];
        let collection = collection();
        let bytes = [encode_collection(&collection).as_slice(), &added].concat();
        assert_eq!(decode_collection(&bytes).unwrap(), collection);
    }

    #[test]
    fn an_unknown_name_or_broken_bytes_are_malformed() {
        let record = CollectionRecord {
            version: VERSION,
            collection_id: CollectionId::generate().to_string(),
            state: "dreaming".to_owned(),
            ..CollectionRecord::default()
        };
        let error = decode_collection(&record.encode_to_vec()).unwrap_err();
        assert!(error.to_string().contains("dreaming"), "{error}");
        assert!(matches!(decode_snapshot(b"\xff\xff"), Err(Error::Malformed(_))));
    }
}
