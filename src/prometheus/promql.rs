//! The expressions that are asked, and how times and spans are written in them.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use super::code::ExcludedCode;

/// The span over which a peak is a mean.
pub const PEAK: Duration = Duration::from_secs(300);

/// A counter of the registry's, and the labels by which its series are summed.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    /// Its name.
    pub name: &'static str,
    /// With commas between them.
    pub by: &'static str,
}

/// Seconds since 1970, to the millisecond, as Prometheus keeps time.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Moment(f64);

// === impl Counter ===

impl Counter {
    /// `sum by (…) (rate(NAME{MATCHERS}[WINDOW]))`.
    pub fn rate(self, matchers: &str, window: Duration) -> String {
        let Self { name, by } = self;
        format!("sum by ({by}) (rate({name}{matchers}[{}]))", duration(window))
    }

    /// The highest of the means over `PEAK` within the window.
    pub fn peak(self, matchers: &str, window: Duration) -> String {
        let peak = duration(PEAK);
        format!("max_over_time({}[{}:{peak}])", self.rate(matchers, PEAK), duration(window))
    }

    /// The first of the steps within the window at which each sum was there. Not `timestamp()`, which Prometheus 2 reads
    /// all samples for anew at each step: a hundred times slower.
    pub fn first(self, window: Duration, step: Duration) -> String {
        let Self { name, by } = self;
        format!("min_over_time((0 * count by ({by}) ({name}) + time())[{}:{}])", duration(window), duration(step))
    }

    /// The last of the steps within the window at which any series was there.
    pub fn last(self, window: Duration, step: Duration) -> String {
        format!("max_over_time((0 * count({}) + time())[{}:{}])", self.name, duration(window), duration(step))
    }

    /// When the series that are there had their last sample; empty when there are none.
    pub fn newest(self) -> String {
        format!("max(timestamp({}))", self.name)
    }

    /// At how many of the steps within the window any series was there.
    pub fn present(self, window: Duration, step: Duration) -> String {
        format!("count_over_time(count({})[{}:{}])", self.name, duration(window), duration(step))
    }

    /// Samples within the window of the series that has the most.
    pub fn samples(self, window: Duration) -> String {
        format!("max(count_over_time({}[{}]))", self.name, duration(window))
    }
}

// === impl Moment ===

impl Moment {
    /// From Prometheus's own number.
    pub fn of_unix(seconds: f64) -> Self {
        Self(seconds)
    }

    /// Seconds from `earlier` to here; zero when it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::try_from_secs_f64(self.0 - earlier.0).unwrap_or_default()
    }

    /// As people read it.
    pub fn rfc3339(self) -> String {
        let time = Duration::try_from_secs_f64(self.0).ok().and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
        match time {
            // Years of five digits have no such form.
            Some(time) if self.0 < 253_402_300_800.0 => humantime::format_rfc3339_seconds(time).to_string(),
            _ => format!("second {} since 1970", self.0),
        }
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        Self(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => since.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

/// A span as PromQL has it, cut to milliseconds, in hours and less: `48h`, `1h30m`, `500ms`.
pub fn duration(span: Duration) -> String {
    let millis = span.as_millis();
    let parts =
        [(millis / 3_600_000, "h"), (millis / 60_000 % 60, "m"), (millis / 1000 % 60, "s"), (millis % 1000, "ms")];
    let text: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Matchers that leave these codes out; nothing when there are none.
pub fn without(codes: &[ExcludedCode]) -> String {
    if codes.is_empty() {
        return String::new();
    }
    let matchers = codes.iter().map(|code| match code {
        ExcludedCode::Code(code) => format!("code!=\"{code}\""),
        ExcludedCode::Class(digit) => format!("code!~\"{digit}..\""),
    });
    format!("{{{}}}", matchers.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: Counter = Counter { name: "registry_http_requests_total", by: "handler, route, method, code" };

    #[test]
    fn the_expression_is_the_published_one_by_the_labels_of_both_registries() {
        let codes = ["500", "401"].map(|code| code.parse().unwrap());
        let want = "sum by (handler, route, method, code) \
                    (rate(registry_http_requests_total{code!=\"500\",code!=\"401\"}[48h]))";
        let window = Duration::from_secs(48 * 3600);
        assert_eq!(REQUESTS.rate(&without(&codes), window), want);
        let want = "max_over_time(sum by (handler, route, method, code) \
                    (rate(registry_http_requests_total{code!~\"5..\"}[5m]))[48h:5m])";
        assert_eq!(REQUESTS.peak(&without(&["5xx".parse().unwrap()]), window), want);
        assert!(REQUESTS.rate(&without(&[]), window).contains("registry_http_requests_total[48h]"));
    }

    #[test]
    fn a_span_is_written_in_hours_and_less() {
        for (millis, want) in [
            (172_800_000, "48h"),
            (5_400_000, "1h30m"),
            (300_000, "5m"),
            (90_061_001, "25h1m1s1ms"),
            (500, "500ms"),
            (0, "0s"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), want);
        }
    }

    #[test]
    fn a_moment_is_told_to_the_millisecond_and_out_of_any_year() {
        let moment = Moment::from(SystemTime::UNIX_EPOCH + Duration::from_millis(1_600_000_000_123));
        assert_eq!((moment.to_string(), moment.rfc3339()), ("1600000000.123".into(), "2020-09-13T12:26:40Z".into()));
        let before = Moment::from(SystemTime::UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!((before.to_string(), before.rfc3339()), ("-1.000".into(), "second -1 since 1970".into()));
        let far = Moment::from(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40));
        assert_eq!(far.rfc3339(), "second 1099511627776 since 1970");
    }
}
