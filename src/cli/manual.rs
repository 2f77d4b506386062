//! `rowcount completions` and `rowcount man`: both follow from the commands' definition.

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::{
    Cli,
    output::{Format, Output, WriteError},
};

/// Prints the completion script of a shell.
pub fn completions(shell: Shell) -> Result<(), WriteError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rowcount", &mut script);
    print(&script)
}

/// Prints the manual: the page of the program, then those of its commands.
pub fn man() -> Result<(), WriteError> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    for command in std::iter::once(&program).chain(commands) {
        Man::new(command.clone()).render(&mut pages)?;
    }
    print(&pages)
}

fn print(text: &[u8]) -> Result<(), WriteError> {
    Output::new(Format::Table).lines([String::from_utf8_lossy(text).trim_end().to_owned()])
}
