//! The life of one claim: renewed until it is lost, runs out, or is given up.

use std::time::{Duration, SystemTime};

use tokio::{sync::oneshot, time::Instant};
use tracing::{Level, debug, info, warn};

use crate::{
    board::{Event, Resign},
    claim::Role,
    clock::BootTime,
    config::Acquire as Mode,
    history,
    lease::{
        Holding, Verdict, Wish, from_micros,
        keeper::{Keeper, Stir},
        view::moment,
    },
    lease_protocol::{Answer, Reply},
    metrics::lease::{RenewalResult, Transition},
};

/// How a claim ends.
enum End {
    Lost,
    Expired,
    Resigned(Resign),
    GaveUp,
    /// In order; the sender is dropped once the lease is free.
    Released(oneshot::Sender<()>),
}

// === impl End ===

impl End {
    fn transition(&self) -> Transition {
        match self {
            Self::Lost => Transition::Lost,
            Self::Expired => Transition::Expired,
            Self::Resigned(_) => Transition::Resigned,
            Self::GaveUp => Transition::GaveUp,
            Self::Released(_) => Transition::Released,
        }
    }
}

// === impl Keeper ===

impl Keeper {
    /// Holds the lease until the claim is over, and leaves in order.
    pub(super) async fn hold(&mut self, mut holding: Holding) {
        let epoch = holding.claim.grant.epoch;
        self.view.acquired();
        self.metrics.transition(Transition::Acquired);
        history::granted(&holding.claim, holding.sent, self.clock.now());
        self.view.set_role(Role::Holder(holding.claim.clone()));
        info!(epoch, "obtained database row count metrics lock");

        let end = self.keep(&mut holding).await;

        self.retired |= self.config.acquire == Mode::Once;
        // First nothing more is published here, then somebody else may.
        self.view.set_role(match end {
            End::Lost | End::Expired if !self.retired => Role::Standby,
            _ => Role::Observer,
        });
        let reason = end.transition();
        history::ended(&holding.claim.grant, self.clock.now(), reason.as_str());
        self.metrics.transition(reason);
        if let End::Lost | End::Expired = end {
            warn!(epoch, reason = reason.as_str(), "database row count metrics lock is over");
        }
        let released = match end {
            End::Lost => None,
            _ => self.release(&holding.claim.grant.token, epoch).await,
        };
        if let End::Resigned(_) | End::GaveUp | End::Released(_) = end {
            log_released(epoch, reason, released.as_ref());
        }
        match end {
            End::Lost | End::Expired => {}
            End::GaveUp => self.stay_out(self.config.duration),
            End::Resigned(Resign { until, .. }) => {
                // `until` is by the store's clock, which the answer has told.
                let now = released.and_then(|answer| moment(answer.standing.now_us)).unwrap_or_else(SystemTime::now);
                self.stay_out(until.duration_since(now).unwrap_or_default());
            }
            End::Released(_done) => self.retired = true,
        }
    }

    fn stay_out(&mut self, span: Duration) {
        self.hold_off = Some(self.clock.now() + span);
    }

    async fn keep(&mut self, holding: &mut Holding) -> End {
        let ttl = self.config.duration;
        let mut next = holding.sent + ttl / 5;
        let mut stopping = self.stop.is_cancelled();
        let mut extended_before = false;
        // Dropped when a renewal was tried: that is the answer to whoever asked for it.
        let mut askers: Vec<oneshot::Sender<()>> = Vec::new();
        loop {
            let now = self.clock.now();
            let deadline = holding.claim.deadline;
            if now >= deadline {
                return End::Expired;
            }
            if let Some(wish) = (self.board)().resign.filter(|wish| wish.epoch == holding.claim.grant.epoch) {
                return End::Resigned(wish);
            }
            let wake = if stopping { deadline } else { next.min(deadline) };
            if now < wake {
                match self.stir(Instant::now() + wake.saturating_since(now), !stopping).await {
                    Stir::Stop => stopping = true,
                    Stir::Wish(Wish::Release(done)) => return End::Released(done),
                    Stir::Wish(Wish::Renew(asker)) if !stopping => {
                        askers.push(asker);
                        next = now;
                    }
                    Stir::Wish(Wish::GiveUp(epoch)) if epoch == holding.claim.grant.epoch => {
                        if self.others_listen().await {
                            return End::GaveUp;
                        }
                    }
                    Stir::Event(Event::Resign(wish)) if wish.epoch == holding.claim.grant.epoch => {
                        return End::Resigned(wish);
                    }
                    // Somebody was granted what this instance believes to hold: the store tells which is true.
                    Stir::Event(Event::Granted(epoch)) if epoch > holding.claim.grant.epoch => next = now,
                    Stir::Timer | Stir::Wish(_) | Stir::Event(_) | Stir::Missed => {}
                }
                continue;
            }
            let sent = self.clock.now();
            let result = self.renew(holding, sent, (ttl / 10).min(deadline.saturating_since(sent))).await;
            askers.clear();
            let heard = self.clock.now();
            match holding.heard(result, sent, heard, ttl) {
                Verdict::Extended => {
                    let reclaimed = matches!(result, Some(Reply::Reclaimed { .. }));
                    history::renewed(&holding.claim, sent, heard, reclaimed);
                    self.view.set_role(Role::Holder(holding.claim.clone()));
                    self.log_extended(&mut extended_before);
                    next = sent + ttl / 5;
                }
                Verdict::Unsure => next = self.clock.now() + ttl / 20,
                Verdict::Lost => return End::Lost,
                Verdict::Expired => return End::Expired,
            }
        }
    }

    async fn renew(&mut self, holding: &Holding, sent: BootTime, timeout: Duration) -> Option<Reply> {
        let command = holding.renewal(&self.instance_id, &self.address, self.config.duration);
        let answer = self.ask(&command, timeout).await.ok();
        let reply = answer.as_ref().map(|answer| answer.reply);
        self.metrics.renewal(RenewalResult::of(reply), self.clock.now().saturating_since(sent));
        if let (Some(Reply::Reclaimed { .. }), Some(answer)) = (reply, &answer) {
            let quarantine = from_micros(answer.standing.quarantine_us);
            warn!(epoch = holding.claim.grant.epoch, ?quarantine, "lease store had lost the lease and took it back in");
        }
        reply
    }

    /// Whether giving up helps: alone, a holder that cannot work is as good as none.
    async fn others_listen(&self) -> bool {
        match self.backend.is_alone(self.config.duration / 10).await {
            Ok(alone) => {
                if alone {
                    debug!("kept the lease that should be given up: no other instance listens");
                }
                !alone
            }
            Err(error) => {
                debug!(%error, "kept the lease that should be given up");
                false
            }
        }
    }

    fn log_extended(&self, extended_before: &mut bool) {
        if !std::mem::replace(extended_before, true) || self.collected_level <= Level::INFO {
            info!("extended database row count metrics lock");
        } else {
            debug!("extended database row count metrics lock");
        }
    }
}

fn log_released(epoch: i64, reason: Transition, answer: Option<&Answer>) {
    let reason = reason.as_str();
    match answer.map(|answer| answer.reply) {
        Some(Reply::Released { .. }) => info!(epoch, reason, "released database row count metrics lock"),
        Some(_) => warn!(epoch, reason, "database row count metrics lock was no longer held here when it was released"),
        None => warn!(epoch, reason, "database row count metrics lock could not be released; it ends by itself"),
    }
}
