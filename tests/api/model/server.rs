//! The store: the real step, its clock, its generation, and the copy of its record that a fault may bring back.

use rowcount::{
    claim::Proof,
    lease_protocol::{Acquire, Command, Record, Renew, Reply, Rules, Standing, is_confirmed_holder, standing, step},
};

use super::scope::{Mutant, NOW, Scope, Settings, Time};

/// What the step reads of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    pub token: u8,
    pub epoch: Time,
    pub until: Time,
    pub quarantine: Time,
    pub mark: Time,
    pub generation: u8,
    pub holder_generation: u8,
    pub ttl: Time,
    pub released: Time,
}

/// A command without what no rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    Acquire { token: u8, floor: Time },
    Renew { token: u8, epoch: Time, until_seen: Time },
    Release { token: u8, epoch: Time },
    Write { token: u8, epoch: Time, mark: Time, revision: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Server {
    pub lease: Option<Lease>,
    /// An earlier record: on a replica, or on the disk.
    pub copy: Option<Lease>,
    /// How far the store's clock stands behind the furthest that it ever was, which is true time: a step ahead of it
    /// makes everything that the store knows older.
    pub behind: Time,
    /// Which of two nodes serves; each has a run_id of its own.
    pub node: u8,
    /// Changes whenever another node, or the same one anew, becomes the master.
    pub replid: u8,
    /// Epoch and revision on the board.
    pub board: Option<(Time, u8)>,
}

// === impl Server ===

impl Server {
    pub fn new(scope: &Scope) -> Self {
        let mut server = Self { lease: None, copy: None, behind: 0, node: 0, replid: 0, board: None };
        if scope.has_past {
            let generation = server.generation(scope);
            let epoch = 1;
            server.lease = Some(Lease {
                token: 0,
                epoch,
                until: 0,
                quarantine: 0,
                mark: 0,
                generation,
                holder_generation: generation,
                ttl: scope.instances[0].ttl,
                released: epoch,
            });
            server.copy = server.lease;
        }
        server
    }

    pub fn clock(&self) -> Time {
        NOW - self.behind
    }

    pub fn generation(&self, scope: &Scope) -> u8 {
        1 + self.node * 16 + if scope.is(Mutant::RunIdAlone) { 0 } else { self.replid }
    }

    /// Carries a command out: the real step, then what a broken rule would have made of it.
    pub fn serve(&mut self, scope: &Scope, order: Order) -> (Reply, Standing) {
        let Some(command) = order.command(scope) else { unreachable!("writes go to the board") };
        let rules = scope.rules(order.token());
        let generation = text(self.generation(scope));
        let now_us = i64::from(self.clock());
        let before = self.lease;
        let (record, mut reply) = step(before.map(|lease| lease.record()), now_us, &generation, rules, &command);
        self.lease = record.as_ref().map(Lease::of);
        self.mutate(scope, order, before, &mut reply);
        let standing = standing(self.lease.map(|lease| lease.record()).as_ref(), now_us, &generation, rules);
        (reply, standing)
    }

    fn mutate(&mut self, scope: &Scope, order: Order, before: Option<Lease>, reply: &mut Reply) {
        let (Some(mutant), Some(lease)) = (scope.mutant, &mut self.lease) else { return };
        match (mutant, order) {
            (Mutant::NoQuarantine, _) => lease.quarantine = 0,
            (Mutant::GenerationWithoutQuarantine, Order::Renew { .. }) => {
                lease.quarantine = before.map_or(0, |before| before.quarantine);
            }
            (Mutant::PlainIncrement, Order::Acquire { .. }) => {
                if let Reply::Granted { epoch, .. } = reply
                    && before.is_none_or(|before| i64::from(before.epoch) != *epoch)
                {
                    lease.epoch = before.map_or(0, |before| before.epoch) + 1;
                    *epoch = i64::from(lease.epoch);
                }
            }
            _ => {}
        }
    }

    /// A guarded write to the board: whether it was accepted.
    pub fn write(&mut self, scope: &Scope, proof: &Proof, revision: u8) -> bool {
        let generation = text(self.generation(scope));
        let record = self.lease.map(|lease| {
            let mut record = lease.record();
            if scope.is(Mutant::GuardWithoutGeneration) {
                record.generation.clone_from(&generation);
                record.holder_generation.clone_from(&generation);
            }
            if scope.is(Mutant::GuardWithoutMark) {
                record.mark_us = proof.mark_us;
            }
            record
        });
        let now_us = i64::from(self.clock());
        let epoch = small(proof.epoch);
        let accepted =
            is_confirmed_holder(record.as_ref(), now_us, &generation, proof) && self.board < Some((epoch, revision));
        if accepted {
            self.board = Some((epoch, revision));
        }
        accepted
    }
}

// === impl Lease ===

impl Lease {
    fn record(&self) -> Record {
        Record {
            v: 1,
            token: text(self.token),
            epoch: i64::from(self.epoch),
            until_us: i64::from(self.until),
            q_us: i64::from(self.quarantine),
            mark_us: i64::from(self.mark),
            generation: text(self.generation),
            holder_generation: text(self.holder_generation),
            ttl_us: i64::from(self.ttl),
            released_epoch: i64::from(self.released),
            ..Record::default()
        }
    }

    fn of(record: &Record) -> Self {
        Self {
            token: number(&record.token),
            epoch: small(record.epoch),
            until: small(record.until_us),
            quarantine: small(record.q_us),
            mark: small(record.mark_us),
            generation: number(&record.generation),
            holder_generation: number(&record.holder_generation),
            ttl: small(record.ttl_us),
            released: small(record.released_epoch),
        }
    }
}

// === impl Order ===

impl Order {
    pub fn token(self) -> u8 {
        match self {
            Self::Acquire { token, .. }
            | Self::Renew { token, .. }
            | Self::Release { token, .. }
            | Self::Write { token, .. } => token,
        }
    }

    pub fn token_mut(&mut self) -> &mut u8 {
        match self {
            Self::Acquire { token, .. }
            | Self::Renew { token, .. }
            | Self::Release { token, .. }
            | Self::Write { token, .. } => token,
        }
    }

    /// What the instance really sends; nothing for a write.
    fn command(self, scope: &Scope) -> Option<Command> {
        let ttl_us = i64::from(scope.settings(self.token()).ttl);
        let (holder, address) = (String::new(), String::new());
        Some(match self {
            Self::Acquire { token, floor } => {
                Command::Acquire(Acquire { token: text(token), holder, address, ttl_us, floor: i64::from(floor) })
            }
            Self::Renew { token, epoch, until_seen } => Command::Renew(Renew {
                token: text(token),
                epoch: i64::from(epoch),
                holder,
                address,
                since_us: 0,
                ttl_us,
                until_seen_us: i64::from(until_seen),
            }),
            Self::Release { token, epoch } => Command::Release { token: text(token), epoch: i64::from(epoch) },
            Self::Write { .. } => return None,
        })
    }
}

impl From<&Command> for Order {
    fn from(command: &Command) -> Self {
        match command {
            Command::Acquire(bid) => Self::Acquire { token: number(&bid.token), floor: small(bid.floor) },
            Command::Renew(sign) => Self::Renew {
                token: number(&sign.token),
                epoch: small(sign.epoch),
                until_seen: small(sign.until_seen_us),
            },
            Command::Release { token, epoch } => Self::Release { token: number(token), epoch: small(*epoch) },
            Command::Status => unreachable!("a question changes nothing"),
        }
    }
}

// === impl Scope ===

impl Scope {
    pub fn settings(&self, token: u8) -> Settings {
        self.instances[Self::owner(token)]
    }

    fn rules(&self, token: u8) -> Rules {
        Rules { quarantine_us: i64::from(self.settings(token).quarantine), immediate: self.immediate }
    }
}

/// A token or a generation as the record has it; 0 is none.
pub fn text(number: u8) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

fn number(text: &str) -> u8 {
    if text.is_empty() { 0 } else { text.parse().unwrap() }
}

pub fn small(us: i64) -> Time {
    Time::try_from(us).unwrap()
}
