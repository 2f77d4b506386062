//! Request rates as a Prometheus knows them, by the published expression, and the statements that the registry counted
//! itself. What must hold: a number is what Prometheus computed for a window that it has samples for, or there is none.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::{config::PrometheusConfig, rates::request::RequestRate};

pub use code::{ExcludedCode, ExcludedCodeError};
pub use error::{Cause, Error, Remedy};

use answer::{Answer, Labels};
use client::Client;
use coverage::Covered;
use notes::Notes;
use promql::{Counter, Moment};

mod answer;
mod client;
mod code;
mod coverage;
mod error;
mod notes;
mod promql;
mod statements;
mod tls;

/// Old registries have the label `handler`, new ones `route`.
const REQUESTS: Counter = Counter { name: "registry_http_requests_total", by: "handler, route, method, code" };

const STATEMENTS: Counter = Counter { name: "registry_database_queries_total", by: "name" };

/// Young sums that a warning names.
const NAMED: usize = 5;

/// Asks one Prometheus; a cheap clone.
#[derive(Clone)]
pub struct Prometheus {
    client: Client,
}

/// Which rates.
#[derive(Clone, Debug)]
pub struct Query {
    /// Range of `rate()`.
    pub window: Duration,
    /// When windows end; the mean of all of them is given. Empty: now.
    pub times: Vec<SystemTime>,
    /// Left out: requests that never reached the database.
    pub excluded_codes: Vec<ExcludedCode>,
}

/// Rates, and how they came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// One a handler, method and code, in this order.
    pub rates: Vec<RequestRate>,
    /// What was asked, at each of the times.
    pub promql: String,
    /// What `rates` are means over: shorter than what was asked for where there is less.
    pub window: Duration,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// Statements that the registry says it sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Statements {
    /// A second, for requests.
    pub per_second: f64,
    /// A second, for nobody: counting rows, garbage collection, background migrations.
    pub background_per_second: f64,
    /// What was asked.
    pub promql: String,
    /// What they are means over: shorter than what was asked for where there is less.
    pub window: Duration,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// What a rate is for: handler or route, method in lower case, code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    handler: String,
    method: String,
    code: String,
}

/// The sums over all times for one pair.
#[derive(Debug)]
struct Sums {
    /// The method as it is spelled.
    method: String,
    rate: f64,
    /// The highest.
    peak: Option<f64>,
}

// === impl Prometheus ===

impl Prometheus {
    /// Connects to nothing yet. Secrets and TLS files are read anew at each query; the latter also here, so that wrong
    /// ones are an error at once.
    pub fn new(config: PrometheusConfig) -> Result<Self, Error> {
        Ok(Self { client: Client::new(config)? })
    }

    /// The rates of requests: the mean over all times, and the highest five minutes of all windows. A pair that is
    /// absent at a time counts as no requests then.
    pub async fn request_rates(&self, query: &Query) -> Result<Observed, Error> {
        let Query { window, times, excluded_codes } = query;
        let mut notes = Notes::default();
        let mut times: Vec<Moment> = times.iter().copied().map(Moment::from).collect();
        if times.is_empty() {
            times.push(SystemTime::now().into());
        }
        let covered = Covered::of(&self.client, REQUESTS, *window, &times, &mut notes).await?;
        let matchers = promql::without(excluded_codes);
        let promql = REQUESTS.rate(&matchers, covered.window);
        let peak = (covered.window > promql::PEAK).then(|| REQUESTS.peak(&matchers, covered.window));
        let mut sums = BTreeMap::new();
        for &at in &covered.ends {
            let peaks = async {
                match &peak {
                    Some(peak) => self.client.query(peak, at).await.map(Some),
                    None => Ok(None),
                }
            };
            let (rates, peaks) = tokio::try_join!(self.client.query(&promql, at), peaks)?;
            if rates.samples.is_empty() {
                let what = format!("{}{matchers}", REQUESTS.name);
                return Err(self.client.error(Cause::NoSeries { what, window: covered.window, at: at.rfc3339() }));
            }
            notes.extend(rates.warnings);
            add_rates(&mut sums, rates.samples);
            if let Some(Answer { samples, warnings }) = peaks {
                notes.extend(warnings);
                add_peaks(&mut sums, samples);
            }
        }
        if peak.is_some() && sums.values().all(|sums| sums.peak.is_none()) {
            notes.add("there is no peak: nothing was scraped twice within five minutes".to_owned());
        }
        let rates: Vec<RequestRate> =
            sums.into_iter().map(|(pair, sums)| sums.mean(pair, covered.ends.len())).collect();
        notes.extend(young(&covered, &rates));
        Ok(Observed { rates, promql, window: covered.window, warnings: notes.into_vec() })
    }

    /// What the registry counted within the window before `at`, each statement once.
    pub async fn registry_statements(&self, window: Duration, at: SystemTime) -> Result<Statements, Error> {
        let mut notes = Notes::default();
        let covered = Covered::of(&self.client, STATEMENTS, window, &[at.into()], &mut notes).await?;
        let promql = STATEMENTS.rate(&statements::counted_once(), covered.window);
        let (mut per_second, mut background_per_second) = (0.0, 0.0);
        for &at in &covered.ends {
            let Answer { samples, warnings } = self.client.query(&promql, at).await?;
            if samples.is_empty() {
                let what = STATEMENTS.name.to_owned();
                return Err(self.client.error(Cause::NoSeries { what, window: covered.window, at: at.rfc3339() }));
            }
            notes.extend(warnings);
            for (labels, rate) in samples {
                let is_background = statements::is_background(labels.get("name").map_or("", String::as_str));
                *if is_background { &mut background_per_second } else { &mut per_second } += rate;
            }
        }
        let warnings = notes.into_vec();
        Ok(Statements { per_second, background_per_second, promql, window: covered.window, warnings })
    }
}

// === impl Pair ===

impl Pair {
    /// With the method as it is spelled.
    fn of(labels: &Labels) -> (Self, String) {
        let label = |name: &str| labels.get(name).filter(|value| !value.is_empty()).cloned();
        let method = label("method").unwrap_or_default();
        let handler = label("handler").or_else(|| label("route")).unwrap_or_default();
        (Self { handler, method: method.to_lowercase(), code: label("code").unwrap_or_default() }, method)
    }
}

// === impl Sums ===

impl Sums {
    fn mean(self, pair: Pair, times: usize) -> RequestRate {
        let Self { method, rate, peak } = self;
        let Pair { handler, method: _, code } = pair;
        // Few times, far below where the conversion would lose any.
        let per_second = rate / times as f64;
        // A burst that falls between two spans of the peak is in none of them; but no peak lies below its mean.
        RequestRate { handler, method, code, per_second, peak_per_second: peak.map(|peak| peak.max(per_second)) }
    }
}

fn add_rates(sums: &mut BTreeMap<Pair, Sums>, samples: Vec<(Labels, f64)>) {
    for (labels, rate) in samples {
        let (pair, method) = Pair::of(&labels);
        sums.entry(pair).or_insert(Sums { method, rate: 0.0, peak: None }).rate += rate;
    }
}

/// Two spellings of one method may peak at different times: their sum is then above the peak, never below.
fn add_peaks(sums: &mut BTreeMap<Pair, Sums>, samples: Vec<(Labels, f64)>) {
    let mut peaks: BTreeMap<Pair, f64> = BTreeMap::new();
    for (labels, peak) in samples {
        *peaks.entry(Pair::of(&labels).0).or_default() += peak;
    }
    for (pair, peak) in peaks {
        if let Some(sums) = sums.get_mut(&pair) {
            sums.peak = Some(sums.peak.map_or(peak, |known| known.max(peak)));
        }
    }
}

/// A warning of the pairs that have been there for a part of the window only, the busiest first.
fn young(covered: &Covered, rates: &[RequestRate]) -> Option<String> {
    let mut ages: BTreeMap<Pair, Duration> = BTreeMap::new();
    for (labels, age) in &covered.ages {
        let known = ages.entry(Pair::of(labels).0).or_default();
        *known = (*known).max(*age);
    }
    let age = |rate: &RequestRate| {
        let RequestRate { handler, method, code, .. } = rate;
        let pair = Pair { handler: handler.clone(), method: method.to_lowercase(), code: code.clone() };
        ages.get(&pair).copied().filter(|age| *age + covered.slack < covered.window)
    };
    let mut young: Vec<(&RequestRate, Duration)> = rates.iter().filter_map(|rate| Some((rate, age(rate)?))).collect();
    young.sort_by(|(a, _), (b, _)| b.per_second.total_cmp(&a.per_second));
    let named = young.iter().take(NAMED).map(|(RequestRate { handler, method, code, .. }, age)| {
        let handler: String = handler.chars().take(60).collect();
        let code = if code.is_empty() { String::new() } else { format!(" {code}") };
        format!("{method} {handler}{code} ({})", coverage::rounded(*age))
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match young.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let window = coverage::rounded(covered.window);
    (!young.is_empty()).then(|| {
        format!(
            "some pairs are younger than the window of {window}, over which their rates are means all the same: \
             {named}{more}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(labels: &[(&str, &str)]) -> Labels {
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_handler_comes_before_a_route_and_methods_are_one_in_any_case() {
        let mut sums = BTreeMap::new();
        add_rates(
            &mut sums,
            vec![
                (labels(&[("handler", "manifest"), ("route", "/v2/"), ("method", "GET"), ("code", "200")]), 1.0),
                (labels(&[("handler", "manifest"), ("method", "get"), ("code", "200")]), 2.0),
                (labels(&[("handler", ""), ("route", "/v2/"), ("method", "get")]), 4.0),
            ],
        );
        add_peaks(&mut sums, vec![(labels(&[("route", "/v2/"), ("method", "GET")]), 0.5)]);
        let rates: Vec<_> = sums.into_iter().map(|(pair, sums)| sums.mean(pair, 2)).collect();
        let rate = |handler: &str, method: &str, code: &str, per_second, peak_per_second| RequestRate {
            handler: handler.to_owned(),
            method: method.to_owned(),
            code: code.to_owned(),
            per_second,
            peak_per_second,
        };
        let want = [rate("/v2/", "get", "", 2.0, Some(2.0)), rate("manifest", "GET", "200", 1.5, None)];
        assert_eq!(rates, want, "and no peak is below its mean");
    }

    #[test]
    fn young_pairs_are_named_the_busiest_first_and_not_all() {
        let rates: Vec<RequestRate> = (0..8)
            .map(|n| RequestRate {
                handler: format!("h{n}"),
                method: "GET".to_owned(),
                code: String::new(),
                per_second: f64::from(n),
                peak_per_second: None,
            })
            .collect();
        let window = Duration::from_secs(48 * 3600);
        let age = |handler: &str, method: &str, age| (labels(&[("handler", handler), ("method", method)]), age);
        let mut ages: BTreeMap<_, _> =
            (1..8).map(|n| age(&format!("h{n}"), "get", Duration::from_secs(1900))).collect();
        ages.extend([age("h0", "GET", window), age("h0", "get", Duration::ZERO)]);
        let covered = Covered { window, ends: Vec::new(), ages, slack: Duration::from_secs(600) };
        let want = "some pairs are younger than the window of 48h, over which their rates are means all the same: \
                    GET h7 (31m), GET h6 (31m), GET h5 (31m), GET h4 (31m), GET h3 (31m) and 2 more";
        assert_eq!(young(&covered, &rates).as_deref(), Some(want));
        assert_eq!(young(&covered, &rates[..1]), None);
    }
}
