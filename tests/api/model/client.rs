//! An instance: what it knows, and the real Campaign and Holding deciding.

use std::time::{Duration, UNIX_EPOCH};

use rowcount::{
    claim::{Claim, Grant},
    clock::BootTime,
    lease::{Campaign, Holding, Outcome, Verdict},
    lease_protocol::{Command, Reply, margin},
};

use super::{
    scope::{Mutant, NOW, Scope, Time},
    server::{Order, small, text},
};

/// What the lease task is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Whether a bid was left unanswered is not kept: any campaign may be given up with a release, which changes nothing
    /// when there is nothing to release.
    Bidding,
    Holding {
        epoch: Time,
        until: Time,
        mark: Time,
        deadline: Time,
    },
    /// Gives up what it holds; epoch 0: what it may hold.
    Leaving {
        epoch: Time,
    },
}

/// An answer without what no decision hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    Granted {
        epoch: Time,
        until: Time,
        mark: Time,
    },
    Renewed {
        until: Time,
        mark: Time,
    },
    Reclaimed {
        until: Time,
        mark: Time,
    },
    /// The store shows this epoch.
    Lost {
        epoch: Time,
    },
    Denied {
        epoch: Time,
    },
    Stale {
        epoch: Time,
    },
    TooLate {
        epoch: Time,
    },
    Done,
}

/// The command that the instance waits for the answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    pub order: Order,
    pub sent: Time,
    /// Set once the store has carried it out.
    pub answer: Option<Answer>,
    /// It goes no further in this tick.
    pub rests: bool,
}

/// What came of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Nothing,
    /// To be tried again after this pause.
    Wait(Duration),
    /// The claim was extended because the store let it back in.
    Reclaimed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    /// Of its campaign or claim.
    pub token: u8,
    /// The claim under this token is over for good: its deadline has come, or the store has said LOST.
    pub over: bool,
    pub floor: Time,
    pub phase: Phase,
    pub request: Option<Request>,
    /// The revision that it last wrote under its claim.
    pub revision: u8,
}

// === impl Client ===

impl Client {
    pub fn new(token: u8) -> Self {
        Self { token, over: false, floor: 0, phase: Phase::Bidding, request: None, revision: 0 }
    }

    /// Epoch of the claim that it believes in now.
    pub fn believes(&self) -> Option<Time> {
        match self.phase {
            Phase::Holding { epoch, deadline, .. } if NOW < deadline => Some(epoch),
            _ => None,
        }
    }

    /// What it sends next of its own accord: a bid or a renewal.
    pub fn next_order(&self, scope: &Scope) -> Option<Order> {
        let ttl = scope.ttl(self.token);
        let command = match self.phase {
            Phase::Bidding => self.campaign().bid("", "", ttl, i64::from(self.floor)),
            Phase::Holding { deadline, .. } if NOW < deadline => self.holding()?.renewal("", "", ttl),
            _ => return None,
        };
        Some(Order::from(&command))
    }

    /// What it sends to give up its claim, or a campaign that was not answered. The claim is over before.
    pub fn farewell(&mut self, scope: &Scope) -> Order {
        let epoch = match self.phase {
            Phase::Holding { epoch, .. } | Phase::Leaving { epoch } => epoch,
            Phase::Bidding => 0,
        };
        let command = Command::Release { token: text(self.token), epoch: i64::from(epoch) };
        self.begin(scope);
        Order::from(&command)
    }

    /// The next campaign, with a token of its own.
    fn begin(&mut self, scope: &Scope) {
        self.phase = Phase::Bidding;
        self.revision = 0;
        self.over = false;
        if !scope.is(Mutant::OneToken) {
            self.token += 1;
        }
    }

    /// Dies, and is started anew.
    pub fn restart(&mut self) {
        *self = Self::new(self.token + 1);
    }

    /// Time has passed.
    pub fn grow_older(&mut self, scope: &Scope) {
        if let Some(request) = &mut self.request {
            request.rests = false;
            request.sent -= scope.tick;
        }
        if let Phase::Holding { deadline, .. } = &mut self.phase {
            *deadline = (*deadline - scope.tick).max(1);
            // Whether its holder looks or not.
            self.over |= NOW >= *deadline;
        }
    }

    /// Drops what no decision hangs on any more.
    pub fn forget(&mut self, scope: &Scope) {
        if scope.is(Mutant::LateReplyRevives) {
            return;
        }
        if let Phase::Holding { epoch, deadline, .. } = self.phase
            && NOW >= deadline
        {
            self.phase = Phase::Leaving { epoch };
            self.request = None;
        }
        // Could bring no claim any more: what arrives as late is a stray.
        if let Some(request) = self.request
            && NOW >= request.sent + scope.settings(self.token).ttl - scope.margin(self.token)
        {
            self.hear(scope, request.answer);
        }
    }

    /// The answer to its request, or none in time; `epoch` is the store's.
    pub fn hear(&mut self, scope: &Scope, answer: Option<Answer>) -> Heard {
        let Some(Request { sent, .. }) = self.request.take() else { return Heard::Nothing };
        self.floor = self.floor.max(answer.map_or(0, Answer::epoch));
        let reply = answer.map(Answer::reply);
        self.over |= matches!(reply, Some(Reply::Lost { .. }));
        let ttl = scope.ttl(self.token);
        let sent = match scope.mutant {
            Some(Mutant::DeadlineAfterReply) => NOW,
            Some(Mutant::NoMargin) => sent + scope.margin(self.token),
            _ => sent,
        };
        match self.phase {
            Phase::Bidding => match self.campaign().heard(reply, boot(sent), boot(NOW), ttl) {
                Outcome::Won(holding) => self.hold(&holding),
                Outcome::WonTooLate(grant) => self.phase = Phase::Leaving { epoch: small(grant.epoch) },
                Outcome::Denied(pause) | Outcome::Again(pause) => return Heard::Wait(pause),
            },
            Phase::Holding { epoch, deadline, .. } => {
                let Some(mut holding) = self.holding() else { return Heard::Nothing };
                let at = if scope.is(Mutant::LateReplyRevives) { NOW.min(deadline - 1) } else { NOW };
                match holding.heard(reply, boot(sent), boot(at), ttl) {
                    Verdict::Extended => {
                        self.hold(&holding);
                        if let Some(Reply::Reclaimed { .. }) = reply {
                            return Heard::Reclaimed;
                        }
                    }
                    Verdict::Unsure => return Heard::Wait(ttl / 20),
                    Verdict::Lost => self.begin(scope),
                    Verdict::Expired => self.phase = Phase::Leaving { epoch },
                }
            }
            Phase::Leaving { .. } => {}
        }
        Heard::Nothing
    }

    fn hold(&mut self, holding: &Holding) {
        self.phase = Phase::Holding {
            epoch: small(holding.claim.grant.epoch),
            until: small(holding.until_us),
            mark: small(holding.claim.mark_us),
            deadline: small(i64::try_from(holding.claim.deadline.since_boot().as_micros()).unwrap()),
        };
    }

    fn campaign(&self) -> Campaign {
        Campaign::new(text(self.token))
    }

    fn holding(&self) -> Option<Holding> {
        let Phase::Holding { epoch, until, mark, deadline } = self.phase else { return None };
        let claim = Claim {
            grant: Grant { token: text(self.token), epoch: i64::from(epoch) },
            mark_us: i64::from(mark),
            acquire_time: UNIX_EPOCH,
            soft_deadline: boot(deadline),
            deadline: boot(deadline),
        };
        Some(Holding { claim, sent: boot(0), until_us: i64::from(until), since_us: 0 })
    }
}

// === impl Answer ===

impl Answer {
    /// A reply, and the epoch that the store shows with it.
    pub fn of(reply: Reply, epoch: Time) -> Self {
        match reply {
            Reply::Granted { until_us, mark_us, .. } => {
                Self::Granted { epoch, until: small(until_us), mark: small(mark_us) }
            }
            Reply::Held { .. } | Reply::Quarantined { .. } => Self::Denied { epoch },
            Reply::Stale { .. } => Self::Stale { epoch },
            Reply::Renewed { until_us, mark_us, .. } => Self::Renewed { until: small(until_us), mark: small(mark_us) },
            Reply::Reclaimed { until_us, mark_us } => Self::Reclaimed { until: small(until_us), mark: small(mark_us) },
            Reply::TooLate => Self::TooLate { epoch },
            Reply::Lost { .. } => Self::Lost { epoch },
            Reply::Released { .. } | Reply::NotHeld | Reply::Status => Self::Done,
        }
    }

    /// A reply that means the same to an instance.
    pub fn reply(self) -> Reply {
        match self {
            Self::Granted { epoch, until, mark } => {
                let (until_us, mark_us) = (i64::from(until), i64::from(mark));
                Reply::Granted { epoch: i64::from(epoch), until_us, since_us: 0, mark_us }
            }
            Self::Denied { .. } => Reply::Held { remaining_us: 0 },
            Self::Stale { epoch } => Reply::Stale { epoch: i64::from(epoch) },
            Self::Renewed { until, mark } => {
                Reply::Renewed { until_us: i64::from(until), lapsed: false, mark_us: i64::from(mark) }
            }
            Self::Reclaimed { until, mark } => {
                Reply::Reclaimed { until_us: i64::from(until), mark_us: i64::from(mark) }
            }
            Self::TooLate { .. } => Reply::TooLate,
            Self::Lost { epoch } => Reply::Lost { epoch: i64::from(epoch) },
            Self::Done => Reply::NotHeld,
        }
    }

    /// What it raises the floor to.
    fn epoch(self) -> Time {
        match self {
            Self::Granted { epoch, .. }
            | Self::Lost { epoch }
            | Self::Denied { epoch }
            | Self::Stale { epoch }
            | Self::TooLate { epoch } => epoch,
            Self::Renewed { .. } | Self::Reclaimed { .. } | Self::Done => 0,
        }
    }

    /// The epoch that it names, if any.
    pub fn epoch_mut(&mut self) -> Option<&mut Time> {
        match self {
            Self::Granted { epoch, .. }
            | Self::Lost { epoch }
            | Self::Denied { epoch }
            | Self::Stale { epoch }
            | Self::TooLate { epoch } => Some(epoch),
            Self::Renewed { .. } | Self::Reclaimed { .. } | Self::Done => None,
        }
    }

    /// Whether it makes no difference when it is read.
    pub fn is_idle(self) -> bool {
        matches!(self, Self::Denied { .. } | Self::Stale { .. } | Self::TooLate { .. } | Self::Done)
    }
}

// === impl Scope ===

impl Scope {
    pub fn ttl(&self, token: u8) -> Duration {
        Duration::from_micros(u64::from(self.settings(token).ttl.unsigned_abs()))
    }

    pub fn margin(&self, token: u8) -> Time {
        small(i64::try_from(margin(self.ttl(token)).as_micros()).unwrap())
    }
}

fn boot(time: Time) -> BootTime {
    BootTime::from_boot(Duration::from_micros(u64::from(time.unsigned_abs())))
}
