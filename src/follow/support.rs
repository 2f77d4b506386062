//! Whether a server's statistics can be followed at all, and by this role.

use std::fmt;

/// What a server says of itself, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// Its version as a number: 150018.
    pub version: i32,
    /// And for people.
    pub version_name: String,
    /// Whether it is a standby.
    pub is_standby: bool,
    /// Whether statistics are collected, as far as our own session tells.
    pub tracks_counts: bool,
    /// Whether our role may see what others' sessions do.
    pub may_see_sessions: bool,
    /// Our role.
    pub role: String,
    /// The roles and databases for which track_counts is switched off, for people: what they change is not counted.
    pub untracked: Option<String>,
}

/// Why nothing can be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Statistics travel through a process and a file, out of step with each other.
    Old(String),
    /// Its counters count nothing.
    Standby,
    /// Statistics are off.
    Untracked,
    /// What others do cannot be seen, so neither can it be told what is flushed.
    Hidden(String),
}

/// The first version whose statistics lie in shared memory.
const OLDEST: i32 = 150_000;

// === impl Support ===

impl Support {
    /// Why nothing can be followed here; `None` when it can.
    pub fn refusal(&self) -> Option<Refusal> {
        if self.version < OLDEST {
            Some(Refusal::Old(self.version_name.clone()))
        } else if self.is_standby {
            Some(Refusal::Standby)
        } else if !self.tracks_counts {
            Some(Refusal::Untracked)
        } else if !self.may_see_sessions {
            Some(Refusal::Hidden(self.role.clone()))
        } else {
            None
        }
    }
}

// === impl Refusal ===

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Old(version) => write!(f, "tables are followed from PostgreSQL 15 on, and this is {version}"),
            Self::Standby => f.write_str("tables are followed on the primary only, and this is a standby"),
            Self::Untracked => f.write_str("track_counts is off: switch it on"),
            Self::Hidden(role) => {
                write!(f, "role {role} may not see what others do: run GRANT pg_read_all_stats TO {role}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_in_the_way_is_told() {
        let good = Support {
            version: 150_018,
            version_name: "15.18".to_owned(),
            is_standby: false,
            tracks_counts: true,
            may_see_sessions: true,
            role: "rowcount".to_owned(),
            untracked: Some("role batch".to_owned()),
        };
        let refusal = |support: Support| support.refusal().map(|refusal| refusal.to_string());
        assert_eq!(refusal(good.clone()), None, "what some do not count is a matter of a warning");
        let old = Support { version: 140_024, version_name: "14.24".to_owned(), ..good.clone() };
        assert_eq!(refusal(old).unwrap(), "tables are followed from PostgreSQL 15 on, and this is 14.24");
        assert!(refusal(Support { is_standby: true, ..good.clone() }).unwrap().contains("standby"));
        assert!(refusal(Support { tracks_counts: false, ..good.clone() }).unwrap().contains("track_counts"));
        let hidden = refusal(Support { may_see_sessions: false, ..good }).unwrap();
        assert!(hidden.ends_with("run GRANT pg_read_all_stats TO rowcount"), "{hidden}");
    }
}
