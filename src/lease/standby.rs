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
        Wish, from_micros,
        holder::Holding,
        keeper::{Keeper, Stir},
        micros,
    },
    lease_protocol::{Acquire, Answer, Command, Reply, Standing},
    metrics::lease::{AcquireResult, WakeupSource},
};

/// Sent this much after the end that the store told, and up to `JITTER_MS` more: waiters do not ask all at once, and
/// none a moment too early.
const AFTER: Duration = Duration::from_millis(1);
const JITTER_MS: u64 = 20;

/// One bid after another with one token, until one is granted or the campaign is given up.
struct Campaign {
    token: String,
    /// A bid was sent whose answer never came: the store may grant it yet.
    unanswered: bool,
}

// === impl Keeper ===

impl Keeper {
    /// Waits for the lease; `None` once stopped.
    pub(super) async fn stand_by(&mut self) -> Option<Holding> {
        let mut campaign = Campaign::new();
        loop {
            let competes = self.competes();
            if !competes && campaign.unanswered {
                // Never learned its epoch, if it was granted one.
                self.release(&campaign.token, 0).await;
                campaign = Campaign::new();
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
        self.floor = self.floor.max((self.board)().epoch);
        let command = Command::Acquire(Acquire {
            token: campaign.token.clone(),
            holder: self.instance_id.clone(),
            address: self.address.clone(),
            ttl_us: micros(self.config.duration),
            floor: self.floor,
        });
        let sent = self.clock.now();
        let result = self.ask(&command, self.config.duration / 10).await;
        self.metrics.acquire(AcquireResult::of(result.as_ref().ok().map(|answer| answer.reply)));
        let Ok(answer) = result else {
            campaign.unanswered = true;
            return Err(self.config.duration / 20);
        };
        match answer.reply {
            Reply::Granted { epoch, until_us, since_us } => {
                let freed = self.freed.take();
                let token = std::mem::replace(campaign, Campaign::new()).token;
                let holding = Holding::new(token, epoch, until_us, since_us, sent, self.config.duration);
                if !holding.claim.is_current(self.clock.now()) {
                    self.release(&holding.claim.grant.token, epoch).await;
                    return Err(Duration::ZERO);
                }
                if let Some(freed) = freed {
                    self.metrics.handover(self.clock.now().saturating_since(freed));
                }
                Ok(holding)
            }
            // A quarantine may last longer than the lease; but whether it is still held is asked at the end of that.
            Reply::Held { .. } => {
                self.denied(&answer);
                Err(after(answer.standing.remaining_us))
            }
            Reply::Quarantined { remaining_us } => {
                self.quarantined(&answer);
                Err(after(remaining_us))
            }
            // The answer has raised the floor.
            Reply::Stale { .. } => Err(Duration::ZERO),
            _ => Err(self.config.duration / 20),
        }
    }

    /// Sees how the lease stands without competing, and tells how long to wait before the next look.
    async fn look(&mut self) -> Duration {
        let ttl = self.config.duration;
        let Ok(answer) = self.ask(&Command::Status, ttl / 10).await else { return ttl };
        let standing = answer.standing;
        match standing.state {
            LeaseState::Held => after(standing.remaining_us),
            LeaseState::Quarantined => after(standing.quarantine_us),
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

// === impl Campaign ===

impl Campaign {
    fn new() -> Self {
        Self { token: Uuid::new_v4().to_string(), unanswered: false }
    }
}

fn after(remaining_us: i64) -> Duration {
    from_micros(remaining_us) + AFTER + Duration::from_millis(fastrand::u64(0..=JITTER_MS))
}
