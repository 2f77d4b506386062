//! grpc.health.v1. The process is healthy whatever Redis, PostgreSQL or the lease do; only RowCountService depends on
//! there being a snapshot that is not too old. Standing by is healthy.

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

use crate::board::view::View;

/// Serving while a fresh snapshot exists.
const ROW_COUNTS: &str = "rowcount.v1.RowCountService";

/// Serving while the process does.
const PROCESS: [&str; 2] = ["", "liveness"];

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
    pub async fn keep(self, view: Arc<View>, stale_after: Duration, stop: CancellationToken) {
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
            let published = view.now().state.snapshot.as_ref().map(|snapshot| snapshot.publish_time);
            let is_fresh =
                published.is_some_and(|at| SystemTime::now().duration_since(at).unwrap_or_default() <= stale_after);
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
