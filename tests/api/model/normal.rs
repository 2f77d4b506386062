//! The normal form of a state: states that no rule will ever tell apart are one. Only so the exploration ends, without
//! a bound on time.

use std::collections::BTreeSet;

use super::{
    client::{Answer, Phase},
    scope::{Mutant, NOW, Scope, Time, token},
    server::{Lease, Order},
    world::State,
};

/// Old epochs are numbered from 1 in their order; no moment that counts is as early.
const OLD: Time = 30;

// === impl State ===

impl State {
    /// The store's clock moves on by this much.
    pub fn make_older(&mut self, by: Time) {
        self.for_each_moment(|moment| *moment -= if *moment == 0 { 0 } else { by });
        self.for_each_epoch(|epoch| *epoch -= if *epoch <= OLD { 0 } else { by });
    }

    pub fn normalize(&mut self, scope: &Scope) {
        self.clients.iter_mut().for_each(|client| client.forget(scope));
        if self.left.losses == 0 {
            self.server.copy = None;
            self.left.copies = 0;
        }
        // The store's clock never shows less.
        let lowest = if self.left.back > 0 { NOW - scope.back } else { self.server.clock() };
        self.for_each_moment(|moment| *moment = if *moment <= lowest { 0 } else { *moment });
        if !scope.is(Mutant::PlainIncrement) {
            self.lower_released();
            self.number_epochs(lowest);
        }
        if !scope.is(Mutant::RunIdAlone) {
            self.name_generations(scope);
        }
        self.rename_tokens();
        self.number_marks();
    }

    /// Of the epochs released only those matter that a renewal may still name.
    fn lower_released(&mut self) {
        let claims = self.clients.iter().flat_map(|client| {
            let held = match (client.phase, client.request.and_then(|request| request.answer)) {
                (Phase::Holding { epoch, .. }, _) | (_, Some(Answer::Granted { epoch, .. })) => epoch,
                _ => 0,
            };
            [held, client.request.map_or(0, |request| renewed(request.order))]
        });
        let claims: Vec<Time> = claims.chain(self.strays.iter().map(|order| renewed(*order))).collect();
        for lease in self.leases() {
            let below = claims.iter().copied().filter(|epoch| *epoch <= lease.released);
            lease.released = below.max().unwrap_or(0);
        }
    }

    /// Of epochs that every grant to come will exceed only the order matters.
    fn number_epochs(&mut self, lowest: Time) {
        let mut old = Vec::new();
        self.for_each_epoch(|epoch| {
            if *epoch != 0 && *epoch < lowest {
                old.push(*epoch);
            }
        });
        old.sort_unstable();
        old.dedup();
        self.for_each_epoch(|epoch| {
            if let Ok(place) = old.binary_search(epoch) {
                *epoch = Time::try_from(place).unwrap() + 1;
            }
        });
        assert!(old.len() < usize::try_from(OLD).unwrap());
    }

    /// A generation that is not the present one never comes back.
    fn name_generations(&mut self, scope: &Scope) {
        let present = self.server.generation(scope);
        (self.server.node, self.server.replid) = (0, 0);
        let name = self.server.generation(scope);
        let is_written = scope.budget.writes > 0;
        for lease in self.leases() {
            for generation in [&mut lease.generation, &mut lease.holder_generation] {
                *generation = if *generation == present { name } else { 0 };
            }
            if !is_written {
                lease.holder_generation = 0;
            }
        }
    }

    /// Of marks it only matters which are the same, and only where something is still written.
    fn number_marks(&mut self) {
        let is_written = self.left.writes > 0 || self.strays.iter().any(|order| matches!(order, Order::Write { .. }));
        let mut marks = BTreeSet::new();
        self.for_each_mark(|mark| _ = marks.insert(*mark));
        marks.remove(&0);
        self.for_each_mark(|mark| {
            let below = if is_written { marks.range(..=*mark).count() } else { 0 };
            *mark = Time::try_from(below).unwrap();
        });
    }

    /// Each instance's tokens that still stand anywhere, numbered from 1 in their order.
    fn rename_tokens(&mut self) {
        for client in 0..self.clients.len() {
            let mut used = 0_u16;
            self.for_each_token(|token| {
                if *token != 0 && Scope::owner(*token) == client {
                    used |= 1 << (*token & 15);
                }
            });
            self.for_each_token(|name| {
                if *name != 0 && Scope::owner(*name) == client {
                    let below = used & ((1 << (*name & 15)) - 1);
                    *name = token(client, u8::try_from(below.count_ones()).unwrap() + 1);
                }
            });
        }
    }

    fn leases(&mut self) -> impl Iterator<Item = &mut Lease> {
        [&mut self.server.lease, &mut self.server.copy].into_iter().flatten()
    }

    fn for_each_token(&mut self, mut visit: impl FnMut(&mut u8)) {
        for client in &mut self.clients {
            if let Some(request) = &mut client.request {
                visit(request.order.token_mut());
            }
            visit(&mut client.token);
        }
        self.leases().for_each(|lease| visit(&mut lease.token));
        self.strays.iter_mut().for_each(|order| visit(order.token_mut()));
        if let Some((_, token)) = &mut self.last {
            visit(token);
        }
    }

    /// Every moment of the store's clock; 0 is one that has passed for good.
    pub fn for_each_moment(&mut self, mut visit: impl FnMut(&mut Time)) {
        for lease in self.leases() {
            visit(&mut lease.until);
            visit(&mut lease.quarantine);
        }
        let mut in_order = |order: &mut Order| {
            if let Order::Renew { until_seen, .. } = order {
                visit(until_seen);
            }
        };
        self.strays.iter_mut().for_each(&mut in_order);
        self.clients
            .iter_mut()
            .filter_map(|client| client.request.as_mut())
            .for_each(|request| in_order(&mut request.order));
        for client in &mut self.clients {
            if let Phase::Holding { until, .. } = &mut client.phase {
                visit(until);
            }
            if let Some(
                Answer::Granted { until, .. } | Answer::Renewed { until, .. } | Answer::Reclaimed { until, .. },
            ) = client.request.as_mut().and_then(|request| request.answer.as_mut())
            {
                visit(until);
            }
        }
    }

    /// Every mark; 0 is none.
    fn for_each_mark(&mut self, mut visit: impl FnMut(&mut Time)) {
        self.leases().for_each(|lease| visit(&mut lease.mark));
        for order in &mut self.strays {
            if let Order::Write { mark, .. } = order {
                visit(mark);
            }
        }
        for client in &mut self.clients {
            if let Phase::Holding { mark, .. } = &mut client.phase {
                visit(mark);
            }
            if let Some(Answer::Granted { mark, .. } | Answer::Renewed { mark, .. } | Answer::Reclaimed { mark, .. }) =
                client.request.as_mut().and_then(|request| request.answer.as_mut())
            {
                visit(mark);
            }
        }
    }

    /// Every epoch; 0 is none.
    pub fn for_each_epoch(&mut self, mut visit: impl FnMut(&mut Time)) {
        for lease in self.leases() {
            visit(&mut lease.epoch);
            visit(&mut lease.released);
        }
        for (epoch, _) in [&mut self.last, &mut self.accepted, &mut self.server.board].into_iter().flatten() {
            visit(epoch);
        }
        for client in &mut self.clients {
            visit(&mut client.floor);
            if let Phase::Holding { epoch, .. } | Phase::Leaving { epoch } = &mut client.phase {
                visit(epoch);
            }
            let answer = client.request.as_mut().and_then(|request| request.answer.as_mut());
            answer.and_then(Answer::epoch_mut).into_iter().for_each(&mut visit);
        }
        let requests = self.clients.iter_mut().filter_map(|client| client.request.as_mut());
        for order in requests.map(|request| &mut request.order).chain(&mut self.strays) {
            let (Order::Acquire { floor: epoch, .. }
            | Order::Renew { epoch, .. }
            | Order::Release { epoch, .. }
            | Order::Write { epoch, .. }) = order;
            visit(epoch);
        }
    }
}

/// The epoch that a renewal names; 0 of anything else.
fn renewed(order: Order) -> Time {
    match order {
        Order::Renew { epoch, .. } => epoch,
        _ => 0,
    }
}
