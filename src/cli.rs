//! The command line: each command in a file of its own. An error is one line on stderr, and the exit code tells its
//! kind; data goes to stdout, everything else to stderr.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    config::{Problems, ServeArgs},
    demo::{
        self, DemoArgs,
        load::{self, LoadArgs},
    },
};

use client::ClientArgs;
use output::WriteError;
use service::EX_CONFIG;

mod check;
mod client;
mod collections;
mod connection;
mod counts;
mod fault;
mod handshake;
mod healthcheck;
mod lease;
mod manual;
mod output;
mod queries;
mod rates;
mod service;
mod table;
mod text;
mod trigger;
mod watch;

/// Counts the rows of a container registry's metadata database, from exactly one instance of a fleet.
#[derive(Debug, Parser)]
#[command(name = "rowcount", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(ServeArgs),
    /// Print the effective settings, redacted, each with where it came from
    Config(ServeArgs),
    /// Validate the configuration
    Check(check::CheckArgs),
    /// Run everything on temporary directories, with a live table
    Demo(DemoArgs),
    /// Play a registry's request load on a registry-shaped database
    #[command(hide = true)]
    Load(LoadArgs),
    /// Print the newest row counts
    Counts(counts::CountsArgs),
    /// Print all row counts, then each change
    Watch(watch::WatchArgs),
    /// List the queries that are configured
    Queries(ClientArgs),
    /// Print who holds the lease
    Lease(lease::LeaseArgs),
    /// Have a collection made
    Trigger(trigger::TriggerArgs),
    /// List the collections that are remembered
    Collections(collections::CollectionsArgs),
    /// Make the holder give the lease up, for maintenance
    Resign(lease::ResignArgs),
    /// Estimate what a registry's request load asks of its database
    ///
    /// The request rates come from a file (--from) or from a Prometheus (--prometheus), and no server is needed; or
    /// from the Prometheus that a server is configured with. --from and --server together have the rates of the file
    /// estimated by that server, with the costs of its configuration.
    Rates(Box<rates::RatesArgs>),
    /// Exit 0 when the server is serving; for probes
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print a completion script
    Completions {
        /// The shell it is for
        shell: Shell,
    },
    /// Print the manual in roff: `rowcount man | man -l -`
    Man,
}

/// Runs a command and tells its error.
pub async fn run(cli: Cli) -> ExitCode {
    match dispatch(cli.command).await {
        Ok(code) => code,
        Err(error) => exit(&error),
    }
}

async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => service::serve(args).await?,
        Command::Config(args) => service::config(&args)?,
        Command::Check(args) => check::run(args).await?,
        Command::Demo(args) => return demo::run(args).await,
        Command::Load(args) => return load::run(args).await,
        Command::Counts(args) => counts::run(args).await?,
        Command::Watch(args) => watch::run(args).await?,
        Command::Queries(args) => queries::run(args).await?,
        Command::Lease(args) => lease::run(args).await?,
        Command::Trigger(args) => trigger::run(args).await?,
        Command::Collections(args) => collections::run(args).await?,
        Command::Resign(args) => lease::resign(args).await?,
        Command::Rates(args) => rates::run(*args).await?,
        Command::Healthcheck(args) => healthcheck::run(args).await?,
        Command::Completions { shell } => manual::completions(shell)?,
        Command::Man => manual::man()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells the error, unless nobody reads on; its kind is the exit code.
fn exit(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<WriteError>().is_some_and(WriteError::is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        // Nobody may be listening on stderr either.
        let _ = usage.print();
        return ExitCode::from(2);
    }
    if let Some(problems) = error.downcast_ref::<Problems>() {
        output::note(&problems.to_string());
        return ExitCode::from(EX_CONFIG);
    }
    output::note(&format!("error: {error:#}"));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_holds_together() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
