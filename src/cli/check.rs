//! `rowcount check`: whether the configuration is right, and with `--connect` whether what it names is there, may be
//! used and how long it takes.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::builder::styling::{AnsiColor, Style};
use tokio_util::sync::CancellationToken;

use super::{
    output::{Format, Output},
    service,
    table::Table,
    text,
};
use crate::{
    config::{Config, ServeArgs},
    counting::{Counting, ServerInfo},
    failure::FailureReason,
    query::Query,
};

mod redis;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    settings: ServeArgs,
    /// Also try PostgreSQL, Redis and each query, once
    #[arg(long)]
    connect: bool,
}

/// What became of one part.
struct Checked {
    part: String,
    took: Duration,
    outcome: Outcome,
}

/// What there is to say of a part.
enum Outcome {
    /// It works.
    Well(String),
    /// It works now.
    Odd(String),
    /// It does not.
    Failed(String),
}

/// Validates; with `--connect` tries every part, and fails when one of them does.
pub async fn run(args: CheckArgs) -> anyhow::Result<()> {
    let loaded = service::load(&args.settings)?;
    let mut output = Output::new(Format::Table);
    if !args.connect {
        return Ok(output.lines(["the configuration is valid".to_owned()])?);
    }
    let checked = connect(&loaded.config).await;
    output.lines(table(&checked).lines())?;
    let count = |is: fn(&Outcome) -> bool| checked.iter().filter(|checked| is(&checked.outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let parts = count(|outcome| !matches!(outcome, Outcome::Odd(_)));
    ensure!(failed == 0, "{failed} of {parts} parts failed; the table tells why");
    Ok(())
}

// === impl Checked ===

impl Checked {
    fn new(part: impl Into<String>, began: Instant, outcome: Result<String, String>) -> Self {
        let outcome = outcome.map_or_else(Outcome::Failed, Outcome::Well);
        Self { part: part.into(), took: began.elapsed(), outcome }
    }

    fn odd(part: impl Into<String>, began: Instant, text: String) -> Self {
        Self { part: part.into(), took: began.elapsed(), outcome: Outcome::Odd(text) }
    }
}

fn table(checked: &[Checked]) -> Table {
    let mut table = Table::new(&["PART", "MS", "RESULT"], &["MS"]);
    for Checked { part, took, outcome } in checked {
        let (style, text) = match outcome {
            Outcome::Well(text) => (Style::new(), text.clone()),
            Outcome::Odd(text) => (AnsiColor::Yellow.on_default(), format!("WARNING {text}")),
            Outcome::Failed(text) => (AnsiColor::Red.on_default(), format!("FAILED {text}")),
        };
        table.row(style, vec![part.clone(), format!("{:.1}", took.as_secs_f64() * 1000.0), text]);
    }
    table
}

async fn connect(config: &Config) -> Vec<Checked> {
    let mut checked = Vec::new();
    let counting = Counting::new(config.database.clone(), &config.instance_id);
    let began = Instant::now();
    let server = counting.ping().await;
    checked.push(Checked::new("postgres", began, server.as_ref().map(describe).map_err(line)));
    if let Some(redis) = &config.redis {
        checked.extend(redis::check(config, redis).await);
    }
    // Without a database each query would only say so again, each after its own wait.
    if let Ok(server) = server {
        for query in &config.collection.queries {
            checked.push(count(&counting, query, &server.role, config.database.connect_timeout).await);
        }
    }
    counting.close().await;
    checked
}

/// Runs the query as the service does; `slack` is for a connection that has to be made anew.
async fn count(counting: &Counting, query: &Query, role: &str, slack: Duration) -> Checked {
    let began = Instant::now();
    let run = counting.count(query, query.timeout + slack, &CancellationToken::new()).await;
    let outcome = match run.outcome {
        Ok(reading) => Ok(format!("{} rows", text::number(reading.value))),
        Err(failure) if !query.is_failed_by(failure.reason) => Ok(format!("not counted: {}", failure.message)),
        Err(failure) => Err(match query.table() {
            Some(table) if failure.reason == FailureReason::Permission => {
                format!("{}; run GRANT SELECT ON {table} TO {role}", line(&failure))
            }
            _ => line(&failure),
        }),
    };
    Checked::new(query.name.to_string(), began, outcome)
}

fn describe(server: &ServerInfo) -> String {
    let ServerInfo { version, role, dbname, standby } = server;
    format!("PostgreSQL {version}, role {role}, database {dbname}{}", if *standby { ", a standby" } else { "" })
}

fn line(error: &impl fmt::Display) -> String {
    text::one_line(&error.to_string())
}
