//! EstimateRates and GetCostModel as a server answers them: within bounds, and without standing in the way of other
//! calls.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{runtime::Handle, sync::Semaphore, task::spawn_blocking, time::timeout};
use tonic::Status;
use tracing::{Span, error};

use crate::{
    estimator::{self, Answer, Estimator},
    proto::v1::{self, estimate_rates_request::Source},
    rates::Invalid,
};

use super::request::Asked;
use crate::grpc::status;

/// Request rates that one call may give: a registry has a few hundred series.
pub const MAX_RATES: usize = 100_000;

/// Of everything else that a call may give several of.
const MAX_OTHERS: usize = 1_000;

/// With this many rates an estimate takes about a millisecond; those with more are made beside the calls.
const MANY_RATES: usize = 500;

/// Large estimates that run or wait.
const MAX_LARGE: usize = 4;

/// Estimates that ask Prometheus at once.
const MAX_REMOTE: usize = 4;

/// All queries of one estimate: each has its own time-out, but a call may ask about many times.
const LONGEST_REMOTE: Duration = Duration::from_secs(60);

/// Answers what is about estimates. Cheap to clone.
#[derive(Clone)]
pub struct Estimates {
    estimator: Arc<Estimator>,
    /// One large estimate at a time: they are all work and no waiting, and the others shall go on.
    large: Arc<Semaphore>,
    /// Those that wait for it hold their whole request, so they are few.
    queue: Arc<Semaphore>,
    /// Those that ask Prometheus, for which an estimate is many samples to read.
    remote: Arc<Semaphore>,
}

/// What an estimate takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Less than any call of it is worth telling apart.
    Small,
    /// A core, for a while.
    Large,
    /// Waiting for Prometheus.
    Remote,
}

// === impl Estimates ===

impl Estimates {
    /// Answers by `estimator`.
    pub fn new(estimator: Estimator) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let estimator = Arc::new(estimator);
        Self { estimator, large: semaphore(1), queue: semaphore(MAX_LARGE), remote: semaphore(MAX_REMOTE) }
    }

    /// EstimateRates.
    pub async fn estimate(&self, request: v1::EstimateRatesRequest) -> Result<v1::EstimateRatesResponse, Status> {
        within_bounds(&request).map_err(|error| status::of_invalid(&error))?;
        let estimator = self.estimator.clone();
        let work = Work::of(&request);
        let estimate = async move { super::estimate(&estimator, request).await };
        self.run(work, estimate).await?.map_err(|error| status::of_estimator(&error))
    }

    /// GetCostModel.
    pub fn cost_model(&self, request: &v1::GetCostModelRequest) -> Result<v1::GetCostModelResponse, Status> {
        super::cost_model(&self.estimator, request)
    }

    /// Whether `request` can be answered; nobody is asked for that.
    pub async fn check(&self, request: v1::EstimateRatesRequest) -> Result<Result<(), estimator::Error>, Status> {
        if let Err(error) = within_bounds(&request) {
            return Ok(Err(error.into()));
        }
        let estimator = self.estimator.clone();
        // Prometheus is not asked, whatever the source.
        let work = if Work::of(&request) == Work::Large { Work::Large } else { Work::Small };
        self.run(work, async move {
            let asked = Asked::new(request, SystemTime::now())?;
            estimator.check(&asked.question).map(drop)
        })
        .await
    }

    /// The answer to `request`, in which "now" means `now`, and the growth that is in it.
    pub async fn answer(
        &self,
        request: v1::EstimateRatesRequest,
        now: SystemTime,
    ) -> Result<Result<(Answer, f64), estimator::Error>, Status> {
        let estimator = self.estimator.clone();
        self.run(Work::of(&request), async move {
            let asked = Asked::new(request, now)?;
            let answer = estimator.answer(&asked.question).await?;
            Ok((answer, asked.question.growth.factor()))
        })
        .await
    }

    /// Runs `work` where it stands in nobody's way. A caller that goes away does not end a large one, so that keeps its
    /// place until it is done.
    async fn run<T: Send + 'static>(
        &self,
        kind: Work,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Status> {
        match kind {
            Work::Small => Ok(work.await),
            Work::Remote => {
                let _permit = self.remote.try_acquire().map_err(|_| status::too_many_waiters(MAX_REMOTE))?;
                timeout(LONGEST_REMOTE, work).await.map_err(|_| status::deadline_exceeded())
            }
            Work::Large => {
                let _place = self.queue.try_acquire().map_err(|_| status::too_many_waiters(MAX_LARGE))?;
                let permit = self.large.clone().acquire_owned().await.expect("the semaphore is never closed");
                let (runtime, span) = (Handle::current(), Span::current());
                let work = move || {
                    let _permit = permit;
                    span.in_scope(|| runtime.block_on(work))
                };
                spawn_blocking(work).await.map_err(|error| {
                    error!(%error, "An estimate failed");
                    status::internal()
                })
            }
        }
    }
}

// === impl Work ===

impl Work {
    /// Only rates that are given are many at once: those of a Prometheus are waited for.
    fn of(request: &v1::EstimateRatesRequest) -> Self {
        match &request.source {
            Some(Source::RequestRates(given)) if given.rates.len() > MANY_RATES => Self::Large,
            Some(Source::RequestRates(_)) => Self::Small,
            Some(Source::Prometheus(_)) | None => Self::Remote,
        }
    }
}

fn within_bounds(request: &v1::EstimateRatesRequest) -> Result<(), Invalid> {
    let (rates, codes) = match &request.source {
        Some(Source::RequestRates(given)) => (given.rates.len(), 0),
        Some(Source::Prometheus(asked)) => (0, asked.excluded_codes.len()),
        None => (0, 0),
    };
    let shares = request.cost_parameters.as_ref().map_or(0, |parameters| parameters.kind_shares.len());
    for (field, number, most) in [
        ("request_rates.rates", rates, MAX_RATES),
        ("prometheus.excluded_codes", codes, MAX_OTHERS),
        ("cost_overrides", request.cost_overrides.len(), MAX_OTHERS),
        ("cost_parameters.kind_shares", shares, MAX_OTHERS),
        ("horizon_months", request.horizon_months.len(), MAX_OTHERS),
    ] {
        if number > most {
            return Err(Invalid::new(field, format!("are {number}, and at most {most} are taken")));
        }
    }
    Ok(())
}
