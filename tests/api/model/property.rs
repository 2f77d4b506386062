//! What must be true, by the names that docs/model.md explains.

use stateright::Property;

use super::world::{State, World};

/// The properties that only a step can break.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Broken {
    pub s1: bool,
    pub s3: bool,
    pub s4: bool,
    pub s6: bool,
    pub s7: bool,
}

pub fn properties() -> Vec<Property<World>> {
    vec![
        Property::always("S1", |_, state: &State| !state.broken.s1),
        Property::always("S2", |_, state: &State| state.believers() <= 1),
        Property::always("S3", |_, state: &State| !state.broken.s3),
        Property::always("S4", |_, state: &State| !state.broken.s4),
        Property::always("S5", |_, state: &State| !state.revived()),
        Property::always("S6", |_, state: &State| !state.broken.s6),
        Property::always("S7", |_, state: &State| !state.broken.s7),
    ]
}

// === impl State ===

impl State {
    fn believers(&self) -> usize {
        self.clients.iter().filter(|client| client.believes().is_some()).count()
    }

    /// Whether anybody believes in a claim that was over already.
    fn revived(&self) -> bool {
        self.clients.iter().any(|client| client.believes().is_some() && client.over)
    }
}
