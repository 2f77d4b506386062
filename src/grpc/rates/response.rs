//! An answer to EstimateRatesResponse, with every default of the request filled in.

use std::time::SystemTime;

use prost_types::Timestamp;

use crate::{
    estimator::Answer,
    proto::v1,
    rates::{
        costs::{Costs, Row},
        estimate::{PairEstimate, Rate},
        model::ModelName,
        operation::{Operation, PerOperation},
        parameters::Parameters,
        request::RequestRate,
        units::{Unit, UnitFactors},
    },
};

use super::request::Asked;

/// The response to what was asked.
pub fn estimate(asked: Asked, answer: Answer) -> v1::EstimateRatesResponse {
    let Asked { question, units, mut request } = asked;
    let Answer { estimate, costs, promql, window } = answer;
    if let Some(v1::estimate_rates_request::Source::Prometheus(asked)) = &mut request.source {
        asked.window = window.and_then(|window| window.try_into().ok());
    }
    let rates = |operations: &PerOperation<Rate>| -> Vec<_> {
        operations.iter().map(|(operation, rate)| operation_rate(operation, rate, units)).collect()
    };
    let pair = |pair: PairEstimate| v1::RequestEstimate {
        operation_rates: rates(&pair.operations),
        request_rate: Some(request_rate(pair.request)),
    };
    let projection = |(months, totals): &(u32, PerOperation<Rate>)| v1::Projection {
        months: i32::try_from(*months).unwrap_or(i32::MAX),
        totals: rates(totals),
    };
    v1::EstimateRatesResponse {
        totals: rates(&estimate.totals),
        nested_totals: rates(&estimate.nested_totals),
        projections: estimate.projections.iter().map(projection).collect(),
        estimates: estimate.pairs.into_iter().map(pair).collect(),
        unmapped: estimate.unmapped.into_iter().map(request_rate).collect(),
        unmapped_share: estimate.unmapped_share,
        ceiling_time: estimate.ceiling_time.map(timestamp),
        effective_request: Some(v1::EstimateRatesRequest {
            growth_factor: question.growth.factor(),
            cost_model: question.model.as_str().to_owned(),
            cost_parameters: Some(parameters(&question.parameters, &costs)),
            unit_factors: units.as_str().to_owned(),
            horizon_months: question.outlook.horizon_months().iter().map(|months| *months as i32).collect(),
            ..request
        }),
        cost_model_version: version(question.model, costs.is_overridden()),
        promql: promql.unwrap_or_default(),
        warnings: estimate.warnings,
    }
}

/// The version of a model, which overrides make another one.
pub fn version(model: ModelName, has_overrides: bool) -> String {
    format!("{}{}", model.model().version, if has_overrides { "+overrides" } else { "" })
}

/// The parameters in use, with the share of every kind that is not alone.
pub fn parameters(parameters: &Parameters, costs: &Costs) -> v1::CostParameters {
    let shares = costs.rows().iter().filter(|row| row.cost.share != 1.0).map(|row| v1::KindShare {
        kind: row.cost.kind.clone(),
        share: row.cost.share,
        handler: row.cost.handler.clone(),
        method: row.cost.method.clone(),
        code: row.cost.code.clone(),
    });
    v1::CostParameters {
        warm_cache: parameters.warm_cache,
        layer_count: parameters.sizes.layers,
        child_count: parameters.sizes.children,
        tag_count: parameters.sizes.tags,
        kind_shares: shares.collect(),
    }
}

/// A row of a model.
pub fn cost(row: &Row) -> v1::RequestCost {
    let Row { cost, operations, .. } = row;
    v1::RequestCost {
        handler: cost.handler.clone(),
        method: cost.method.clone(),
        select_count: operations[Operation::Select],
        insert_count: operations[Operation::Insert],
        update_count: operations[Operation::Update],
        delete_count: operations[Operation::Delete],
        note: note(row),
        code: cost.code.clone(),
        kind: cost.kind.clone(),
        share: cost.share,
    }
}

/// What the numbers were made from, where they depend on something, and what they do not hold.
fn note(row: &Row) -> String {
    let cost = &row.cost;
    let mut parts = Vec::new();
    if !cost.note.is_empty() {
        parts.push(cost.note.clone());
    }
    let formulas = |of: &PerOperation<crate::rates::expression::Expression>| {
        let told = of.iter().filter(|(_, count)| **count != Default::default());
        told.map(|(operation, count)| format!("{count} {}", operation.as_str().to_uppercase())).collect::<Vec<_>>()
    };
    let is_varying = Operation::ALL.iter().any(|operation| !cost.operations[*operation].is_constant());
    if is_varying {
        parts.push(formulas(&cost.operations).join(" + "));
    }
    if cost.select_warm != cost.operations[Operation::Select] {
        parts.push(format!("with a warm cache {} SELECT", cost.select_warm));
    }
    let nested = formulas(&cost.nested);
    if !nested.is_empty() {
        parts.push(format!("nested {}", nested.join(" + ")));
    }
    parts.join("; ")
}

fn request_rate(rate: RequestRate) -> v1::RequestRate {
    v1::RequestRate {
        handler: rate.handler,
        method: rate.method,
        requests_per_second: rate.per_second,
        code: rate.code,
        peak_requests_per_second: rate.peak_per_second.unwrap_or_default(),
    }
}

fn operation_rate(of: Operation, rate: &Rate, units: UnitFactors) -> v1::OperationRate {
    let per = |unit: Unit| rate.range.expected * units.seconds(unit);
    v1::OperationRate {
        operation: operation(of).into(),
        per_second: per(Unit::Second),
        per_minute: per(Unit::Minute),
        per_hour: per(Unit::Hour),
        per_day: per(Unit::Day),
        per_week: per(Unit::Week),
        per_month: per(Unit::Month),
        per_year: per(Unit::Year),
        low_per_second: rate.range.low,
        high_per_second: rate.range.high,
        peak_per_second: rate.peak.unwrap_or_default(),
    }
}

/// An operation as the messages call it.
pub fn operation(operation: Operation) -> v1::SqlOperation {
    match operation {
        Operation::Select => v1::SqlOperation::Select,
        Operation::Insert => v1::SqlOperation::Insert,
        Operation::Update => v1::SqlOperation::Update,
        Operation::Delete => v1::SqlOperation::Delete,
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    time.into()
}
