//! The estimate for programs: one row for each handler, method and operation, then the sums, what is unmapped and what is
//! ahead. Numbers have all their digits, and what is not known is empty. The inputs and warnings stand above, in lines
//! that begin with #.

use csv::WriterBuilder;

use super::{
    Estimated,
    figures::{self, Figures, per},
    inputs,
};
use crate::{
    cli::text,
    proto::v1::{OperationRate, RequestRate},
    rates::units::Unit,
};

/// What a row tells: see the documentation.
const HEADER: [&str; 18] = [
    "row",
    "handler",
    "method",
    "code",
    "requests_per_second",
    "peak_requests_per_second",
    "months_ahead",
    "operation",
    "per_second",
    "per_minute",
    "per_hour",
    "per_day",
    "per_week",
    "per_month",
    "per_year",
    "low_per_second",
    "high_per_second",
    "peak_per_second",
];

/// All of it.
pub fn lines(estimated: &Estimated) -> anyhow::Result<Vec<String>> {
    let response = &estimated.response;
    let mut above = inputs::lines(estimated);
    above.extend(response.warnings.iter().map(|warning| ("warning", warning.clone())));
    let mut rows = vec![HEADER.map(str::to_owned).to_vec()];
    for estimate in &response.estimates {
        let labels = labels(estimate.request_rate.as_ref());
        for rate in Figures::of(&estimate.operation_rates).each() {
            rows.push([vec!["estimate".to_owned()], labels.clone(), vec![String::new()], rate_cells(rate)].concat());
        }
    }
    let sums = |row: &str, months: &str, rates: &[OperationRate]| -> Vec<Vec<String>> {
        let figures = Figures::of(rates);
        let each = figures.each().iter().copied().chain([figures.total()]);
        let first = [vec![row.to_owned()], labels(None), vec![months.to_owned()]].concat();
        each.map(|rate| [first.clone(), rate_cells(&rate)].concat()).collect()
    };
    rows.extend(sums("total", "", &response.totals));
    rows.extend(sums("nested_total", "", &response.nested_totals));
    for rate in &response.unmapped {
        rows.push([vec!["unmapped".to_owned()], labels(Some(rate)), vec![String::new(); 12]].concat());
    }
    for ahead in &response.projections {
        rows.extend(sums("projection", &ahead.months.to_string(), &ahead.totals));
    }
    Ok(comments(&above).chain(table(&rows)?).collect())
}

/// Names and values above a table; a name of nothing goes on with the one before.
pub fn comments(lines: &[(&str, String)]) -> impl Iterator<Item = String> {
    lines.iter().map(|(name, value)| match *name {
        "" => format!("# {}", text::one_line(value)),
        name => format!("# {name}: {}", text::one_line(value)),
    })
}

/// Rows as lines.
pub fn table(rows: &[Vec<String>]) -> anyhow::Result<Vec<String>> {
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    for row in rows {
        writer.write_record(row.iter().map(|cell| text::one_line(cell)))?;
    }
    let text = String::from_utf8(writer.into_inner()?)?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn labels(rate: Option<&RequestRate>) -> Vec<String> {
    let Some(rate) = rate else { return vec![String::new(); 5] };
    let RequestRate { handler, method, requests_per_second, code, peak_requests_per_second } = rate;
    let peak = Some(*peak_requests_per_second).filter(|peak| *peak > 0.0);
    vec![handler.clone(), method.clone(), code.clone(), requests_per_second.to_string(), known(peak)]
}

fn rate_cells(rate: &OperationRate) -> Vec<String> {
    let mut cells = vec![figures::name(rate.operation()).to_lowercase()];
    cells.extend(Unit::ALL.map(|unit| per(rate, unit).to_string()));
    cells.extend([rate.low_per_second.to_string(), rate.high_per_second.to_string(), known(figures::peak(rate))]);
    cells
}

fn known(number: Option<f64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}
