//! The lease protocol as one pure transition: state, moment, generation and command in, state and reply out. The
//! in-memory store runs it; Redis runs the same in lease/*.lua, and a test drives both with the same commands.
//!
//! What must stay true, over the whole history and any loss of data: at most one token is granted under one epoch;
//! epochs of successive grants grow; whoever is not the holder changes nothing by releasing.

use std::time::Duration;

use crate::claim::{LeaseState, Proof};

/// Every lease record says which version of the record it is.
const VERSION: i64 = 1;

/// The lease record: what the store keeps. Times are microseconds since the Unix epoch by the store's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Version of the record.
    pub v: i64,
    /// Token of the holder; empty when nobody holds it.
    pub token: String,
    /// The holder, or the last one.
    pub holder: String,
    /// host:port at which it serves.
    pub address: String,
    /// Epoch of the last grant.
    pub epoch: i64,
    /// When that grant was made.
    pub since_us: i64,
    /// When it ends; 0 once released.
    pub until_us: i64,
    /// Until when nobody new is let in.
    pub q_us: i64,
    /// The generation of the store that last wrote a mark.
    pub generation: String,
    /// When that was; no two marks have the same, but for a clock that went back to the very microsecond. Whoever has not
    /// heard of the last one writes nothing to the board.
    pub mark_us: i64,
    /// The generation of the store that last heard the holder: a mismatch keeps its writes off the board.
    pub holder_generation: String,
    /// Length of the holder's lease.
    pub ttl_us: i64,
    /// The greatest epoch released: it is never let back in.
    pub released_epoch: i64,
    /// How often the holder was heard since the grant.
    pub renewals: i64,
}

/// What is the same in every command of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long nobody new is let in after the store lost its past: at least the longest lease of any instance and
    /// its margin.
    pub quarantine_us: i64,
    /// A missing record means that nobody ever held the lease, for whoever has not heard of an epoch either.
    pub immediate: bool,
}

/// What an instance asks of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Competes.
    Acquire(Acquire),
    /// Keeps what it holds.
    Renew(Renew),
    /// Gives it up.
    Release {
        /// The holder's.
        token: String,
        /// The holder's; 0 when it never learned it.
        epoch: i64,
    },
    /// Asks how the lease stands, and changes nothing.
    Status,
}

/// A bid for the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquire {
    /// Random, one a campaign.
    pub token: String,
    /// Who competes.
    pub holder: String,
    /// Where it serves.
    pub address: String,
    /// Length of the lease.
    pub ttl_us: i64,
    /// The largest epoch that it has heard of.
    pub floor: i64,
}

/// A holder's sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renew {
    /// The holder's.
    pub token: String,
    /// The holder's.
    pub epoch: i64,
    /// Who holds.
    pub holder: String,
    /// Where it serves.
    pub address: String,
    /// When the grant was made.
    pub since_us: i64,
    /// Length of the lease.
    pub ttl_us: i64,
    /// The end of the lease as the last reply told it: a later moment proves no claim.
    pub until_seen_us: i64,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The caller holds the lease.
    Granted {
        /// Under this epoch.
        epoch: i64,
        /// Until then.
        until_us: i64,
        /// Since then.
        since_us: i64,
        /// The store's last mark.
        mark_us: i64,
    },
    /// Another one holds it, for this long unless renewed.
    Held {
        /// Time left.
        remaining_us: i64,
    },
    /// Nobody new is let in for this long.
    Quarantined {
        /// Time left.
        remaining_us: i64,
    },
    /// The caller had not heard of this epoch: it may ask again at once, knowing it.
    Stale {
        /// The epoch of the record.
        epoch: i64,
    },
    /// The caller still holds the lease.
    Renewed {
        /// Until then.
        until_us: i64,
        /// It had run out, and nobody took it.
        lapsed: bool,
        /// The store's last mark.
        mark_us: i64,
    },
    /// The store had lost the claim and took it back in.
    Reclaimed {
        /// Until then.
        until_us: i64,
        /// The store's last mark.
        mark_us: i64,
    },
    /// The store is in doubt about its past and cannot tell: no verdict on the claim.
    TooLate,
    /// The claim is over, for good.
    Lost {
        /// The epoch of the record.
        epoch: i64,
    },
    /// The lease is free.
    Released {
        /// The epoch that was released.
        epoch: i64,
    },
    /// The caller does not hold it; nothing was changed.
    NotHeld,
    /// The standing beside this reply is the answer.
    Status,
}

/// How the lease stands after a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The moment, by the store's clock.
    pub now_us: i64,
    /// Held, free or quarantined.
    pub state: LeaseState,
    /// The holder, or the last one.
    pub holder: String,
    /// Where it serves.
    pub address: String,
    /// Its epoch.
    pub epoch: i64,
    /// When it was granted the lease.
    pub since_us: i64,
    /// When its lease ends; 0 once released.
    pub until_us: i64,
    /// Length of its lease.
    pub ttl_us: i64,
    /// Time left of it.
    pub remaining_us: i64,
    /// Time until somebody new is let in.
    pub quarantine_us: i64,
}

/// The store's answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What became of it.
    pub reply: Reply,
    /// How the lease stands now.
    pub standing: Standing,
    /// Revision of the snapshot on the board; 0 when there is none or it is not kept beside the lease.
    pub revision: i64,
}

// === impl Record ===

impl Record {
    fn is_live(&self, now_us: i64) -> bool {
        !self.token.is_empty() && self.until_us > now_us
    }

    fn is_of(&self, token: &str, epoch: i64) -> bool {
        !token.is_empty() && self.token == token && self.epoch == epoch
    }

    /// The longest time for which a claim that this record does not show may still be believed in.
    fn longest_us(&self, rules: Rules) -> i64 {
        rules.quarantine_us.max(self.ttl_us + margin_us(self.ttl_us))
    }

    /// After the store's clock went back, nobody waits longer than an end that was written now.
    fn clamp(&mut self, now_us: i64, longest_us: i64) {
        self.until_us = self.until_us.min(now_us + self.ttl_us);
        self.q_us = self.q_us.min(now_us + longest_us);
    }

    /// Notes that the past was unknown. All of it together, always: a generation without its quarantine lets a second
    /// holder in beside a living one, and one without its moment lets writes of before come after.
    fn mark(&mut self, generation: &str, now_us: i64, q_us: i64) {
        self.v = VERSION;
        self.q_us = self.q_us.max(q_us);
        self.mark_us = now_us.max(self.mark_us + 1);
        generation.clone_into(&mut self.generation);
    }
}

/// Whether the record shows the writer as the holder, confirmed since the store last lost anything, and knowing of that:
/// the guard of every write to the board. What was sent before a loss is refused after it, since the board may have
/// forgotten what came later.
pub fn is_confirmed_holder(state: Option<&Record>, now_us: i64, generation: &str, proof: &Proof) -> bool {
    state.is_some_and(|record| {
        record.generation == generation
            && record.holder_generation == generation
            && record.is_of(&proof.token, proof.epoch)
            && record.mark_us == proof.mark_us
            && record.until_us > now_us
    })
}

/// What the lease does next: the state after `command`, and the reply. `None` is a store without a record.
pub fn step(
    state: Option<Record>,
    now_us: i64,
    generation: &str,
    rules: Rules,
    command: &Command,
) -> (Option<Record>, Reply) {
    match command {
        Command::Acquire(bid) => acquire(state, now_us, generation, rules, bid),
        Command::Renew(sign) => renew(state, now_us, generation, rules, sign),
        Command::Release { token, epoch } => release(state, token, *epoch),
        Command::Status => (state, Reply::Status),
    }
}

/// How the lease stands, the clock that went back and the unknown past counted in, without writing either.
pub fn standing(state: Option<&Record>, now_us: i64, generation: &str, rules: Rules) -> Standing {
    let mut record = state.cloned().unwrap_or_default();
    let longest_us = record.longest_us(rules);
    record.clamp(now_us, longest_us);
    let unknown = record.generation != generation;
    let quarantine_us = match state {
        None if rules.immediate => 0,
        _ if unknown => longest_us,
        _ => (record.q_us - now_us).max(0),
    };
    let remaining_us = if record.is_live(now_us) { record.until_us - now_us } else { 0 };
    let state = match () {
        () if remaining_us > 0 && record.holder_generation == generation => LeaseState::Held,
        () if quarantine_us > 0 => LeaseState::Quarantined,
        () => LeaseState::Free,
    };
    let Record { holder, address, epoch, since_us, until_us, ttl_us, .. } = record;
    Standing { now_us, state, holder, address, epoch, since_us, until_us, ttl_us, remaining_us, quarantine_us }
}

/// By how much a holder stops before its lease ends in the store: what a clock may drift or step within one lease.
pub fn margin(ttl: Duration) -> Duration {
    let ttl_us = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX);
    Duration::from_micros(margin_us(ttl_us).unsigned_abs())
}

fn margin_us(ttl_us: i64) -> i64 {
    if ttl_us < 2_000_000 { ttl_us / 8 } else { (ttl_us / 20).max(250_000) }
}

fn acquire(
    state: Option<Record>,
    now_us: i64,
    generation: &str,
    rules: Rules,
    bid: &Acquire,
) -> (Option<Record>, Reply) {
    let first_start = state.is_none() && bid.floor == 0 && rules.immediate;
    let mut record = state.unwrap_or_default();
    let longest_us = record.longest_us(rules);
    record.clamp(now_us, longest_us);
    if record.generation != generation {
        record.mark(generation, now_us, if first_start { 0 } else { now_us + longest_us });
    }
    let mark_us = record.mark_us;
    if record.is_live(now_us) {
        let reply = if record.token == bid.token && record.q_us <= now_us {
            record.until_us = record.until_us.max(now_us + bid.ttl_us);
            Reply::Granted { epoch: record.epoch, until_us: record.until_us, since_us: record.since_us, mark_us }
        } else {
            Reply::Held { remaining_us: record.until_us.max(record.q_us) - now_us }
        };
        return (Some(record), reply);
    }
    if record.q_us > now_us {
        let remaining_us = record.q_us - now_us;
        return (Some(record), Reply::Quarantined { remaining_us });
    }
    if bid.floor < record.epoch {
        let epoch = record.epoch;
        return (Some(record), Reply::Stale { epoch });
    }
    let epoch = (record.epoch + 1).max(now_us).max(bid.floor + 1);
    let until_us = now_us + bid.ttl_us;
    let record = Record {
        token: bid.token.clone(),
        holder: bid.holder.clone(),
        address: bid.address.clone(),
        epoch,
        since_us: now_us,
        until_us,
        generation: generation.to_owned(),
        holder_generation: generation.to_owned(),
        ttl_us: bid.ttl_us,
        renewals: 0,
        ..record
    };
    (Some(record), Reply::Granted { epoch, until_us, since_us: now_us, mark_us })
}

fn renew(state: Option<Record>, now_us: i64, generation: &str, rules: Rules, sign: &Renew) -> (Option<Record>, Reply) {
    let missing = state.is_none();
    let mut record = state.unwrap_or_default();
    let longest_us = record.longest_us(rules);
    record.clamp(now_us, longest_us);
    let unknown = record.generation != generation;
    let doubt = unknown || record.q_us > now_us;
    let late = now_us >= sign.until_seen_us;
    // A record that is only looked at is not made, but the clamp of one that exists is kept whatever the reply.
    let untouched = |record: Record| (!missing).then_some(record);
    if record.is_of(&sign.token, sign.epoch) {
        if doubt && late {
            return (untouched(record), Reply::TooLate);
        }
        let lapsed = record.until_us <= now_us;
        record.until_us = record.until_us.max(now_us + sign.ttl_us);
        record.ttl_us = sign.ttl_us;
        record.renewals += 1;
        generation.clone_into(&mut record.holder_generation);
        if unknown {
            record.mark(generation, now_us, now_us + longest_us);
        }
        let Record { until_us, mark_us, .. } = record;
        return (Some(record), Reply::Renewed { until_us, lapsed, mark_us });
    }
    let newer = sign.epoch >= record.epoch && sign.epoch > record.released_epoch;
    if doubt && !late && newer && (!record.is_live(now_us) || record.epoch < sign.epoch) {
        if unknown {
            record.mark(generation, now_us, now_us + longest_us);
        }
        let (until_us, mark_us) = (now_us + sign.ttl_us, record.mark_us);
        let record = Record {
            token: sign.token.clone(),
            holder: sign.holder.clone(),
            address: sign.address.clone(),
            epoch: sign.epoch,
            since_us: sign.since_us,
            until_us,
            holder_generation: generation.to_owned(),
            ttl_us: sign.ttl_us,
            renewals: record.renewals + 1,
            ..record
        };
        return (Some(record), Reply::Reclaimed { until_us, mark_us });
    }
    let reply = if doubt && late { Reply::TooLate } else { Reply::Lost { epoch: record.epoch } };
    (untouched(record), reply)
}

fn release(state: Option<Record>, token: &str, epoch: i64) -> (Option<Record>, Reply) {
    let Some(mut record) = state else { return (None, Reply::NotHeld) };
    if token.is_empty() || record.token != token || (epoch != 0 && epoch != record.epoch) {
        return (Some(record), Reply::NotHeld);
    }
    record.token.clear();
    record.until_us = 0;
    record.released_epoch = record.released_epoch.max(record.epoch);
    let epoch = record.epoch;
    (Some(record), Reply::Released { epoch })
}
