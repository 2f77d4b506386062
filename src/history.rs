//! The history of the lease as this process lives it: a line of level trace for each event, with the time since boot
//! that claims are judged by, so that the histories of all processes of a machine can be laid side by side and checked.
//!
//! What must stay true: a claim is told before anybody in the process can act on it, and its end after nobody can any
//! more. So a process that is stopped or killed between the two never believed longer than its lines say.

use tracing::trace;

use crate::{
    claim::{Claim, Grant},
    clock::BootTime,
};

/// The lease was granted, by the answer to a command sent at `sent`.
pub fn granted(claim: &Claim, sent: BootTime, now: BootTime) {
    let Claim { grant: Grant { token, epoch }, deadline, .. } = claim;
    trace!(at_us = us(now), token, epoch, sent_us = us(sent), deadline_us = us(*deadline), "lease granted");
}

/// The claim was confirmed, by an answer that came before its deadline to a command sent at `sent`; `reclaimed`: the
/// store had lost it and took it back in.
pub fn renewed(claim: &Claim, sent: BootTime, now: BootTime, reclaimed: bool) {
    let Claim { grant: Grant { token, epoch }, deadline, .. } = claim;
    trace!(at_us = us(now), token, epoch, sent_us = us(sent), deadline_us = us(*deadline), reclaimed, "lease renewed");
}

/// Nothing acts on the claim any more.
pub fn ended(grant: &Grant, now: BootTime, reason: &str) {
    let Grant { token, epoch } = grant;
    trace!(at_us = us(now), token, epoch, reason, "lease claim ended");
}

/// The store is told that `token` needs the lease no longer; `epoch` 0: it never learned whether it was granted.
pub fn releasing(token: &str, epoch: i64, now: BootTime) {
    trace!(at_us = us(now), token, epoch, "lease release sent");
}

/// Counts passed the publish gate under a claim, on their way to the board.
pub fn published(claim: &Claim, revision: i64, now: BootTime) {
    let Claim { grant: Grant { token, epoch }, deadline, .. } = claim;
    trace!(at_us = us(now), token, epoch, revision, deadline_us = us(*deadline), "counts published");
}

/// What the board did with them: accepted, fenced or unanswered.
pub fn written(grant: &Grant, revision: i64, now: BootTime, outcome: &str) {
    let Grant { token, epoch } = grant;
    trace!(at_us = us(now), token, epoch, revision, outcome, "counts written");
}

/// From here on a scrape shows counts, under this claim.
pub fn shown(claim: &Claim, now: BootTime) {
    let Claim { grant: Grant { token, epoch }, deadline, .. } = claim;
    trace!(at_us = us(now), token, epoch, deadline_us = us(*deadline), "counts shown");
}

/// From here on a scrape shows none.
pub fn hidden(now: BootTime) {
    trace!(at_us = us(now), "counts hidden");
}

fn us(at: BootTime) -> u64 {
    u64::try_from(at.since_boot().as_micros()).unwrap_or(u64::MAX)
}
