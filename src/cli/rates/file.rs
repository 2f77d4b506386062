//! `--from FILE`: request rates as CSV, or a whole EstimateRatesRequest as JSON. An error names the file, and the line and
//! field within it.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, bail};

use crate::{
    proto::{
        json,
        v1::{EstimateRatesRequest, RequestRate, RequestRates, estimate_rates_request::Source},
    },
    rates::csv,
};

/// Where the program is told to read what it is given by another one.
const STDIN: &str = "-";

/// The file, for messages.
pub fn name(path: &Path) -> String {
    if path == Path::new(STDIN) { "stdin".to_owned() } else { path.display().to_string() }
}

/// What is asked in the file at `path`: its rates, and in JSON all that a request can hold.
pub fn read(path: &Path) -> anyhow::Result<EstimateRatesRequest> {
    let bytes = bytes(path).with_context(|| format!("cannot read {}", name(path)))?;
    let has_json_name = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    parse(&bytes, has_json_name).with_context(|| name(path))
}

/// The content of a file. What begins like an object is JSON, whatever the file is called.
pub fn parse(bytes: &[u8], is_json: bool) -> anyhow::Result<EstimateRatesRequest> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        anyhow::anyhow!("line {line}: is not UTF-8")
    })?;
    // Spreadsheets begin their files with a mark of the byte order.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        bail!("is empty");
    }
    if is_json || text.trim_start().starts_with('{') {
        return json::read(text).context("is no EstimateRatesRequest");
    }
    let rates = csv::read(text)?.into_iter().map(|rate| RequestRate {
        handler: rate.handler,
        method: rate.method,
        requests_per_second: rate.per_second,
        code: rate.code,
        peak_requests_per_second: rate.peak_per_second.unwrap_or_default(),
    });
    let source = Source::RequestRates(RequestRates { rates: rates.collect() });
    Ok(EstimateRatesRequest { source: Some(source), ..EstimateRatesRequest::default() })
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    if path != Path::new(STDIN) {
        return fs::read(path);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        format!("{:#}", parse(text.as_bytes(), false).unwrap_err())
    }

    fn rates(request: EstimateRatesRequest) -> Vec<RequestRate> {
        let Some(Source::RequestRates(rates)) = request.source else { panic!("no rates in {request:?}") };
        rates.rates
    }

    #[test]
    fn a_table_and_an_object_are_told_apart_by_their_beginning() {
        let table = parse("\u{feff}handler,method,requests_per_second\nBlob,GET,1.5\n".as_bytes(), false).unwrap();
        let object =
            r#" {"requestRates": {"rates": [{"handler": "Blob", "method": "GET", "requestsPerSecond": 1.5}]}}"#;
        let object = parse(object.as_bytes(), false).unwrap();
        assert_eq!(rates(table), rates(object));
    }

    #[test]
    fn an_object_may_hold_all_of_a_request_by_either_name_of_a_field() {
        let text = r#"{"prometheus": {"window": "3600s"}, "cost_model": "published-2020", "horizonMonths": [12]}"#;
        let request = parse(text.as_bytes(), true).unwrap();
        assert_eq!((&*request.cost_model, &*request.horizon_months), ("published-2020", &[12][..]));
        let Some(Source::Prometheus(source)) = request.source else { panic!("no source in {request:?}") };
        assert_eq!(source.window.map(|window| window.seconds), Some(3600));
    }

    #[test]
    fn an_object_that_is_no_request_is_refused_by_its_line() {
        let unknown = told("{\n  \"growth\": 2\n}");
        assert!(unknown.starts_with("is no EstimateRatesRequest: ") && unknown.contains("growth"), "{unknown}");
        assert!(unknown.contains("line 2"), "{unknown}");
        let wrong = told("{\"growthFactor\":\n true}");
        assert!(wrong.contains("line 2"), "{wrong}");
        assert!(told("{\"growthFactor\": 2} {}").contains("trailing characters"));
        assert!(told("{\"growthFactor\": 2").contains("EOF"));
        assert!(format!("{:#}", parse(b"handler,method", true).unwrap_err()).contains("line 1"));
    }

    #[test]
    fn what_is_no_text_and_what_is_none_are_told() {
        assert_eq!(told(" \n"), "is empty");
        assert_eq!(format!("{:#}", parse(b"a,b\nc,\xff\n", false).unwrap_err()), "line 2: is not UTF-8");
        assert!(told("handler,method\n").starts_with("line 1: column requests_per_second is missing"));
    }
}
