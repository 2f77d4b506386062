//! `rowcount rates`: what a registry's request load asks of its database. Rates that are given, and those of a Prometheus
//! that is named, are estimated by this program itself; everything else is asked of a server.

use clap::{CommandFactory, error::ErrorKind};
use http::Uri;

use super::{Cli, connection::ConnectionArgs, output};
use crate::proto::v1::EstimateRatesResponse;

use answerer::Answerer;
use format::Format;
use question::QuestionArgs;

mod answerer;
mod csv;
mod figures;
mod file;
mod format;
mod inputs;
mod markdown;
mod model;
mod option;
mod options;
mod outlook;
mod per_request;
mod quantity;
mod question;
mod share;
mod table;
mod validate;

/// Arguments of `rates`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct RatesArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    estimate: EstimateArgs,
}

/// What can be asked about rates beside the rates.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print what one request of each kind costs
    Model(Box<model::ModelArgs>),
    /// Compare the estimate with the statements that the database ran
    Validate(Box<validate::ValidateArgs>),
}

/// Arguments of an estimate.
#[derive(Debug, clap::Args)]
struct EstimateArgs {
    /// Ask this Prometheus itself, without a server
    #[arg(long, value_name = "URL", value_parser = option::prometheus_url, conflicts_with = "from")]
    #[arg(help_heading = question::SOURCE)]
    prometheus: Option<Uri>,
    #[command(flatten)]
    question: QuestionArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    /// How the estimate is written
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    #[arg(help_heading = "Client options")]
    output: Format,
}

/// An estimate, and where its rates came from in the words of the one who asked.
struct Estimated {
    response: EstimateRatesResponse,
    source: String,
}

/// Prints the estimate, the cost model or the comparison.
pub async fn run(args: RatesArgs) -> anyhow::Result<()> {
    match args.command {
        Some(Command::Model(args)) => model::run(*args).await,
        Some(Command::Validate(args)) => validate::run(*args).await,
        None => estimate(args.estimate).await,
    }
}

async fn estimate(args: EstimateArgs) -> anyhow::Result<()> {
    let EstimateArgs { prometheus, question, connection, output } = args;
    if prometheus.is_some() && connection.has_server() {
        return Err(usage("--prometheus is asked by this program itself: leave --server out".to_owned()).into());
    }
    let file = question.file_name();
    let request = question.into_request()?;
    let answerer = match &prometheus {
        Some(url) => Answerer::with_prometheus(url, &connection)?,
        None if question::has_rates(&request) && !connection.has_server() => Answerer::alone(),
        None => Answerer::connect(&connection).await?,
    };
    let source = match (&prometheus, &file, &answerer) {
        (Some(url), _, _) => format!("Prometheus at {url}"),
        (None, Some(file), Answerer::Alone(_)) => file.clone(),
        (None, Some(file), Answerer::Server(_)) => format!("{file}, estimated by {}", connection.server()),
        (None, None, _) => format!("Prometheus of {}", connection.server()),
    };
    let response = answerer.estimate(request).await.map_err(|error| match file {
        // Nothing else of a request is the file's alone.
        Some(file) if error.to_string().starts_with("request_rates.") => error.context(file),
        _ => error,
    })?;
    print(&answerer, &Estimated { response, source }, output).await
}

async fn print(answerer: &Answerer, estimated: &Estimated, format: Format) -> anyhow::Result<()> {
    let mut output = output::Output::new(format.of_output());
    match format {
        Format::Table => Ok(output.lines(table::lines(estimated))?),
        Format::Markdown => {
            let costs = per_request::costs(answerer, &estimated.response).await?;
            Ok(output.lines(markdown::lines(estimated, &costs)?)?)
        }
        Format::Csv => Ok(output.lines(csv::lines(estimated)?)?),
        Format::Json => output.object(&estimated.response),
    }
}

/// Arguments that do not go together.
fn usage(text: String) -> clap::Error {
    Cli::command().error(ErrorKind::ArgumentConflict, text)
}
