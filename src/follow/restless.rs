//! Sessions that have not been seen idle for long. One that chains its transactions, by COMMIT AND CHAIN or a pipeline
//! without a Sync, flushes nothing for as long as it does; its rows are late, and that is not covered by any bound.

use std::{collections::BTreeMap, time::Duration};

use super::{Activity, ServerTime, SessionId, SessionKind, SessionState};

/// From here on it is worth telling.
const LONG: Duration = Duration::from_secs(60);

/// When each client was last seen idle; when it was first seen, if it never was.
#[derive(Clone, Debug, Default)]
pub struct Restless {
    idle_at: BTreeMap<SessionId, ServerTime>,
}

// === impl Restless ===

impl Restless {
    /// Takes one more look at the sessions in.
    pub fn take(&mut self, activity: &Activity) {
        let before = std::mem::take(&mut self.idle_at);
        let clients = activity.sessions.iter().filter(|session| session.kind == SessionKind::Client);
        let seen = clients.map(|session| {
            let is_idle = session.state == Some(SessionState::Idle);
            let known = before.get(&session.id).filter(|_| !is_idle);
            (session.id, known.copied().unwrap_or(activity.now))
        });
        self.idle_at = seen.collect();
    }

    /// How many have not been seen idle for long.
    pub fn count(&self, now: ServerTime) -> usize {
        self.idle_at.values().filter(|at| now.since(**at) > LONG).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::Session;

    fn at(seconds: i64) -> ServerTime {
        ServerTime::from_us(seconds * 1_000_000)
    }

    fn session(pid: i32, kind: SessionKind, state: SessionState) -> Session {
        let id = SessionId { pid, start: Some(at(0)) };
        Session { id, kind, state: Some(state), xact_start: None, query_start: None, state_change: None }
    }

    #[test]
    fn a_client_counts_from_when_it_was_last_seen_idle() {
        use SessionKind::{Client, WalSender};
        use SessionState::{Busy, Idle};
        let mut restless = Restless::default();
        let look = |restless: &mut Restless, second, state| {
            let sessions =
                vec![session(1, Client, state), session(2, WalSender, Busy), session(3, Client, SessionState::Busy)];
            restless.take(&Activity { now: at(second), sessions });
            restless.count(at(second))
        };
        assert_eq!(look(&mut restless, 0, Busy), 0);
        assert_eq!(look(&mut restless, 30, Idle), 0);
        assert_eq!(look(&mut restless, 60, Busy), 0);
        assert_eq!(look(&mut restless, 61, Busy), 1, "the one that never was");
        assert_eq!(look(&mut restless, 90, Busy), 1);
        assert_eq!(look(&mut restless, 91, Busy), 2);
        assert_eq!(look(&mut restless, 92, Idle), 1);
        restless.take(&Activity { now: at(93), sessions: Vec::new() });
        assert_eq!(restless.count(at(300)), 0, "who is gone is forgotten");
    }
}
