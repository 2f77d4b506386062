//! A fleet, its store, what is under way between them, and everything that may happen next.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rowcount::{claim::Proof, lease_protocol::Reply};
use stateright::Model;

use super::{
    client::{Answer, Client, Heard, Phase, Request},
    property::{Broken, properties},
    scope::{Budget, MOST, NOW, Scope, Time, token},
    server::{Lease, Order, Server, small, text},
};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    pub server: Server,
    pub clients: [Client; MOST],
    /// Commands under way that nobody waits for any more.
    pub strays: Vec<Order>,
    pub left: Budget,
    /// The lease was granted in this tick.
    pub granted: bool,
    /// The greatest epoch ever granted, and to which token.
    pub last: Option<(Time, u8)>,
    /// The greatest epoch and revision that the board ever accepted.
    pub accepted: Option<(Time, u8)>,
    /// What the steps until here have broken.
    pub broken: Broken,
}

/// What the next master knows of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    Kept,
    Old,
    Lost,
}

/// What the next master's clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Same,
    Behind,
    FarAhead,
}

/// How far a message gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Arrives,
    Later,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Tick,
    /// An instance bids or renews, and the store carries it out at once; `twice`: the command will arrive once more.
    Ask {
        client: usize,
        reply: Fate,
        twice: bool,
    },
    /// An instance bids or renews, and the store will be reached later.
    Send(usize),
    /// An instance bids or renews and waits in vain, while the command is still under way.
    Miss(usize),
    /// The store carries out what was sent earlier.
    Serve {
        client: usize,
        reply: Fate,
    },
    /// An instance reads an answer that came earlier.
    Hear(usize),
    /// A claim ends, or a campaign, and is released; `twice`: the release will arrive once more.
    Leave {
        client: usize,
        release: Fate,
        twice: bool,
    },
    /// A holder writes to the board.
    Write(usize),
    /// A command that nobody waits for arrives.
    Stray(usize),
    Crash(usize),
    /// The record is copied, to a replica or to the disk.
    Copy,
    /// FLUSHALL, or DEL of the lease.
    Flush,
    /// Another node becomes the master, or the same one after a restart.
    Promote {
        data: Data,
        clock: Clock,
    },
    StepBack,
    StepAhead,
}

/// The model.
pub struct World {
    pub scope: Scope,
    /// The kinds of replies ever given, by their number.
    pub replies: Arc<AtomicU64>,
}

// === impl World ===

impl World {
    pub fn new(scope: Scope) -> Self {
        Self { scope, replies: Arc::default() }
    }

    fn client_actions(&self, state: &State, client: usize, actions: &mut Vec<Action>) {
        let it = &state.clients[client];
        let left = state.left;
        let fates: &[Fate] = match left.delays {
            0 => &[Fate::Arrives, Fate::Lost],
            _ => &[Fate::Arrives, Fate::Lost, Fate::Later],
        };
        if left.crashes > 0 {
            actions.push(Action::Crash(client));
        }
        if let Some(request) = it.request {
            if request.rests {
            } else if request.answer.is_some() {
                actions.push(Action::Hear(client));
            } else if state.may_serve(&self.scope, request.order) {
                actions.extend(fates.iter().map(|&reply| Action::Serve { client, reply }));
            }
            return;
        }
        if let Some(order) = it.next_order(&self.scope) {
            if state.may_serve(&self.scope, order) {
                actions.extend(fates.iter().map(|&reply| Action::Ask { client, reply, twice: false }));
                if left.strays > 0 {
                    actions.extend(fates.iter().map(|&reply| Action::Ask { client, reply, twice: true }));
                }
            }
            if left.delays > 0 {
                actions.push(Action::Send(client));
            }
            if left.strays > 0 {
                actions.push(Action::Miss(client));
            }
        }
        actions.push(Action::Leave { client, release: Fate::Arrives, twice: false });
        if it.phase != Phase::Bidding {
            actions.push(Action::Leave { client, release: Fate::Lost, twice: false });
        }
        if left.strays > 0 {
            actions.push(Action::Leave { client, release: Fate::Arrives, twice: true });
            actions.push(Action::Leave { client, release: Fate::Later, twice: false });
        }
        if left.writes > 0 && it.believes().is_some() {
            actions.push(Action::Write(client));
        }
    }

    fn server_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let (left, server) = (state.left, &state.server);
        if left.copies > 0 && server.copy != server.lease {
            actions.push(Action::Copy);
        }
        let may_step_back = left.back > 0 && server.behind < self.scope.back;
        if left.losses > 0 {
            if server.lease.is_some() {
                actions.push(Action::Flush);
            }
            for data in [Data::Kept, Data::Old, Data::Lost] {
                let same = match data {
                    Data::Kept => false,
                    Data::Old => server.copy == server.lease || server.copy.is_none(),
                    Data::Lost => server.lease.is_none(),
                };
                if same {
                    continue;
                }
                actions.push(Action::Promote { data, clock: Clock::Same });
                actions.push(Action::Promote { data, clock: Clock::FarAhead });
                if may_step_back {
                    actions.push(Action::Promote { data, clock: Clock::Behind });
                }
            }
        }
        if may_step_back {
            actions.push(Action::StepBack);
        }
        if left.ahead > 0 {
            actions.push(Action::StepAhead);
        }
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let server = Server::new(&self.scope);
        vec![State {
            server,
            clients: std::array::from_fn(|client| Client::new(token(client, 1))),
            strays: Vec::new(),
            left: self.scope.budget,
            granted: false,
            last: server.lease.map(|lease| (lease.epoch, 0)),
            accepted: None,
            broken: Broken::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Tick);
        for client in 0..self.scope.instances.len() {
            self.client_actions(state, client, actions);
        }
        for (place, order) in state.strays.iter().enumerate() {
            if state.may_serve(&self.scope, *order) && (place == 0 || state.strays[place - 1] != *order) {
                actions.push(Action::Stray(place));
            }
        }
        self.server_actions(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        state.apply(self, action);
        state.normalize(&self.scope);
        Some(state)
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        properties()
    }
}

// === impl State ===

impl State {
    /// Ticks are coarse, and a bid takes time: a store whose clock stands still grants the lease once.
    fn may_serve(&self, scope: &Scope, order: Order) -> bool {
        if !self.granted || !matches!(order, Order::Acquire { .. }) {
            return true;
        }
        let mut server = self.server;
        let (reply, standing) = server.serve(scope, order);
        !is_new_grant(reply, standing.epoch, self.server.lease)
    }

    pub fn apply(&mut self, world: &World, action: Action) {
        let scope = &world.scope;
        match action {
            Action::Tick => {
                self.granted = false;
                self.make_older(scope.tick);
                self.clients.iter_mut().for_each(|client| client.grow_older(scope));
            }
            Action::Ask { client, reply, twice } => {
                let order = self.send(scope, client);
                if twice {
                    self.stray(order);
                }
                self.answer(world, client, reply);
            }
            Action::Send(client) => {
                self.left.delays -= u8::from(self.left.delays < u8::MAX);
                self.send(scope, client);
            }
            Action::Miss(client) => {
                let order = self.send(scope, client);
                self.stray(order);
                self.hear(scope, client, None);
            }
            Action::Serve { client, reply } => self.answer(world, client, reply),
            Action::Hear(client) => {
                let answer = self.clients[client].request.and_then(|request| request.answer);
                self.hear(scope, client, answer);
            }
            Action::Leave { client, release, twice } => {
                let order = self.clients[client].farewell(scope);
                if twice {
                    self.stray(order);
                }
                match release {
                    Fate::Arrives => {
                        self.serve(world, order);
                    }
                    Fate::Later => self.stray(order),
                    Fate::Lost => {}
                }
            }
            Action::Write(client) => {
                let it = &mut self.clients[client];
                if let Phase::Holding { epoch, mark, .. } = it.phase {
                    it.revision += 1;
                    let order = Order::Write { token: it.token, epoch, mark, revision: it.revision };
                    self.left.writes -= 1;
                    self.put(order);
                }
            }
            Action::Stray(place) => {
                let order = self.strays.remove(place);
                self.serve(world, order);
            }
            Action::Crash(client) => {
                self.left.crashes -= 1;
                self.clients[client].restart();
            }
            Action::Copy => {
                self.left.copies -= 1;
                self.server.copy = self.server.lease;
            }
            Action::Flush => {
                self.left.losses -= 1;
                (self.server.lease, self.server.board) = (None, None);
            }
            Action::Promote { data, clock } => self.promote(scope, data, clock),
            Action::StepBack => {
                self.left.back -= 1;
                self.server.behind = scope.back;
            }
            Action::StepAhead => {
                self.left.ahead -= 1;
                self.step_ahead(scope.ahead);
            }
        }
    }

    fn promote(&mut self, scope: &Scope, data: Data, clock: Clock) {
        self.left.losses -= 1;
        let server = &mut self.server;
        server.node = 1 - server.node;
        server.replid += 1;
        match data {
            Data::Kept => {}
            Data::Old => server.lease = server.copy,
            Data::Lost => server.lease = None,
        }
        if data != Data::Kept {
            server.board = None;
        }
        match clock {
            Clock::Same => {}
            Clock::Behind => {
                self.left.back -= 1;
                self.server.behind = scope.back;
            }
            Clock::FarAhead => self.step_ahead(2 * scope.instances[0].ttl),
        }
    }

    fn stray(&mut self, order: Order) {
        self.left.strays -= 1;
        self.put(order);
    }

    fn put(&mut self, order: Order) {
        let place = self.strays.partition_point(|other| *other < order);
        self.strays.insert(place, order);
    }

    fn send(&mut self, scope: &Scope, client: usize) -> Order {
        let it = &mut self.clients[client];
        let order = it.next_order(scope).expect("asked only of who has something to ask");
        it.request = Some(Request { order, sent: NOW, answer: None, rests: true });
        order
    }

    /// The store carries out what the instance waits for.
    fn answer(&mut self, world: &World, client: usize, reply: Fate) {
        let Some(request) = self.clients[client].request else { return };
        let answer = self.serve(world, request.order);
        match reply {
            Fate::Arrives => self.hear(&world.scope, client, answer),
            // When it is read makes no difference.
            Fate::Later if answer.is_some_and(Answer::is_idle) => self.hear(&world.scope, client, answer),
            Fate::Later => {
                self.left.delays -= u8::from(self.left.delays < u8::MAX);
                self.clients[client].request = Some(Request { answer, rests: true, ..request });
            }
            Fate::Lost => self.hear(&world.scope, client, None),
        }
    }

    fn hear(&mut self, scope: &Scope, client: usize, answer: Option<Answer>) {
        let it = &mut self.clients[client];
        let token = it.token;
        if let Heard::Reclaimed = it.hear(scope, answer) {
            self.broken.s7 |= self.last.is_some_and(|(_, last)| last != token);
        }
    }

    fn step_ahead(&mut self, by: Time) {
        let beyond = by - self.server.behind;
        self.server.behind = (-beyond).max(0);
        if beyond > 0 {
            self.make_older(beyond);
        }
    }

    /// The store carries a command out; what must never happen is noted.
    fn serve(&mut self, world: &World, order: Order) -> Option<Answer> {
        let scope = &world.scope;
        if let Order::Write { token, epoch, mark, revision } = order {
            let proof = Proof { token: text(token), epoch: i64::from(epoch), mark_us: i64::from(mark) };
            if self.server.write(scope, &proof, revision) {
                self.broken.s4 |=
                    self.last.is_some_and(|(last, _)| last > epoch) || self.accepted > Some((epoch, revision));
                self.accepted = self.accepted.max(Some((epoch, revision)));
            }
            return None;
        }
        let before = self.server.lease;
        let (reply, standing) = self.server.serve(scope, order);
        let answer = Answer::of(reply, small(standing.epoch));
        world.replies.fetch_or(1 << kind(reply), Ordering::Relaxed);
        self.note(order, answer, before);
        Some(answer)
    }

    fn note(&mut self, order: Order, answer: Answer, before: Option<Lease>) {
        let token = order.token();
        let claim = match (answer, order) {
            (Answer::Granted { epoch, .. }, _) => Some(epoch),
            (Answer::Renewed { .. } | Answer::Reclaimed { .. }, Order::Renew { epoch, .. }) => Some(epoch),
            _ => None,
        };
        if let Some(epoch) = claim {
            self.broken.s1 |= self.knows_another(epoch, token, before);
            if is_new_grant(answer.reply(), i64::from(epoch), before) {
                self.granted = true;
                self.broken.s3 |= self.last.is_some_and(|(last, _)| epoch <= last);
                self.last = self.last.max(Some((epoch, token)));
            }
            return;
        }
        // Whoever is not the holder changes nothing but what the past and the clock ask for.
        let after = self.server.lease;
        self.broken.s6 |= match (order, before, after) {
            (Order::Release { epoch, .. }, Some(lease), _) => {
                (lease.token != token || (epoch != 0 && epoch != lease.epoch)) && before != after
            }
            (_, Some(before), Some(after)) => {
                (before.token, before.epoch, before.released) != (after.token, after.epoch, after.released)
                    || after.until > before.until
            }
            (_, None, Some(after)) => after.token != 0,
            (_, before, None) => before.is_some(),
        };
    }

    /// Whether anybody has, or had, this epoch under another token.
    fn knows_another(&self, epoch: Time, token: u8, before: Option<Lease>) -> bool {
        let holders = self.clients.iter().filter_map(|client| match client.phase {
            Phase::Holding { epoch, .. } => Some((epoch, client.token)),
            _ => None,
        });
        let records = [before, self.server.copy].into_iter().flatten().map(|lease| (lease.epoch, lease.token));
        let under_way = self.strays.iter().filter_map(|order| match order {
            Order::Renew { token, epoch, .. } => Some((*epoch, *token)),
            _ => None,
        });
        let mut known = holders.chain(records).chain(under_way).chain(self.last);
        known.any(|(other_epoch, other)| other_epoch == epoch && other != 0 && other != token)
    }
}

/// Whether this is no repetition of a grant that was made before.
fn is_new_grant(reply: Reply, epoch: i64, before: Option<Lease>) -> bool {
    matches!(reply, Reply::Granted { .. }) && before.is_none_or(|before| i64::from(before.epoch) != epoch)
}

fn kind(reply: Reply) -> u32 {
    match reply {
        Reply::Granted { .. } => 0,
        Reply::Held { .. } => 1,
        Reply::Quarantined { .. } => 2,
        Reply::Stale { .. } => 3,
        Reply::Renewed { lapsed: false, .. } => 4,
        Reply::Renewed { lapsed: true, .. } => 5,
        Reply::Reclaimed { .. } => 6,
        Reply::TooLate => 7,
        Reply::Lost { .. } => 8,
        Reply::Released { .. } => 9,
        Reply::NotHeld => 10,
        Reply::Status => 11,
    }
}
