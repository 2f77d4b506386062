//! What each part of the service knows of itself, for `/readyz?verbose` and the gauges: read from memory, never asked.

use std::{sync::Arc, time::SystemTime};

use opentelemetry::metrics::Meter;

use crate::{
    board::view::View,
    claim::{LeaseState, Role},
    clock::Clock,
    counting::Counting,
    lease::LeaseHandle,
    metrics::store::{self, Pool},
    ops::Part,
};

/// The parts of one instance.
#[derive(Clone)]
pub struct Parts {
    /// PostgreSQL.
    pub counting: Counting,
    /// The lease.
    pub lease: LeaseHandle,
    /// The board.
    pub view: Arc<View>,
    /// Judges the role.
    pub clock: Arc<dyn Clock>,
}

// === impl Parts ===

impl Parts {
    /// Exports whether PostgreSQL and Redis are up.
    pub fn export(&self, meter: &Meter, has_redis: bool) {
        let (up, pool) = (self.counting.clone(), self.counting.clone());
        let pool = move || {
            let state = pool.state();
            Pool { in_use: state.in_use as u64, idle: state.idle as u64, max: state.max as u64 }
        };
        store::export_postgres(meter, Arc::new(move || up.state().up), Arc::new(pool));
        if has_redis {
            let parts = self.clone();
            store::export_redis(meter, Arc::new(move || Some(parts.redis().ok)));
        }
    }

    /// Each part with its state.
    pub fn list(&self) -> Vec<Part> {
        vec![self.postgres(), self.redis(), self.lease(), self.snapshot()]
    }

    fn postgres(&self) -> Part {
        let state = self.counting.state();
        let detail = match (state.up, state.last_error) {
            (_, Some(error)) => error,
            (None, None) => "not asked by this instance: only the holder counts".to_owned(),
            (Some(_), None) => String::new(),
        };
        Part { name: "postgres", ok: state.up != Some(false), detail }
    }

    fn redis(&self) -> Part {
        let seen = self.view.now();
        let error = seen.last_error.clone().or_else(|| self.lease.last_error());
        Part {
            name: "redis",
            ok: seen.connected && self.lease.last_error().is_none(),
            detail: error.unwrap_or_default(),
        }
    }

    fn lease(&self) -> Part {
        let role = self.lease.role();
        let observed = self.lease.observation().borrow().clone();
        let ok = observed.as_ref().is_some_and(|lease| lease.state == LeaseState::Held);
        let detail = match (&role, observed) {
            (Role::Holder(_), _) if role.current_claim(self.clock.now()).is_some() => "held here".to_owned(),
            (_, None) => "not observed yet".to_owned(),
            (_, Some(lease)) => match lease.state {
                LeaseState::Held => format!("held by {}", lease.holder),
                LeaseState::Free => "nobody holds it".to_owned(),
                LeaseState::Quarantined => "nobody new is let in yet".to_owned(),
                LeaseState::Unknown => "the store is out of reach".to_owned(),
            },
        };
        Part { name: "lease", ok, detail }
    }

    fn snapshot(&self) -> Part {
        let seen = self.view.now();
        let Some(snapshot) = &seen.state.snapshot else {
            return Part { name: "snapshot", ok: false, detail: "none yet".to_owned() };
        };
        let age = SystemTime::now().duration_since(snapshot.publish_time).unwrap_or_default();
        let failing = snapshot.counts.values().filter(|count| count.failure.is_some()).count();
        let detail =
            format!("revision {}, {:.1} s old, {failing} queries failing", snapshot.revision, age.as_secs_f64());
        Part { name: "snapshot", ok: true, detail }
    }
}
