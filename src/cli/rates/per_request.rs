//! What one request of each handler and method costs, by the answers themselves: whatever parameters, shares and
//! overrides led to an estimate are in it.

use std::collections::HashMap;

use super::{answerer::Answerer, figures::Figures};
use crate::{
    proto::v1::{
        EstimateRatesRequest, EstimateRatesResponse, OperationRate, RequestEstimate, RequestRate, RequestRates,
        estimate_rates_request::Source,
    },
    rates::handler::Pair,
};

/// The cost of a request of each estimate, in its order; `None` where it cannot be told. Those with traffic have it as
/// a ratio; for the others the same is asked of a load of one request a second.
pub async fn costs(answerer: &Answerer, response: &EstimateRatesResponse) -> anyhow::Result<Vec<Option<Figures>>> {
    let idle: Vec<&RequestRate> = response.estimates.iter().filter_map(rate).filter(|rate| !is_busy(rate)).collect();
    let mut idle_costs = HashMap::new();
    if !idle.is_empty() {
        let one_each = answerer.estimate(one_each(&idle, response.effective_request.as_ref())).await?;
        let costs = one_each.estimates.iter().filter_map(|estimate| Some((pair(rate(estimate)?), ratio(estimate)?)));
        idle_costs.extend(costs);
    }
    let cost = |estimate| ratio(estimate).or_else(|| idle_costs.get(&pair(rate(estimate)?)).cloned());
    Ok(response.estimates.iter().map(cost).collect())
}

fn one_each(rates: &[&RequestRate], asked: Option<&EstimateRatesRequest>) -> EstimateRatesRequest {
    let one = |rate: &&RequestRate| RequestRate { requests_per_second: 1.0, ..(*rate).clone() };
    let asked = asked.cloned().unwrap_or_default();
    EstimateRatesRequest {
        source: Some(Source::RequestRates(RequestRates { rates: rates.iter().map(one).collect() })),
        growth_factor: 1.0,
        ceiling_per_second: 0.0,
        monthly_growth_rate: 0.0,
        horizon_months: Vec::new(),
        ..asked
    }
}

fn ratio(estimate: &RequestEstimate) -> Option<Figures> {
    let requests = rate(estimate).filter(|rate| is_busy(rate))?.requests_per_second;
    let each = |rate: &OperationRate| OperationRate {
        operation: rate.operation,
        per_second: rate.per_second / requests,
        low_per_second: rate.low_per_second / requests,
        high_per_second: rate.high_per_second / requests,
        ..OperationRate::default()
    };
    Some(Figures::of(&estimate.operation_rates.iter().map(each).collect::<Vec<_>>()))
}

fn rate(estimate: &RequestEstimate) -> Option<&RequestRate> {
    estimate.request_rate.as_ref()
}

fn pair(rate: &RequestRate) -> Pair {
    Pair::new(&rate.handler, &rate.method)
}

fn is_busy(rate: &RequestRate) -> bool {
    rate.requests_per_second > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(handler: &str, method: &str, requests_per_second: f64) -> RequestRate {
        let (handler, method) = (handler.to_owned(), method.to_owned());
        RequestRate { handler, method, requests_per_second, ..RequestRate::default() }
    }

    #[tokio::test]
    async fn a_cost_is_told_with_and_without_traffic() {
        let rates = vec![given("manifest", "PUT", 3.0), given("catalog", "GET", 0.0)];
        let request = EstimateRatesRequest {
            source: Some(Source::RequestRates(RequestRates { rates })),
            growth_factor: 7.0,
            ..EstimateRatesRequest::default()
        };
        let alone = Answerer::alone();
        let costs = costs(&alone, &alone.estimate(request).await.unwrap()).await.unwrap();
        let [Some(put), Some(catalog)] = &costs[..] else { panic!("{costs:?}") };
        let [put, catalog] = [put, catalog].map(|figures| figures.each()[0]);
        let told = |number: f64| (number * 1e6).round() / 1e6;
        assert_eq!([put.low_per_second, put.high_per_second].map(told), [7.0, 49.0]);
        assert_eq!(told(catalog.per_second), 2.0);
    }
}
