//! Keeps a view current: events carry the changes, and a load fills the gaps. The board is polled only when for 13 to
//! 15 s nothing has proved the copy current, so an idle standby costs no more than its lease and its PINGs.

use std::{sync::Arc, time::Duration};

use tokio::{sync::broadcast::error::RecvError, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Board, Event, view::View};

/// How long a copy is believed in without a proof, at least: longer than from one PING of the subscription to the next.
const FALLBACK: Duration = Duration::from_secs(13);

/// The first wait after a failed load; it doubles up to `FALLBACK`.
const RETRY_MIN: Duration = Duration::from_millis(250);

struct Mirror {
    board: Arc<dyn Board>,
    view: Arc<View>,
    /// While it stands no change is missed, so whatever is heard proves the copy current.
    is_subscribed: bool,
    /// When to load next, unless something is heard before.
    load_at: Instant,
    /// How long to wait after the next failure.
    retry: Duration,
    /// The last load failed: only a load can prove the copy current again.
    is_failing: bool,
    /// Something was not understood: only a load can tell that it is gone.
    is_incomplete: bool,
}

/// Mirrors the board into the view until `stop`.
pub async fn mirror(board: Arc<dyn Board>, view: Arc<View>, stop: CancellationToken) {
    let mut events = board.events();
    let load_at = Instant::now();
    let mut mirror = Mirror {
        board,
        view,
        is_subscribed: false,
        load_at,
        retry: RETRY_MIN,
        is_failing: false,
        is_incomplete: false,
    };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            // Before the events: a load that is due makes most of them old.
            () = tokio::time::sleep_until(mirror.load_at) => {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = mirror.load() => {}
                }
            }
            event = events.recv() => match event {
                Ok(event) => mirror.hear(event),
                Err(RecvError::Lagged(_)) => mirror.load_at = Instant::now(),
                Err(RecvError::Closed) => return,
            },
        }
    }
}

// === impl Mirror ===

impl Mirror {
    async fn load(&mut self) {
        match self.board.load().await {
            Ok(state) => {
                let unreadable = state.unreadable.clone();
                let was_failing = self.view.replace(state);
                match &unreadable {
                    Some(reason) => self.miss(reason),
                    None if was_failing => info!("The board is read again"),
                    None => {}
                }
                self.is_failing = false;
                self.is_incomplete = unreadable.is_some();
                self.retry = RETRY_MIN;
                self.believe();
            }
            Err(error) => {
                if self.view.fail(&error) && !self.is_failing {
                    warn!(%error, "Cannot read the board, going on with the copy");
                }
                self.is_failing = true;
                self.load_at = Instant::now() + jittered(self.retry);
                self.retry = (self.retry * 2).min(FALLBACK);
            }
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Unsubscribed => {
                self.is_subscribed = false;
                self.load_at = Instant::now();
                return;
            }
            Event::Subscribed => {
                self.is_subscribed = true;
                self.load_at = Instant::now();
            }
            // Also when the board has an older one: it has lost its data, and collections with it.
            Event::Revision(revision) if revision != self.view.now().revision() => self.load_at = Instant::now(),
            Event::Granted(epoch) => {
                self.view.granted(epoch);
                self.prove();
            }
            Event::Alive | Event::Released(_) | Event::Revision(_) => self.prove(),
            Event::Snapshot(snapshot) => {
                self.view.offer(*snapshot);
                self.prove();
            }
            Event::Collection(collection) => {
                self.view.collection(*collection);
                self.prove();
            }
            Event::Forgotten(ids) => {
                self.view.forget(&ids);
                self.prove();
            }
            Event::Pending(pending) => {
                self.view.pending(pending);
                self.prove();
            }
            Event::Resign(resign) => {
                self.view.resign(resign);
                self.prove();
            }
            Event::Unreadable(reason) => {
                self.miss(&reason);
                if !self.is_failing {
                    self.view.miss(format!("an event is not understood: {reason}"));
                }
            }
        }
        self.view.heard();
    }

    fn miss(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.is_incomplete, true) {
            warn!(reason, "Something on the board is not understood, going on without it");
        }
    }

    /// Takes what was heard as a proof that the copy is current.
    fn prove(&mut self) {
        if self.is_subscribed && !self.is_failing && !self.is_incomplete && self.load_at > Instant::now() {
            self.believe();
        }
    }

    fn believe(&mut self) {
        self.load_at = Instant::now() + jittered(FALLBACK);
    }
}

fn jittered(span: Duration) -> Duration {
    span.mul_f64(1.0 + fastrand::f64() * 0.15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{board::memory::MemoryBoard, clock::SystemClock, memory_store::MemoryStore};

    /// A mirror that has loaded an empty board and would load again in a second.
    fn mirror() -> Mirror {
        let view = View::new();
        view.replace(Default::default());
        let load_at = Instant::now() + Duration::from_secs(1);
        let board = MemoryBoard::new(Arc::new(MemoryStore::new(Arc::new(SystemClock))));
        Mirror { board, view, is_subscribed: true, load_at, retry: RETRY_MIN, is_failing: false, is_incomplete: false }
    }

    fn loads_in(mirror: &Mirror) -> Duration {
        mirror.load_at.saturating_duration_since(Instant::now())
    }

    #[test]
    fn what_proves_the_copy_current_puts_the_poll_off() {
        for event in [Event::Alive, Event::Revision(0), Event::Granted(7)] {
            let mut mirror = mirror();
            mirror.hear(event.clone());
            assert!(loads_in(&mirror) > Duration::from_secs(12), "{event:?}");
        }
    }

    #[test]
    fn what_tells_of_a_gap_loads_at_once() {
        for event in [Event::Subscribed, Event::Unsubscribed, Event::Revision(7)] {
            let mut mirror = mirror();
            mirror.hear(event.clone());
            mirror.hear(Event::Alive);
            assert_eq!(loads_in(&mirror), Duration::ZERO, "{event:?}");
        }
    }

    #[test]
    fn nothing_proves_a_copy_current_that_is_not_subscribed_or_not_whole() {
        let mut unsubscribed = mirror();
        unsubscribed.is_subscribed = false;
        let mut failing = mirror();
        failing.is_failing = true;
        let mut incomplete = mirror();
        incomplete.hear(Event::Unreadable("a record of version 99".to_owned()));
        for mut mirror in [unsubscribed, failing, incomplete] {
            mirror.hear(Event::Revision(0));
            assert!(loads_in(&mirror) <= Duration::from_secs(1));
        }
    }
}
