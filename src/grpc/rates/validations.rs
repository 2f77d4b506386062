//! ValidateRates: everything that can be refused is refused before anything is counted; then what ran is observed, and
//! only then is the load of the same time estimated.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    estimator,
    grpc::{convert, layer::Deadline, status},
    observer::{Observer, Turn},
    proto::v1::{self, estimate_rates_request::Source as Wire},
    rates::{
        Invalid,
        validation::{self, Comparison, Observation, Source},
    },
};

use super::{estimates::Estimates, response};

const DURATION: &str = "observe_duration";

/// When the caller does not say.
const DEFAULT_DURATION: Duration = Duration::from_secs(60);

/// Less would be noise.
const SHORTEST: Duration = Duration::from_secs(1);

/// A longer one would hold the turn for nothing: what ran for longer shows in the statistics of whoever keeps them.
const LONGEST: Duration = Duration::from_secs(600);

/// Compares estimates with what ran.
#[derive(Clone)]
pub struct Validations {
    /// Makes the estimates.
    pub estimates: Estimates,
    /// Counts what runs.
    pub observer: Observer,
    /// One at a time.
    pub turn: Turn,
    /// Cancelled when the instance stops.
    pub stop: CancellationToken,
}

// === impl Validations ===

impl Validations {
    /// ValidateRates. A call that goes away frees the turn, and a statement that runs for it ends with its session.
    pub async fn validate(
        &self,
        request: v1::ValidateRatesRequest,
        deadline: Option<Deadline>,
    ) -> Result<v1::ValidateRatesResponse, Status> {
        let v1::ValidateRatesRequest { observe_duration, estimate, source } = request;
        let span = span(observe_duration)?;
        let source = wanted(source)?;
        let estimate = estimate.unwrap_or_default();
        in_time(span, deadline)?;
        self.estimates.check(estimate.clone()).await?.map_err(of_estimate)?;
        self.observer.check(source).map_err(|error| status::of_observer(&error))?;
        let _turn = self.turn.take(span).map_err(status::validation_running)?;
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(status::shutting_down()),
            compared = self.compare(source, span, estimate) => compared,
        }
    }

    async fn compare(
        &self,
        source: Option<Source>,
        span: Duration,
        request: v1::EstimateRatesRequest,
    ) -> Result<v1::ValidateRatesResponse, Status> {
        let observed = self.observer.observe(source, span).await.map_err(|error| status::of_observer(&error))?;
        let request = of_the_same_time(request, &observed);
        let answer = self.estimates.answer(request, observed.end_time).await?;
        let (answer, growth) = answer.map_err(of_estimate)?;
        let comparisons = validation::compare(&answer.estimate, &observed.rates);
        let more = validation::warnings(&answer.estimate, growth, observed.source);
        Ok(v1::ValidateRatesResponse {
            comparisons: comparisons.iter().map(comparison).collect(),
            stats_reset_time: observed.reset_time.map(Into::into),
            warnings: observed.warnings.into_iter().chain(answer.estimate.warnings).chain(more).collect(),
            source: wire(observed.source).into(),
            observe_duration: observed.span.try_into().ok(),
        })
    }
}

/// Rates that are asked of Prometheus without a window are those of the time that was observed. Its end is what "now"
/// means, and the last scrape before it is there: nothing waits for another one, whose samples would lie behind.
fn of_the_same_time(mut request: v1::EstimateRatesRequest, observed: &Observation) -> v1::EstimateRatesRequest {
    let mut asked = match request.source.take() {
        Some(Wire::Prometheus(asked)) => asked,
        None => v1::PrometheusSource::default(),
        given => {
            request.source = given;
            return request;
        }
    };
    if asked.window.unwrap_or_default() == prost_types::Duration::default() {
        let seconds = Duration::from_secs(observed.span.as_secs_f64().round().max(1.0) as u64);
        asked.window = seconds.try_into().ok();
    }
    request.source = Some(Wire::Prometheus(asked));
    request
}

fn span(given: Option<prost_types::Duration>) -> Result<Duration, Status> {
    match convert::optional_span(DURATION, given)? {
        None | Some(Duration::ZERO) => Ok(DEFAULT_DURATION),
        Some(span) if (SHORTEST..=LONGEST).contains(&span) => Ok(span),
        Some(_) => Err(status::invalid_field(DURATION, "is not between 1s and 10m")),
    }
}

fn wanted(source: i32) -> Result<Option<Source>, Status> {
    let source = v1::ObservationSource::try_from(source);
    let source = source.map_err(|unknown| status::invalid_field("source", format!("{} is no source", unknown.0)))?;
    Ok(match source {
        v1::ObservationSource::Unspecified => None,
        v1::ObservationSource::Statements => Some(Source::Statements),
        v1::ObservationSource::RegistryQueries => Some(Source::RegistryQueries),
        v1::ObservationSource::TableStatistics => Some(Source::TableStatistics),
    })
}

/// A call that ends before the counting does is refused at once.
fn in_time(span: Duration, deadline: Option<Deadline>) -> Result<(), Status> {
    let Some(Deadline(deadline)) = deadline else { return Ok(()) };
    let left = deadline.saturating_duration_since(Instant::now());
    if span < left {
        return Ok(());
    }
    let (span, left) = (humantime::format_duration(span), left.as_secs_f64());
    let problem = format!("{span} do not fit into the deadline of the call, which is {left:.1} s away");
    Err(status::invalid_field(DURATION, problem))
}

/// The status of an estimate's error, with the field where it is in this request.
fn of_estimate(error: estimator::Error) -> Status {
    match error {
        estimator::Error::Invalid(Invalid { field, problem }) => {
            status::invalid_field(&format!("estimate.{field}"), problem)
        }
        other => status::of_estimator(&other),
    }
}

fn comparison(compared: &Comparison) -> v1::RateComparison {
    let Comparison { operation, estimated, observed, ratio } = *compared;
    v1::RateComparison {
        operation: operation.map_or(v1::SqlOperation::Unspecified, response::operation).into(),
        estimated_per_second: estimated.expected,
        low_per_second: estimated.low,
        high_per_second: estimated.high,
        observed_per_second: observed,
        ratio,
    }
}

fn wire(source: Source) -> v1::ObservationSource {
    match source {
        Source::Statements => v1::ObservationSource::Statements,
        Source::RegistryQueries => v1::ObservationSource::RegistryQueries,
        Source::TableStatistics => v1::ObservationSource::TableStatistics,
    }
}
