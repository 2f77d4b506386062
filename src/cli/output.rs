//! Where answers go: data to stdout, notes to stderr. Colours are taken out unless stdout is a terminal that wants them.

use std::io::{self, Stdout, Write};

use anstream::AutoStream;
use prost::Name;

use crate::proto::json;

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// The names that grpcurl prints, integers as numbers; a stream is one object a line.
    Json,
}

/// Stdout took no more.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout: {0}")]
pub struct WriteError(#[from] io::Error);

/// Stdout in a format.
pub struct Output {
    format: Format,
    stdout: AutoStream<Stdout>,
}

// === impl WriteError ===

impl WriteError {
    /// Whether the reader has had enough, which is no fault: `rowcount watch | head`.
    pub fn is_broken_pipe(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

// === impl Output ===

impl Output {
    /// Nothing is written yet.
    pub fn new(format: Format) -> Self {
        Self { format, stdout: anstream::stdout() }
    }

    /// Whether people read it.
    pub fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Writes whole lines, at once: an answer may have a hundred thousand.
    pub fn lines(&mut self, lines: impl IntoIterator<Item = String>) -> Result<(), WriteError> {
        let mut text = String::new();
        for line in lines {
            text += &line;
            text.push('\n');
        }
        self.stdout.write_all(text.as_bytes())?;
        Ok(self.stdout.flush()?)
    }

    /// Writes an answer as one object over several lines.
    pub fn object(&mut self, message: &impl Name) -> anyhow::Result<()> {
        let text = json::pretty(message)?;
        Ok(self.lines([text])?)
    }

    /// Writes a message of a stream as one line.
    pub fn object_line(&mut self, message: &impl Name) -> anyhow::Result<()> {
        let text = json::line(message)?;
        Ok(self.lines([text])?)
    }
}

/// Tells people something beside the data. Nobody may be listening, and that is no fault.
pub fn note(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}
