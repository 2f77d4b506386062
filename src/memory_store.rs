//! The lease record of a fleet of one, in memory. It follows the same protocol as Redis, with the same guard for the
//! board, and loses its past only together with everyone who remembers it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    claim::Proof,
    clock::{BootTime, Clock},
    lease_protocol::{self, Answer, Command, Record, Rules},
};

/// One store, one generation: it never restarts.
const GENERATION: &str = "memory";

/// A lease record and the clock that it is judged by.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    /// The wall clock at `started`; from there on the store's clock runs without steps.
    started_at: SystemTime,
    started: BootTime,
    /// Never locked across an await.
    record: Mutex<Option<Record>>,
}

// === impl MemoryStore ===

impl MemoryStore {
    /// A store that nobody has ever held the lease of.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let started = clock.now();
        Self { clock, started_at: SystemTime::now(), started, record: Mutex::default() }
    }

    /// The store's clock.
    pub fn now(&self) -> SystemTime {
        self.started_at + self.clock.now().saturating_since(self.started)
    }

    /// Carries a command out.
    pub fn run(&self, rules: Rules, command: &Command) -> Answer {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let now_us = self.now_us();
        let (next, reply) = lease_protocol::step(record.take(), now_us, GENERATION, rules, command);
        *record = next;
        let standing = lease_protocol::standing(record.as_ref(), now_us, GENERATION, rules);
        Answer { reply, standing, revision: 0 }
    }

    /// Whether a write to the board with this proof is accepted now.
    pub fn is_confirmed_holder(&self, proof: &Proof) -> bool {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        lease_protocol::is_confirmed_holder(record.as_ref(), self.now_us(), GENERATION, proof)
    }

    fn now_us(&self) -> i64 {
        let since: Duration = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        claim::LeaseState,
        clock::SystemClock,
        lease_protocol::{Acquire, Reply},
    };

    const RULES: Rules = Rules { quarantine_us: 10_000_000, immediate: true };

    fn bid(token: &str, floor: i64) -> Command {
        let name = token.to_owned();
        Command::Acquire(Acquire { token: name.clone(), holder: name.clone(), address: name, ttl_us: 5_000_000, floor })
    }

    #[test]
    fn only_the_holder_passes_the_guard() {
        let store = MemoryStore::new(Arc::new(SystemClock));
        let Reply::Granted { epoch, mark_us, .. } = store.run(RULES, &bid("alice", 0)).reply else {
            panic!("not granted")
        };
        let answer = store.run(RULES, &bid("bob", 0));
        assert!(matches!(answer.reply, Reply::Held { .. }), "{answer:?}");
        assert_eq!((answer.standing.state, answer.standing.holder.as_str()), (LeaseState::Held, "alice"));
        let is_holder =
            |token: &str, epoch, mark_us| store.is_confirmed_holder(&Proof { token: token.to_owned(), epoch, mark_us });
        assert!(is_holder("alice", epoch, mark_us));
        assert!(!is_holder("alice", epoch + 1, mark_us));
        assert!(!is_holder("alice", epoch, mark_us - 1), "from before what the store has forgotten");
        assert!(!is_holder("bob", epoch, mark_us));
        store.run(RULES, &Command::Release { token: "alice".to_owned(), epoch });
        assert!(!is_holder("alice", epoch, mark_us));
        assert!(!is_holder("", epoch, mark_us));
    }
}
