//! The estimate as a document: the tables of the estimate published in 2020, in its order and its rounding, then what it
//! did not have: ranges, peaks, what is unmapped, what is ahead, and the inputs.

use std::time::SystemTime;

use super::{
    Estimated,
    figures::{self, Figures, OPERATIONS, per},
    inputs, outlook,
    quantity::{count, percent, range, rate, whole},
};
use crate::{
    cli::text,
    proto::v1::{OperationRate, Projection, RequestEstimate, RequestRate},
    rates::units::{Unit, UnitFactors},
};

use document::Document;

pub mod document;

/// All of it. `costs` are those of one request, in the order of the estimates.
pub fn lines(estimated: &Estimated, costs: &[Option<Figures>]) -> anyhow::Result<Vec<String>> {
    let response = &estimated.response;
    let asked = response.effective_request.clone().unwrap_or_default();
    let factors: UnitFactors = asked.unit_factors.parse()?;
    let mut document = Document::new("What the request load asks of the database");
    requests(&mut document, &response.estimates, factors);
    per_request(&mut document, &response.estimates, costs);
    document.heading("Database operations");
    for unit in Unit::ALL {
        operations(&mut document, &response.estimates, &response.totals, unit);
    }
    aggregate(&mut document, "Aggregated total", &response.totals);
    ranges(&mut document, &response.estimates, &Figures::of(&response.totals));
    if Figures::of(&response.nested_totals).are_any() {
        aggregate(&mut document, "Inside triggers and foreign-key checks, in no sum above", &response.nested_totals);
    }
    if !response.unmapped.is_empty() {
        unmapped(&mut document, &response.unmapped, response.unmapped_share);
    }
    if !response.projections.is_empty() {
        projections(&mut document, &response.projections);
    }
    list(&mut document, "Head-room", outlook::lines(response, SystemTime::now()));
    list(&mut document, "Inputs", inputs::lines(estimated));
    list(&mut document, "Warnings", response.warnings.iter().map(|warning| ("", warning.clone())).collect());
    Ok(document.into_lines())
}

/// The name of a unit in the published tables.
fn name(unit: Unit) -> &'static str {
    match unit {
        Unit::Second => "Per-second",
        Unit::Minute => "Per-minute",
        Unit::Hour => "Hourly",
        Unit::Day => "Daily",
        Unit::Week => "Weekly",
        Unit::Month => "Monthly",
        Unit::Year => "Yearly",
    }
}

fn requests(document: &mut Document, estimates: &[RequestEstimate], factors: UnitFactors) {
    document.heading("Requests");
    let mut rows = Vec::new();
    let mut total = 0.0;
    let cells = |rate: f64| Unit::ALL.map(|unit| self::rate(rate * factors.seconds(unit)));
    let rates = estimates.iter().filter_map(|estimate| estimate.request_rate.as_ref());
    for RequestRate { handler, method, requests_per_second, .. } in rates.filter(|rate| rate.requests_per_second > 0.0)
    {
        total += requests_per_second;
        rows.push([vec![handler.clone(), method.clone()], cells(*requests_per_second).to_vec()].concat());
    }
    rows.push([vec!["Total".to_owned(), String::new()], cells(total).to_vec()].concat());
    document.table(&[&["Handler", "Method"][..], &Unit::ALL.map(name)].concat(), 2, &rows);
}

/// Expected, with the cheapest and the dearest kind where they differ.
fn per_request(document: &mut Document, estimates: &[RequestEstimate], costs: &[Option<Figures>]) {
    document.heading("Database operations per request");
    let cell = |rate: &OperationRate| {
        let expected = count(rate.per_second);
        match range(rate.low_per_second, rate.high_per_second, count) {
            Some(range) => format!("{expected} ({range})"),
            None => expected,
        }
    };
    let row = |(estimate, cost): (&RequestEstimate, &Option<Figures>)| {
        let cells = match cost {
            Some(cost) => cost.each().each_ref().map(cell),
            None => [(); 4].map(|()| text::NONE.to_owned()),
        };
        [labels(estimate), cells.to_vec()].concat()
    };
    let rows: Vec<_> = estimates.iter().zip(costs).map(row).collect();
    document.table(&[&["Handler", "Method"][..], &OPERATIONS.map(figures::name)].concat(), 2, &rows);
}

fn operations(document: &mut Document, estimates: &[RequestEstimate], totals: &[OperationRate], unit: Unit) {
    document.subheading(name(unit));
    let cells = |rates: &[OperationRate]| Figures::of(rates).each().map(|rate| whole(per(&rate, unit))).to_vec();
    let row = |estimate: &RequestEstimate| [labels(estimate), cells(&estimate.operation_rates)].concat();
    let mut rows: Vec<_> = estimates.iter().map(row).collect();
    rows.push([vec!["Total".to_owned(), String::new()], cells(totals)].concat());
    document.table(&[&["Handler", "Method"][..], &OPERATIONS.map(figures::name)].concat(), 2, &rows);
}

fn aggregate(document: &mut Document, title: &str, totals: &[OperationRate]) {
    document.heading(title);
    let figures = Figures::of(totals);
    let row = |unit: Unit| {
        let sums = figures.each().iter().copied().chain([figures.total()]).map(|sum| whole(per(&sum, unit)));
        std::iter::once(name(unit).to_owned()).chain(sums).collect()
    };
    let rows: Vec<_> = Unit::ALL.into_iter().map(row).collect();
    document.table(&[&["Period"][..], &OPERATIONS.map(figures::name), &["Total"]].concat(), 1, &rows);
}

/// Only what is a range or has a peak.
fn ranges(document: &mut Document, estimates: &[RequestEstimate], totals: &Figures) {
    let mut rows = Vec::new();
    let mut add = |labels: Vec<String>, one: &OperationRate| {
        let peak = figures::peak(one);
        if range(one.low_per_second, one.high_per_second, rate).is_some() || peak.is_some() {
            let numbers = [one.low_per_second, one.per_second, one.high_per_second].map(rate);
            let peak = peak.map_or(text::NONE.to_owned(), rate);
            rows.push([labels, vec![figures::name(one.operation()).to_owned()], numbers.to_vec(), vec![peak]].concat());
        }
    };
    for estimate in estimates {
        Figures::of(&estimate.operation_rates).each().iter().for_each(|one| add(labels(estimate), one));
    }
    for one in totals.each().iter().chain([&totals.total()]) {
        add(vec!["Total".to_owned(), String::new()], one);
    }
    if !rows.is_empty() {
        document.heading("Per second, between the cheapest and the dearest kind, and in the busiest five minutes");
        document.table(&["Handler", "Method", "Operation", "Low", "Expected", "High", "Peak"], 3, &rows);
    }
}

fn unmapped(document: &mut Document, rates: &[RequestRate], share: f64) {
    document.heading(&format!("Unmapped, {} of the requests: no cost is known", percent(share)));
    let row = |rate: &RequestRate| {
        let RequestRate { handler, method, requests_per_second, code, peak_requests_per_second: _ } = rate;
        vec![handler.clone(), method.clone(), code.clone(), self::rate(*requests_per_second)]
    };
    document.table(&["Handler", "Method", "Code", "Per-second"], 3, &rates.iter().map(row).collect::<Vec<_>>());
}

fn projections(document: &mut Document, projections: &[Projection]) {
    document.heading("Per second, so many months ahead");
    let row = |ahead: &Projection| {
        let figures = Figures::of(&ahead.totals);
        let total = figures.total();
        let sums = figures.each().iter().chain([&total]).map(|sum| rate(sum.per_second));
        let bounds = [total.low_per_second, total.high_per_second].map(rate);
        std::iter::once(ahead.months.to_string()).chain(sums).chain(bounds).collect()
    };
    let rows: Vec<_> = projections.iter().map(row).collect();
    document.table(
        &[&["Months ahead"][..], &OPERATIONS.map(figures::name), &["Total", "Low", "High"]].concat(),
        0,
        &rows,
    );
}

fn list(document: &mut Document, title: &str, lines: Vec<(&'static str, String)>) {
    if !lines.is_empty() {
        document.heading(title);
        document.list(&lines);
    }
}

fn labels(estimate: &RequestEstimate) -> Vec<String> {
    let rate = estimate.request_rate.as_ref();
    vec![
        rate.map(|rate| rate.handler.clone()).unwrap_or_default(),
        rate.map(|rate| rate.method.clone()).unwrap_or_default(),
    ]
}
