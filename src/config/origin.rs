//! Where a setting came from.

use std::{fmt, path::PathBuf};

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave it.
    Default,
    /// The file of `--config`.
    File {
        /// Its path, as it was given.
        path: PathBuf,
        /// Counts from 1.
        line: u64,
    },
    /// The file of `--registry-config`.
    RegistryFile {
        /// Its path, as it was given.
        path: PathBuf,
        /// Counts from 1.
        line: u64,
    },
    /// This environment variable.
    Environment(String),
    /// This flag.
    Flag(&'static str),
}

/// A value, as it was given, with where it came from. Has no `Debug`: it may be a secret.
#[derive(Clone)]
pub struct Entry {
    /// As it was written; the items of a list have commas between them.
    pub text: String,
    /// Where it came from.
    pub origin: Origin,
}

// === impl Origin ===

impl Origin {
    /// A place within what was given here: of a file, this line.
    pub fn at_line(&self, line: u64) -> Self {
        match self {
            Self::File { path, line: _ } => Self::File { path: path.clone(), line },
            Self::RegistryFile { path, line: _ } => Self::RegistryFile { path: path.clone(), line },
            Self::Default | Self::Environment(_) | Self::Flag(_) => self.clone(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "file {}:{line}", path.display()),
            Self::RegistryFile { path, line } => write!(f, "registry file {}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}
