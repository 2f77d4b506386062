//! Errors of an estimate that this program makes itself, in the words of its options too: whoever typed those knows
//! neither the fields of a request, which only a file has, nor the keys of a configuration.

use anyhow::anyhow;

use crate::{cli::text, estimator::Error};

/// Beginnings of what an error names, and the options that stand for it.
const OPTIONS: [(&str, &str); 20] = [
    ("cost_parameters.kind_shares", "--share"),
    ("cost_parameters.layer_count", "--layers"),
    ("cost_parameters.child_count", "--children"),
    ("cost_parameters.tag_count", "--tags"),
    ("prometheus.window", "--window"),
    ("prometheus.evaluate_times", "--at"),
    ("prometheus.excluded_codes", "--exclude-code"),
    ("monthly_growth_rate", "--monthly-growth"),
    ("ceiling_per_second", "--ceiling"),
    ("horizon_months", "--horizon"),
    ("growth_factor", "--growth"),
    ("cost_model", "--model"),
    ("unit_factors", "--unit-factors"),
    ("rates.prometheus.timeout", "--timeout"),
    ("rates.prometheus.token", "--token-file"),
    ("rates.prometheus.tls.certificate", "--tls-cert"),
    ("rates.prometheus.tls.ca", "--tls-ca"),
    ("rates.prometheus.tls.key", "--tls-key"),
    ("rates.prometheus.tls", "the --tls- options"),
    ("rates.prometheus.url", "--prometheus"),
];

/// The error, for whoever typed the options.
pub fn told(error: Error) -> anyhow::Error {
    let text = match error {
        Error::Invalid(error) => {
            let option = OPTIONS.iter().find(|(field, _)| error.field.starts_with(field));
            match option {
                Some((_, option)) => format!("{} ({option}): {}", error.field, error.problem),
                None => error.to_string(),
            }
        }
        Error::Prometheus(error) => {
            // In their order: a key stands behind those that it is the beginning of.
            OPTIONS.iter().fold(error.to_string(), |text, (key, option)| text.replace(key, option))
        }
        Error::NoPrometheus => error.to_string(),
    };
    anyhow!(text::one_line(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::Invalid;

    #[test]
    fn an_error_names_the_option_that_was_typed() {
        let error = Error::Invalid(Invalid::new("cost_parameters.kind_shares[1].share", "1.2 is more than 1"));
        assert_eq!(told(error).to_string(), "cost_parameters.kind_shares[1].share (--share): 1.2 is more than 1");
        let error = Error::Invalid(Invalid::new("request_rates.rates[0].handler", "is empty"));
        assert_eq!(told(error).to_string(), "request_rates.rates[0].handler: is empty");
    }
}
