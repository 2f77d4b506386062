//! What the status page shows, as JSON: the answers of the API in the names that grpcurl prints, the parts, and the last
//! values. Made from memory alone, and of nothing that the role read does not get from the API and `/readyz?verbose`.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use prost::Name;
use serde_json::{Map, Value, json};

use crate::{
    grpc::{collections, counts::Counts, lease::Leases},
    metrics::build,
    ops::Part,
    proto,
};

use super::history::History;

/// The last collections that are shown.
const COLLECTIONS: usize = 8;

/// What the status is made from.
#[derive(Clone)]
pub struct Status {
    /// The counts, the queries and the copy of the board.
    pub counts: Counts,
    /// The lease and this instance.
    pub leases: Leases,
    /// The last values.
    pub history: Arc<History>,
}

// === impl Status ===

impl Status {
    /// The status now; of the last values only those after the snapshot of revision `after`.
    pub fn now(&self, parts: &[Part], after: i64) -> anyhow::Result<Value> {
        let (seen, now) = (self.counts.view.now(), SystemTime::now());
        let mut status = Map::new();
        // The fields of the answers side by side: no two have one name.
        status.extend(fields(&self.leases.known())?);
        status.extend(fields(&self.counts.all(&seen, now))?);
        status.extend(fields(&self.counts.list())?);
        status.extend(fields(&collections::page(&seen, None, COLLECTIONS))?);
        status.insert("parts".to_owned(), parts.iter().map(part).collect());
        status.insert("history".to_owned(), self.history.after(after));
        status.insert("build".to_owned(), json!({ "version": build::VERSION, "revision": build::REVISION }));
        // Ages are counted from here: the browser's clock may be wrong.
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        status.insert("unixSeconds".to_owned(), now.as_secs_f64().into());
        Ok(status.into())
    }
}

fn fields(message: &impl Name) -> anyhow::Result<Map<String, Value>> {
    match proto::json::value(message)? {
        Value::Object(fields) => Ok(fields),
        other => anyhow::bail!("a message is an object, not {other}"),
    }
}

fn part(part: &Part) -> Value {
    let Part { name, ok, detail } = part;
    json!({ "name": name, "ok": ok, "detail": detail })
}
