//! What an estimate was made from, as its answer echoes it: numbers without their inputs are none.

use std::{collections::HashSet, time::Duration};

use prost_types::Timestamp;

use super::{Estimated, quantity};
use crate::{
    cli::text,
    proto::v1::{
        CostParameters, EstimateRatesRequest, EstimateRatesResponse, KindShare, PrometheusSource,
        estimate_rates_request::Source,
    },
    rates::{handler::Pair, units::UnitFactors},
};

/// Each input with its name; a name of nothing goes on with the one before.
pub fn lines(estimated: &Estimated) -> Vec<(&'static str, String)> {
    let Estimated { response, source } = estimated;
    let asked = response.effective_request.clone().unwrap_or_default();
    let mut lines = vec![("source", source.clone())];
    match &asked.source {
        Some(Source::RequestRates(given)) => {
            let rates = if given.rates.len() == 1 { "request rate" } else { "request rates" };
            lines.push(("given", format!("{} {rates}", quantity::whole(given.rates.len() as f64))));
        }
        Some(Source::Prometheus(asked)) => lines.extend(prometheus(asked, &response.promql)),
        None => {}
    }
    lines.push(("cost model", format!("{} ({})", asked.cost_model, response.cost_model_version)));
    if !asked.cost_overrides.is_empty() {
        lines.push(("overrides", format!("{} of the request", asked.cost_overrides.len())));
    }
    let parameters = asked.cost_parameters.clone().unwrap_or_default();
    lines.push(("assumed", assumed(&parameters)));
    lines.extend(shares(&parameters.kind_shares, &pairs(response)).into_iter().map(|line| ("", line)));
    lines.push(("units", units(&asked.unit_factors)));
    lines.push(("growth", growth(&asked)));
    lines
}

/// The cache and the sizes, which no label tells.
pub fn assumed(parameters: &CostParameters) -> String {
    let CostParameters { warm_cache, layer_count, child_count, tag_count, kind_shares: _ } = parameters;
    let [layers, children, tags] = [*layer_count, *child_count, *tag_count].map(quantity::count);
    format!(
        "{} cache; L = {layers} (layers of an image), M = {children} (children of an index), T = {tags} (tags of a deleted image)",
        if *warm_cache { "warm" } else { "cold" }
    )
}

/// The shares of the kinds that no label tells apart, a line for each method, handler and code of `pairs`.
pub fn shares(shares: &[KindShare], pairs: &HashSet<Pair>) -> Vec<String> {
    let mut lines: Vec<((&str, &str, &str), String)> = Vec::new();
    for share in shares.iter().filter(|share| pairs.contains(&Pair::new(&share.handler, &share.method))) {
        let of = (&*share.method, &*share.handler, &*share.code);
        let told = format!("{} {}", share.kind, quantity::percent(share.share));
        match lines.iter_mut().find(|(other, _)| *other == of) {
            Some((_, line)) => *line += &format!(", {told}"),
            None => lines.push((of, told)),
        }
    }
    let line = |((method, handler, code), told): ((&str, &str, &str), String)| {
        let labels = [method, handler, code].into_iter().filter(|label| !label.is_empty()).collect::<Vec<_>>();
        format!("{}: {told}", labels.join(" "))
    };
    lines.into_iter().map(line).collect()
}

fn prometheus(asked: &PrometheusSource, promql: &str) -> Vec<(&'static str, String)> {
    let mut lines = vec![("expression", promql.to_owned())];
    if let Some(window) = text::length(asked.window) {
        lines.push(("window", span(window)));
    }
    let times: Vec<String> = asked.evaluate_times.iter().filter_map(|at| moment(*at)).collect();
    lines.push(("evaluated at", times.join(", ")));
    lines.push(("left out", format!("codes {}", asked.excluded_codes.join(", "))));
    lines
}

fn pairs(response: &EstimateRatesResponse) -> HashSet<Pair> {
    let rates = response.estimates.iter().filter_map(|estimate| estimate.request_rate.as_ref());
    rates.map(|rate| Pair::new(&rate.handler, &rate.method)).collect()
}

fn units(name: &str) -> String {
    match name.parse() {
        Ok(UnitFactors::Calendar) => format!("{name}: a month of 30 days, a year of 365 days"),
        Ok(UnitFactors::Published2020) => {
            format!("{name}: a month of 30 weeks, which is 7 times too long, and a year of 12 of those")
        }
        Err(_) => name.to_owned(),
    }
}

fn growth(asked: &EstimateRatesRequest) -> String {
    let factor = format!("every request rate x {}", asked.growth_factor);
    match asked.monthly_growth_rate {
        0.0 => factor,
        rate => format!("{factor}; {} a month from now on", quantity::percent(rate)),
    }
}

/// In hours, as in the published expression, where it is some.
fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds if seconds >= 3600 && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ => text::span(span),
    }
}

fn moment(at: Timestamp) -> Option<String> {
    text::moment(Some(at)).map(text::time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(kind: &str, share: f64) -> KindShare {
        let (kind, handler) = (kind.to_owned(), "/v2/{name}/manifests/{reference}".to_owned());
        KindShare { kind, share, handler, method: "put".to_owned(), code: "201".to_owned() }
    }

    #[test]
    fn shares_are_told_of_what_has_an_estimate() {
        let given = [share("new image by tag", 0.5), share("new index by tag", 0.125)];
        let put = HashSet::from([Pair::new("Manifest", "PUT")]);
        let line = "put /v2/{name}/manifests/{reference} 201: new image by tag 50 %, new index by tag 12.5 %";
        assert_eq!(shares(&given, &put), [line]);
        assert!(shares(&given, &HashSet::from([Pair::new("Manifest", "GET")])).is_empty());
    }

    #[test]
    fn what_was_asked_of_prometheus_is_told() {
        let asked = PrometheusSource {
            window: Some(prost_types::Duration { seconds: 172_800, nanos: 0 }),
            evaluate_times: vec![Timestamp { seconds: 1_592_589_600, nanos: 0 }],
            excluded_codes: vec!["500".to_owned(), "401".to_owned()],
        };
        let told = [
            ("expression", "rate(x[48h])".to_owned()),
            ("window", "48h".to_owned()),
            ("evaluated at", "2020-06-19T18:00:00Z".to_owned()),
            ("left out", "codes 500, 401".to_owned()),
        ];
        assert_eq!(prometheus(&asked, "rate(x[48h])"), told);
        assert_eq!(span(Duration::from_secs(90)), "1m30s");
    }

    #[test]
    fn a_month_of_the_published_tables_is_said_to_be_too_long() {
        assert_eq!(units("calendar"), "calendar: a month of 30 days, a year of 365 days");
        assert!(units("published-2020").contains("7 times too long"));
    }
}
