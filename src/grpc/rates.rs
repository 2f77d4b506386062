//! Estimates over messages: what a server answers, and what the command line answers by itself without one.

use std::time::SystemTime;

use tonic::Status;

use crate::{
    estimator::{self, Estimator},
    proto::v1,
    rates::{costs::Costs, model::ModelName, parameters::Parameters},
};

use super::status;

pub mod estimates;
pub mod request;
mod response;
pub mod validations;

/// Answers EstimateRates; each query of Prometheus is bounded by its time-out.
pub async fn estimate(
    estimator: &Estimator,
    request: v1::EstimateRatesRequest,
) -> Result<v1::EstimateRatesResponse, estimator::Error> {
    let asked = request::Asked::new(request, SystemTime::now())?;
    let answer = estimator.answer(&asked.question).await?;
    Ok(response::estimate(asked, answer))
}

/// Answers GetCostModel: the model as it is used when nothing is given, with the overrides of the configuration.
pub fn cost_model(
    estimator: &Estimator,
    request: &v1::GetCostModelRequest,
) -> Result<v1::GetCostModelResponse, Status> {
    let model: ModelName = request.cost_model.parse().map_err(|error| status::of_invalid(&error))?;
    let parameters = Parameters::default();
    let overrides: Vec<_> = estimator.overrides_of(model).cloned().collect();
    let costs = Costs::new(model.model(), &parameters, &overrides);
    let costs = costs.map_err(|error| status::of_invalid(&error))?;
    Ok(v1::GetCostModelResponse {
        cost_model_version: response::version(model, costs.is_overridden()),
        costs: costs.rows().iter().map(response::cost).collect(),
        default_parameters: Some(response::parameters(&parameters, &costs)),
    })
}
