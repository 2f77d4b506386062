//! How much head-room is left under a ceiling, and until when.

use std::time::SystemTime;

use super::{figures::Figures, quantity};
use crate::{cli::text, proto::v1::EstimateRatesResponse};

/// What there is to tell of the ceiling, each with its name; nothing when none was given.
pub fn lines(response: &EstimateRatesResponse, now: SystemTime) -> Vec<(&'static str, String)> {
    let asked = response.effective_request.clone().unwrap_or_default();
    let ceiling = asked.ceiling_per_second;
    if ceiling <= 0.0 {
        return Vec::new();
    }
    let total = Figures::of(&response.totals).total().per_second;
    let used = total / ceiling;
    let crossed = match text::moment(response.ceiling_time) {
        Some(at) if at <= now || used >= 1.0 => "already".to_owned(),
        Some(at) => text::time(at).chars().take("2028-03".len()).collect(),
        None if asked.monthly_growth_rate == 0.0 => "not without growth".to_owned(),
        None => "not within a century".to_owned(),
    };
    vec![
        ("ceiling", format!("{} operations/s", quantity::rate(ceiling))),
        ("used now", format!("{} ({} operations/s)", quantity::percent(used), quantity::rate(total))),
        ("head-room", quantity::percent((1.0 - used).max(0.0))),
        ("crossed", crossed),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::v1::{EstimateRatesRequest, OperationRate, SqlOperation};

    fn told(ceiling: f64, growth: f64, at: Option<u64>) -> Vec<String> {
        let select =
            OperationRate { operation: SqlOperation::Select.into(), per_second: 762.0, ..OperationRate::default() };
        let asked = EstimateRatesRequest {
            ceiling_per_second: ceiling,
            monthly_growth_rate: growth,
            ..EstimateRatesRequest::default()
        };
        let response = EstimateRatesResponse {
            totals: vec![select],
            effective_request: Some(asked),
            ceiling_time: at.map(|at| (SystemTime::UNIX_EPOCH + Duration::from_secs(at)).into()),
            ..EstimateRatesResponse::default()
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        lines(&response, now).into_iter().map(|(name, told)| format!("{name}: {told}")).collect()
    }

    #[test]
    fn the_month_in_which_the_ceiling_is_met_is_told() {
        assert_eq!(
            told(1_000.0, 0.05, Some(1_836_000_000)),
            [
                "ceiling: 1,000 operations/s",
                "used now: 76.2 % (762 operations/s)",
                "head-room: 23.8 %",
                "crossed: 2028-03"
            ]
        );
        assert_eq!(told(1_000.0, 0.0, None)[3], "crossed: not without growth");
        assert_eq!(told(1_000.0, 1e-9, None)[3], "crossed: not within a century");
        assert!(told(0.0, 0.05, None).is_empty());
    }

    #[test]
    fn a_ceiling_that_is_passed_leaves_no_head_room() {
        assert_eq!(
            told(381.0, 0.0, Some(1_000_000))[1..],
            ["used now: 200 % (762 operations/s)", "head-room: 0 %", "crossed: already"]
        );
    }
}
