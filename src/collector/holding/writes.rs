//! What goes out: first through the gate, then to the board.

use std::time::{Duration, SystemTime};

use tracing::{debug, warn};

use crate::{
    board::{self, Publication, Written},
    clock::BootTime,
    collector::outbox::Batch,
    history,
    snapshot::Snapshot,
};

use super::{Done, Holding, writer::Writer};

/// The last words of a stopping holder get this long.
const LAST_WRITE: Duration = Duration::from_millis(400);

impl Holding<'_> {
    /// Sends what is due to readers: first through the gate, so that this instance shows nothing that it may not, then
    /// to the board.
    pub(super) fn write(&mut self, now: BootTime) {
        if self.writing.is_some() {
            return;
        }
        let Some(batch) = self.outbox.take_due(now) else { return };
        let Some(publication) = self.publication(&batch) else { return };
        self.writing = Some(batch);
        let (board, writer) = (self.collector.board.clone(), self.writer());
        self.tasks.spawn(async move {
            Done::Write(writer.write(async |proof| board.publish(&proof, publication).await).await)
        });
    }

    pub(super) fn writer(&self) -> Writer {
        let (gate, clock) = (self.collector.gate.clone(), self.collector.clock.clone());
        Writer::new(gate, clock, self.grant.clone())
    }

    fn publication(&mut self, batch: &Batch) -> Option<Publication> {
        self.revision = (self.revision + 1).max(self.grant.epoch);
        let snapshot = Snapshot {
            epoch: self.grant.epoch,
            token: self.grant.token.clone(),
            revision: self.revision,
            publish_time: SystemTime::now(),
            last_collection: self.last_collection,
            counts: self.counts.clone(),
        };
        if !self.collector.gate.publish(snapshot.clone()) {
            self.collector.metrics.lease.fenced();
            return None;
        }
        self.collector.view.offer(snapshot.clone());
        let forget = board::to_forget(&self.collector.view.now().state, SystemTime::now());
        let collections = batch.collections.values().cloned().collect();
        let followed = self.following.state_to_save(self.now());
        Some(Publication { snapshot: Some(snapshot), followed, collections, forget })
    }

    pub(super) fn write_ended(&mut self, result: Result<Written, board::Error>) {
        let batch = self.writing.take();
        self.tell_written(&result);
        match result {
            Ok(Written::Accepted) => {
                self.board_fails = false;
                return;
            }
            Ok(Written::NotHolder) => {
                self.refused();
            }
            Err(error) => self.board_failed(&error),
        }
        self.take_back(batch);
    }

    fn take_back(&mut self, batch: Option<Batch>) {
        if let Some(batch) = batch {
            let now = self.now();
            self.outbox.take_back(batch, now);
        }
    }

    /// The board does not know this instance as the holder: only a renewal tells whether it still is.
    pub(super) fn refused(&mut self) {
        debug!("The board does not know this instance as the holder; renewing");
        self.collector.metrics.lease.fenced();
        let lease = self.collector.lease.clone();
        self.tasks.spawn(async move {
            lease.renew_now().await;
            Done::Told
        });
    }

    pub(super) fn board_failed(&mut self, error: &board::Error) {
        if !std::mem::replace(&mut self.board_fails, true) {
            warn!(%error, "Cannot write to the board; counting goes on and the writes are tried again");
        }
    }

    /// Ends what runs and leaves the board in order, in bounded time.
    pub(super) async fn stop(mut self) {
        self.end_runs("the instance that ran it was stopped").await;
        // Whether a write that was under way reached the board is not known; twice does no harm.
        let under_way = self.writing.take();
        self.take_back(under_way);
        let now = self.now();
        self.outbox.write_at(now);
        let Some(batch) = self.outbox.take_due(now) else { return };
        let Some(mut publication) = self.publication(&batch) else { return };
        publication.followed = self.following.state();
        let writer = self.writer();
        let last = writer.write(async |proof| self.collector.board.publish(&proof, publication).await);
        match tokio::time::timeout(LAST_WRITE, last).await {
            Ok(Ok(Written::Accepted)) => self.tell_written(&Ok(Written::Accepted)),
            outcome => warn!(?outcome, "The last counts did not reach the board"),
        }
    }

    /// Of the last publication: no other is made while it is under way.
    fn tell_written(&self, result: &Result<Written, board::Error>) {
        let outcome = match result {
            Ok(Written::Accepted) => "accepted",
            Ok(Written::NotHolder) => "fenced",
            Err(_) => "unanswered",
        };
        history::written(&self.grant, self.revision, self.now(), outcome);
    }
}
