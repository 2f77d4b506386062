//! What can be done to a fleet, what is owed to it then, and the order of it all, which a seed decides.

use std::fmt;

use fastrand::Rng;

use super::{history::Micros, store::Setting};

/// One that was injected.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub kind: Kind,
    pub begin: Micros,
    /// Since when it is no longer in the way of somebody's holding.
    pub from: Micros,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// No fault: the fleet starts, on a Redis without a record.
    Start,
    /// Of the holder, on a wish.
    Resign,
    /// SIGTERM to the holder.
    Terminate,
    /// The same when no instance is subscribed: nobody hears of the release.
    TerminateUnheard,
    /// SIGKILL to the holder.
    KillHolder,
    /// SIGSTOP to the holder, SIGCONT after the span.
    StopHolder(Span),
    /// SIGSTOP to every instance, SIGCONT after the span.
    StopAll(Span),
    /// SIGKILL to Redis, and another start after a while.
    KillRedis(Memory),
    /// SIGSTOP to Redis, SIGCONT after the span.
    StopRedis(Span),
    FlushAll,
    /// DEL of the lease record.
    DeleteLease,
    /// CLIENT PAUSE for the span.
    PauseClients(Span),
    /// NOREPLICAS to every write for the span.
    RefuseWrites(Span),
    /// CLIENT KILL TYPE pubsub.
    KillSubscriptions,
    /// CLIENT KILL TYPE normal.
    KillConnections,
    /// A replica is promoted that did not get the last writes.
    Promote,
    /// Another server takes the place of the master, by Sentinels or in a Cluster.
    FailOver(FailOver),
    /// Nothing passes, new connections included, for a span; then what was held passes.
    BlackHole(Way, Whom),
    /// The other side of every connection is gone, and nobody tells the holder.
    HalfOpen,
    /// Everything passes late for a span.
    Delay(Whom),
    /// RST on every connection of the holder.
    Reset,
    /// The next answer on each of the holder's connections breaks off in the middle.
    Truncate,
    /// What was sent on earlier connections is sent once more.
    Duplicate,
    /// Another one in the middle of one that takes a span.
    Two,
}

/// Length of a fault in leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    Half,
    Over,
    Three,
}

/// What Redis knows after it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Memory {
    /// Everything: AOF.
    Whole,
    /// What it knew a while before.
    Old,
    /// Nothing.
    Lost,
}

/// What a fail-over comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailOver {
    /// An operator asks for it.
    Asked,
    /// SIGKILL to the master.
    Killed,
    /// The same, and the replica did not get the last writes.
    LastWritesLost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    ToRedis,
    FromRedis,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    Holder,
    All,
}

/// By when somebody must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owed {
    /// L1: a lease after it, were every notification lost.
    Handover,
    /// L2: when the lease of the last holder has ended in Redis.
    Crash,
    /// L3: a quarantine and a lease after it.
    Recovery,
}

/// Every fault of a setting, in an order that a seed decides, again and again.
pub struct Deck {
    rng: Rng,
    setting: Setting,
    cards: Vec<Kind>,
}

const SPANS: [Span; 3] = [Span::Half, Span::Over, Span::Three];

// === impl Kind ===

impl Kind {
    /// Every fault that servers so set up can suffer.
    pub fn all(setting: Setting) -> Vec<Self> {
        let mut all = vec![
            Self::Resign,
            Self::Terminate,
            Self::TerminateUnheard,
            Self::KillHolder,
            Self::FlushAll,
            Self::DeleteLease,
            Self::KillSubscriptions,
            Self::KillConnections,
        ];
        for spanned in [Self::StopHolder, Self::StopAll] {
            all.extend(SPANS.map(spanned));
        }
        if setting != Setting::Alone {
            // Whatever else would make them replace a master that lives: then there may be two, and no promise.
            all.extend([FailOver::Asked, FailOver::Killed, FailOver::LastWritesLost].map(Self::FailOver));
            return all;
        }
        all.extend([Self::Promote, Self::HalfOpen, Self::Reset, Self::Truncate, Self::Duplicate, Self::Two]);
        all.extend([Memory::Whole, Memory::Old, Memory::Lost].map(Self::KillRedis));
        for spanned in [Self::StopRedis, Self::PauseClients, Self::RefuseWrites] {
            all.extend(SPANS.map(spanned));
        }
        for whom in [Whom::Holder, Whom::All] {
            all.extend([Way::ToRedis, Way::FromRedis, Way::Both].map(|way| Self::BlackHole(way, whom)));
            all.push(Self::Delay(whom));
        }
        all
    }

    /// How long it is in force, in leases; zero: it is over at once.
    pub fn leases(self, rng: &mut Rng) -> f64 {
        match self {
            Self::StopHolder(span)
            | Self::StopAll(span)
            | Self::StopRedis(span)
            | Self::PauseClients(span)
            | Self::RefuseWrites(span) => span.leases(),
            Self::BlackHole(..) | Self::Delay(_) => rng.choice(SPANS).unwrap().leases(),
            Self::KillRedis(_) => rng.f64(),
            _ => 0.0,
        }
    }

    /// What is owed once it is out of the way.
    pub fn owed(self) -> Owed {
        match self {
            Self::Resign | Self::Terminate | Self::TerminateUnheard => Owed::Handover,
            Self::KillHolder | Self::StopHolder(_) | Self::BlackHole(_, Whom::Holder) | Self::Delay(Whom::Holder) => {
                Owed::Crash
            }
            _ => Owed::Recovery,
        }
    }

    /// How many faults it is.
    pub fn faults(self) -> usize {
        match self {
            Self::Start => 0,
            Self::Two => 2,
            _ => 1,
        }
    }

    /// Whether it is in nobody's way but the holder's.
    pub fn spares_the_others(self) -> bool {
        self.owed() != Owed::Recovery
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start on an empty Redis"),
            Self::Resign => f.write_str("resign"),
            Self::Terminate => f.write_str("SIGTERM of the holder"),
            Self::TerminateUnheard => f.write_str("SIGTERM of the holder, every subscription cut"),
            Self::KillHolder => f.write_str("SIGKILL of the holder"),
            Self::StopHolder(span) => write!(f, "SIGSTOP of the holder, {span}"),
            Self::StopAll(span) => write!(f, "SIGSTOP of every instance, {span}"),
            Self::KillRedis(Memory::Whole) => f.write_str("SIGKILL of Redis, AOF"),
            Self::KillRedis(Memory::Old) => f.write_str("SIGKILL of Redis, back with old data"),
            Self::KillRedis(Memory::Lost) => f.write_str("SIGKILL of Redis, all data lost"),
            Self::StopRedis(span) => write!(f, "SIGSTOP of Redis, {span}"),
            Self::FlushAll => f.write_str("FLUSHALL"),
            Self::DeleteLease => f.write_str("DEL of the lease"),
            Self::PauseClients(span) => write!(f, "CLIENT PAUSE, {span}"),
            Self::RefuseWrites(span) => write!(f, "writes refused (NOREPLICAS), {span}"),
            Self::KillSubscriptions => f.write_str("CLIENT KILL TYPE pubsub"),
            Self::KillConnections => f.write_str("CLIENT KILL TYPE normal"),
            Self::Promote => f.write_str("replica promoted, last writes lost"),
            Self::FailOver(FailOver::Asked) => f.write_str("fail-over, asked for"),
            Self::FailOver(FailOver::Killed) => f.write_str("fail-over, master killed"),
            Self::FailOver(FailOver::LastWritesLost) => f.write_str("fail-over, master killed, last writes lost"),
            Self::BlackHole(way, whom) => write!(f, "black hole {way}, {whom}"),
            Self::HalfOpen => f.write_str("half-open connections, holder"),
            Self::Delay(whom) => write!(f, "delay, {whom}"),
            Self::Reset => f.write_str("connections reset, holder"),
            Self::Truncate => f.write_str("answers cut short, holder"),
            Self::Duplicate => f.write_str("earlier commands sent again"),
            Self::Two => f.write_str("two at once"),
        }
    }
}

// === impl Span ===

impl Span {
    fn leases(self) -> f64 {
        match self {
            Self::Half => 0.5,
            Self::Over => 1.1,
            Self::Three => 3.0,
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} leases", self.leases())
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToRedis => "to Redis",
            Self::FromRedis => "from Redis",
            Self::Both => "both ways",
        })
    }
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holder => "holder",
            Self::All => "all instances",
        })
    }
}

// === impl Deck ===

impl Deck {
    /// A deck of all kinds.
    pub fn new(setting: Setting, seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), setting, cards: Vec::new() }
    }

    /// The next `count`.
    pub fn deal(&mut self, count: usize) -> Vec<Kind> {
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Kind {
        if self.cards.is_empty() {
            self.cards = Kind::all(self.setting);
            self.rng.shuffle(&mut self.cards);
        }
        self.cards.pop().expect("just filled")
    }
}
