//! `rowcount check`: whether the configuration is right, and with `--connect` whether what it names is there, may be
//! used and what it costs.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::builder::styling::{AnsiColor, Style};

use super::{
    output::{Format, Output},
    service,
    table::Table,
    text,
};
use crate::{
    config::{Config, ServeArgs},
    counting::{Counting, ServerInfo},
};

use trial::Trials;

mod redis;
mod trial;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    settings: ServeArgs,
    /// Also try PostgreSQL, Redis and each query, and tell what it costs
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
        let slack = config.database.connect_timeout;
        match Trials::new(&counting, server.role, slack).await {
            Ok(trials) => {
                if let Some(who) = trials.untracked() {
                    let text = format!("track_counts is off for {who}: rows that they change are not followed");
                    checked.push(Checked {
                        part: "statistics".to_owned(),
                        took: Duration::ZERO,
                        outcome: Outcome::Odd(text),
                    });
                }
                for query in &config.collection.queries {
                    checked.push(trials.run(query).await);
                }
            }
            Err(failure) => checked.push(Checked {
                part: "statistics".to_owned(),
                took: Duration::ZERO,
                outcome: Outcome::Failed(line(&failure)),
            }),
        }
    }
    counting.close().await;
    checked
}

fn describe(server: &ServerInfo) -> String {
    let ServerInfo { version, role, dbname, standby } = server;
    format!("PostgreSQL {version}, role {role}, database {dbname}{}", if *standby { ", a standby" } else { "" })
}

fn line(error: &impl fmt::Display) -> String {
    text::one_line(&error.to_string())
}
