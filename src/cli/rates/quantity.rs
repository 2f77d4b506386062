//! How rates and counts are written for people. A rate has no digits after the point from 1 up and two below, as in the
//! tables published in 2020; what is not nothing never looks like it.

use crate::cli::text;

/// From 1 up, whole; below, two digits after the point.
pub fn rate(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        ..0.005 => "<0.01".to_owned(),
        // Two digits would come to 1.
        ..0.995 => format!("{rate:.2}"),
        _ => whole(rate),
    }
}

/// Rounded to a whole number, as the published tables of operations have it: 0.03 is 0 there.
pub fn whole(number: f64) -> String {
    text::grouped(&format!("{:.0}", number.round()))
}

/// A count or factor, which is small: as many as two digits after the point.
pub fn count(count: f64) -> String {
    let rounded = format!("{count:.2}");
    let short = rounded.trim_end_matches('0').trim_end_matches('.');
    match short {
        "0" if count > 0.0 => "<0.01".to_owned(),
        short => short.to_owned(),
    }
}

/// A share of 1.
pub fn percent(share: f64) -> String {
    format!("{} %", count(share * 100.0))
}

/// `low..high`; `None` when they come to the same.
pub fn range(low: f64, high: f64, write: fn(f64) -> String) -> Option<String> {
    let [low, high] = [low, high].map(write);
    (low != high).then(|| format!("{low}..{high}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_whole_from_one_up_and_has_two_digits_below() {
        for (number, text) in [
            (0.0, "0"),
            (0.001, "<0.01"),
            (0.0313, "0.03"),
            (0.994, "0.99"),
            (0.996, "1"),
            (1.4, "1"),
            (2.5, "3"),
            (141.142, "141"),
            (30_730_596_502.4, "30,730,596,502"),
            (1e20, "100,000,000,000,000,000,000"),
        ] {
            assert_eq!(rate(number), text);
        }
        assert_eq!(whole(0.03), "0");
    }

    #[test]
    fn a_count_has_only_the_digits_it_needs() {
        let texts = [0.0, 0.001, 3.0, 36.05, 2.5, 100.0].map(count);
        assert_eq!(texts, ["0", "<0.01", "3", "36.05", "2.5", "100"]);
        assert_eq!(percent(0.135), "13.5 %");
    }

    #[test]
    fn a_range_is_told_where_its_ends_read_differently() {
        assert_eq!(range(7.0, 49.0, rate).as_deref(), Some("7..49"));
        assert_eq!(range(7.1, 7.2, rate), None);
    }
}
