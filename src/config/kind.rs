//! What a setting may hold. Every layer gives texts, and one check per kind makes them mean the same in each.

use std::time::Duration;

use super::{address, duration};

/// The longest duration that a setting takes: nothing here is done once a year, and sums stay far from overflow.
const LONGEST: Duration = Duration::from_secs(8760 * 3600);

/// What a setting may hold.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// Any text that never shows itself; with `file` added to its key, the path of a file that holds it.
    Secret,
    /// `true` or `false`.
    Bool,
    /// A whole number within these bounds, both included.
    Int(i64, i64),
    /// At least so many milliseconds.
    Duration(u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Texts, with commas between them where there is no YAML.
    List,
    /// A list of records; where there is no YAML, as YAML or JSON.
    Records,
    /// An address to listen on.
    Listen,
    /// Servers to connect to, with commas between them where there is no YAML, or nothing.
    Remotes,
    /// A name of a fleet: part of every Redis key.
    Cluster,
    /// A name of an instance, or nothing.
    InstanceId,
    /// A host name, an address or a directory, or nothing.
    DatabaseHost,
    /// A URL of PostgreSQL, or nothing; a secret.
    DatabaseUrl,
    /// A URL to send traces to, or nothing.
    Endpoint,
    /// A URL of a server that speaks HTTP, or nothing.
    HttpUrl,
    /// What a header of HTTP can carry, or nothing.
    HeaderValue,
}

// === impl Kind ===

impl Kind {
    /// Whether the value must never be shown.
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::DatabaseUrl)
    }

    /// Whether a YAML list may stand there.
    pub fn takes_list(self) -> bool {
        matches!(self, Self::List | Self::Remotes)
    }

    /// Why `text` cannot stand there; says nothing of a secret.
    pub fn check(self, text: &str) -> Result<(), String> {
        let fail = |message: String| Err(message);
        match self {
            Self::Text | Self::Secret | Self::List | Self::Records => Ok(()),
            Self::Remotes
            | Self::InstanceId
            | Self::DatabaseHost
            | Self::DatabaseUrl
            | Self::Endpoint
            | Self::HttpUrl
                if text.is_empty() =>
            {
                Ok(())
            }
            Self::Bool if text == "true" || text == "false" => Ok(()),
            Self::Bool => fail(format!("{text:?} is neither true nor false")),
            Self::Int(min, max) => match text.parse() {
                Ok(number) if (min..=max).contains(&number) => Ok(()),
                _ => fail(format!("{text:?} is not a whole number from {min} to {max}")),
            },
            Self::Duration(min) => check_duration(text, Duration::from_millis(min)),
            Self::Choice(words) if words.contains(&text) => Ok(()),
            Self::Choice(words) => fail(format!("{text:?} is not one of {}", words.join(", "))),
            Self::Listen => address::listen(text).map(drop).map_err(|error| error.to_string()),
            Self::Remotes => address::remotes(text).map(drop).map_err(|error| error.to_string()),
            Self::Cluster if is_cluster(text) => Ok(()),
            Self::Cluster => fail(format!("{text:?} is not a fleet's name; want letters, digits, _, . and -")),
            Self::InstanceId if text.len() <= 128 && text.chars().all(|c| c.is_ascii_graphic()) => Ok(()),
            Self::InstanceId => fail(format!(
                "{text:?} is not an instance's name; want at most 128 printable ASCII characters, no spaces"
            )),
            Self::DatabaseHost if !text.contains("://") && !text.contains(['@', ',']) => Ok(()),
            Self::DatabaseHost => {
                fail("want one host name, address or socket directory; a URL belongs into database.url".to_owned())
            }
            Self::DatabaseUrl if text.starts_with("postgres://") || text.starts_with("postgresql://") => Ok(()),
            Self::DatabaseUrl => fail("want postgres://user:password@host:port/dbname?sslmode=…".to_owned()),
            Self::Endpoint if is_endpoint(text) => Ok(()),
            Self::Endpoint => fail("want http://host:port or https://host:port, without a user".to_owned()),
            Self::HttpUrl => address::http(text).map(drop).map_err(|error| error.to_string()),
            Self::HeaderValue if text.trim() == text && text.chars().all(|c| c.is_ascii_graphic() || c == ' ') => {
                Ok(())
            }
            Self::HeaderValue => fail(format!("{text:?} is no header's value; want printable ASCII characters")),
        }
    }
}

fn check_duration(text: &str, min: Duration) -> Result<(), String> {
    let duration = duration::parse(text).map_err(|error| error.to_string())?;
    if duration < min {
        return Err(format!("{text} is too short; the least is {min:?}"));
    }
    if duration > LONGEST {
        return Err(format!("{text} is too long; the most is {}h", LONGEST.as_secs() / 3600));
    }
    Ok(())
}

fn is_cluster(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('@'))
}
