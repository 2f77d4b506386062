//! Durations as people write them: `10s`, `1m30s`, `500ms`, with the units of Go's `time.ParseDuration`, because the
//! registry's file has those too.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// A number without its unit.
    #[error("{0} has no unit; write {0}s for seconds, or use ms, m or h")]
    NoUnit(String),
    /// Less than nothing.
    #[error("{0} is negative")]
    Negative(String),
    /// Anything else.
    #[error("{0:?} is not a duration; write it like 10s, 1m30s or 500ms")]
    Malformed(String),
}

/// Reads `text`; every number needs its unit.
pub fn parse(text: &str) -> Result<Duration, Error> {
    let malformed = || Error::Malformed(text.to_owned());
    if text.parse::<f64>().is_ok_and(f64::is_finite) {
        return Err(Error::NoUnit(text.to_owned()));
    }
    if let Some(positive) = text.strip_prefix('-') {
        return Err(parse(positive).map_or_else(|_| malformed(), |_| Error::Negative(text.to_owned())));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after, |c| !c.is_ascii_digit() && c != '.');
        let part = number.parse().ok().zip(seconds(unit)).map(|(number, unit): (f64, f64)| number * unit);
        let part = part.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(malformed)?;
        rest = after;
    }
    if text.is_empty() { Err(malformed()) } else { Ok(total) }
}

fn split(text: &str, head: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !head(c)).unwrap_or(text.len()))
}

fn seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_numbers_with_units() {
        for (text, millis) in [
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            ("0s", 0),
            ("2000us", 2),
            ("10000000000ns", 10_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_its_reason() {
        for (text, want) in [
            ("10", "10 has no unit; write 10s for seconds, or use ms, m or h"),
            ("0", "0 has no unit; write 0s for seconds, or use ms, m or h"),
            ("-5", "-5 has no unit; write -5s for seconds, or use ms, m or h"),
            ("-5s", "-5s is negative"),
            ("", r#""" is not a duration; write it like 10s, 1m30s or 500ms"#),
            ("soon", r#""soon" is not a duration; write it like 10s, 1m30s or 500ms"#),
            ("10 s", r#""10 s" is not a duration; write it like 10s, 1m30s or 500ms"#),
            ("1m30", r#""1m30" is not a duration; write it like 10s, 1m30s or 500ms"#),
            ("s", r#""s" is not a duration; write it like 10s, 1m30s or 500ms"#),
            ("--5s", r#""--5s" is not a duration; write it like 10s, 1m30s or 500ms"#),
            ("1d", r#""1d" is not a duration; write it like 10s, 1m30s or 500ms"#),
        ] {
            assert_eq!(parse(text).map_err(|error| error.to_string()), Err(want.to_owned()));
        }
    }
}
