//! What is explored: how many instances, for how long, with how many faults, and which rule is broken on purpose.

/// Microseconds by whatever clock; small, so that a state is.
pub type Time = i16;

/// True time, in every state: what is kept are distances, so that a state may come back at another time. Every
/// instance's clock shows it.
pub const NOW: Time = 100;

/// Instances of the largest fleet explored.
pub const MOST: usize = 3;

/// How one instance is configured.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub ttl: Time,
    pub quarantine: Time,
}

/// How much may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Budget {
    /// Losses of data, restarts and fail-overs.
    pub losses: u8,
    /// The store's clock steps back, while it runs or with a fail-over.
    pub back: u8,
    /// The store's clock steps ahead while it runs.
    pub ahead: u8,
    pub crashes: u8,
    /// Copies taken of the record, for a restart or a fail-over to bring back.
    pub copies: u8,
    /// Commands, or answers, that somebody waits for over a tick.
    pub delays: u8,
    /// Commands that arrive though nobody waits for them any more, or a second time.
    pub strays: u8,
    /// Writes to the board.
    pub writes: u8,
}

/// A rule broken on purpose: the model must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The deadline counts from when the reply was read.
    DeadlineAfterReply,
    /// A reply that comes after the deadline extends the claim all the same.
    LateReplyRevives,
    /// No quarantine is ever kept.
    NoQuarantine,
    /// The epoch is the old one plus one, of whatever record there is.
    PlainIncrement,
    /// A renewal that finds an unknown past stores the generation without the quarantine.
    GenerationWithoutQuarantine,
    /// An instance has one token for all its campaigns.
    OneToken,
    /// The generation is the run_id alone.
    RunIdAlone,
    /// The deadline leaves no margin for the clocks.
    NoMargin,
    /// The guard of the board does not ask when the holder was last heard.
    GuardWithoutGeneration,
    /// It does not ask whether the writer knows of the last loss.
    GuardWithoutMark,
}

/// The bounds of one exploration.
#[derive(Clone, Debug)]
pub struct Scope {
    pub instances: Vec<Settings>,
    /// Time passes in steps of this length.
    pub tick: Time,
    pub budget: Budget,
    /// How far the store's clock may stand behind the furthest that it ever was.
    pub back: Time,
    /// How far it steps ahead while it runs.
    pub ahead: Time,
    /// `lease.firststart: immediate`.
    pub immediate: bool,
    /// Whether the lease was held before, and released.
    pub has_past: bool,
    pub mutant: Option<Mutant>,
}

// === impl Scope ===

impl Scope {
    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// The instance whose campaign this token belongs to.
    pub fn owner(token: u8) -> usize {
        usize::from(token >> 4)
    }
}

/// The token of an instance's campaign; campaigns count from 1.
pub fn token(instance: usize, campaign: u8) -> u8 {
    (u8::try_from(instance).unwrap() << 4) | campaign
}
