//! A claim and what its next renewal tells the store. Decides without a clock or a store of its own: the task asks it,
//! and so does the model of the protocol.

use std::time::{Duration, UNIX_EPOCH};

use crate::{
    claim::{Claim, Grant},
    clock::BootTime,
    lease::{micros, view::moment},
    lease_protocol::{Command, Renew, Reply, margin},
};

/// What a holder knows of its lease.
#[derive(Clone, Debug, PartialEq)]
pub struct Holding {
    /// What the rest of the process sees.
    pub claim: Claim,
    /// When the command of the last positive answer was sent.
    pub sent: BootTime,
    /// The end that this answer told, by the store's clock.
    pub until_us: i64,
    /// When the grant was made, by the store's clock.
    pub since_us: i64,
}

/// What the answer to a renewal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The deadline has moved.
    Extended,
    /// No verdict on the claim: to be tried again until the deadline.
    Unsure,
    /// Somebody else's, for good.
    Lost,
    /// The deadline had passed before the answer came, whatever it says.
    Expired,
}

// === impl Holding ===

impl Holding {
    /// Granted by a command sent at `sent`.
    pub fn new(grant: Grant, until_us: i64, since_us: i64, mark_us: i64, sent: BootTime, ttl: Duration) -> Self {
        let deadline = deadline(sent, ttl);
        let claim = Claim {
            grant,
            mark_us,
            acquire_time: moment(since_us).unwrap_or(UNIX_EPOCH),
            soft_deadline: deadline - margin(ttl),
            deadline,
        };
        Self { claim, sent, until_us, since_us }
    }

    /// The next renewal.
    pub fn renewal(&self, holder: &str, address: &str, ttl: Duration) -> Command {
        Command::Renew(Renew {
            token: self.claim.grant.token.clone(),
            epoch: self.claim.grant.epoch,
            holder: holder.to_owned(),
            address: address.to_owned(),
            since_us: self.since_us,
            ttl_us: micros(ttl),
            until_seen_us: self.until_us,
        })
    }

    /// A renewal sent at `sent` was answered at `now`; `None`: not in time.
    pub fn heard(&mut self, reply: Option<Reply>, sent: BootTime, now: BootTime, ttl: Duration) -> Verdict {
        if !self.claim.is_current(now) {
            return Verdict::Expired;
        }
        match reply {
            Some(Reply::Renewed { until_us, mark_us, .. } | Reply::Reclaimed { until_us, mark_us }) => {
                self.claim.mark_us = mark_us;
                self.extend(sent, until_us, ttl);
                Verdict::Extended
            }
            Some(Reply::Lost { .. }) => Verdict::Lost,
            // TOO_LATE is no verdict.
            _ => Verdict::Unsure,
        }
    }

    fn extend(&mut self, sent: BootTime, until_us: i64, ttl: Duration) {
        self.sent = sent;
        self.until_us = until_us;
        self.claim.deadline = self.claim.deadline.max(deadline(sent, ttl));
        // What is left between the two is as long as the margin: the time for a running query to be cancelled on the
        // server and for its end to be heard.
        self.claim.soft_deadline = self.claim.deadline - margin(ttl);
    }
}

/// When a claim confirmed by a command sent at `sent` is over: before its lease can end in the store.
fn deadline(sent: BootTime, ttl: Duration) -> BootTime {
    sent + ttl.saturating_sub(margin(ttl))
}
