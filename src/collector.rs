//! The loop of the holder: claim ∧ (due query ∨ trigger) → count → publish. It acts on nothing directly: events only
//! wake it, and it then decides from what is true.
//!
//! What must stay true: no query starts outside the claim's time to work, nothing is published except through the gate,
//! and a requested collection begins on the board before its first query begins on the database.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{
    board::{Board, view::View},
    claim::Claim,
    clock::Clock,
    config::CollectionConfig,
    counting::Counting,
    lease::LeaseHandle,
    metrics::{collector::CollectorMetrics, follow::FollowMetrics, lease::LeaseMetrics, query::QueryMetrics},
};

use gate::PublishGate;
use holding::Holding;

mod following;
pub mod gate;
mod holding;
mod outbox;
pub mod pace;
mod plan;
mod report;
mod spans;

/// Everything that counting under a claim needs.
pub struct Collector {
    /// This instance.
    pub instance_id: String,
    /// What is counted, and when.
    pub config: CollectionConfig,
    /// Runs that may go on side by side.
    pub connections: usize,
    /// Level of the per-query line.
    pub collected_level: tracing::Level,
    /// Judges the claim.
    pub clock: Arc<dyn Clock>,
    /// Tells who holds, and is told when a write was refused.
    pub lease: LeaseHandle,
    /// Where counts go.
    pub board: Arc<dyn Board>,
    /// This instance's copy of the board.
    pub view: Arc<View>,
    /// Through which counts go.
    pub gate: Arc<PublishGate>,
    /// Where counts come from.
    pub counting: Counting,
    /// Instruments.
    pub metrics: Metrics,
}

/// The collector's instruments.
pub struct Metrics {
    /// Of collections.
    pub collector: Arc<CollectorMetrics>,
    /// Of runs.
    pub query: QueryMetrics,
    /// Of following.
    pub follow: FollowMetrics,
    /// Of refused publications.
    pub lease: LeaseMetrics,
}

// === impl Collector ===

impl Collector {
    /// Counts whenever this instance holds the lease, until `stop`; then ends what runs and says so on the board.
    pub async fn run(self, stop: CancellationToken) {
        let mut role = self.lease.subscribe();
        loop {
            if let Some(claim) = self.gate.current_claim() {
                self.hold(claim, &stop).await;
            }
            // The stop first: the lease is still ours then, and nothing may begin under it any more.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = role.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Counts under one claim, to its end.
    async fn hold(&self, claim: Claim, stop: &CancellationToken) {
        let Some(holding) = Holding::load(self, claim.grant, stop).await else { return };
        holding.run(stop).await;
    }
}
