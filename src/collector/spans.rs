//! A span for each collection, from its beginning to its end on this instance; the spans of its runs lie under it. Each
//! is the root of a trace: a collection may serve many calls, and none of them owns it.

use std::collections::BTreeMap;

use tracing::{Span, field::Empty, info_span};

use crate::collection::{Collection, CollectionId, CollectionState};

/// The spans of the open collections.
#[derive(Default)]
pub struct Spans {
    open: BTreeMap<CollectionId, Span>,
}

// === impl Spans ===

impl Spans {
    /// A collection began.
    pub fn began(&mut self, collection: &Collection) {
        let span = info_span!(
            parent: None,
            "collection",
            otel.status_code = Empty,
            collection_id = %collection.id,
            trigger = collection.trigger.as_str(),
            queries = collection.query_names.len(),
            state = Empty,
        );
        self.open.insert(collection.id, span);
    }

    /// The span of an open collection.
    pub fn of(&self, id: Option<CollectionId>) -> Span {
        id.and_then(|id| self.open.get(&id)).cloned().unwrap_or_else(Span::none)
    }

    /// It ended.
    pub fn ended(&mut self, collection: &Collection) {
        let Some(span) = self.open.remove(&collection.id) else { return };
        span.record("state", collection.state.as_str());
        if collection.state != CollectionState::Succeeded {
            span.record("otel.status_code", "ERROR");
        }
    }
}
