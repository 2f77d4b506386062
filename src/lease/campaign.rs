//! A campaign: one bid after another with one token, until one is granted or the campaign is given up. Decides without
//! a clock or a store of its own: the task asks it, and so does the model of the protocol.

use std::time::Duration;

use crate::{
    claim::Grant,
    clock::BootTime,
    lease::{from_micros, holding::Holding, micros},
    lease_protocol::{Acquire, Command, Reply},
};

/// Bids with one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// Random, never used again once the campaign is given up or its claim is over.
    pub token: String,
    /// A bid was sent whose answer never came: the store may grant it yet.
    pub unanswered: bool,
}

/// What the answer to a bid means.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The lease is held here.
    Won(Holding),
    /// It was granted, but the claim was over before the answer came: to be given back.
    WonTooLate(Grant),
    /// Not free for as long as the store told.
    Denied(Duration),
    /// To be tried again with the same token, after this pause.
    Again(Duration),
}

// === impl Campaign ===

impl Campaign {
    /// A campaign that has sent nothing yet.
    pub fn new(token: String) -> Self {
        Self { token, unanswered: false }
    }

    /// The next bid. `floor` is the largest epoch heard of.
    pub fn bid(&self, holder: &str, address: &str, ttl: Duration, floor: i64) -> Command {
        Command::Acquire(Acquire {
            token: self.token.clone(),
            holder: holder.to_owned(),
            address: address.to_owned(),
            ttl_us: micros(ttl),
            floor,
        })
    }

    /// A bid sent at `sent` was answered at `now`; `None`: not in time.
    pub fn heard(&mut self, reply: Option<Reply>, sent: BootTime, now: BootTime, ttl: Duration) -> Outcome {
        match reply {
            Some(Reply::Granted { epoch, until_us, since_us, mark_us }) => {
                let grant = Grant { token: self.token.clone(), epoch };
                let holding = Holding::new(grant, until_us, since_us, mark_us, sent, ttl);
                if holding.claim.is_current(now) {
                    Outcome::Won(holding)
                } else {
                    Outcome::WonTooLate(holding.claim.grant)
                }
            }
            Some(Reply::Held { remaining_us } | Reply::Quarantined { remaining_us }) => {
                Outcome::Denied(from_micros(remaining_us))
            }
            // The answer has raised the floor.
            Some(Reply::Stale { .. }) => Outcome::Again(Duration::ZERO),
            Some(_) => Outcome::Again(ttl / 20),
            None => {
                self.unanswered = true;
                Outcome::Again(ttl / 20)
            }
        }
    }
}
