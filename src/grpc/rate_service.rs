//! RateService: each method hands its request to the part that answers it.

use tonic::{Request, Response, Status};

use crate::proto::v1::{self, rate_service_server};

use super::{
    layer::deadline,
    rates::{estimates::Estimates, validations::Validations},
};

/// The service, made of what answers it.
pub struct RateService {
    /// Estimates and cost models.
    pub estimates: Estimates,
    /// Estimates against what ran.
    pub validations: Validations,
}

#[tonic::async_trait]
impl rate_service_server::RateService for RateService {
    async fn estimate_rates(
        &self,
        request: Request<v1::EstimateRatesRequest>,
    ) -> Result<Response<v1::EstimateRatesResponse>, Status> {
        self.estimates.estimate(request.into_inner()).await.map(Response::new)
    }

    async fn validate_rates(
        &self,
        request: Request<v1::ValidateRatesRequest>,
    ) -> Result<Response<v1::ValidateRatesResponse>, Status> {
        let deadline = deadline(&request);
        self.validations.validate(request.into_inner(), deadline).await.map(Response::new)
    }

    async fn get_cost_model(
        &self,
        request: Request<v1::GetCostModelRequest>,
    ) -> Result<Response<v1::GetCostModelResponse>, Status> {
        self.estimates.cost_model(request.get_ref()).map(Response::new)
    }
}
