//! Standing by: a campaign whenever the lease may be free, by message or by timer, so that a lost message costs at most
//! the time that the store said is left.

use std::time::Duration;

use tokio::time::Instant;
use tracing::info;
use uuid::Uuid;

use crate::{
    board::Event,
    claim::{LeaseState, Role},
    config::Acquire as Mode,
    lease::{
        Campaign, Holding, Outcome, Wish, from_micros,
        keeper::{Keeper, Stir},
    },
    lease_protocol::{Answer, Command, Reply, Standing},
    metrics::lease::{AcquireResult, WakeupSource},
};

/// Sent this much after the end that the store told, and up to `JITTER_MS` more: waiters do not ask all at once, and
/// none a moment too early.
const AFTER: Duration = Duration::from_millis(1);
const JITTER_MS: u64 = 20;

// === impl Keeper ===

impl Keeper {
    /// Waits for the lease; `None` once stopped.
    pub(super) async fn stand_by(&mut self) -> Option<Holding> {
        let mut campaign = Campaign::new(new_token());
        loop {
            let competes = self.competes();
            if !competes && campaign.unanswered {
                // Never learned its epoch, if it was granted one.
                self.release(&campaign.token, 0).await;
                campaign = Campaign::new(new_token());
            }
            if self.stop.is_cancelled() {
                return None;
            }
            self.show_role();
            let pause = if competes {
                match self.bid(&mut campaign).await {
                    Ok(holding) => return Some(holding),
                    Err(pause) => pause,
                }
            } else {
                self.look().await
            };
            // The answer may have ended the competition.
            self.show_role();
            self.wait(pause).await;
        }
    }

    fn show_role(&self) {
        self.view.set_role(if self.competes() { Role::Standby } else { Role::Observer });
    }

    fn competes(&self) -> bool {
        self.config.enabled
            && !self.retired
            && !self.stop.is_cancelled()
            && self.hold_off.is_none_or(|until| self.clock.now() >= until)
    }

    /// One bid. Without a grant: how long to wait for the next.
    async fn bid(&mut self, campaign: &mut Campaign) -> Result<Holding, Duration> {
        let ttl = self.config.duration;
        self.floor = self.floor.max((self.board)().epoch);
        let command = campaign.bid(&self.instance_id, &self.address, ttl, self.floor);
        let sent = self.clock.now();
        let answer = self.ask(&command, ttl / 10).await.ok();
        let reply = answer.as_ref().map(|answer| answer.reply);
        self.metrics.acquire(AcquireResult::of(reply));
        if let Some(answer) = &answer {
            match answer.reply {
                Reply::Held { .. } => self.denied(answer),
                Reply::Quarantined { .. } => self.quarantined(answer),
                _ => {}
            }
        }
        match campaign.heard(reply, sent, self.clock.now(), ttl) {
            Outcome::Won(holding) => {
                if let Some(freed) = self.freed.take() {
                    self.metrics.handover(self.clock.now().saturating_since(freed));
                }
                Ok(holding)
            }
            Outcome::WonTooLate(grant) => {
                self.freed = None;
                *campaign = Campaign::new(new_token());
                self.release(&grant.token, grant.epoch).await;
                Err(Duration::ZERO)
            }
            Outcome::Denied(remaining) => {
                // A quarantine may last longer than the lease beside it; but whether it is still held is asked at the
                // end of that.
                let held_us = answer.map(|answer| answer.standing.remaining_us).filter(|left_us| *left_us > 0);
                Err(after(held_us.map_or(remaining, from_micros)))
            }
            Outcome::Again(pause) => Err(pause),
        }
    }

    /// Sees how the lease stands without competing, and tells how long to wait before the next look.
    async fn look(&mut self) -> Duration {
        let ttl = self.config.duration;
        let Ok(answer) = self.ask(&Command::Status, ttl / 10).await else { return ttl };
        let standing = answer.standing;
        match standing.state {
            LeaseState::Held => after(from_micros(standing.remaining_us)),
            LeaseState::Quarantined => after(from_micros(standing.quarantine_us)),
            LeaseState::Free | LeaseState::Unknown => ttl,
        }
    }

    fn quarantined(&mut self, answer: &Answer) {
        let Standing { now_us, epoch, quarantine_us, .. } = answer.standing;
        let end_us = now_us + quarantine_us;
        if self.quarantine_told.replace(end_us) == Some(end_us) {
            return;
        }
        let remaining_s = from_micros(quarantine_us).as_secs_f64();
        if epoch == 0 {
            info!(
                remaining_s,
                "the lease store has no record: somebody may hold the lease without it, and nobody new is let in \
                 meanwhile; for a fleet that never ran before, lease.firststart: immediate skips this wait"
            );
        } else {
            info!(remaining_s, "the lease store has lost its past: nobody new is let in meanwhile");
        }
    }

    fn denied(&mut self, answer: &Answer) {
        // A claim of our own of before, or of a process of our name that died, is no other instance.
        if answer.standing.holder == self.instance_id {
            return;
        }
        if self.denied_by.replace(answer.standing.epoch) != Some(answer.standing.epoch) {
            info!(
                holder = answer.standing.holder,
                epoch = answer.standing.epoch,
                "database row count metrics lock already obtained by another instance"
            );
        }
        self.retired |= self.config.acquire == Mode::Once;
    }

    /// Waits for the time to bid or look.
    async fn wait(&mut self, pause: Duration) {
        let now = self.clock.now();
        let hold_off = self.hold_off.map(|until| until.saturating_since(now)).filter(|left| !left.is_zero());
        let until = Instant::now() + hold_off.map_or(pause, |left| left.min(pause));
        loop {
            match self.stir(until, true).await {
                Stir::Stop => return,
                Stir::Timer => {
                    self.metrics.wakeup(WakeupSource::Timer);
                    return;
                }
                Stir::Missed | Stir::Event(Event::Subscribed) => {
                    self.metrics.wakeup(WakeupSource::Subscribed);
                    return;
                }
                Stir::Event(Event::Released(_)) => {
                    self.freed = Some(self.clock.now());
                    self.metrics.wakeup(WakeupSource::Released);
                    return;
                }
                Stir::Event(Event::Granted(epoch)) => {
                    self.freed = None;
                    if self.view.observation().borrow().as_ref().is_none_or(|last| last.epoch != epoch) {
                        self.metrics.wakeup(WakeupSource::Granted);
                        return;
                    }
                }
                Stir::Event(Event::Unsubscribed) => self.view.doubt(),
                Stir::Wish(Wish::Release(_done)) => {
                    self.retired = true;
                    return;
                }
                Stir::Event(_) | Stir::Wish(_) => {}
            }
        }
    }
}

fn new_token() -> String {
    Uuid::new_v4().to_string()
}

fn after(remaining: Duration) -> Duration {
    remaining + AFTER + Duration::from_millis(fastrand::u64(0..=JITTER_MS))
}
