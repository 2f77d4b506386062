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
    board::{Board, redis::RedisBoard},
    config::{Config, ServeArgs},
    counting::{Counting, ServerInfo},
    failure::FailureReason,
    query::Query,
    redis_link::Route,
};

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
    /// What is well, or what is wrong.
    outcome: Result<String, String>,
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
    let failed = checked.iter().filter(|checked| checked.outcome.is_err()).count();
    ensure!(failed == 0, "{failed} of {} parts failed; the table tells why", checked.len());
    Ok(())
}

fn table(checked: &[Checked]) -> Table {
    let mut table = Table::new(&["PART", "MS", "RESULT"], &["MS"]);
    for Checked { part, took, outcome } in checked {
        let (style, text) = match outcome {
            Ok(text) => (Style::new(), text.clone()),
            Err(text) => (AnsiColor::Red.on_default(), format!("FAILED {text}")),
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
    checked.push(Checked {
        part: "postgres".to_owned(),
        took: began.elapsed(),
        outcome: server.as_ref().map(describe).map_err(line),
    });
    if let Some(redis) = &config.redis {
        // One of the scripts that the service runs, with the same rights; it only reads.
        let route = Route::new(redis.clone(), &config.cluster);
        let board = RedisBoard::new(&route);
        let began = Instant::now();
        let outcome = board.load().await.map(|_| route.describe().unwrap_or_default());
        let outcome = outcome.map_err(|error| line(&error));
        checked.push(Checked { part: "redis".to_owned(), took: began.elapsed(), outcome });
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
    Checked { part: query.name.to_string(), took: run.duration, outcome }
}

fn describe(server: &ServerInfo) -> String {
    let ServerInfo { version, role, dbname, standby } = server;
    format!("PostgreSQL {version}, role {role}, database {dbname}{}", if *standby { ", a standby" } else { "" })
}

fn line(error: &impl fmt::Display) -> String {
    text::one_line(&error.to_string())
}
