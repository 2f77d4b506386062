//! Everything on temporary directories: private servers, a registry-shaped database, instances, a live table. Whatever
//! it starts ends with it, however it ends.

use std::{
    env,
    io::{IsTerminal, Write},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use crate::demo::{
    churn::Churn,
    fleet::Fleet,
    postgres::{PostgresOptions, PostgresServer},
    redis::RedisServer,
};

pub mod churn;
mod fleet;
pub mod load;
pub mod postgres;
pub mod prometheus;
pub mod redis;
pub mod schema;
pub mod server;
mod verify;
mod view;

/// Rows for a start of a few seconds: about 80,000 of them are layers.
const REPOSITORIES: u32 = 1000;

/// As many leaves as a production registry has.
const PARTITIONS: u32 = 64;

/// How long it runs where there is no terminal to stop it from.
const UNATTENDED: Duration = Duration::from_secs(20);

/// Of `rowcount demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Number of instances; with one the lease and the board live in memory, with more in a private Redis
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    instances: u8,
    /// Ends after this long, then checks every count and a hand-over [default: none on a terminal, else 20s]
    #[arg(long = "for", value_name = "D", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
}

/// What runs until the demo ends; fields drop in this order, so nothing loses its server before it ends.
struct Demo {
    /// `None` while counts are checked.
    churn: Option<Churn>,
    fleet: Fleet,
    database: String,
    _redis: Option<RedisServer>,
    _postgres: PostgresServer,
}

/// Runs the demo; success when it was ended by hand on a terminal, or when everything it checked was right.
pub async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let DemoArgs { instances, duration } = args;
    let terminal = std::io::stdout().is_terminal();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let whole = async {
        let mut demo = Demo::start(instances.into()).await?;
        if terminal {
            demo.show_live(duration).await?;
        } else {
            demo.show_lines(duration.unwrap_or(UNATTENDED)).await?;
        }
        demo.verify(instances.into()).await
    };
    tokio::select! {
        done = whole => done.map(|()| ExitCode::SUCCESS),
        _ = async { tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () } } => {
            anyhow::ensure!(terminal && duration.is_none(), "the demo was interrupted before it had checked anything");
            eprintln!("Removing everything.");
            Ok(ExitCode::SUCCESS)
        }
    }
}

// === impl Demo ===

impl Demo {
    async fn start(instances: usize) -> anyhow::Result<Self> {
        eprintln!("Starting PostgreSQL with {REPOSITORIES} repositories in {PARTITIONS} partitions.");
        let options = PostgresOptions { config: vec!["autovacuum = on".into()], ..Default::default() };
        let postgres = PostgresServer::start_with(options).await?;
        let database = postgres.create_database("registry").await?;
        schema::create(&database, PARTITIONS).await?;
        schema::create_newer(&database).await?;
        schema::generate(&database, REPOSITORIES).await?;

        let redis = if instances > 1 {
            eprintln!("Starting Redis.");
            Some(RedisServer::start().await?)
        } else {
            None
        };
        eprintln!("Starting {instances} of `rowcount serve`.");
        let mut settings = vec![
            ("ROWCOUNT_DATABASE_URL", database.clone()),
            ("ROWCOUNT_DATABASE_METRICS_INTERVAL", "1s".to_owned()),
            ("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", "3s".to_owned()),
            // Nobody held this lease before: there is no past to wait for.
            ("ROWCOUNT_LEASE_FIRSTSTART", "immediate".to_owned()),
        ];
        settings.extend(redis.iter().map(|redis| ("ROWCOUNT_REDIS_CACHE_ADDR", redis.addr())));
        let fleet = Fleet::start(instances, &settings).await.context("an instance did not start")?;
        let churn = Some(Churn::start(database.clone()));
        Ok(Self { churn, fleet, database, _redis: redis, _postgres: postgres })
    }

    /// Redraws the page each second until the time is up; for ever when there is none.
    async fn show_live(&mut self, duration: Option<Duration>) -> anyhow::Result<()> {
        let started = Instant::now();
        let program = program();
        while duration.is_none_or(|duration| started.elapsed() < duration) {
            let look = self.fleet.look().await?;
            let page = view::page(&look, SystemTime::now());
            let hints = view::hints(&look, &program, &self.database);
            // Home, the page, and away with what is left of the one before.
            print!("\x1b[H\x1b[2J{page}\n\n{hints}\nCtrl-C ends it and leaves nothing behind.\n");
            std::io::stdout().flush()?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    /// Prints a line every few seconds until the time is up, then the page.
    async fn show_lines(&mut self, duration: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        println!("{}", view::hints(&self.fleet.look().await?, &program(), &self.database));
        while started.elapsed() < duration {
            println!("{}", view::line(&self.fleet.look().await?, SystemTime::now()));
            let left = duration.saturating_sub(started.elapsed());
            tokio::time::sleep(left.min(Duration::from_secs(2))).await;
        }
        println!("\n{}\n", view::page(&self.fleet.look().await?, SystemTime::now()));
        Ok(())
    }

    /// Checks every count, and with two instances or more that a killed holder's work goes on.
    async fn verify(&mut self, instances: usize) -> anyhow::Result<()> {
        let steps = self.quieten().await?;
        let right = verify::counts(&mut self.fleet, &self.database, 0).await?;
        println!("Checked: after {steps} writes all {right} counts are COUNT(*)'s.");
        if instances == 1 {
            return Ok(());
        }
        self.churn = Some(Churn::start(self.database.clone()));
        let verify::HandOver { from, to, epoch, took } = verify::hand_over(&mut self.fleet).await?;
        println!("Checked: {from} was killed and {to} held the lease {:.1}s later, epoch {epoch}.", took.as_secs_f64());
        let steps = self.quieten().await?;
        let right = verify::counts(&mut self.fleet, &self.database, epoch).await?;
        println!("Checked: after {steps} more writes all {right} counts of {to} are COUNT(*)'s.");
        Ok(())
    }

    /// Ends the churn; gives the number of its steps.
    async fn quieten(&mut self) -> anyhow::Result<u64> {
        let churn = self.churn.take().context("the churn has ended before")?;
        churn.stop().await.context("the churn broke")
    }
}

/// How the user would start this program.
fn program() -> String {
    env::args().next().unwrap_or_else(|| "rowcount".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        demo: DemoArgs,
    }

    #[test]
    fn the_arguments_are_those_of_the_surface() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["demo", "--instances", "3", "--for", "1m30s"]).unwrap();
        assert_eq!((cli.demo.instances, cli.demo.duration), (3, Some(Duration::from_secs(90))));
        assert_eq!(Cli::try_parse_from(["demo"]).unwrap().demo.instances, 1);
        assert!(Cli::try_parse_from(["demo", "--instances", "0"]).is_err());
    }
}
