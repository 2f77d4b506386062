//! What is asked, from the arguments and the file that they name: an EstimateRatesRequest. An option stands above the
//! same field of the file; of a list, all of it.

use std::{path::PathBuf, time::Duration};

use clap::builder::PossibleValuesParser;
use prost_types::Timestamp;

use super::{file, option, share, usage};
use crate::{
    proto::v1::{CostParameters, EstimateRatesRequest, KindShare, PrometheusSource, estimate_rates_request::Source},
    rates::{model::ModelName, units::UnitFactors},
};

/// Heading of the options that tell where the rates come from.
pub const SOURCE: &str = "Request rates";

const COSTS: &str = "Costs";

const OUTLOOK: &str = "Outlook";

/// Options of whatever begins with an estimate.
#[derive(Debug, clap::Args)]
pub struct QuestionArgs {
    /// File of request rates, - for stdin: CSV with the columns handler (or route), method, requests_per_second and,
    /// optionally, code; or an EstimateRatesRequest as JSON, whose fields the options below stand above
    #[arg(long, value_name = "FILE", help_heading = SOURCE)]
    from: Option<PathBuf>,
    /// What Prometheus takes the rate over [default: 48h]
    #[arg(long, value_name = "DURATION", value_parser = option::window, help_heading = SOURCE)]
    window: Option<Duration>,
    /// When the window ends, RFC 3339; given several times, the mean is taken [default: now]
    #[arg(long, value_name = "TIME", value_parser = option::time, help_heading = SOURCE)]
    at: Vec<Timestamp>,
    /// Response code to leave out of what Prometheus knows; several times for several [default: 500 and 401]
    #[arg(long, value_name = "CODE", value_parser = option::excluded_code, help_heading = SOURCE)]
    exclude_code: Vec<String>,
    /// Cost model [default: registry-4.32]
    #[arg(long, value_name = "NAME", help_heading = COSTS)]
    #[arg(value_parser = PossibleValuesParser::new(ModelName::ALL.map(ModelName::as_str)))]
    model: Option<String>,
    /// Layers of an image, L [default: 10]
    #[arg(long, value_name = "NUMBER", value_parser = option::above_zero, help_heading = COSTS)]
    #[arg(allow_negative_numbers = true)]
    layers: Option<f64>,
    /// Children of an index, M [default: 2]
    #[arg(long, value_name = "NUMBER", value_parser = option::above_zero, help_heading = COSTS)]
    #[arg(allow_negative_numbers = true)]
    children: Option<f64>,
    /// Tags of a deleted image, T [default: 1]
    #[arg(long, value_name = "NUMBER", value_parser = option::above_zero, help_heading = COSTS)]
    #[arg(allow_negative_numbers = true)]
    tags: Option<f64>,
    /// The registry's Redis cache is on and warm [default: cold]
    #[arg(long, help_heading = COSTS)]
    warm_cache: bool,
    /// Share of a kind among the requests of its method, handler and code, like 'put manifest 201 new image by tag=0.7';
    /// several times for several, the other kinds keep their proportions
    #[arg(long, value_name = "KIND=SHARE", value_parser = share::parse, help_heading = COSTS)]
    share: Vec<KindShare>,
    /// How a rate a second becomes one a month [default: calendar]
    #[arg(long, value_name = "NAME", help_heading = OUTLOOK)]
    #[arg(value_parser = PossibleValuesParser::new(UnitFactors::ALL.map(UnitFactors::as_str)))]
    unit_factors: Option<String>,
    /// Multiply every request rate, above 0 [default: 1]
    #[arg(long, value_name = "FACTOR", value_parser = option::above_zero, help_heading = OUTLOOK)]
    #[arg(allow_negative_numbers = true)]
    growth: Option<f64>,
    /// How the load grows, 0.05 for five per cent a month
    #[arg(long, value_name = "RATE", value_parser = option::zero_or_more, help_heading = OUTLOOK)]
    #[arg(allow_negative_numbers = true)]
    monthly_growth: Option<f64>,
    /// Also project the totals so many months ahead; several times for several [default with --monthly-growth: 12, 24
    /// and 36]
    #[arg(long, value_name = "MONTHS", value_parser = clap::value_parser!(i32).range(1..=1200))]
    #[arg(help_heading = OUTLOOK, allow_negative_numbers = true)]
    horizon: Vec<i32>,
    /// Operations a second that the database can bear: tells the head-room, and the month in which it ends
    #[arg(long, value_name = "OPERATIONS", value_parser = option::above_zero, help_heading = OUTLOOK)]
    #[arg(allow_negative_numbers = true)]
    ceiling: Option<f64>,
}

/// Whether the rates are in the request, and no Prometheus is asked for them.
pub fn has_rates(request: &EstimateRatesRequest) -> bool {
    matches!(request.source, Some(Source::RequestRates(_)))
}

// === impl QuestionArgs ===

impl QuestionArgs {
    /// The file that is named, for messages.
    pub fn file_name(&self) -> Option<String> {
        self.from.as_deref().map(file::name)
    }

    /// The request.
    pub fn into_request(self) -> anyhow::Result<EstimateRatesRequest> {
        let request = match &self.from {
            Some(path) => file::read(path)?,
            None => EstimateRatesRequest::default(),
        };
        Ok(self.over(request)?)
    }

    /// The request of a file with what the options say instead.
    fn over(self, mut request: EstimateRatesRequest) -> Result<EstimateRatesRequest, clap::Error> {
        let Self {
            from: _,
            window,
            at,
            exclude_code,
            model,
            layers,
            children,
            tags,
            warm_cache,
            share,
            unit_factors,
            growth,
            monthly_growth,
            horizon,
            ceiling,
        } = self;
        if window.is_some() || !at.is_empty() || !exclude_code.is_empty() {
            let mut source = match request.source {
                Some(Source::RequestRates(_)) => {
                    let text = "--window, --at and --exclude-code are for Prometheus, but --from gives the rates";
                    return Err(usage(text.to_owned()));
                }
                Some(Source::Prometheus(source)) => source,
                None => PrometheusSource::default(),
            };
            let window = window.map(prost_types::Duration::try_from).transpose();
            let window = window.map_err(|_| usage("--window is longer than any registry has run".to_owned()))?;
            source.window = window.or(source.window);
            replace(&mut source.evaluate_times, at);
            replace(&mut source.excluded_codes, exclude_code);
            request.source = Some(Source::Prometheus(source));
        }
        let parameters = request.cost_parameters.get_or_insert_with(CostParameters::default);
        parameters.warm_cache |= warm_cache;
        parameters.layer_count = layers.unwrap_or(parameters.layer_count);
        parameters.child_count = children.unwrap_or(parameters.child_count);
        parameters.tag_count = tags.unwrap_or(parameters.tag_count);
        replace(&mut parameters.kind_shares, share);
        request.cost_model = model.unwrap_or(request.cost_model);
        request.unit_factors = unit_factors.unwrap_or(request.unit_factors);
        request.growth_factor = growth.unwrap_or(request.growth_factor);
        request.monthly_growth_rate = monthly_growth.unwrap_or(request.monthly_growth_rate);
        request.ceiling_per_second = ceiling.unwrap_or(request.ceiling_per_second);
        replace(&mut request.horizon_months, horizon);
        Ok(request)
    }
}

/// Puts what was given, if anything was, in the place of what was there.
fn replace<T>(there: &mut Vec<T>, given: Vec<T>) {
    if !given.is_empty() {
        *there = given;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::proto::v1::RequestRates;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        question: QuestionArgs,
    }

    fn question(args: &[&str]) -> QuestionArgs {
        Line::try_parse_from(std::iter::once(&"rates").chain(args)).unwrap().question
    }

    #[test]
    fn every_option_has_its_field() {
        let args = "--model published-2020 --unit-factors published-2020 --layers 7 --children 3 --tags 2 --warm-cache \
                    --growth 2 --monthly-growth 0.05 --horizon 6 --horizon 18 --ceiling 5000 --window 1h \
                    --at 2020-06-19T18:00:00Z --at 2020-06-25T09:00:00Z --exclude-code 503";
        let mut args: Vec<&str> = args.split_whitespace().collect();
        args.extend(["--share", "put manifest 201 new image by tag=0.7"]);
        let request = question(&args).over(EstimateRatesRequest::default()).unwrap();
        let asked = EstimateRatesRequest {
            source: Some(Source::Prometheus(PrometheusSource {
                window: Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
                evaluate_times: [1_592_589_600, 1_593_075_600].map(|seconds| Timestamp { seconds, nanos: 0 }).to_vec(),
                excluded_codes: vec!["503".to_owned()],
            })),
            growth_factor: 2.0,
            cost_overrides: Vec::new(),
            cost_model: "published-2020".to_owned(),
            cost_parameters: Some(CostParameters {
                warm_cache: true,
                layer_count: 7.0,
                child_count: 3.0,
                tag_count: 2.0,
                kind_shares: vec![KindShare {
                    kind: "new image by tag".to_owned(),
                    share: 0.7,
                    handler: "manifest".to_owned(),
                    method: "put".to_owned(),
                    code: "201".to_owned(),
                }],
            }),
            unit_factors: "published-2020".to_owned(),
            ceiling_per_second: 5000.0,
            monthly_growth_rate: 0.05,
            horizon_months: vec![6, 18],
        };
        assert_eq!(request, asked);
    }

    #[test]
    fn an_option_stands_above_the_field_of_a_file_and_the_others_stay() {
        let file = EstimateRatesRequest {
            growth_factor: 2.0,
            ceiling_per_second: 100.0,
            horizon_months: vec![1, 2],
            ..EstimateRatesRequest::default()
        };
        let request = question(&["--growth", "3", "--horizon", "9"]).over(file).unwrap();
        assert_eq!((request.growth_factor, request.ceiling_per_second), (3.0, 100.0));
        assert_eq!(request.horizon_months, [9]);
    }

    #[test]
    fn nothing_is_asked_of_prometheus_when_the_rates_are_given() {
        let rates = || EstimateRatesRequest {
            source: Some(Source::RequestRates(RequestRates::default())),
            ..EstimateRatesRequest::default()
        };
        assert!(has_rates(&question(&["--layers", "5"]).over(rates()).unwrap()));
        for option in [["--window", "1h"], ["--at", "2020-06-19T18:00:00Z"], ["--exclude-code", "404"]] {
            let error = question(&option).over(rates()).unwrap_err();
            assert!(error.to_string().contains("--from gives the rates"), "{error}");
        }
    }
}
