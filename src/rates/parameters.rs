//! What the labels of a request do not tell, and what is assumed of it.

use super::{Invalid, handler::Pair, non_negative};

/// Sizes of what is pushed or deleted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// Layers of an image, L.
    pub layers: f64,
    /// Children of an index, M.
    pub children: f64,
    /// Tags of a deleted image, T.
    pub tags: f64,
}

/// All that is assumed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    /// Whether the registry's Redis cache is on and warm.
    pub warm_cache: bool,
    /// Sizes.
    pub sizes: Sizes,
    /// Shares that are known; the other kinds keep theirs in proportion.
    pub shares: Vec<KindShare>,
}

/// The share of one kind among the requests of its handler, method and code.
#[derive(Clone, Debug, PartialEq)]
pub struct KindShare {
    /// Where it was given, for messages.
    pub field: String,
    /// Handler and method.
    pub pair: Pair,
    /// Response code; empty: the successful ones.
    pub code: String,
    /// The kind, as the model calls it.
    pub kind: String,
    /// Between 0 and 1.
    pub share: f64,
}

// === impl Sizes ===

impl Sizes {
    /// Zero means the default.
    pub fn new(layers: f64, children: f64, tags: f64) -> Result<Self, Invalid> {
        let default = Self::default();
        let or = |field: &str, given: f64, default: f64| {
            non_negative(field, given).map(|given| if given == 0.0 { default } else { given })
        };
        Ok(Self {
            layers: or("cost_parameters.layer_count", layers, default.layers)?,
            children: or("cost_parameters.child_count", children, default.children)?,
            tags: or("cost_parameters.tag_count", tags, default.tags)?,
        })
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self { layers: 10.0, children: 2.0, tags: 1.0 }
    }
}

// === impl KindShare ===

impl KindShare {
    /// Checks the share itself; whether there is such a kind is the model's to say.
    pub fn checked(self) -> Result<Self, Invalid> {
        let field = format!("{}.share", self.field);
        let share = non_negative(&field, self.share)?;
        if share > 1.0 {
            return Err(Invalid::new(field, format!("{share} is more than 1")));
        }
        Ok(self)
    }
}
