//! How numbers, spans and names are written for people. Nothing here is meant to be parsed: that is what JSON is for.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use tonic_types::{RpcStatusExt, pb};

/// What stands where there is no value.
pub const NONE: &str = "-";

/// `1234567` as `1,234,567`.
pub fn number(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}", grouped(&value.unsigned_abs().to_string()))
}

/// Digits in groups of three.
pub fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A change with its sign: `+12`, `-3`.
pub fn change(value: i64) -> String {
    if value > 0 { format!("+{}", number(value)) } else { number(value) }
}

/// Bounds of a count; `None` when nothing is promised.
pub fn bounds(lower: Option<i64>, upper: Option<i64>) -> Option<String> {
    match (lower, upper) {
        (Some(lower), Some(upper)) => Some(format!("{}..{}", number(lower), number(upper))),
        (Some(lower), None) => Some(format!(">= {}", number(lower))),
        (None, Some(upper)) => Some(format!("<= {}", number(upper))),
        (None, None) => None,
    }
}

/// An age in its largest unit, rounded down: `3s`, `2m`, `5h`, `3d`.
pub fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ ..3600 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A length of time as settings write it: `12ms`, `1.5s`, `10s`, `1m30s`.
pub fn span(span: Duration) -> String {
    let tenths = (span.as_millis() + 50) / 100;
    match tenths {
        ..10 => format!("{}ms", span.as_millis()),
        10..600 if tenths.is_multiple_of(10) => format!("{}s", tenths / 10),
        10..600 => format!("{}.{}s", tenths / 10, tenths % 10),
        _ => humantime::format_duration(Duration::from_secs(span.as_secs())).to_string().replace(' ', ""),
    }
}

/// A moment, in UTC, to the second.
pub fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

/// An enum's name without its prefix, in lower case, as in labels; `-` when it is not set.
pub fn word(name: &str, prefix: &str) -> String {
    match name.trim_start_matches(prefix) {
        "UNSPECIFIED" => NONE.to_owned(),
        name => name.to_ascii_lowercase(),
    }
}

/// An error within an answer: `REASON: message`.
pub fn error(error: &pb::Status) -> String {
    match error.get_details_error_info() {
        Some(info) => format!("{}: {}", info.reason, error.message),
        None => error.message.clone(),
    }
}

/// Text of others on one line: no line breaks, nothing that moves a cursor.
pub fn one_line(text: &str) -> String {
    text.split(char::is_control).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Time from `at` until `now`, zero when `at` is later: clocks of two machines differ.
pub fn since(at: Option<Timestamp>, now: SystemTime) -> Option<Duration> {
    moment(at).map(|at| now.duration_since(at).unwrap_or_default())
}

/// The moment as the standard library has it; `None` when it is unset or out of range.
pub fn moment(at: Option<Timestamp>) -> Option<SystemTime> {
    SystemTime::try_from(at?).ok()
}

/// The span as the standard library has it; `None` when it is unset or negative.
pub fn length(span: Option<prost_types::Duration>) -> Option<Duration> {
    Duration::try_from(span?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (-12_345, "-12,345"),
            (123_456, "123,456"),
            (i64::MIN, "-9,223,372,036,854,775,808"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!([change(1_200), change(0), change(-7)], ["+1,200", "0", "-7"]);
    }

    #[test]
    fn bounds_say_only_what_is_promised() {
        assert_eq!(bounds(Some(1_000), Some(2_000)).unwrap(), "1,000..2,000");
        assert_eq!(bounds(Some(5), None).unwrap(), ">= 5");
        assert_eq!(bounds(None, Some(5)).unwrap(), "<= 5");
        assert_eq!(bounds(None, None), None);
    }

    #[test]
    fn ages_have_one_unit() {
        let texts = [0, 59, 60, 3_599, 3_600, 172_799, 172_800].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(texts, ["0s", "59s", "1m", "59m", "1h", "47h", "2d"]);
    }

    #[test]
    fn spans_are_written_as_in_settings() {
        let texts = [0, 12, 949, 950, 1_000, 1_540, 10_000, 59_949, 59_999, 90_000, 3_600_000]
            .map(|millis| span(Duration::from_millis(millis)));
        assert_eq!(texts, ["0ms", "12ms", "949ms", "1s", "1s", "1.5s", "10s", "59.9s", "59s", "1m30s", "1h"],);
    }

    #[test]
    fn names_lose_their_prefix() {
        assert_eq!(word("METHOD_EXACT_CAPPED", "METHOD_"), "exact_capped");
        assert_eq!(word("STATE_UNSPECIFIED", "STATE_"), "-");
    }

    #[test]
    fn text_of_others_stays_on_one_line() {
        assert_eq!(one_line("no\r\nsuch\u{1b}[2Jtable\n"), "no such [2Jtable");
    }

    #[test]
    fn a_moment_ahead_of_this_clock_is_no_negative_age() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(since(Some(Timestamp { seconds: 97, nanos: 0 }), now), Some(Duration::from_secs(3)));
        assert_eq!(since(Some(Timestamp { seconds: 103, nanos: 0 }), now), Some(Duration::ZERO));
        assert_eq!(since(None, now), None);
    }
}
