//! The lease task: standby.rs, holder.rs, standby.rs, for ever, and here what both need: one pause, one command.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc,
    },
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    board::Event,
    claim::Role,
    clock::{BootTime, Clock},
    config::LeaseConfig,
    history,
    lease::{Backend, BoardHints, Error, Setup, Wish, survey::Finding, view::View},
    lease_protocol::{Answer, Command, Reply},
    metrics::lease::LeaseMetrics,
};

/// The task and what it remembers from one campaign to the next.
pub(super) struct Keeper {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) config: LeaseConfig,
    pub(super) instance_id: String,
    pub(super) address: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: LeaseMetrics,
    pub(super) collected_level: tracing::Level,
    pub(super) view: Arc<View>,
    events: broadcast::Receiver<Event>,
    /// No more events can come; only timers wake.
    deaf: bool,
    hint: Box<dyn Fn(i64, i64) + Send + Sync>,
    pub(super) board: Box<dyn Fn() -> BoardHints + Send + Sync>,
    /// The epoch and the revision last hinted at.
    hinted: (i64, i64),
    wishes: mpsc::Receiver<Wish>,
    /// Keeps `wishes` open when every handle is gone.
    _open: mpsc::Sender<Wish>,
    pub(super) stop: CancellationToken,
    /// The largest epoch heard of. Never sinks: a late duplicate with a lower one is refused.
    pub(super) floor: i64,
    /// By `lease.acquire: once` or by release: does not compete again.
    pub(super) retired: bool,
    /// Does not compete before.
    pub(super) hold_off: Option<BootTime>,
    /// The epoch whose holder was logged as "another instance".
    pub(super) denied_by: Option<i64>,
    /// The end of the quarantine last logged, by the store's clock.
    pub(super) quarantine_told: Option<i64>,
    /// When the lease was heard to become free.
    pub(super) freed: Option<BootTime>,
    /// Of a lease longer than the quarantine covers: told when it is another one.
    long_lease_told: Option<Finding>,
}

/// What ended a pause.
pub(super) enum Stir {
    Timer,
    Stop,
    Wish(Wish),
    Event(Event),
    /// Events were lost.
    Missed,
}

// === impl Keeper ===

impl Keeper {
    pub(super) fn new(
        setup: Setup,
        view: Arc<View>,
        open: mpsc::Sender<Wish>,
        wishes: mpsc::Receiver<Wish>,
        stop: CancellationToken,
    ) -> Self {
        let Setup { backend, events, hint, board, config, instance_id, address, clock, metrics, collected_level } =
            setup;
        Self {
            backend,
            config,
            instance_id,
            address,
            clock,
            metrics,
            collected_level,
            view,
            events,
            deaf: false,
            hint,
            board,
            hinted: (0, 0),
            wishes,
            _open: open,
            stop,
            floor: 0,
            retired: false,
            hold_off: None,
            denied_by: None,
            quarantine_told: None,
            freed: None,
            long_lease_told: None,
        }
    }

    /// Standby, holder, standby, until `stop`.
    pub(super) async fn run(mut self) {
        while let Some(holding) = self.stand_by().await {
            self.hold(holding).await;
        }
        self.view.set_role(Role::Observer);
    }

    /// Sleeps until something happens.
    pub(super) async fn stir(&mut self, until: Instant, heed_stop: bool) -> Stir {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled(), if heed_stop => return Stir::Stop,
                Some(wish) = self.wishes.recv() => return Stir::Wish(wish),
                () = sleep_until(until) => return Stir::Timer,
                event = self.events.recv(), if !self.deaf => match event {
                    Ok(event) => {
                        self.raise_floor(&event);
                        return Stir::Event(event);
                    }
                    Err(RecvError::Lagged(_)) => return Stir::Missed,
                    Err(RecvError::Closed) => self.deaf = true,
                },
            }
        }
    }

    fn raise_floor(&mut self, event: &Event) {
        let epoch = match event {
            Event::Granted(epoch) | Event::Released(epoch) => *epoch,
            Event::Snapshot(snapshot) => snapshot.epoch,
            _ => return,
        };
        self.floor = self.floor.max(epoch);
    }

    /// One command; what its answer or failure shows is passed on.
    pub(super) async fn ask(&mut self, command: &Command, timeout: Duration) -> Result<Answer, Error> {
        let sent = self.clock.now();
        let result = self.backend.ask(command, timeout).await;
        match &result {
            Ok(answer) => {
                self.floor = self.floor.max(answer.standing.epoch);
                if let Some(finding) = Finding::of_lease(&answer.standing, self.config.quarantine)
                    && self.long_lease_told.as_ref() != Some(&finding)
                {
                    warn!("{finding}");
                    self.long_lease_told = Some(finding);
                }
                self.view.heard(&answer.standing, sent, self.clock.now());
                // Other replies show a quarantine that is not written yet, and so has no end.
                if let Reply::Held { .. } | Reply::Quarantined { .. } | Reply::Renewed { .. } | Reply::Reclaimed { .. } =
                    answer.reply
                    && answer.standing.quarantine_us > 0
                {
                    self.metrics.quarantined(answer.standing.now_us + answer.standing.quarantine_us);
                }
                let hint = (answer.standing.epoch, answer.revision);
                if std::mem::replace(&mut self.hinted, hint) != hint {
                    (self.hint)(hint.0, hint.1);
                }
            }
            Err(error) => self.view.failed(error),
        }
        result
    }

    /// Gives up what `token` may hold: twice, since the first attempt may meet a dead connection.
    pub(super) async fn release(&mut self, token: &str, epoch: i64) -> Option<Answer> {
        let command = Command::Release { token: token.to_owned(), epoch };
        history::releasing(token, epoch, self.clock.now());
        for _ in 0..2 {
            if let Ok(answer) = self.ask(&command, self.config.duration / 10).await {
                return Some(answer);
            }
        }
        None
    }
}
