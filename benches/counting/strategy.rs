//! Who counts beside the load.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// Nobody.
    Nothing,
    /// COUNT(*) of every table, each ten seconds, one after the other.
    CountAll,
    /// An instance at its defaults.
    Rowcount,
}

// === impl Strategy ===

impl Strategy {
    pub const ALL: [Self; 3] = [Self::Nothing, Self::CountAll, Self::Rowcount];
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::CountAll => "COUNT(*) each 10 s",
            Self::Rowcount => "rowcount",
        })
    }
}
