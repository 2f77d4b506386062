//! `rowcount rates validate`: the estimate beside the statements that the database ran. The server counts for a while, so
//! the call takes that much longer.

use std::time::Duration;

use clap::builder::styling::Style;

use super::{
    answerer, csv, figures, format::Format, markdown::document::Document, quantity::rate, question::QuestionArgs,
};
use crate::{
    cli::{
        client::Client,
        connection::ConnectionArgs,
        output::Output,
        table::{Pairs, Table},
        text,
    },
    proto::v1::{ObservationSource, RateComparison, ValidateRatesRequest, ValidateRatesResponse},
};

const HEADER: [&str; 6] = ["OPERATION", "LOW", "ESTIMATED", "HIGH", "OBSERVED", "RATIO"];

/// Arguments of `rates validate`.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// How long to count; it is added to --timeout
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = super::option::window)]
    observed: Duration,
    /// What to compare with [default: the best that is there]
    #[arg(long, value_name = "SOURCE", value_enum)]
    source: Option<Observation>,
    #[command(flatten)]
    question: QuestionArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    /// How the comparison is written
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table", help_heading = "Client options")]
    output: Format,
}

/// Where the observed statements come from, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Observation {
    /// Statements by verb, of pg_stat_statements.
    Statements,
    /// Statements without their verb, of the registry's own counter in Prometheus.
    RegistryQueries,
    /// Rows, not statements, of the statistics of tables.
    TableStatistics,
}

/// Prints the comparison.
pub async fn run(args: ValidateArgs) -> anyhow::Result<()> {
    let ValidateArgs { observed, source, question, connection, output: format } = args;
    let request = ValidateRatesRequest {
        observe_duration: Some(observed.try_into()?),
        estimate: Some(question.into_request()?),
        source: source.map_or(ObservationSource::Unspecified, Observation::wire).into(),
    };
    let client = Client::connect(&connection).await?;
    let answer = answerer::validate(&client, request, observed).await?;
    let mut output = Output::new(format.of_output());
    match format {
        Format::Table => Ok(output.lines(table(&answer))?),
        Format::Markdown => Ok(output.lines(markdown(&answer))?),
        Format::Csv => Ok(output.lines(rows(&answer)?)?),
        Format::Json => output.object(&answer),
    }
}

// === impl Observation ===

impl Observation {
    fn wire(self) -> ObservationSource {
        match self {
            Self::Statements => ObservationSource::Statements,
            Self::RegistryQueries => ObservationSource::RegistryQueries,
            Self::TableStatistics => ObservationSource::TableStatistics,
        }
    }
}

fn table(answer: &ValidateRatesResponse) -> Vec<String> {
    let mut table = Table::new(&HEADER, &HEADER[1..]);
    for comparison in &answer.comparisons {
        table.row(Style::new(), cells(comparison));
    }
    let mut pairs = Pairs::default();
    for (name, value) in about(answer) {
        pairs.add(name, value);
    }
    table.lines().chain([String::new()]).chain(pairs.lines()).collect()
}

fn markdown(answer: &ValidateRatesResponse) -> Vec<String> {
    let mut document = Document::new("Estimated and observed, a second");
    let header = ["Operation", "Low", "Estimated", "High", "Observed", "Ratio"];
    document.table(&header, 1, &answer.comparisons.iter().map(cells).collect::<Vec<_>>());
    document.list(&about(answer));
    document.into_lines()
}

/// Columns as the fields are called.
fn rows(answer: &ValidateRatesResponse) -> anyhow::Result<Vec<String>> {
    let header =
        ["operation", "low_per_second", "estimated_per_second", "high_per_second", "observed_per_second", "ratio"];
    let row = |comparison: &RateComparison| {
        let ratio = comparison.ratio.map(|ratio| ratio.to_string()).unwrap_or_default();
        let rates = numbers(comparison).map(|number| number.to_string());
        [&[name(comparison).to_lowercase()][..], &rates, &[ratio]].concat()
    };
    let rows = std::iter::once(header.map(str::to_owned).to_vec()).chain(answer.comparisons.iter().map(row));
    Ok(csv::comments(&about(answer)).chain(csv::table(&rows.collect::<Vec<_>>())?).collect())
}

fn cells(comparison: &RateComparison) -> Vec<String> {
    let ratio = comparison.ratio.map_or(text::NONE.to_owned(), |ratio| format!("{ratio:.3}"));
    [&[name(comparison).to_owned()][..], &numbers(comparison).map(rate), &[ratio]].concat()
}

/// In the order of the columns.
fn numbers(comparison: &RateComparison) -> [f64; 4] {
    let RateComparison {
        operation: _,
        estimated_per_second,
        low_per_second,
        high_per_second,
        observed_per_second,
        ratio: _,
    } = *comparison;
    [low_per_second, estimated_per_second, high_per_second, observed_per_second]
}

/// A source that knows no verb is compared in total.
fn name(comparison: &RateComparison) -> &'static str {
    figures::name(comparison.operation())
}

fn about(answer: &ValidateRatesResponse) -> Vec<(&'static str, String)> {
    let source = text::word(answer.source().as_str_name(), "OBSERVATION_SOURCE_");
    let span = text::length(answer.observe_duration).map(|span| format!(", for {}", text::span(span)));
    let mut lines = vec![("observed", format!("{source}{}", span.unwrap_or_default()))];
    if let Some(reset) = text::moment(answer.stats_reset_time) {
        lines.push(("reset", format!("the statistics were reset at {}, while they were observed", text::time(reset))));
    }
    lines.extend(answer.warnings.iter().map(|warning| ("warning", warning.clone())));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::SqlOperation;

    fn answer() -> ValidateRatesResponse {
        let compared = |operation: SqlOperation, estimated: f64, observed: f64, ratio| RateComparison {
            operation: operation.into(),
            estimated_per_second: estimated,
            low_per_second: estimated / 2.0,
            high_per_second: estimated * 2.0,
            observed_per_second: observed,
            ratio,
        };
        ValidateRatesResponse {
            comparisons: vec![
                compared(SqlOperation::Select, 1_000.0, 1_001.0, Some(1.001)),
                compared(SqlOperation::Delete, 0.0, 0.25, None),
            ],
            stats_reset_time: Some(prost_types::Timestamp { seconds: 1_592_589_600, nanos: 0 }),
            warnings: vec!["12 statements\nwere forgotten".to_owned()],
            source: ObservationSource::Statements.into(),
            observe_duration: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        }
    }

    fn plain(lines: Vec<String>) -> Vec<String> {
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn each_verb_is_compared_and_what_was_not_estimated_has_no_ratio() {
        assert_eq!(
            plain(table(&answer())),
            [
                "OPERATION  LOW  ESTIMATED   HIGH  OBSERVED  RATIO",
                "SELECT     500      1,000  2,000     1,001  1.001",
                "DELETE       0          0      0      0.25      -",
                "",
                "observed  statements, for 1m",
                "reset     the statistics were reset at 2020-06-19T18:00:00Z, while they were observed",
                "warning   12 statements were forgotten",
            ]
        );
    }

    #[test]
    fn a_program_gets_every_digit_and_the_notes_as_comments() {
        let lines = rows(&answer()).unwrap();
        assert_eq!(lines[0], "# observed: statements, for 1m");
        assert_eq!(lines[2], "# warning: 12 statements were forgotten");
        assert_eq!(lines[4..], ["select,500,1000,2000,1001,1.001", "delete,0,0,0,0.25,"]);
        assert!(markdown(&answer()).contains(&"| SELECT | 500 | 1,000 | 2,000 | 1,001 | 1.001 |".to_owned()));
    }

    #[test]
    fn a_source_without_verbs_is_compared_in_total() {
        let total = RateComparison { estimated_per_second: 10.0, observed_per_second: 9.0, ..Default::default() };
        let answer = ValidateRatesResponse {
            comparisons: vec![total],
            source: ObservationSource::RegistryQueries.into(),
            ..Default::default()
        };
        let lines = plain(table(&answer));
        assert!(lines[1].starts_with("Total "), "{lines:?}");
        assert_eq!(lines[3], "observed  registry_queries");
    }
}
