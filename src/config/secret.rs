//! A secret never shows itself: its `Debug` is a fixed word, and it is read where it is used.

use std::{fmt, fs, io, path::PathBuf};

/// A password, token or URL that holds one.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Given in the file, the environment or a flag.
    Inline(String),
    /// Read from this file at every use, so a rotated secret needs no restart.
    File(PathBuf),
}

// === impl Secret ===

impl Secret {
    /// The secret as of now, without the line break at the end of its file.
    pub fn read(&self) -> io::Result<String> {
        match self {
            Self::Inline(text) => Ok(text.clone()),
            Self::File(path) => {
                let text = fs::read_to_string(path)
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("[redacted]"),
            Self::File(path) => write!(f, "[redacted, from {}]", path.display()),
        }
    }
}
