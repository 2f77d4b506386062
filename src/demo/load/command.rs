//! `rowcount load`: plays a load until its time is up or it is interrupted, with a live line on stderr, and prints the
//! totals to stdout.

use std::{
    io::{IsTerminal, Write},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{Load, LoadOptions, Mix, Sent, Share, counted, private::Private, report::Report};

/// Between two live lines on a terminal, where each takes the place of the one before.
const REDRAW: Duration = Duration::from_secs(1);

/// Between two lines elsewhere.
const LINE: Duration = Duration::from_secs(5);

/// Of `rowcount load`.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadArgs {
    /// Registry-shaped database to play on [default: a private server with sample rows]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Which requests
    #[arg(long, value_name = "M", value_enum, default_value_t)]
    mix: Mix,
    /// How many times as many; 1 is about 303 requests a second
    #[arg(long, value_name = "X", default_value_t = LoadOptions::default().multiple)]
    multiple: f64,
    /// Ends after this long [default: when it is interrupted]
    #[arg(long = "for", value_name = "D", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Where /metrics is served
    #[arg(long, value_name = "ADDR", default_value_t = LoadOptions::default().listen)]
    listen: SocketAddr,
    /// Connections to the database
    #[arg(long, value_name = "N", default_value_t = LoadOptions::default().connections)]
    connections: usize,
    /// The same seed plays the same requests at the same times
    #[arg(long, value_name = "N", default_value_t = LoadOptions::default().seed)]
    seed: u64,
    /// Share of a kind, as 'put /v2/{name}/manifests/{reference} 201 new image by tag=0.7'; may be repeated
    #[arg(long = "share", value_name = "SHARE")]
    shares: Vec<Share>,
    /// Layers of an image that is pushed
    #[arg(long, value_name = "L", default_value_t = LoadOptions::default().layers)]
    layers: usize,
    /// Children of an index that is pushed
    #[arg(long, value_name = "M", default_value_t = LoadOptions::default().children)]
    children: usize,
    /// How the totals are printed
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// How the totals are printed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Plays a load; success when it was played to its end and, on a private server, counted as it was sent.
pub async fn run(args: LoadArgs) -> anyhow::Result<ExitCode> {
    let LoadArgs { database, mix, multiple, duration, listen, connections, seed, shares, layers, children, output } =
        args;
    let options = LoadOptions { mix, multiple, connections, seed, shares, layers, children, listen };
    options.validate()?;
    let private = if database.is_some() { None } else { Some(Private::start().await?) };
    let url = database.or_else(|| private.as_ref().map(|private| private.url.clone())).context("no database")?;
    let before = counted(&url).await.ok();

    let load = Load::start(&url, options).await?;
    let started = Instant::now();
    eprintln!("Playing on {connections} connections; the counters are on http://{}/metrics.", load.addr());
    watch(&load, duration).await?;
    let sent = load.finish().await?;
    let elapsed = started.elapsed();

    let counted = match before {
        Some(before) => Some(counted(&url).await.context("cannot read pg_stat_statements")? - before),
        None => None,
    };
    let report = Report { sent, counted, elapsed };
    match output {
        Format::Table => println!("{}", report.text()),
        Format::Json => println!("{:#}", report.json()),
    }
    // Nobody else sends statements to a private server.
    let differ = private.is_some() && report.counted.is_some_and(|counted| counted != report.sent.statements);
    anyhow::ensure!(!differ, "PostgreSQL counted other statements than were sent");
    Ok(ExitCode::SUCCESS)
}

/// Shows how it goes until the time is up, someone interrupts it or it breaks.
async fn watch(load: &Load, duration: Option<Duration>) -> anyhow::Result<()> {
    let terminal = std::io::stderr().is_terminal();
    let pace = if terminal { REDRAW } else { LINE };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let started = Instant::now();
    let mut ticks = interval_at(started + pace, pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let lines = async {
        let (mut at, mut sent) = (started, load.sent());
        loop {
            let now = ticks.tick().await;
            let seen = load.sent();
            let line = line(&sent, &seen, now - at, now - started);
            if terminal {
                // Over the line before.
                eprint!("\r\x1b[K{line}");
                let _ = std::io::stderr().flush();
            } else {
                eprintln!("{line}");
            }
            (at, sent) = (now, seen);
        }
    };
    tokio::select! {
        () = end => {}
        () = load.broken() => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = lines => {}
    }
    if terminal {
        eprintln!();
    }
    Ok(())
}

/// What came between two looks.
fn line(before: &Sent, now: &Sent, between: Duration, elapsed: Duration) -> String {
    let rate = |before: u64, now: u64| (now - before) as f64 / between.as_secs_f64();
    format!(
        "{:>4.0}s: {:.0} requests/s, {:.0} statements/s, {} late, longest lag {} ms",
        elapsed.as_secs_f64(),
        rate(before.total_requests(), now.total_requests()),
        rate(before.statements.total(), now.statements.total()),
        now.late,
        now.lag.as_millis(),
    )
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        load: LoadArgs,
    }

    #[test]
    fn the_arguments_name_mixes_as_everything_else_does() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["load", "--mix", "registry-4.32", "--multiple", "2.5", "--for", "30s"]).unwrap();
        assert_eq!((cli.load.mix, cli.load.multiple), (Mix::Registry432, 2.5));
        assert_eq!(cli.load.duration, Some(Duration::from_secs(30)));
        assert_eq!(Cli::try_parse_from(["load"]).unwrap().load.mix, Mix::Published2020);
    }

    #[test]
    fn a_line_tells_rates_since_the_line_before() {
        let before = Sent::default();
        let now = Sent { statements: [1500, 24, 0, 0].into(), ..Sent::default() };
        let line = line(&before, &now, Duration::from_secs(2), Duration::from_secs(9));
        assert_eq!(line, "   9s: 0 requests/s, 762 statements/s, 0 late, longest lag 0 ms");
    }
}
