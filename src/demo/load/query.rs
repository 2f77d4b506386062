//! What a registry sends to its database: each query with the name under which the registry counts it, against the same
//! tables and indexes. One value here is one top-level statement.

use std::fmt;

pub mod blobs;
pub mod manifests;
pub mod repositories;
pub mod tags;

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Reads.
    Select,
    /// Adds rows, or finds that they are there.
    Insert,
    /// Changes rows.
    Update,
    /// Removes rows.
    Delete,
}

/// A statement of a registry.
#[derive(Debug)]
pub struct Query {
    /// Label `name` of `registry_database_queries_total`.
    pub name: &'static str,
    pub verb: Verb,
    pub sql: &'static str,
    /// `$1` and those after it.
    pub args: &'static [Arg],
    /// What its first column tells the statements after it.
    pub learns: Option<Learn>,
}

/// A fact of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// Name of the top-level namespace.
    Namespace,
    NamespaceId,
    /// Last part of the path.
    Name,
    Path,
    /// Of the repositories of `Path`'s namespace, these: `Path` and everything below it.
    PathBelow,
    RepositoryId,
    /// Of the repository that a blob is mounted from.
    SourcePath,
    SourceNamespaceId,
    SourceRepositoryId,
    /// Digest of the manifest or blob that the request is about.
    Digest,
    ManifestId,
    /// Digest of the image's configuration.
    Config,
    Payload,
    Tag,
    /// Digest of a layer: of several that whose turn it is.
    Layer,
    /// Digest of an index's child: of several that whose turn it is.
    Child,
    ChildId,
    /// All of them.
    ChildIds,
    MediaType,
    MediaTypeId,
    Size,
}

/// What a statement tells those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learn {
    ManifestId,
    RepositoryId,
}

// === impl Verb ===

impl Verb {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Select, Self::Insert, Self::Update, Self::Delete];

    /// As SQL spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl Query ===

impl Query {
    const fn select(name: &'static str, sql: &'static str, args: &'static [Arg]) -> Self {
        Self { name, verb: Verb::Select, sql, args, learns: None }
    }

    const fn insert(name: &'static str, sql: &'static str, args: &'static [Arg]) -> Self {
        Self { name, verb: Verb::Insert, sql, args, learns: None }
    }

    const fn update(name: &'static str, sql: &'static str, args: &'static [Arg]) -> Self {
        Self { name, verb: Verb::Update, sql, args, learns: None }
    }

    const fn delete(name: &'static str, sql: &'static str, args: &'static [Arg]) -> Self {
        Self { name, verb: Verb::Delete, sql, args, learns: None }
    }

    const fn learning(self, learns: Learn) -> Self {
        Self { learns: Some(learns), ..self }
    }
}
