//! What every write of the holder's goes through. It asks the clock at the moment of sending, since the task may have
//! slept: what has not gone out by the deadline never does.

use std::sync::Arc;

use crate::{
    board,
    claim::{Grant, Proof},
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
        let over = || board::Error::Unavailable("the lease was over before the board answered".to_owned());
        let claim = self.gate.current_claim().filter(|claim| claim.grant == self.grant).ok_or_else(over)?;
        let left = claim.deadline.saturating_since(self.clock.now());
        tokio::time::timeout(left, send(claim.proof())).await.map_err(|_| over())?
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        time::{Duration, SystemTime},
    };

    use tokio::{sync::watch, time::Instant};

    use super::*;
    use crate::{
        claim::{Claim, Role},
        clock::BootTime,
    };

    const DEADLINE: Duration = Duration::from_secs(10);

    struct StoppedClock(BootTime);

    impl Clock for StoppedClock {
        fn now(&self) -> BootTime {
            self.0
        }
    }

    fn grant(epoch: i64) -> Grant {
        Grant { token: "alice".to_owned(), epoch }
    }

    /// A writer of epoch 5 at this moment of the claim of `epoch`.
    fn writer(epoch: i64, at: Duration) -> Writer {
        let deadline = BootTime::from_boot(DEADLINE);
        let acquire_time = SystemTime::now();
        let claim = Claim { grant: grant(epoch), mark_us: 7, acquire_time, soft_deadline: deadline, deadline };
        let clock = Arc::new(StoppedClock(BootTime::from_boot(at)));
        let gate = Arc::new(PublishGate::new(watch::channel(Role::Holder(claim)).1, clock.clone()));
        Writer::new(gate, clock, grant(5))
    }

    #[tokio::test]
    async fn what_is_written_names_the_last_loss_that_was_heard_of() {
        let sent = writer(5, Duration::ZERO).write(async |proof| Ok(proof)).await.unwrap();
        assert_eq!(sent, Proof { token: "alice".to_owned(), epoch: 5, mark_us: 7 });
    }

    #[tokio::test]
    async fn nothing_is_sent_from_the_deadline_on_nor_under_another_claim() {
        for writer in [writer(5, DEADLINE), writer(6, Duration::ZERO)] {
            let sent = writer.write(async |_| -> Result<(), board::Error> { panic!("it was sent") }).await;
            assert!(matches!(sent, Err(board::Error::Unavailable(_))), "{sent:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_not_gone_out_is_given_up_at_the_deadline() {
        let begun = Instant::now();
        let sent = writer(5, Duration::from_secs(8)).write(async |_| pending::<Result<(), board::Error>>().await).await;
        assert!(matches!(sent, Err(board::Error::Unavailable(_))), "{sent:?}");
        assert_eq!(begun.elapsed().as_secs(), 2);
    }
}
