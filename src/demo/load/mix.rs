//! The mixes of requests: what is asked how often, and what a registry does for it.

use std::fmt;

use super::script::{Script, Size};

mod published;
mod registry;

/// A mix that can be played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mix {
    /// The rates and costs of the estimate of 2020: 303 requests and 762 statements a second.
    #[default]
    #[value(name = "published-2020")]
    Published2020,
    /// As many requests to a registry 4.32 with a cold cache, errors and requests without a statement among them.
    #[value(name = "registry-4.32")]
    Registry432,
}

/// A kind of request. The labels alone do not tell kinds apart: several may share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Label `method`.
    pub method: &'static str,
    /// Label `handler`, or `route` on newer registries.
    pub handler: &'static str,
    /// Label `code`.
    pub code: &'static str,
    /// What the labels do not tell.
    pub name: &'static str,
}

/// Requests of the same labels.
#[derive(Debug)]
pub struct Pair {
    pub method: &'static str,
    pub handler: &'static str,
    pub code: &'static str,
    /// A second, at a multiple of 1.
    pub rate: f64,
    pub kinds: &'static [Part],
}

/// A kind among the requests of the same labels.
#[derive(Debug)]
pub struct Part {
    pub name: &'static str,
    /// Of the pair's requests; those of one pair sum to 1.
    pub share: f64,
    pub about: About,
    pub script: fn(Size) -> Script,
}

/// What a request is about, which decides the rows that its statements find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// An image that is there, and its tag and repository.
    Manifest,
    /// A blob of a repository.
    Blob,
    /// A repository that is there and a digest that no manifest or blob has.
    UnknownContent,
    /// A path that no repository has.
    UnknownRepository,
    /// An image that is not there yet, of layers that are, and a tag.
    NewImage,
    /// The same without a tag.
    NewUntaggedImage,
    /// An image that is there, and its tag.
    KnownImage,
    /// An index that is not there yet, of children that are.
    NewIndex,
    /// An index that is there, and its tag.
    KnownIndex,
    /// A blob that is not there yet.
    NewBlob,
    /// A blob that is there, perhaps in another repository only.
    KnownBlob,
    /// A blob that is not there yet, in a repository that is not there yet.
    NewRepository,
    /// An image that may be deleted.
    SpareImage,
    /// An index that may be deleted.
    SpareIndex,
    /// A tag that may be deleted.
    SpareTag,
    /// A blob whose link to its repository may be deleted.
    SpareLink,
}

// === impl Mix ===

impl Mix {
    /// Its requests by their labels.
    pub(super) fn pairs(self) -> &'static [Pair] {
        match self {
            Self::Published2020 => published::PAIRS,
            Self::Registry432 => registry::PAIRS,
        }
    }

    /// The label that tells what was asked.
    pub fn handler_label(self) -> &'static str {
        match self {
            Self::Published2020 => "handler",
            Self::Registry432 => "route",
        }
    }
}

// === impl Kind ===

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, handler, code, name } = self;
        write!(f, "{method} {handler} {code} {name}")
    }
}

// === impl Pair ===

impl Pair {
    /// A kind of these labels.
    pub(super) fn kind(&self, part: &Part) -> Kind {
        Kind { method: self.method, handler: self.handler, code: self.code, name: part.name }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::demo::load::{query::Verb, script::Step};

    fn parts() -> impl Iterator<Item = (Kind, &'static Part)> {
        let pairs = [Mix::Published2020, Mix::Registry432].into_iter().flat_map(Mix::pairs);
        pairs.flat_map(|pair| pair.kinds.iter().map(|part| (pair.kind(part), part)))
    }

    #[test]
    fn shares_of_a_pair_sum_to_one_and_kinds_have_names_of_their_own() {
        for mix in [Mix::Published2020, Mix::Registry432] {
            for pair in mix.pairs() {
                let sum: f64 = pair.kinds.iter().map(|part| part.share).sum();
                assert!((sum - 1.0).abs() < 1e-9, "{pair:?}");
            }
            let kinds: Vec<_> =
                mix.pairs().iter().flat_map(|pair| pair.kinds.iter().map(|part| pair.kind(part))).collect();
            assert_eq!(kinds.iter().collect::<BTreeSet<_>>().len(), kinds.len());
        }
    }

    #[test]
    fn a_statement_does_what_its_verb_says_with_as_many_arguments_as_it_takes() {
        let mut seen = BTreeSet::new();
        for (_, part) in parts() {
            for step in (part.script)(Size { layers: 2, children: 2 }) {
                let Step::Send { query, .. } = step else { continue };
                seen.insert(query.sql);
                assert!(query.sql.starts_with(query.verb.as_str()), "{}", query.name);
                let highest = (1..).take_while(|n| query.sql.contains(&format!("${n}"))).count();
                assert_eq!(highest, query.args.len(), "{}", query.name);
            }
        }
        assert!(seen.len() > 25, "{}", seen.len());
        assert_eq!(Verb::ALL.len(), 4);
    }

    #[test]
    fn every_transaction_is_ended_by_its_script() {
        let mut transactions = 0;
        for (kind, part) in parts() {
            let mut open = false;
            for step in (part.script)(Size { layers: 1, children: 1 }) {
                match step {
                    Step::Begin => assert!(!std::mem::replace(&mut open, true), "{kind:?}"),
                    Step::Commit => assert!(std::mem::take(&mut open), "{kind:?}"),
                    _ => continue,
                }
                transactions += 1;
            }
            assert!(!open, "{kind:?}");
        }
        assert!(transactions > 10);
    }
}
