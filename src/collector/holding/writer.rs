//! What every write of the holder's goes through. It asks the clock before each step of sending, since the process may
//! have been frozen: what is not in the connection's hands by the deadline never goes out.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use crate::{
    board,
    claim::{Claim, Grant, Proof},
    clock::Clock,
    collector::gate::PublishGate,
};

/// Writes under one grant.
pub struct Writer {
    gate: Arc<PublishGate>,
    clock: Arc<dyn Clock>,
    grant: Grant,
}

// === impl Writer ===

impl Writer {
    /// Under this grant, while `gate` lets it.
    pub fn new(gate: Arc<PublishGate>, clock: Arc<dyn Clock>, grant: Grant) -> Self {
        Self { gate, clock, grant }
    }

    /// Sends something under the claim of this moment; gives up when that is over.
    pub async fn write<T>(&self, send: impl AsyncFnOnce(Proof) -> Result<T, board::Error>) -> Result<T, board::Error> {
        let over = || board::Error::Unavailable("the lease is over".to_owned());
        let claim = self.claim().ok_or_else(over)?;
        let mut sending = pin!(send(claim.proof()));
        // Asked before each step of it, since whoever was frozen wakes where he was.
        let mut sending = poll_fn(|context| match self.claim() {
            Some(_) => sending.as_mut().poll(context),
            None => Poll::Ready(Err(over())),
        });
        // The deadline moves while it is under way.
        while let Some(claim) = self.claim() {
            let left = claim.deadline.saturating_since(self.clock.now());
            if let Ok(outcome) = tokio::time::timeout(left, &mut sending).await {
                return outcome;
            }
        }
        Err(over())
    }

    fn claim(&self) -> Option<Claim> {
        self.gate.current_claim().filter(|claim| claim.grant == self.grant)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::Mutex,
        time::{Duration, SystemTime},
    };

    use tokio::{sync::watch, task::yield_now, time::Instant};

    use super::*;
    use crate::{claim::Role, clock::BootTime};

    const DEADLINE: Duration = Duration::from_secs(10);

    /// Runs from a moment on, and can be set.
    struct SetClock {
        at: Mutex<Duration>,
        begun: Instant,
    }

    impl Clock for SetClock {
        fn now(&self) -> BootTime {
            BootTime::from_boot(*self.at.lock().unwrap() + self.begun.elapsed())
        }
    }

    fn grant(epoch: i64) -> Grant {
        Grant { token: "alice".to_owned(), epoch }
    }

    /// A writer of epoch 5 at this moment of the claim of `epoch`.
    fn writer(epoch: i64, at: Duration) -> (Writer, Arc<SetClock>) {
        let deadline = BootTime::from_boot(DEADLINE);
        let acquire_time = SystemTime::now();
        let claim = Claim { grant: grant(epoch), mark_us: 7, acquire_time, soft_deadline: deadline, deadline };
        let clock = Arc::new(SetClock { at: Mutex::new(at), begun: Instant::now() });
        let gate = Arc::new(PublishGate::new(watch::channel(Role::Holder(claim)).1, clock.clone()));
        (Writer::new(gate, clock.clone(), grant(5)), clock)
    }

    #[tokio::test]
    async fn what_is_written_names_the_last_loss_that_was_heard_of() {
        let sent = writer(5, Duration::ZERO).0.write(async |proof| Ok(proof)).await.unwrap();
        assert_eq!(sent, Proof { token: "alice".to_owned(), epoch: 5, mark_us: 7 });
    }

    #[tokio::test]
    async fn nothing_is_sent_from_the_deadline_on_nor_under_another_claim() {
        for (writer, _) in [writer(5, DEADLINE), writer(6, Duration::ZERO)] {
            let sent = writer.write(async |_| -> Result<(), board::Error> { panic!("it was sent") }).await;
            assert!(matches!(sent, Err(board::Error::Unavailable(_))), "{sent:?}");
        }
    }

    #[tokio::test]
    async fn whoever_was_frozen_on_the_way_sends_nothing_when_he_wakes() {
        let (writer, clock) = writer(5, Duration::ZERO);
        let sent = writer.write(async |_| -> Result<(), board::Error> {
            *clock.at.lock().unwrap() = DEADLINE;
            yield_now().await;
            panic!("it was sent")
        });
        assert!(matches!(sent.await, Err(board::Error::Unavailable(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_not_gone_out_is_given_up_at_the_deadline() {
        let (writer, clock) = writer(5, Duration::from_secs(8));
        let sent = writer.write(async |_| pending::<Result<(), board::Error>>().await).await;
        assert!(matches!(sent, Err(board::Error::Unavailable(_))), "{sent:?}");
        assert_eq!(clock.begun.elapsed().as_secs(), 2);
    }
}
