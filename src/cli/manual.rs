//! `rowcount completions` and `rowcount man`: both follow from the commands' definition.

use std::io;

use clap::{Command, CommandFactory};
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
    render(&program, &mut pages)?;
    print(&pages)
}

/// A command, then those within it.
fn render(command: &Command, pages: &mut Vec<u8>) -> io::Result<()> {
    Man::new(command.clone()).render(pages)?;
    let mut shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.try_for_each(|command| render(command, pages))
}

fn print(text: &[u8]) -> Result<(), WriteError> {
    Output::new(Format::Table).lines([String::from_utf8_lossy(text).trim_end().to_owned()])
}
