//! GetLeaseStatus, WatchLease and ResignLease.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, timeout};
use tonic::Status;

use crate::{
    board::Board,
    claim::{LeaseState, Observation, Role},
    clock::Clock,
    lease::LeaseHandle,
    metrics::build::VERSION,
    proto::v1,
};

use super::{convert, status, streams::Source};

/// How long ResignLease waits for the holder.
const RESIGN_WAIT: Duration = Duration::from_secs(5);

/// How often it looks when nothing is heard: a release is normally pushed.
const RESIGN_POLL: Duration = Duration::from_millis(250);

/// When the caller of ResignLease does not say.
const DEFAULT_HOLD_OFF: Duration = Duration::from_secs(10);

/// The longest hold-off: a forgotten one must not take an instance out of the race for good.
const MAX_HOLD_OFF: Duration = Duration::from_secs(24 * 3600);

/// Answers what is about the lease.
#[derive(Clone)]
pub struct Leases {
    /// The fleet's name.
    pub cluster: String,
    /// This instance.
    pub instance_id: String,
    /// When this process began.
    pub start_time: SystemTime,
    /// What this instance knows of the lease.
    pub lease: LeaseHandle,
    /// Where a wish to resign goes.
    pub board: Arc<dyn Board>,
    /// Judges the role.
    pub clock: Arc<dyn Clock>,
}

/// The state of one WatchLease.
pub struct WatchLease {
    cluster: String,
    sent: Option<Sent>,
}

/// What the last message told.
struct Sent {
    lease: (LeaseState, String, i64),
    quarantine_end: Option<SystemTime>,
}

/// By so much more an end is a later one, and not the same as it was heard at another time.
const LATER: Duration = Duration::from_secs(1);

// === impl Leases ===

impl Leases {
    /// GetLeaseStatus.
    pub async fn get(&self, request: &v1::GetLeaseStatusRequest) -> Result<v1::GetLeaseStatusResponse, Status> {
        let max_staleness = convert::optional_span("max_staleness", request.max_staleness)?;
        Ok(self.response(&self.lease.status(max_staleness).await))
    }

    /// GetLeaseStatus as far as it is known here: whoever asks the store is told more, and waits for it.
    pub fn known(&self) -> v1::GetLeaseStatusResponse {
        let observed = self.lease.observation().borrow().clone();
        self.response(&observed.unwrap_or_else(Observation::unknown))
    }

    fn response(&self, observed: &Observation) -> v1::GetLeaseStatusResponse {
        v1::GetLeaseStatusResponse {
            lease: Some(convert::lease(&self.cluster, observed)),
            instance: Some(self.instance()),
        }
    }

    /// The state of a new WatchLease.
    pub fn watch(&self) -> WatchLease {
        WatchLease { cluster: self.cluster.clone(), sent: None }
    }

    /// ResignLease: the wish is for the holder of one epoch, so it cannot hit the next one.
    pub async fn resign(&self, request: &v1::ResignLeaseRequest) -> Result<v1::ResignLeaseResponse, Status> {
        const FIELD: &str = "hold_off_duration";
        let hold_off = match convert::optional_span(FIELD, request.hold_off_duration)? {
            None => DEFAULT_HOLD_OFF,
            Some(span) if span.is_zero() => DEFAULT_HOLD_OFF,
            Some(span) if span <= MAX_HOLD_OFF => span,
            Some(_) => return Err(status::invalid_field(FIELD, "must be at most 24h")),
        };
        let before = self.lease.status(None).await;
        match before.state {
            LeaseState::Held => {}
            LeaseState::Free | LeaseState::Quarantined => return Err(status::no_leader()),
            LeaseState::Unknown => return Err(status::store_unavailable(&self.last_error())),
        }
        self.board.resign(before.epoch, hold_off).await.map_err(|error| status::from_board(&error))?;
        let after = self.wait_for_release(before.epoch).await?;
        Ok(v1::ResignLeaseResponse { lease: Some(convert::lease(&self.cluster, &after)) })
    }

    async fn wait_for_release(&self, epoch: i64) -> Result<Observation, Status> {
        let mut observation = self.lease.observation();
        let end = Instant::now() + RESIGN_WAIT;
        loop {
            // Not the times: each call that waits here asks, and so would wake all others.
            let told = |seen: &Option<Observation>| seen.as_ref().map(|seen| (seen.state, seen.epoch));
            let before = told(&observation.borrow());
            let observed = self.lease.status(None).await;
            let is_over = observed.state != LeaseState::Held || observed.epoch != epoch;
            if is_over && observed.state != LeaseState::Unknown {
                return Ok(observed);
            }
            if Instant::now() >= end {
                return Err(status::not_resigned(RESIGN_WAIT));
            }
            // Whether something was heard or the time is up, the store is asked again.
            _ = timeout(RESIGN_POLL, observation.wait_for(|seen| told(seen) != before)).await;
        }
    }

    fn last_error(&self) -> String {
        self.lease.last_error().unwrap_or_default()
    }

    fn instance(&self) -> v1::Instance {
        let (role, now) = (self.lease.role(), self.clock.now());
        let claim = role.current_claim(now);
        let shown = match &role {
            Role::Holder(_) if claim.is_some() => v1::instance::Role::Holder,
            Role::Holder(_) | Role::Standby => v1::instance::Role::Standby,
            Role::Observer => v1::instance::Role::Observer,
        };
        let deadline = claim.map(|claim| SystemTime::now() + claim.deadline.saturating_since(now));
        v1::Instance {
            instance_id: self.instance_id.clone(),
            role: shown.into(),
            version: VERSION.to_owned(),
            start_time: Some(self.start_time.into()),
            deadline_time: deadline.map(Into::into),
            acquire_count: self.lease.acquire_count(),
            error: self.lease.last_error().map(|error| status::of_lease_error(&error)),
        }
    }
}

// === impl WatchLease ===

impl Source for WatchLease {
    type State = Option<Observation>;
    type Message = v1::WatchLeaseResponse;

    fn message(&mut self, observed: &Option<Observation>) -> Option<v1::WatchLeaseResponse> {
        let observed = observed.clone().unwrap_or_else(Observation::unknown);
        let lease = (observed.state, observed.holder.clone(), observed.epoch);
        let left = Some(observed.quarantine_remaining).filter(|left| !left.is_zero());
        let quarantine_end = left.map(|left| observed.observe_time + left);
        let is_told = self.sent.as_ref().is_some_and(|sent| {
            let until = sent.quarantine_end.map(|end| end + LATER);
            sent.lease == lease && quarantine_end.is_none_or(|end| until.is_some_and(|until| end <= until))
        });
        if is_told {
            return None;
        }
        self.sent = Some(Sent { lease, quarantine_end });
        Some(v1::WatchLeaseResponse { lease: Some(convert::lease(&self.cluster, &observed)) })
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn heartbeat(&self) -> Option<v1::WatchLeaseResponse> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_tells_a_quarantine_that_begins_or_grows_and_not_one_that_passes() {
        let mut watch = WatchLease { cluster: "c".to_owned(), sent: None };
        let mut tells = |at: u64, left: u64| {
            let observation = Observation {
                state: LeaseState::Held,
                quarantine_remaining: Duration::from_millis(left),
                observe_time: SystemTime::UNIX_EPOCH + Duration::from_millis(at),
                ..Observation::unknown()
            };
            watch.message(&Some(observation)).is_some()
        };
        assert!(tells(0, 0), "the first one");
        assert!(!tells(1_000, 0));
        assert!(tells(2_000, 30_000), "the data was lost");
        assert!(!tells(5_000, 27_000) && !tells(9_000, 23_020), "it passes");
        assert!(tells(20_000, 30_000), "and lost again");
        assert!(!tells(50_000, 0), "it is over");
    }
}
