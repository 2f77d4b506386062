//! The estimate as a metric of the holder: made anew at an interval of its own, by the question that EstimateRates asks
//! when nothing is said, so that both tell the same.

use std::{sync::Arc, time::SystemTime};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    claim::{Grant, Role},
    clock::Clock,
    config::GaugeConfig,
    estimator::{Answer, Error, Estimator, Question},
    metrics::estimate::{EstimateMetrics, Shown},
    rates::operation::PerOperation,
};

use gate::EstimateGate;

pub mod gate;

/// Makes the estimate while this instance holds the lease.
pub struct Gauge {
    /// How often, and by which model.
    pub config: GaugeConfig,
    /// Answers.
    pub estimator: Estimator,
    /// Whether this instance holds the lease.
    pub role: watch::Receiver<Role>,
    /// Judges the claim.
    pub clock: Arc<dyn Clock>,
    /// Where an estimate goes.
    pub gate: Arc<EstimateGate>,
    /// What became of it.
    pub metrics: EstimateMetrics,
}

// === impl Gauge ===

impl Gauge {
    /// Runs until `stop`. The first estimate under a claim is made at once.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut is_failing = false;
        let work = async {
            loop {
                let grant = self.grant().await;
                let next = Instant::now() + self.config.interval;
                let question = Question::of_prometheus(self.config.model, SystemTime::now());
                let answer = self.estimator.answer(&question).await;
                is_failing = self.settle(&grant, answer, is_failing);
                tokio::select! {
                    () = sleep_until(next) => {}
                    () = self.lost(&grant) => {}
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// The grant under which this instance holds the lease, as soon as it does.
    async fn grant(&mut self) -> Grant {
        loop {
            let claim = self.role.borrow_and_update().current_claim(self.clock.now()).cloned();
            if let Some(claim) = claim {
                return claim.grant;
            }
            if self.role.changed().await.is_err() {
                // Whoever told the role is gone, as at a stop.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until this instance does not hold the lease under `grant` any more.
    async fn lost(&mut self, grant: &Grant) {
        let is_gone = self.role.wait_for(|role| !is_held_under(role, grant)).await.is_err();
        if is_gone {
            std::future::pending::<()>().await;
        }
    }

    /// Lets an estimate through or counts its failure, and tells the first of several. Returns whether it is a failure.
    fn settle(&self, grant: &Grant, answer: Result<Answer, Error>, was_failing: bool) -> bool {
        match answer {
            Ok(Answer { estimate, .. }) => {
                let totals = PerOperation::from_fn(|operation| estimate.totals[operation].range);
                let shown = Shown { totals, unmapped_share: estimate.unmapped_share };
                let is_shown = self.gate.publish(grant, shown);
                self.metrics.made();
                debug!(is_shown, warnings = estimate.warnings.join("; "), "Estimate made");
                if was_failing {
                    info!("The estimate can be made again");
                }
                false
            }
            Err(error) => {
                self.metrics.failed();
                if was_failing {
                    debug!(%error, "The estimate cannot be made");
                } else {
                    warn!(%error, "The estimate cannot be made");
                }
                true
            }
        }
    }
}

fn is_held_under(role: &Role, grant: &Grant) -> bool {
    matches!(role, Role::Holder(claim) if claim.grant == *grant)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        claim::Claim,
        clock::SystemClock,
        estimator::Source,
        metrics::Exporter,
        rates::{model::ModelName, request::RequestRate},
    };

    fn holder(epoch: i64) -> Role {
        let deadline = SystemClock.now() + Duration::from_secs(3600);
        Role::Holder(Claim {
            grant: Grant { token: format!("token-{epoch}"), epoch },
            mark_us: 1,
            acquire_time: SystemTime::now(),
            soft_deadline: deadline,
            deadline,
        })
    }

    fn gauge(exporter: &Exporter, role: watch::Receiver<Role>) -> Gauge {
        let interval = Duration::from_secs(300);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Gauge {
            config: GaugeConfig { interval, model: ModelName::default() },
            estimator: Estimator::default(),
            gate: Arc::new(EstimateGate::new(role.clone(), clock.clone(), interval)),
            role,
            clock,
            metrics: EstimateMetrics::new(&exporter.meter()),
        }
    }

    async fn answer() -> Answer {
        let (handler, method) = ("manifest".to_owned(), "GET".to_owned());
        let rate = RequestRate { handler, method, code: "200".to_owned(), per_second: 5.0, peak_per_second: None };
        let mut question = Question::of_prometheus(ModelName::default(), SystemTime::now());
        question.source = Source::Given(vec![rate]);
        Estimator::default().answer(&question).await.unwrap()
    }

    #[tokio::test]
    async fn an_estimate_is_shown_and_a_failure_leaves_it_and_is_counted() {
        let exporter = Exporter::new().unwrap();
        let (_tx, rx) = watch::channel(holder(5));
        let gauge = gauge(&exporter, rx);
        let grant = Grant { token: "token-5".to_owned(), epoch: 5 };
        assert!(gauge.settle(&grant, Err(Error::NoPrometheus), false));
        assert_eq!(gauge.gate.shown(), None, "a failure is no 0");
        assert!(!gauge.settle(&grant, Ok(answer().await), true));
        assert!(gauge.settle(&grant, Err(Error::NoPrometheus), false));
        let shown = gauge.gate.shown().unwrap();
        assert_eq!(shown.totals.iter().map(|(_, range)| range.expected).collect::<Vec<_>>(), [10.0, 0.0, 0.0, 0.0]);
        let page = exporter.page().unwrap();
        assert!(page.contains("\nrowcount_estimate_failures_total 2\n"), "{page}");
        assert!(!page.contains("\nrowcount_estimate_last_success_timestamp_seconds 0\n"), "{page}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_made_at_once_under_a_claim_then_at_each_interval_and_never_without_one() {
        let exporter = Exporter::new().unwrap();
        let (tx, rx) = watch::channel(Role::Standby);
        let stop = CancellationToken::new();
        let task = tokio::spawn(gauge(&exporter, rx).run(stop.clone()));
        // Without a Prometheus each try is a failure, which shows when there was one.
        let tries = || {
            let page = exporter.page().unwrap();
            let line = page.lines().find_map(|line| line.strip_prefix("rowcount_estimate_failures_total "));
            line.unwrap().parse::<u64>().unwrap()
        };
        let after = async |seconds| tokio::time::sleep(Duration::from_secs(seconds)).await;
        after(1_000).await;
        assert_eq!(tries(), 0);
        tx.send_replace(holder(5));
        after(1).await;
        assert_eq!(tries(), 1);
        after(298).await;
        assert_eq!(tries(), 1);
        after(2).await;
        assert_eq!(tries(), 2);
        tx.send_replace(holder(6));
        after(1).await;
        assert_eq!(tries(), 3, "a new claim has nothing to show yet");
        tx.send_replace(Role::Standby);
        after(1_000).await;
        assert_eq!(tries(), 3);
        stop.cancel();
        task.await.unwrap();
    }
}
