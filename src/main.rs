use std::{io, process::ExitCode};

use clap::Parser;
use rowcount::cli::{self, Cli};
use tokio::runtime::Runtime;

fn main() -> io::Result<ExitCode> {
    let cli = Cli::parse();
    let runtime = Runtime::new()?;
    let code = runtime.block_on(cli::run(cli));
    // Dropping it would wait for whatever blocks a thread: looking up a name takes as long as the resolver likes.
    runtime.shutdown_background();
    Ok(code)
}
