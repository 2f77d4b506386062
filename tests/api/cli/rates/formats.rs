//! What programs read.

use std::collections::BTreeMap;

use prost_reflect::{DescriptorPool, DynamicMessage};
use rowcount::proto::{
    DESCRIPTORS,
    v1::{EstimateRatesResponse, SqlOperation},
};

use super::{EXAMPLE, NOBODY, published, run};

async fn example(format: &str) -> String {
    let (code, stdout, stderr) = run(NOBODY, &["rates", "--from", EXAMPLE, "-o", format]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    stdout
}

/// As any client of the API reads it.
async fn response() -> EstimateRatesResponse {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let descriptor = pool.get_message_by_name("rowcount.v1.EstimateRatesResponse").unwrap();
    let text = example("json").await;
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    DynamicMessage::deserialize(descriptor, &mut deserializer).unwrap().transcode_to().unwrap()
}

#[tokio::test]
async fn json_is_the_response_as_the_contract_has_it() {
    let response = response().await;
    assert_eq!(response.estimates.len(), 4);
    assert_eq!(response.totals.len(), 4);
    assert_eq!(response.unmapped[0].handler, "/gitlab/v1/import/{name}/");
    let asked = response.effective_request.unwrap();
    assert_eq!((&*asked.cost_model, &*asked.unit_factors), ("registry-4.32", "calendar"));
    assert_eq!(asked.horizon_months, [12, 24, 36]);
    let text = example("json").await;
    assert!(text.contains("\"requestsPerSecond\": 140.0") && text.contains("\"months\": 12"), "{text}");
}

#[tokio::test]
async fn csv_has_every_number_of_the_response_by_its_columns() {
    let response = response().await;
    let text = example("csv").await;
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    let columns = reader.headers().unwrap().clone();
    let rows: Vec<BTreeMap<String, String>> = reader
        .records()
        .map(|row| columns.iter().map(str::to_owned).zip(row.unwrap().iter().map(str::to_owned)).collect())
        .collect();
    let of = |kind: &str| rows.iter().filter(|row| row["row"] == kind).collect::<Vec<_>>();
    assert_eq!(of("estimate").len(), 4 * 4, "one row a handler, method and operation");
    assert_eq!(of("total").len() + of("nested_total").len() + of("projection").len(), 5 * 5);
    assert_eq!(of("unmapped")[0]["requests_per_second"], "0.2");
    assert_eq!(rows.len(), 16 + 25 + 1);

    let insert = response.totals.iter().find(|rate| rate.operation() == SqlOperation::Insert).unwrap();
    let row = of("total").into_iter().find(|row| row["operation"] == "insert").unwrap();
    for (column, number) in [
        ("per_second", insert.per_second),
        ("per_minute", insert.per_minute),
        ("per_hour", insert.per_hour),
        ("per_day", insert.per_day),
        ("per_week", insert.per_week),
        ("per_month", insert.per_month),
        ("per_year", insert.per_year),
        ("low_per_second", insert.low_per_second),
        ("high_per_second", insert.high_per_second),
        ("peak_per_second", insert.peak_per_second),
    ] {
        assert_eq!(row[column].parse::<f64>().unwrap(), number, "{column}");
        assert!(number > 0.0, "{column}");
    }
    let sum: f64 = of("estimate")
        .iter()
        .filter(|row| row["operation"] == "insert")
        .map(|row| row["per_second"].parse::<f64>().unwrap())
        .sum();
    assert!((sum - insert.per_second).abs() < 1e-9, "{sum}");
    let ahead: Vec<&str> =
        of("projection").iter().filter(|row| row["operation"] == "total").map(|row| &*row["months_ahead"]).collect();
    assert_eq!(ahead, ["12", "24", "36"]);
}

#[tokio::test]
async fn a_document_holds_what_the_published_one_did_not() {
    let text = example("markdown").await;
    for line in [
        "| /v2/{name}/manifests/{reference} | put | 33.01 (6..40) | 7.93 (0..10) | 0.91 (0..1) | 0 |",
        "| /v2/{name}/manifests/{reference} | put | SELECT | 12 | 66 | 80 | 198 |",
        "| /gitlab/v1/import/{name}/ | put | 202 | 0.20 |",
        "| 12 | 407 | 37 | 3 | 0 | 447 | 344 | 493 |",
        "- used now: 31.33 % (313 operations/s)",
        "## Inside triggers and foreign-key checks, in no sum above",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in {text}");
    }
    let both = ["--monthly-growth", "0.05", "--ceiling", "700", "-o", "markdown"];
    assert!(published(&both).await.contains("- crossed: "), "{}", published(&both).await);
}
