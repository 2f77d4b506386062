//! TriggerCollection, GetCollection and ListCollections, on any instance: the wish goes to the board, the holder carries
//! it out, and the end comes back with the board.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use crate::{
    board::{self, Board, TriggerRequest, Triggered, WaitOutcome, view::Seen, wait_for_end},
    collection::{Collection, CollectionId},
    metrics::collector::CollectorMetrics,
    proto::v1,
};

use super::{convert, counts::Counts, layer::Deadline, status};

/// Calls that wait at once on one instance.
const MAX_WAITERS: usize = 1024;

/// The longest wait for the end of a collection.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What is left of the caller's deadline for the answer to travel.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// The longest that a call waits for the board itself: a Redis that hangs is told before the caller's patience ends.
const BOARD_ANSWER: Duration = Duration::from_secs(2);

/// Of ListCollections: when the caller does not say, and at most.
const PAGE_SIZE: (usize, usize) = (50, 1000);

/// Answers what is about collections.
#[derive(Clone)]
pub struct Collections {
    /// Knows which queries there are, and has the copy of the board.
    pub counts: Counts,
    /// Where wishes go.
    pub board: Arc<dyn Board>,
    /// Cancelled when the instance stops.
    pub stop: CancellationToken,
    /// Instruments.
    pub metrics: Arc<CollectorMetrics>,
    /// Places for waiting calls.
    pub waiters: Arc<Semaphore>,
}

// === impl Collections ===

impl Collections {
    /// With every place for waiting calls free.
    pub fn new(counts: Counts, board: Arc<dyn Board>, stop: CancellationToken, metrics: Arc<CollectorMetrics>) -> Self {
        Self { counts, board, stop, metrics, waiters: Arc::new(Semaphore::new(MAX_WAITERS)) }
    }

    /// TriggerCollection.
    pub async fn trigger(
        &self,
        request: v1::TriggerCollectionRequest,
        deadline: Option<Deadline>,
    ) -> Result<v1::TriggerCollectionResponse, Status> {
        let wait = wait_until(request.wait_timeout, deadline)?;
        let request_id = match request.request_id.as_str() {
            "" => Uuid::new_v4(),
            text => text.parse().map_err(|_| status::invalid_field("request_id", "is not a UUID"))?,
        };
        let seen = self.counts.view.now();
        let mut query_names = self.counts.names(&request.query_names, &seen)?;
        if query_names.is_empty() {
            query_names = self.counts.queries.iter().map(|query| query.name.clone()).collect::<BTreeSet<_>>();
        }
        if query_names.is_empty() {
            return Err(status::invalid_field("query_names", "no query is configured"));
        }
        // A place first: a call that is refused must not have asked for anything.
        let _place = self.place(wait)?;
        let new_id = CollectionId::generate();
        let asked = TriggerRequest { request_id, query_names: query_names.clone(), new_id };
        let (id, joined) = match answered(self.board.trigger(asked)).await? {
            Triggered::Created(id) => (id, false),
            Triggered::Joined(id) => (id, true),
            Triggered::Reused => return Err(status::request_id_reused(request_id)),
        };
        if joined {
            self.metrics.joined();
        }
        let known = self.wait(id, wait.unwrap_or_else(Instant::now)).await?;
        // Not heard of yet: the board has it, only the news is under way.
        let collection = known.unwrap_or_else(|| Collection::pending(id, query_names));
        Ok(v1::TriggerCollectionResponse { collection: Some(convert::collection(&collection)), joined })
    }

    /// GetCollection.
    pub async fn get(
        &self,
        request: v1::GetCollectionRequest,
        deadline: Option<Deadline>,
    ) -> Result<v1::GetCollectionResponse, Status> {
        let wait = wait_until(request.wait_timeout, deadline)?;
        let id: CollectionId =
            request.collection_id.parse().map_err(|_| status::invalid_field("collection_id", "is not a UUID"))?;
        let known = self.find(id).await?;
        let _place = self.place(wait)?;
        let collection = self.wait(id, wait.unwrap_or_else(Instant::now)).await?.unwrap_or(known);
        Ok(v1::GetCollectionResponse { collection: Some(convert::collection(&collection)) })
    }

    /// The collection as it is known here, or else on the board: whoever was just told of it, perhaps by another
    /// instance, is sooner here than the news.
    async fn find(&self, id: CollectionId) -> Result<Collection, Status> {
        if let Some(known) = self.counts.view.now().collection(id) {
            return Ok(known);
        }
        let state = answered(self.board.load()).await?;
        Seen { state, ..Seen::default() }.collection(id).ok_or_else(|| status::collection_not_found(id))
    }

    /// ListCollections. The token is the last id of the page before: ids are unique and ordered by time, so pages stay
    /// right while collections come and go.
    pub fn list(&self, request: &v1::ListCollectionsRequest) -> Result<v1::ListCollectionsResponse, Status> {
        let size = match usize::try_from(request.page_size) {
            Err(_) => return Err(status::invalid_field("page_size", "must not be negative")),
            Ok(0) => PAGE_SIZE.0,
            Ok(size) => size.min(PAGE_SIZE.1),
        };
        let before =
            match request.page_token.as_str() {
                "" => None,
                text => Some(text.parse::<CollectionId>().map_err(|_| {
                    status::invalid_field("page_token", "is not the next_page_token of an earlier page")
                })?),
            };
        Ok(page(&self.counts.view.now(), before, size))
    }

    fn place(&self, wait: Option<Instant>) -> Result<Option<SemaphorePermit<'_>>, Status> {
        let place = || self.waiters.try_acquire().map_err(|_| status::too_many_waiters(MAX_WAITERS));
        wait.map(|_| place()).transpose()
    }

    /// The collection as it is at its end or at `until`, whichever comes first.
    async fn wait(&self, id: CollectionId, until: Instant) -> Result<Option<Collection>, Status> {
        tokio::select! {
            outcome = wait_for_end(&self.counts.view, id, until) => match outcome {
                WaitOutcome::Done(collection) => Ok(Some(collection)),
                WaitOutcome::NotYet(collection) => Ok(collection),
                WaitOutcome::Vanished => Err(status::store_lost_data()),
            },
            () = self.stop.cancelled() => Err(status::shutting_down()),
        }
    }
}

/// The newest of what is seen, from `before` on.
pub fn page(seen: &Seen, before: Option<CollectionId>, size: usize) -> v1::ListCollectionsResponse {
    let mut rest = seen.collections_newest_first();
    rest.retain(|collection| before.is_none_or(|before| collection.id < before));
    let has_more = rest.len() > size;
    rest.truncate(size);
    let next_page_token = rest.last().filter(|_| has_more).map(|last| last.id.to_string()).unwrap_or_default();
    let collections = rest.iter().map(convert::collection).collect();
    v1::ListCollectionsResponse { collections, next_page_token }
}

/// What the board answers, in time.
async fn answered<T>(answer: impl Future<Output = Result<T, board::Error>>) -> Result<T, Status> {
    let answer = timeout(BOARD_ANSWER, answer).await.map_err(|_| status::store_unavailable(&"no answer in time"))?;
    answer.map_err(|error| status::from_board(&error))
}

/// Until when to wait; `None`: not at all. The caller's deadline leaves time for the answer.
fn wait_until(wait: Option<prost_types::Duration>, deadline: Option<Deadline>) -> Result<Option<Instant>, Status> {
    let wait = convert::optional_span("wait_timeout", wait)?.filter(|wait| !wait.is_zero());
    let Some(wait) = wait else { return Ok(None) };
    let until = Instant::now() + wait.min(MAX_WAIT);
    let latest = deadline.and_then(|Deadline(at)| at.checked_sub(ANSWER_TIME));
    Ok(Some(latest.map_or(until, |latest| until.min(latest))))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::{
        board::{memory::MemoryBoard, view::View},
        clock::SystemClock,
        memory_store::MemoryStore,
        metrics::Exporter,
    };

    #[tokio::test]
    async fn a_collection_is_found_before_the_news_of_it_came() {
        let board = MemoryBoard::new(Arc::new(MemoryStore::new(Arc::new(SystemClock))));
        let new_id = CollectionId::generate();
        let query_names: BTreeSet<_> = ["tags".parse().unwrap()].into();
        board.trigger(TriggerRequest { request_id: Uuid::new_v4(), query_names, new_id }).await.unwrap();

        // A view that nobody keeps current.
        let counts = Counts::new(View::new(), [].into());
        let metrics = Arc::new(CollectorMetrics::new(&Exporter::new().unwrap().meter()));
        let collections = Collections::new(counts, board, CancellationToken::new(), metrics);
        let get = |id: CollectionId| v1::GetCollectionRequest { collection_id: id.to_string(), wait_timeout: None };
        let found = collections.get(get(new_id), None).await.unwrap().collection.unwrap();
        assert_eq!((found.collection_id, found.query_names), (new_id.to_string(), vec!["tags".to_owned()]));
        let unknown = collections.get(get(CollectionId::generate()), None).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound);
    }
}
