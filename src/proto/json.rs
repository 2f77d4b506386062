//! Messages as JSON in protobuf's mapping: written as grpcurl prints them, text with integers as numbers, and read as
//! grpcurl takes them.

use std::sync::LazyLock;

use anyhow::Context;
use prost::Name;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use super::DESCRIPTORS;

/// Decoded when it is first needed: most answers are read by people.
static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("the compiler that made the descriptors checked them"));

/// Over several lines.
pub fn pretty(message: &impl Name) -> anyhow::Result<String> {
    text(message, PrettyFormatter::new())
}

/// On one line.
pub fn line(message: &impl Name) -> anyhow::Result<String> {
    text(message, CompactFormatter)
}

/// As a value in which integers of 64 bits are strings, as grpcurl prints them: a browser's numbers are too small.
pub fn value(message: &impl Name) -> anyhow::Result<serde_json::Value> {
    let options = SerializeOptions::new();
    let value = dynamic(message)?.serialize_with_options(serde_json::value::Serializer, &options);
    value.context("cannot write the answer as JSON")
}

/// The message in `text`; a field that it does not have is an error, which tells the line.
pub fn read<M: Name + Default>(text: &str) -> anyhow::Result<M> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let message = DynamicMessage::deserialize(descriptor::<M>(), &mut deserializer)?;
    deserializer.end()?;
    message.transcode_to().context("cannot read the message")
}

/// Fields in the order of their numbers; those that are not set are left out, as grpcurl does.
fn text(message: &impl Name, formatter: impl Formatter) -> anyhow::Result<String> {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    let options = SerializeOptions::new().stringify_64_bit_integers(false);
    dynamic(message)?.serialize_with_options(&mut serializer, &options).context("cannot write the answer as JSON")?;
    Ok(String::from_utf8(text).expect("JSON is written as UTF-8"))
}

fn dynamic<M: Name>(message: &M) -> anyhow::Result<DynamicMessage> {
    let mut dynamic = DynamicMessage::new(descriptor::<M>());
    dynamic.transcode_from(message).context("cannot read the answer")?;
    Ok(dynamic)
}

fn descriptor<M: Name>() -> MessageDescriptor {
    POOL.get_message_by_name(&M::full_name()).expect("the descriptors hold every generated message")
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tonic_types::{ErrorDetails, StatusExt, pb};

    use super::*;
    use crate::proto::v1::{Collection, GetRowCountsResponse, Method, RowCount, WatchRowCountsResponse, collection};

    fn json(message: &impl Name) -> serde_json::Value {
        serde_json::from_str(&line(message).unwrap()).unwrap()
    }

    #[test]
    fn integers_are_numbers_and_names_are_those_of_the_json_mapping() {
        let answer = GetRowCountsResponse {
            row_counts: vec![RowCount {
                query_name: "blobs".into(),
                row_count: Some(i64::MAX),
                method: Method::ExactCapped.into(),
                query_duration: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
                ..RowCount::default()
            }],
            last_collection: Some(Collection {
                state: collection::State::PartiallySucceeded.into(),
                ..Collection::default()
            }),
            revision: 7,
            read_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
        };
        assert_eq!(
            json(&answer),
            serde_json::json!({
                "rowCounts": [{
                    "queryName": "blobs",
                    "rowCount": i64::MAX,
                    "method": "METHOD_EXACT_CAPPED",
                    "queryDuration": "1.500s",
                }],
                "lastCollection": {"state": "STATE_PARTIALLY_SUCCEEDED"},
                "revision": 7,
                "readTime": "2023-11-14T22:13:20Z",
            })
        );
        let value = value(&answer).unwrap();
        assert_eq!(value["rowCounts"][0]["rowCount"], i64::MAX.to_string(), "as grpcurl prints it");
        assert_eq!((&value["revision"], &value["readTime"]), (&"7".into(), &"2023-11-14T22:13:20Z".into()));
    }

    #[test]
    fn a_set_zero_is_shown_and_an_unset_field_is_not() {
        let none = RowCount { query_name: "tags".into(), ..RowCount::default() };
        assert_eq!(json(&none), serde_json::json!({"queryName": "tags"}));
        let zero = RowCount { row_count: Some(0), ..none };
        assert_eq!(json(&zero), serde_json::json!({"queryName": "tags", "rowCount": 0}));
        assert_eq!(json(&WatchRowCountsResponse::default()), serde_json::json!({}));
    }

    #[test]
    fn details_of_an_error_are_spelled_out() {
        let details = ErrorDetails::with_error_info("TIMEOUT", "rowcount.v1", [("query".into(), "tags".into())]);
        let status = tonic::Status::with_error_details(tonic::Code::DeadlineExceeded, "too slow", details);
        let error = pb::Status::decode(status.details()).unwrap();
        let count = RowCount { query_name: "tags".into(), error: Some(error), ..RowCount::default() };
        assert_eq!(
            json(&count)["error"],
            serde_json::json!({
                "code": 4,
                "message": "too slow",
                "details": [{
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "TIMEOUT",
                    "domain": "rowcount.v1",
                    "metadata": {"query": "tags"},
                }],
            })
        );
    }
}
