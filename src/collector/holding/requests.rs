//! Requested collections: each begins on the board before its first query begins on the database.

use crate::{
    board::{self, Begun, Pending},
    clock::BootTime,
    collection::{Collection, Trigger},
};

use super::{Done, Holding, RETRY_WAIT};

impl Holding<'_> {
    /// Begins the collection that calls wait for, unless one of its kind runs or began a moment ago.
    pub(super) fn begin_pending(&mut self, now: BootTime) {
        if self.is_beginning || self.plan.has_requested() || now < self.next_request {
            return;
        }
        let pending = || self.collector.view.now().state.pending.clone();
        let Some(pending) = self.unanswered.take().or_else(pending) else { return };
        self.is_beginning = true;
        self.spawn_begin(pending);
    }

    fn spawn_begin(&mut self, pending: Pending) {
        let running = self.running(pending.id, Trigger::Request, pending.create_time, pending.query_names.clone());
        let (board, writer) = (self.collector.board.clone(), self.writer());
        self.tasks.spawn(async move {
            let result = writer.write(async |proof| board.begin(&proof, &pending, running.clone()).await).await;
            Done::Begin { pending, running, result }
        });
    }

    pub(super) fn begin_ended(&mut self, pending: Pending, running: Collection, result: Result<Begun, board::Error>) {
        let now = self.now();
        match result {
            Ok(Begun::Accepted) => {
                self.is_beginning = false;
                self.next_request = now + self.collector.config.trigger_interval;
                self.open(running, now);
                return;
            }
            // It was joined after we saw it: the union of the queries is what runs.
            Ok(Begun::Changed(Some(pending))) => {
                self.is_beginning = false;
                self.unanswered = Some(pending);
                return;
            }
            Ok(Begun::Changed(None)) => {}
            // An earlier try may have been carried out and not answered, so it is asked for again all the same.
            Ok(Begun::NotHolder) => {
                self.refused();
                self.unanswered = Some(pending);
            }
            Err(error) => {
                self.board_failed(&error);
                self.unanswered = Some(pending);
            }
        }
        self.is_beginning = false;
        self.next_request = now + RETRY_WAIT;
    }
}
