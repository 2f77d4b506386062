//! The estimate published in 2020: from its request rates, every cell of every one of its tables, to the digit.

use std::collections::BTreeMap;

use super::{near, published, published_json};

/// As they were published; the tables of operations are one after another.
const REQUESTS: &str = include_str!("../../published_2020/requests.txt");
const COSTS: &str = include_str!("../../published_2020/costs.txt");
const OPERATIONS: &str = include_str!("../../published_2020/operations.txt");
const AGGREGATE: &str = include_str!("../../published_2020/aggregate.txt");

const UNITS: [&str; 7] = ["Per-second", "Per-minute", "Hourly", "Daily", "Weekly", "Monthly", "Yearly"];

/// A row: what it is of, then its numbers as they are written.
type Row = Vec<String>;

/// The rows of a table in a text file: cells are two blanks or more apart.
fn rows(text: &str) -> Vec<Row> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let cells =
        |line: &str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect();
    lines.map(cells).collect()
}

/// The tables of a Markdown document by the last heading above each.
async fn document() -> BTreeMap<String, Vec<Row>> {
    let factors = ["--model", "published-2020", "--unit-factors", "published-2020", "-o", "markdown"];
    let (mut heading, mut tables) = (String::new(), BTreeMap::<String, Vec<Row>>::new());
    for line in published(&factors).await.lines() {
        if let Some(text) = line.strip_prefix('#') {
            heading = text.trim_start_matches('#').trim().to_owned();
        }
        let Some(inner) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else { continue };
        let cells = inner.split('|').map(str::trim).map(|cell| if cell.is_empty() { "-" } else { cell }.to_owned());
        tables.entry(heading.clone()).or_default().push(cells.collect());
    }
    for table in tables.values_mut() {
        // The header, and the line below it.
        table.drain(..2);
    }
    tables
}

fn same(told: Option<&Vec<Row>>, wanted: &[Row], cells: usize) {
    assert_eq!(wanted.iter().map(Row::len).sum::<usize>(), cells, "the published table is whole");
    assert_eq!(told.map(Vec::as_slice), Some(wanted));
}

#[tokio::test]
async fn the_request_rates_are_the_published_ones() {
    same(document().await.get("Requests"), &rows(REQUESTS), 10 * (2 + 7));
}

#[tokio::test]
async fn the_operations_of_a_request_are_the_published_ones() {
    same(document().await.get("Database operations per request"), &rows(COSTS), 10 * (2 + 4));
}

#[tokio::test]
async fn the_operations_of_each_handler_are_the_published_ones_in_every_unit() {
    let document = document().await;
    let tables: Vec<&str> = OPERATIONS.split("\n\n").skip(1).collect();
    assert_eq!(tables.len(), UNITS.len());
    for (unit, table) in UNITS.into_iter().zip(tables) {
        let (title, table) = table.split_once('\n').unwrap();
        assert_eq!(title, unit);
        same(document.get(unit), &rows(table), 11 * (2 + 4));
    }
}

#[tokio::test]
async fn the_sums_are_the_published_ones() {
    same(document().await.get("Aggregated total"), &rows(AGGREGATE), 7 * (1 + 5));
}

#[tokio::test]
async fn the_model_is_the_published_one() {
    let (_, stdout, _) = super::run(super::NOBODY, &["rates", "model", "published-2020", "-o", "csv"]).await;
    for cost in rows(COSTS) {
        let [handler, method, counts @ ..] = &cost[..] else { panic!("{cost:?}") };
        let row = format!("{method},{handler},,any,1,{},", counts.join(","));
        assert!(stdout.lines().any(|line| line.starts_with(&row)), "{row} in {stdout}");
    }
}

#[tokio::test]
async fn months_and_years_of_the_calendar_are_a_seventh_of_the_published_ones() {
    let calendar = published_json(&["--model", "published-2020"]).await;
    let manifest = &calendar["estimates"][0];
    let rate = manifest["requestRate"]["requestsPerSecond"].as_f64().unwrap();
    assert_eq!((rate * 2_592_000.0).round(), 365_840_435.0);
    let select = &manifest["operationRates"][0];
    near(&select["perWeek"], 3.0 * rate * 604_800.0);
    near(&select["perMonth"], 3.0 * rate * 2_592_000.0);
    near(&select["perYear"], 3.0 * rate * 31_536_000.0);
    let published = published_json(&["--model", "published-2020", "--unit-factors", "published-2020"]).await;
    let published = &published["estimates"][0]["operationRates"][0];
    near(&published["perMonth"], 7.0 * select["perMonth"].as_f64().unwrap());
    // Twelve months of 30 weeks are 2,520 days.
    near(&published["perYear"], select["perYear"].as_f64().unwrap() * 2_520.0 / 365.0);
}
