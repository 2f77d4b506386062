//! How the answers about rates are written: they are also made for documents and spreadsheets.

use crate::cli::output;

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For a document.
    Markdown,
    /// For programs and spreadsheets: no number is rounded; lines that begin with # tell the inputs.
    Csv,
    /// The names that grpcurl prints, integers and rates as numbers.
    Json,
}

// === impl Format ===

impl Format {
    /// What stdout is to be: objects, or lines.
    pub fn of_output(self) -> output::Format {
        match self {
            Self::Json => output::Format::Json,
            Self::Table | Self::Markdown | Self::Csv => output::Format::Table,
        }
    }
}
