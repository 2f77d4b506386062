//! EstimateRatesRequest to a question: every field is checked here, and named when it cannot be.

use std::time::{Duration, SystemTime};

use crate::{
    estimator::{DEFAULT_WINDOW, EXCLUDED_CODES, Question, Source},
    prometheus,
    proto::v1,
    rates::{
        Invalid,
        ceiling::Outlook,
        costs::CostOverride,
        estimate::Growth,
        expression::Expression,
        handler::Pair,
        operation::{Operation, PerOperation},
        parameters::{KindShare, Parameters, Sizes},
        request::{RequestRate, Seen, check_labels},
        units::UnitFactors,
    },
};

/// More points in time are no average that anybody means, and each is a query.
const MAX_EVALUATE_TIMES: usize = 20;

/// A shorter range holds no two scrapes.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);

/// Prometheus keeps less.
const LONGEST_WINDOW: Duration = Duration::from_secs(366 * 86_400);

/// A question with what its answer is written with.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The question.
    pub question: Question,
    /// How a second becomes a month.
    pub units: UnitFactors,
    /// The request itself, for the echo.
    pub request: v1::EstimateRatesRequest,
}

// === impl Asked ===

impl Asked {
    /// Checks `request`; `now` is what "now" in it means.
    pub fn new(mut request: v1::EstimateRatesRequest, now: SystemTime) -> Result<Self, Invalid> {
        use v1::estimate_rates_request::Source as Wire;
        let source = match request.source.as_mut() {
            Some(Wire::RequestRates(given)) => Source::Given(rates(given)?),
            Some(Wire::Prometheus(asked)) => Source::Prometheus(query(asked, now)?),
            None => {
                let mut asked = v1::PrometheusSource::default();
                let query = query(&mut asked, now)?;
                request.source = Some(Wire::Prometheus(asked));
                Source::Prometheus(query)
            }
        };
        let question = Question {
            source,
            model: request.cost_model.parse()?,
            parameters: parameters(request.cost_parameters.as_ref())?,
            overrides: overrides(&request.cost_overrides)?,
            growth: Growth::new(request.growth_factor)?,
            outlook: Outlook::new(request.monthly_growth_rate, &request.horizon_months, request.ceiling_per_second)?,
        };
        let units = request.unit_factors.parse()?;
        Ok(Self { question, units, request })
    }
}

fn rates(given: &v1::RequestRates) -> Result<Vec<RequestRate>, Invalid> {
    let mut rates = Vec::with_capacity(given.rates.len());
    let mut seen = Seen::default();
    for (index, rate) in given.rates.iter().enumerate() {
        let within = |error: Invalid| error.within(&format!("request_rates.rates[{index}]"));
        let v1::RequestRate { handler, method, requests_per_second, code, peak_requests_per_second } = rate;
        let rate = RequestRate::new(handler, method, code, *requests_per_second, *peak_requests_per_second);
        let rate = rate.map_err(within)?;
        seen.add(&rate, index).map_err(|given| {
            let problem = format!("{method} {handler} is given by rates[{}] already", given.place);
            within(Invalid::new("handler", problem))
        })?;
        rates.push(rate);
    }
    if rates.is_empty() {
        return Err(Invalid::new("request_rates.rates", "is empty: nothing is known of the load"));
    }
    Ok(rates)
}

/// The query, with its defaults written back for the echo.
fn query(asked: &mut v1::PrometheusSource, now: SystemTime) -> Result<prometheus::Query, Invalid> {
    let field = |name: &str| format!("prometheus.{name}");
    let window = match asked.window.unwrap_or_default() {
        zero if zero == prost_types::Duration::default() => DEFAULT_WINDOW,
        window => Duration::try_from(window).unwrap_or_default(),
    };
    if !(SHORTEST_WINDOW..=LONGEST_WINDOW).contains(&window) {
        return Err(Invalid::new(field("window"), "is not between 1s and 366 days"));
    }
    if asked.evaluate_times.is_empty() {
        asked.evaluate_times.push(now.into());
    }
    if asked.evaluate_times.len() > MAX_EVALUATE_TIMES {
        return Err(Invalid::new(field("evaluate_times"), format!("are more than {MAX_EVALUATE_TIMES}")));
    }
    let mut times = Vec::new();
    for (index, time) in asked.evaluate_times.iter().enumerate() {
        let past = SystemTime::try_from(*time).ok().filter(|time| *time <= now);
        let past = past.filter(|time| time.duration_since(SystemTime::UNIX_EPOCH).is_ok());
        let fail = || Invalid::new(field(&format!("evaluate_times[{index}]")), "is not a time of the past");
        times.push(past.ok_or_else(fail)?);
    }
    if asked.excluded_codes.is_empty() {
        asked.excluded_codes = EXCLUDED_CODES.map(str::to_owned).to_vec();
    }
    let mut excluded_codes = Vec::new();
    for (index, code) in asked.excluded_codes.iter().enumerate() {
        let parsed = code.parse::<prometheus::ExcludedCode>();
        let place = || field(&format!("excluded_codes[{index}]"));
        excluded_codes.push(parsed.map_err(|error| Invalid::new(place(), error.to_string()))?);
    }
    asked.window = prost_types::Duration::try_from(window).ok();
    Ok(prometheus::Query { window, times, excluded_codes })
}

fn parameters(given: Option<&v1::CostParameters>) -> Result<Parameters, Invalid> {
    let Some(given) = given else { return Ok(Parameters::default()) };
    let v1::CostParameters { warm_cache, layer_count, child_count, tag_count, kind_shares } = given;
    let shares = kind_shares.iter().enumerate().map(|(index, share)| {
        let field = format!("cost_parameters.kind_shares[{index}]");
        check_labels(&share.handler, &share.method, &share.code).map_err(|error| error.within(&field))?;
        let pair = Pair::new(&share.handler, &share.method);
        KindShare { field, pair, code: share.code.clone(), kind: share.kind.clone(), share: share.share }.checked()
    });
    Ok(Parameters {
        warm_cache: *warm_cache,
        sizes: Sizes::new(*layer_count, *child_count, *tag_count)?,
        shares: shares.collect::<Result<_, _>>()?,
    })
}

fn overrides(given: &[v1::RequestCost]) -> Result<Vec<CostOverride>, Invalid> {
    let parse = |(index, cost): (usize, &v1::RequestCost)| {
        let field = format!("cost_overrides[{index}]");
        let name = |name: &str| format!("{field}.{name}");
        check_labels(&cost.handler, &cost.method, &cost.code).map_err(|error| error.within(&field))?;
        if cost.share != 0.0 {
            return Err(Invalid::new(name("share"), "belongs into cost_parameters.kind_shares"));
        }
        let mut operations = PerOperation::default();
        for (operation, count) in [
            (Operation::Select, cost.select_count),
            (Operation::Insert, cost.insert_count),
            (Operation::Update, cost.update_count),
            (Operation::Delete, cost.delete_count),
        ] {
            let field = name(&format!("{}_count", operation.as_str()));
            operations[operation] = Expression::constant(crate::rates::non_negative(&field, count)?);
        }
        Ok(CostOverride {
            handler: cost.handler.clone(),
            method: cost.method.clone(),
            code: cost.code.clone(),
            kind: cost.kind.clone(),
            operations,
            note: cost.note.clone(),
            field,
        })
    };
    given.iter().enumerate().map(parse).collect()
}
