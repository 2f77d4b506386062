//! `rowcount rates model`: what one request of each kind costs, with the parameters as they are when none are given. A
//! server knows the overrides of its configuration; without `--server` this program answers by itself.

use std::collections::HashSet;

use clap::builder::{PossibleValuesParser, styling::Style};

use super::{
    answerer::Answerer,
    csv,
    format::Format,
    inputs,
    markdown::document::Document,
    quantity::{count, percent},
};
use crate::{
    cli::{
        connection::ConnectionArgs,
        output::Output,
        table::{Pairs, Table},
        text,
    },
    proto::v1::{GetCostModelRequest, GetCostModelResponse, RequestCost},
    rates::{handler::Pair, model::ModelName},
};

const HEADER: [&str; 10] =
    ["METHOD", "HANDLER", "CODE", "KIND", "SHARE", "SELECT", "INSERT", "UPDATE", "DELETE", "NOTE"];

/// Arguments of `rates model`.
#[derive(Debug, clap::Args)]
pub struct ModelArgs {
    /// Which model
    #[arg(value_name = "NAME", default_value = ModelName::default().as_str())]
    #[arg(value_parser = PossibleValuesParser::new(ModelName::ALL.map(ModelName::as_str)))]
    name: String,
    #[command(flatten)]
    connection: ConnectionArgs,
    /// How the model is written
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table", help_heading = "Client options")]
    output: Format,
}

/// Prints the model.
pub async fn run(args: ModelArgs) -> anyhow::Result<()> {
    let ModelArgs { name, connection, output: format } = args;
    let answerer = if connection.has_server() { Answerer::connect(&connection).await? } else { Answerer::alone() };
    let answer = answerer.cost_model(GetCostModelRequest { cost_model: name.clone() }).await?;
    let mut output = Output::new(format.of_output());
    match format {
        Format::Table => Ok(output.lines(table(&name, &answer))?),
        Format::Markdown => Ok(output.lines(markdown(&name, &answer))?),
        Format::Csv => Ok(output.lines(rows(&name, &answer)?)?),
        Format::Json => output.object(&answer),
    }
}

fn table(name: &str, answer: &GetCostModelResponse) -> Vec<String> {
    let mut table = Table::new(&HEADER, &HEADER[4..9]);
    for cost in &answer.costs {
        table.row(Style::new(), cells(cost));
    }
    let mut pairs = Pairs::default();
    for (name, value) in about(name, answer) {
        pairs.add(name, value);
    }
    table.lines().chain([String::new()]).chain(pairs.lines()).collect()
}

fn markdown(name: &str, answer: &GetCostModelResponse) -> Vec<String> {
    let mut document = Document::new("What one request costs");
    let header = ["Method", "Handler", "Code", "Kind", "Share", "SELECT", "INSERT", "UPDATE", "DELETE", "Note"];
    document.table(&header, 4, &answer.costs.iter().map(cells).collect::<Vec<_>>());
    document.list(&about(name, answer));
    document.into_lines()
}

fn rows(name: &str, answer: &GetCostModelResponse) -> anyhow::Result<Vec<String>> {
    let numbers = |cost: &RequestCost| {
        let RequestCost { select_count, insert_count, update_count, delete_count, share, .. } = *cost;
        [share, select_count, insert_count, update_count, delete_count].map(|number| number.to_string())
    };
    let row = |cost: &RequestCost| {
        let RequestCost { method, handler, code, kind, note, .. } = cost;
        let labels = [method, handler, code, kind].map(Clone::clone);
        [&labels[..], &numbers(cost), std::slice::from_ref(note)].concat()
    };
    let header = HEADER.map(str::to_lowercase).to_vec();
    let rows: Vec<_> = std::iter::once(header).chain(answer.costs.iter().map(row)).collect();
    Ok(csv::comments(&about(name, answer)).chain(csv::table(&rows)?).collect())
}

fn cells(cost: &RequestCost) -> Vec<String> {
    let RequestCost { handler, method, code, kind, share, note, .. } = cost;
    let RequestCost { select_count, insert_count, update_count, delete_count, .. } = *cost;
    let code = if code.is_empty() { text::NONE } else { code };
    let labels = [method, handler, code, kind].map(str::to_owned);
    let counts = [select_count, insert_count, update_count, delete_count].map(count);
    [&labels[..], &[percent(*share)], &counts, std::slice::from_ref(note)].concat()
}

fn about(name: &str, answer: &GetCostModelResponse) -> Vec<(&'static str, String)> {
    let parameters = answer.default_parameters.clone().unwrap_or_default();
    let pairs: HashSet<Pair> = answer.costs.iter().map(|cost| Pair::new(&cost.handler, &cost.method)).collect();
    let mut lines = vec![
        ("cost model", format!("{name} ({})", answer.cost_model_version)),
        ("assumed", inputs::assumed(&parameters)),
    ];
    lines.extend(inputs::shares(&parameters.kind_shares, &pairs).into_iter().map(|line| ("", line)));
    lines
}
