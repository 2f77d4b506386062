//! Values of options, each checked where it is read: what a request takes for "not given" is refused here, so that a
//! zero is never quietly something else.

use std::time::Duration;

use http::Uri;
use prost_types::Timestamp;

use crate::prometheus::ExcludedCode;

/// A finite number above 0.
pub fn above_zero(text: &str) -> Result<f64, String> {
    let number = number(text)?;
    if number > 0.0 { Ok(number) } else { Err(format!("{text} is not a number above 0")) }
}

/// A finite number of 0 or more.
pub fn zero_or_more(text: &str) -> Result<f64, String> {
    let number = number(text)?;
    if number >= 0.0 { Ok(number) } else { Err(format!("{text} is not a number of 0 or more")) }
}

/// A time; UTC where it has no offset.
pub fn time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "want a time like 2026-06-19T18:00:00Z".to_owned())
}

/// A length of time that is one.
pub fn window(text: &str) -> Result<Duration, String> {
    let window = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if window.is_zero() { Err("want more than no time".to_owned()) } else { Ok(window) }
}

/// A response code, or a class of them, as Prometheus is asked for it.
pub fn excluded_code(text: &str) -> Result<String, String> {
    text.parse::<ExcludedCode>().map(|code| code.to_string()).map_err(|error| error.to_string())
}

/// The base URL of a Prometheus.
pub fn prometheus_url(text: &str) -> Result<Uri, String> {
    let wanted = "want http://HOST:PORT or https://HOST:PORT, and a path where there is one";
    let uri: Uri = text.parse().map_err(|error| format!("{error}; {wanted}"))?;
    let authority = uri.authority().ok_or(wanted)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.query().is_some() {
        return Err(wanted.to_owned());
    }
    if authority.as_str().contains('@') {
        return Err(format!("{wanted}; credentials go into --token-file"));
    }
    Ok(uri)
}

fn number(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().map_err(|_| format!("{text:?} is not a number"))?;
    if number.is_finite() { Ok(number) } else { Err(format!("{text} is not a finite number")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_a_finite_number_above_zero() {
        assert_eq!(above_zero("1.5"), Ok(1.5));
        for (text, told) in [
            ("0", "0 is not a number above 0"),
            ("-0", "-0 is not a number above 0"),
            ("-1", "-1 is not a number above 0"),
            ("NaN", "NaN is not a finite number"),
            ("inf", "inf is not a finite number"),
            ("1e999", "1e999 is not a finite number"),
            ("many", r#""many" is not a number"#),
        ] {
            assert_eq!(above_zero(text), Err(told.to_owned()));
        }
        assert_eq!(zero_or_more("0"), Ok(0.0));
        assert_eq!(zero_or_more("-0.1"), Err("-0.1 is not a number of 0 or more".to_owned()));
    }

    #[test]
    fn a_time_may_have_an_offset() {
        let at = |text| time(text).map(|at| at.seconds);
        assert_eq!(at("2020-06-19T18:00:00Z"), Ok(1_592_589_600));
        assert_eq!(at("2020-06-19T20:00:00+02:00"), at("2020-06-19T18:00:00Z"));
        assert_eq!(at("yesterday"), Err("want a time like 2026-06-19T18:00:00Z".to_owned()));
    }

    #[test]
    fn a_window_of_no_time_is_none() {
        assert_eq!(window("48h"), Ok(Duration::from_secs(172_800)));
        assert!(window("0s").is_err());
    }

    #[test]
    fn a_prometheus_may_stand_behind_a_path_and_its_url_holds_no_credentials() {
        for good in ["http://127.0.0.1:9090", "https://metrics.example/prometheus/"] {
            assert!(prometheus_url(good).is_ok(), "{good}");
        }
        for bad in ["127.0.0.1:9090", "ftp://a:1", "http://u:p@a:1", "http://a?x=1", ""] {
            assert!(prometheus_url(bad).is_err(), "{bad}");
        }
    }
}
