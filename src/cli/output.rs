//! Where answers go: data to stdout, notes to stderr. Colours are taken out unless stdout is a terminal that wants them.

use std::io::{self, Stdout, Write};

use anstream::AutoStream;
use anyhow::Context;
use prost::Name;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use crate::proto::DESCRIPTORS;

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// The names that grpcurl prints, integers as numbers; a stream is one object a line.
    Json,
}

/// Stdout took no more.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout: {0}")]
pub struct WriteError(#[from] io::Error);

/// Stdout in a format.
pub struct Output {
    format: Format,
    stdout: AutoStream<Stdout>,
    pool: DescriptorPool,
}

// === impl WriteError ===

impl WriteError {
    /// Whether the reader has had enough, which is no fault: `rowcount watch | head`.
    pub fn is_broken_pipe(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

// === impl Output ===

impl Output {
    /// Nothing is written yet.
    pub fn new(format: Format) -> Self {
        let pool = DescriptorPool::decode(DESCRIPTORS).expect("the compiler that made the descriptors checked them");
        Self { format, stdout: anstream::stdout(), pool }
    }

    /// Whether people read it.
    pub fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Writes whole lines.
    pub fn lines(&mut self, lines: impl IntoIterator<Item = String>) -> Result<(), WriteError> {
        for line in lines {
            writeln!(self.stdout, "{line}")?;
        }
        Ok(self.stdout.flush()?)
    }

    /// Writes an answer as one object over several lines.
    pub fn object(&mut self, message: &impl Name) -> anyhow::Result<()> {
        let text = self.json(message, PrettyFormatter::new())?;
        Ok(self.lines([text])?)
    }

    /// Writes a message of a stream as one line.
    pub fn object_line(&mut self, message: &impl Name) -> anyhow::Result<()> {
        let text = self.json(message, CompactFormatter)?;
        Ok(self.lines([text])?)
    }

    /// Fields in the order of their numbers; those that are not set are left out, as grpcurl does.
    fn json<M: Name>(&self, message: &M, formatter: impl Formatter) -> anyhow::Result<String> {
        let descriptor =
            self.pool.get_message_by_name(&M::full_name()).expect("the descriptors hold every generated message");
        let mut dynamic = DynamicMessage::new(descriptor);
        dynamic.transcode_from(message).context("cannot read the answer")?;
        let mut text = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
        let options = SerializeOptions::new().stringify_64_bit_integers(false);
        dynamic.serialize_with_options(&mut serializer, &options).context("cannot write the answer as JSON")?;
        Ok(String::from_utf8(text).expect("JSON is written as UTF-8"))
    }
}

/// Tells people something beside the data. Nobody may be listening, and that is no fault.
pub fn note(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tonic_types::{ErrorDetails, StatusExt, pb};

    use super::*;
    use crate::proto::v1::{Collection, GetRowCountsResponse, Method, RowCount, WatchRowCountsResponse, collection};

    fn json(message: &impl Name) -> serde_json::Value {
        serde_json::from_str(&Output::new(Format::Json).json(message, CompactFormatter).unwrap()).unwrap()
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
