//! From a question to its answer: where the rates come from, what a request costs, what follows.

use std::time::{Duration, SystemTime};

use crate::{
    prometheus::{self, Prometheus},
    rates::{
        Invalid,
        ceiling::Outlook,
        costs::{CostOverride, Costs},
        estimate::{Estimate, Growth},
        model::ModelName,
        parameters::Parameters,
        request::RequestRate,
    },
};

/// Answers questions. Cheap to clone.
#[derive(Clone, Default)]
pub struct Estimator {
    /// The Prometheus of the configuration; nobody who asks can name another.
    pub prometheus: Option<Prometheus>,
    /// Overrides of the configuration: they come before those of a question.
    pub overrides: Vec<CostOverride>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where the request rates come from.
    pub source: Source,
    /// What requests cost.
    pub model: ModelName,
    /// What the labels do not tell.
    pub parameters: Parameters,
    /// Parts of the model that are replaced.
    pub overrides: Vec<CostOverride>,
    /// What the rates are multiplied with.
    pub growth: Growth,
    /// How they grow later.
    pub outlook: Outlook,
}

/// Where request rates come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The Prometheus of the configuration.
    Prometheus(prometheus::Query),
    /// Whoever asks; each is finite and not negative.
    Given(Vec<RequestRate>),
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The estimate.
    pub estimate: Estimate,
    /// What it was made with, shares included.
    pub costs: Costs,
    /// The expression that was asked; `None` for given rates.
    pub promql: Option<String>,
    /// The window that the rates are means over, which may be shorter than what was asked; `None` for given rates.
    pub window: Option<Duration>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The question cannot be.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The question is for a Prometheus, and none is configured.
    #[error("no Prometheus is configured: set rates.prometheus.url, or give the request rates")]
    NoPrometheus,
    /// It did not answer, or not with rates.
    #[error(transparent)]
    Prometheus(#[from] prometheus::Error),
}

/// The range of rate() when none is asked for: that of the published estimate.
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(48 * 3600);

/// Left out when no codes are given: such requests never reach the database.
pub const EXCLUDED_CODES: [&str; 2] = ["500", "401"];

// === impl Estimator ===

impl Estimator {
    /// Answers `question`; asks Prometheus only when the rest of it is sound.
    pub async fn answer(&self, question: &Question) -> Result<Answer, Error> {
        let costs = self.check(question)?;
        let Question { source, model: _, parameters: _, overrides: _, growth, outlook } = question;
        let (rates, asked, mut warnings) = match source {
            Source::Given(rates) => (rates.clone(), None, Vec::new()),
            Source::Prometheus(query) => {
                let prometheus = self.prometheus.as_ref().ok_or(Error::NoPrometheus)?;
                let observed = prometheus.request_rates(query).await?;
                (observed.rates, Some((observed.promql, observed.window)), observed.warnings)
            }
        };
        let mut estimate = Estimate::new(&rates, &costs, *growth, outlook, SystemTime::now());
        warnings.append(&mut estimate.warnings);
        estimate.warnings = warnings;
        let (promql, window) = asked.unzip();
        Ok(Answer { estimate, costs, promql, window })
    }

    /// What requests cost by `question`, when it can be answered at all: nobody is asked for that.
    pub fn check(&self, question: &Question) -> Result<Costs, Error> {
        let Question { source, model, parameters, overrides, growth: _, outlook: _ } = question;
        if matches!(source, Source::Prometheus(_)) && self.prometheus.is_none() {
            return Err(Error::NoPrometheus);
        }
        let overrides: Vec<CostOverride> = self.overrides_of(*model).chain(overrides).cloned().collect();
        Ok(Costs::new(model.model(), parameters, &overrides)?)
    }

    /// The overrides of the configuration, without those of kinds that only other models know.
    pub fn overrides_of(&self, model: ModelName) -> impl Iterator<Item = &CostOverride> {
        self.overrides.iter().filter(move |change| change.fits(model.model()))
    }
}

// === impl Question ===

impl Question {
    /// What EstimateRates asks when nothing is said: of the Prometheus, for the default window before `now`.
    pub fn of_prometheus(model: ModelName, now: SystemTime) -> Self {
        let code = |code: &str| code.parse().expect("a test parses every code that is left out by default");
        let excluded_codes = EXCLUDED_CODES.map(code).to_vec();
        let query = prometheus::Query { window: DEFAULT_WINDOW, times: vec![now], excluded_codes };
        Self {
            source: Source::Prometheus(query),
            model,
            parameters: Parameters::default(),
            overrides: Vec::new(),
            growth: Growth::default(),
            outlook: Outlook::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_for_a_prometheus_that_is_not_there_has_no_answer() {
        let question = Question::of_prometheus(ModelName::default(), SystemTime::now());
        let error = Estimator::default().answer(&question).await.unwrap_err();
        assert!(matches!(error, Error::NoPrometheus), "{error}");
    }
}
