//! The estimate for people: what each handler and method asks a second, then the sums in every unit.

use std::time::SystemTime;

use clap::builder::styling::Style;

use super::{
    Estimated,
    figures::{self, Figures, OPERATIONS, per},
    inputs, outlook,
    quantity::{percent, range, rate},
};
use crate::{
    cli::{
        table::{Pairs, Table},
        text,
    },
    proto::v1::{OperationRate, Projection, RequestEstimate, RequestRate, SqlOperation},
    rates::units::Unit,
};

const RANGE: &str = "LOW..HIGH";

const PEAK: &str = "PEAK";

/// All of it.
pub fn lines(estimated: &Estimated) -> Vec<String> {
    let response = &estimated.response;
    let mut parts = vec![pairs(&response.estimates, &Figures::of(&response.totals)), totals(&response.totals)];
    if Figures::of(&response.nested_totals).are_any() {
        parts.push(titled("Inside triggers and foreign-key checks, in no sum above:", totals(&response.nested_totals)));
    }
    if !response.unmapped.is_empty() {
        let title = format!("Unmapped, {} of the requests: no cost is known", percent(response.unmapped_share));
        parts.push(titled(&title, unmapped(&response.unmapped)));
    }
    if !response.projections.is_empty() {
        parts.push(projections(&response.projections));
    }
    parts.push(named(outlook::lines(response, SystemTime::now())));
    parts.push(named(inputs::lines(estimated)));
    parts.push(response.warnings.iter().map(|warning| format!("warning: {}", text::one_line(warning))).collect());
    parts.retain(|part| !part.is_empty());
    parts.join(&String::new())
}

/// A column of the first table, and how a row fills it.
enum Column {
    Handler,
    Method,
    Requests,
    RequestsPeak,
    Rate(SqlOperation),
    Range(SqlOperation),
    Peak,
}

/// A row of it.
struct Row<'a> {
    handler: &'a str,
    method: &'a str,
    requests: f64,
    requests_peak: f64,
    figures: Figures,
}

// === impl Column ===

impl Column {
    /// Those that say something of these rows.
    fn of(rows: &[Row]) -> Vec<Self> {
        let mut columns = vec![Self::Handler, Self::Method, Self::Requests];
        if rows.iter().any(|row| row.requests_peak > 0.0) {
            columns.push(Self::RequestsPeak);
        }
        for operation in OPERATIONS.into_iter().chain([SqlOperation::Unspecified]) {
            columns.push(Self::Rate(operation));
            if rows.iter().any(|row| bounds(&row.rate(operation)).is_some()) {
                columns.push(Self::Range(operation));
            }
        }
        if rows.iter().any(|row| figures::peak(&row.rate(SqlOperation::Unspecified)).is_some()) {
            columns.push(Self::Peak);
        }
        columns
    }

    fn name(&self) -> String {
        match self {
            Self::Handler => "HANDLER".to_owned(),
            Self::Method => "METHOD".to_owned(),
            Self::Requests => "REQUESTS/S".to_owned(),
            Self::RequestsPeak | Self::Peak => PEAK.to_owned(),
            Self::Rate(operation) => format!("{}/S", figures::name(*operation).to_uppercase()),
            Self::Range(_) => RANGE.to_owned(),
        }
    }

    fn cell(&self, row: &Row) -> String {
        match self {
            Self::Handler => row.handler.to_owned(),
            Self::Method => row.method.to_owned(),
            Self::Requests => rate(row.requests),
            Self::RequestsPeak => known(Some(row.requests_peak).filter(|peak| *peak > 0.0)),
            Self::Rate(operation) => rate(row.rate(*operation).per_second),
            Self::Range(operation) => bounds(&row.rate(*operation)).unwrap_or_default(),
            Self::Peak => known(figures::peak(&row.rate(SqlOperation::Unspecified))),
        }
    }
}

// === impl Row ===

impl<'a> Row<'a> {
    fn new(estimate: &'a RequestEstimate) -> Option<Self> {
        let RequestEstimate { request_rate, operation_rates } = estimate;
        let RequestRate { handler, method, requests_per_second, code: _, peak_requests_per_second } =
            request_rate.as_ref()?;
        let (requests, requests_peak) = (*requests_per_second, *peak_requests_per_second);
        Some(Self { handler, method, requests, requests_peak, figures: Figures::of(operation_rates) })
    }

    fn rate(&self, operation: SqlOperation) -> OperationRate {
        let found = self.figures.each().iter().find(|rate| rate.operation() == operation);
        found.copied().unwrap_or_else(|| self.figures.total())
    }
}

fn pairs(estimates: &[RequestEstimate], totals: &Figures) -> Vec<String> {
    let rates = || estimates.iter().filter_map(|estimate| estimate.request_rate.as_ref());
    let mut rows: Vec<Row> = estimates.iter().filter_map(Row::new).collect();
    rows.push(Row {
        handler: "Total",
        method: "",
        requests: rates().map(|rate| rate.requests_per_second).sum(),
        // Peaks of several pairs need not be at the same time, but of operations they are summed up alike.
        requests_peak: match rates().all(|rate| rate.requests_per_second == 0.0 || rate.peak_requests_per_second > 0.0)
        {
            true => rates().map(|rate| rate.peak_requests_per_second).sum(),
            false => 0.0,
        },
        figures: totals.clone(),
    });
    let columns = Column::of(&rows);
    let header: Vec<String> = columns.iter().map(Column::name).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = Table::new(&header, &header[2..]);
    for row in rows {
        let style = if row.method.is_empty() { Style::new().bold() } else { Style::new() };
        table.row(style, columns.iter().map(|column| column.cell(&row)).collect());
    }
    table.lines().collect()
}

fn totals(rates: &[OperationRate]) -> Vec<String> {
    let figures = Figures::of(rates);
    let rates: Vec<OperationRate> = figures.each().iter().copied().chain([figures.total()]).collect();
    let has_range = rates.iter().any(|rate| bounds(rate).is_some());
    let has_peak = rates.iter().any(|rate| figures::peak(rate).is_some());
    let mut header = vec!["OPERATION", "A SECOND"];
    header.extend(has_range.then_some(RANGE));
    header.extend(has_peak.then_some(PEAK));
    header.extend(["A MINUTE", "AN HOUR", "A DAY", "A WEEK", "A MONTH", "A YEAR"]);
    let mut table = Table::new(&header, &header[1..]);
    for one in &rates {
        let mut cells = vec![figures::name(one.operation()).to_owned(), rate(one.per_second)];
        cells.extend(has_range.then(|| bounds(one).unwrap_or_default()));
        cells.extend(has_peak.then(|| known(figures::peak(one))));
        cells.extend(Unit::ALL[1..].iter().map(|unit| rate(per(one, *unit))));
        table.row(style(one), cells);
    }
    table.lines().collect()
}

fn unmapped(rates: &[RequestRate]) -> Vec<String> {
    let mut table = Table::new(&["HANDLER", "METHOD", "CODE", "REQUESTS/S"], &["REQUESTS/S"]);
    for RequestRate { handler, method, requests_per_second, code, peak_requests_per_second: _ } in rates {
        let code = if code.is_empty() { text::NONE } else { code };
        table.row(Style::new(), vec![handler.clone(), method.clone(), code.to_owned(), rate(*requests_per_second)]);
    }
    table.lines().collect()
}

fn projections(projections: &[Projection]) -> Vec<String> {
    let mut header = vec!["MONTHS AHEAD", "SELECT/S", "INSERT/S", "UPDATE/S", "DELETE/S", "TOTAL/S"];
    let totals: Vec<OperationRate> = projections.iter().map(|ahead| Figures::of(&ahead.totals).total()).collect();
    let has_range = totals.iter().any(|total| bounds(total).is_some());
    header.extend(has_range.then_some(RANGE));
    let mut table = Table::new(&header, &header);
    for (ahead, total) in projections.iter().zip(&totals) {
        let mut cells = vec![ahead.months.to_string()];
        cells.extend(Figures::of(&ahead.totals).each().iter().chain([total]).map(|one| rate(one.per_second)));
        cells.extend(has_range.then(|| bounds(total).unwrap_or_default()));
        table.row(Style::new(), cells);
    }
    table.lines().collect()
}

fn named(lines: Vec<(&'static str, String)>) -> Vec<String> {
    let mut pairs = Pairs::default();
    for (name, value) in lines {
        pairs.add(name, value);
    }
    pairs.lines().collect()
}

fn titled(title: &str, lines: Vec<String>) -> Vec<String> {
    std::iter::once(title.to_owned()).chain(lines).collect()
}

fn style(rate: &OperationRate) -> Style {
    if rate.operation() == SqlOperation::Unspecified { Style::new().bold() } else { Style::new() }
}

fn bounds(one: &OperationRate) -> Option<String> {
    range(one.low_per_second, one.high_per_second, rate)
}

fn known(number: Option<f64>) -> String {
    number.map_or(text::NONE.to_owned(), rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::rates::{answerer::Answerer, file},
        proto::v1::EstimateRatesRequest,
    };

    async fn told(request: EstimateRatesRequest) -> Vec<String> {
        let response = Answerer::alone().estimate(request).await.unwrap();
        let lines = lines(&Estimated { response, source: "x".to_owned() });
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[tokio::test]
    async fn a_range_and_a_peak_have_columns_only_where_there_are_some() {
        let text = "handler,method,requests_per_second\nmanifest,GET,20000\ntag,DELETE,0.1\n";
        let told = told(file::parse(text.as_bytes(), false).unwrap()).await;
        assert_eq!(
            told[..4],
            [
                "HANDLER   METHOD  REQUESTS/S  SELECT/S  INSERT/S  UPDATE/S  DELETE/S  TOTAL/S",
                "manifest  GET         20,000    40,000         0         0         0   40,000",
                "tag       DELETE        0.10      0.30         0         0      0.10     0.40",
                "Total                 20,000    40,000         0         0      0.10   40,000",
            ]
        );
        assert_eq!(
            told[5],
            "OPERATION  A SECOND   A MINUTE      AN HOUR          A DAY          A WEEK          A MONTH             A YEAR"
        );
    }

    #[tokio::test]
    async fn what_is_known_beside_the_mean_is_told() {
        let request = file::parse(include_bytes!("../../../examples/rates.json"), true).unwrap();
        let told = told(request).await;
        let has = |start: &str| assert!(told.iter().any(|line| line.starts_with(start)), "{start:?} in {told:#?}");
        has("/v2/{name}/manifests/{reference}  put              2     6        66     12..80        16      0..20 ");
        has("Total                                            221   628       286   231..309        26     10..35 ");
        has("SELECT          286   231..309   821    17,134 ");
        has("Inside triggers and foreign-key checks, in no sum above:");
        has("Unmapped, 0.09 % of the requests: no cost is known");
        has("/gitlab/v1/import/{name}/  put     202         0.20");
        has("          24       581        53         4         0      637    490..703");
        has("used now   31.33 % (313 operations/s)");
        has("assumed     warm cache; L = 8 ");
        has("            put /v2/{name}/manifests/{reference} 201: new image by tag 70 %, ");
        has("growth      every request rate x 1; 3 % a month from now on");
    }

    #[tokio::test]
    async fn warnings_stand_at_the_end() {
        let text = "handler,method,requests_per_second\nblob_upload,POST,1\n";
        let told = told(file::parse(text.as_bytes(), false).unwrap()).await;
        assert_eq!(
            told[told.len() - 2..],
            ["", "warning: no code is given for POST blob_upload: codes of success are taken by assumed weights"]
        );
    }
}
