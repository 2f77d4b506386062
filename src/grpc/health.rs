//! grpc.health.v1. The process is healthy whatever Redis, PostgreSQL or the lease do, and so is RateService, which can
//! answer from what it is given; only RowCountService depends on there being a snapshot that is not too old. Standing
//! by is healthy.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{board::view::View, snapshot::Snapshot};

/// Serving while a fresh snapshot exists.
const ROW_COUNTS: &str = "rowcount.v1.RowCountService";

/// Serving while the process does.
const PROCESS: [&str; 3] = ["", "liveness", "rowcount.v1.RateService"];

/// How often the age of the snapshot is looked at; new ones are heard of at once.
const LOOK: Duration = Duration::from_secs(1);

/// What the health service says.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
}

// === impl Health ===

impl Health {
    /// Health of a process that serves.
    pub async fn serving() -> Self {
        let health = Self { reporter: HealthReporter::new() };
        health.set(&PROCESS, ServingStatus::Serving).await;
        health.set(&[ROW_COUNTS], ServingStatus::NotServing).await;
        health
    }

    /// The service.
    pub fn server(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// Keeps the health of RowCountService true, until `stop`; then nothing serves any more.
    pub async fn keep(self, view: Arc<View>, stop: CancellationToken) {
        let mut seen = view.subscribe();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = ServingStatus::NotServing;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = look.tick() => {}
                _ = seen.changed() => {}
            }
            let is_fresh = view.now().state.snapshot.as_ref().is_some_and(|one| is_fresh(one, SystemTime::now()));
            let says = if is_fresh { ServingStatus::Serving } else { ServingStatus::NotServing };
            if says != said {
                self.set(&[ROW_COUNTS], says).await;
                said = says;
            }
        }
        self.set(&PROCESS, ServingStatus::NotServing).await;
        self.set(&[ROW_COUNTS], ServingStatus::NotServing).await;
    }

    async fn set(&self, services: &[&str], says: ServingStatus) {
        for service in services {
            self.reporter.set_service_status(*service, says).await;
        }
    }
}

/// Whether the holder has published since the count that it makes most often became stale. By what the snapshot says of
/// itself: a fleet whose every query has a long interval publishes seldom, and is healthy.
fn is_fresh(snapshot: &Snapshot, now: SystemTime) -> bool {
    let age = now.duration_since(snapshot.publish_time).unwrap_or_default();
    snapshot.counts.values().map(|count| count.stale_after).min().is_none_or(|limit| age <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{query::Method, snapshot::Count};

    #[test]
    fn a_snapshot_is_fresh_by_the_shortest_limit_of_its_counts() {
        let second = Duration::from_secs(1);
        let published = SystemTime::now();
        let count = |seconds| Count::never_run(Method::Exact, seconds * second, 3 * seconds * second);
        let counts = [("blobs".parse().unwrap(), count(600)), ("tags".parse().unwrap(), count(60))];
        let mut snapshot = Snapshot {
            epoch: 1,
            token: "token".to_owned(),
            revision: 1,
            publish_time: published,
            last_collection: None,
            counts: counts.into(),
        };
        assert!(is_fresh(&snapshot, published + 180 * second));
        assert!(!is_fresh(&snapshot, published + 181 * second));
        assert!(is_fresh(&snapshot, published - second), "a clock that went back makes nothing old");
        snapshot.counts.clear();
        assert!(is_fresh(&snapshot, published + 3600 * second), "nothing is counted, so nothing is old");
    }
}
