//! The commands that read the configuration: serve, config and check. What is wrong with it is listed whole, and exits
//! with 78 (EX_CONFIG).

use std::{fmt, process::ExitCode, time::Instant};

use clap::builder::styling::{AnsiColor, Style};
use tokio_util::sync::CancellationToken;

use crate::{
    app,
    board::{Board, redis::RedisBoard},
    config::{self, Config, Loaded, Problems, ServeArgs},
    counting::Counting,
    failure::Failure,
};

use super::{
    output::{Format, Output},
    table::Table,
    text,
};

/// EX_CONFIG of sysexits.h.
pub const EX_CONFIG: u8 = 78;

/// Of `rowcount check`.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    settings: ServeArgs,
    /// Also try PostgreSQL, Redis and each query, once
    #[arg(long)]
    connect: bool,
}

/// What one part of `check --connect` found.
struct Checked {
    part: String,
    took_ms: f64,
    /// What is well, or what is wrong.
    outcome: Result<String, String>,
}

/// Runs the service.
pub async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    app::serve(load(&args)?).await
}

/// Prints the effective settings.
pub fn config(args: &ServeArgs) -> anyhow::Result<()> {
    let loaded = load(args)?;
    for warning in &loaded.warnings {
        super::output::note(&format!("warning: {warning}"));
    }
    Ok(Output::new(Format::Table).lines(loaded.render().lines().map(str::to_owned))?)
}

/// Validates, and with `--connect` tries everything that counting needs.
pub async fn check(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let loaded = load(&args.settings)?;
    for warning in &loaded.warnings {
        super::output::note(&format!("warning: {warning}"));
    }
    if !args.connect {
        Output::new(Format::Table).lines(["the configuration is valid".to_owned()])?;
        return Ok(ExitCode::SUCCESS);
    }
    let checked = connect(&loaded.config).await;
    let mut table = Table::new(&["PART", "MS", "RESULT"], &["MS"]);
    for Checked { part, took_ms, outcome } in &checked {
        let (style, text) = match outcome {
            Ok(text) => (Style::new(), text.clone()),
            Err(text) => (AnsiColor::Red.on_default(), format!("FAILED {text}")),
        };
        table.row(style, vec![part.clone(), format!("{took_ms:.1}"), text]);
    }
    Output::new(Format::Table).lines(table.lines())?;
    let all_well = checked.iter().all(|checked| checked.outcome.is_ok());
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn load(args: &ServeArgs) -> Result<Loaded, Problems> {
    config::load(args, config::environment())
}

async fn connect(config: &Config) -> Vec<Checked> {
    let mut checked = Vec::new();
    let counting = Counting::new(config.database.clone(), &config.instance_id);
    let ping = async {
        let info = counting.ping().await?;
        let kind = if info.standby { ", a standby" } else { "" };
        Ok(format!("PostgreSQL {}, role {}, database {}{kind}", info.version, info.role, info.dbname))
    };
    checked.push(timed("postgres", async { ping.await.map_err(|failure: Failure| line(&failure)) }).await);
    if let Some(redis) = &config.redis {
        // Loading runs one of the scripts that the service runs, with the same rights.
        let board = RedisBoard::new(redis.clone(), &config.cluster);
        let load = async {
            board.load().await.map(|_| format!("{}:{}", redis.host, redis.port)).map_err(|error| line(&error))
        };
        checked.push(timed("redis", load).await);
    }
    if checked[0].outcome.is_ok() {
        for query in &config.collection.queries {
            let run = async {
                let run = counting.count(query, query.timeout, &CancellationToken::new()).await;
                match run.outcome {
                    Ok(reading) => Ok(format!("{} rows", text::number(reading.value))),
                    Err(failure) if !query.is_failed_by(failure.reason) => {
                        Ok(format!("not counted: {}", failure.message))
                    }
                    Err(failure) => Err(line(&failure)),
                }
            };
            checked.push(timed(query.name.as_str(), run).await);
        }
    }
    counting.close().await;
    checked
}

async fn timed(part: &str, check: impl Future<Output = Result<String, String>>) -> Checked {
    let began = Instant::now();
    let outcome = check.await;
    Checked { part: part.to_owned(), took_ms: began.elapsed().as_secs_f64() * 1000.0, outcome }
}

fn line(error: &impl fmt::Display) -> String {
    text::one_line(&error.to_string())
}
