//! Who is at work in the database, and so which commits have surely been flushed to the statistics.

use std::time::Duration;

use super::ServerTime;

/// A session flushes what it committed when it becomes idle, and at the latest 10.0 s after the commit when it stays
/// idle from then on. Exactly 10 s, without a margin, was seen to fail.
pub const FLUSHED_AFTER: Duration = Duration::from_secs(11);

/// The sessions of the database, read before the counters: whoever began to commit later does not count here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Before the sessions were read.
    pub now: ServerTime,
    /// Those in the counted database but the one that reads; without autovacuum and parallel workers.
    pub sessions: Vec<Session>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Which one.
    pub id: SessionId,
    /// What it is for.
    pub kind: SessionKind,
    /// What it does; `None` where the server does not tell: it has just begun, or we may not know.
    pub state: Option<SessionState>,
    /// When its open transaction began.
    pub xact_start: Option<ServerTime>,
    /// When its last statement began: a DO or CALL may have committed inside since.
    pub query_start: Option<ServerTime>,
    /// When its state changed last.
    pub state_change: Option<ServerTime>,
}

/// A session, told from a later one of the same process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId {
    /// Process id.
    pub pid: i32,
    /// When the process began.
    pub start: Option<ServerTime>,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// A client, or one of which we may not know what it is.
    Client,
    /// Sends the write-ahead log.
    WalSender,
    /// Anything else: the worker of an extension, of logical replication.
    Worker,
}

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Waits for a statement, outside a transaction.
    Idle,
    /// Anything else that is told.
    Busy,
    /// It does not tell: track_activities is off.
    Disabled,
}

// === impl Activity ===

impl Activity {
    /// Every commit before this has been flushed to the counters that are read after this activity; `None` when a
    /// session hides what it does.
    pub fn complete_until(&self) -> Option<ServerTime> {
        let mut cap = self.now;
        for session in &self.sessions {
            if session.hides() {
                return None;
            }
            cap = session.busy_since().map_or(cap, |since| cap.min(since));
        }
        Some(cap - FLUSHED_AFTER)
    }
}

// === impl Session ===

impl Session {
    fn hides(&self) -> bool {
        self.kind == SessionKind::Client && matches!(self.state, None | Some(SessionState::Disabled))
    }

    /// From when on it may have committed without having flushed.
    fn busy_since(&self) -> Option<ServerTime> {
        let Self { xact_start, query_start, state_change, .. } = *self;
        match (self.state, self.kind) {
            (Some(SessionState::Idle), _) => None,
            // A query of its is a command that never ends, and it commits nothing.
            (_, SessionKind::WalSender) => xact_start,
            _ => [xact_start, query_start, state_change].into_iter().flatten().min(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000_000;

    fn ago(seconds: i64) -> Option<ServerTime> {
        Some(ServerTime::from_us(NOW - seconds * 1_000_000))
    }

    fn busy(xact: i64, query: i64, change: i64) -> Session {
        Session {
            id: SessionId { pid: 1, start: ago(1000) },
            kind: SessionKind::Client,
            state: Some(SessionState::Busy),
            xact_start: ago(xact),
            query_start: ago(query),
            state_change: ago(change),
        }
    }

    fn complete_until(sessions: impl IntoIterator<Item = Session>) -> Option<ServerTime> {
        Activity { now: ServerTime::from_us(NOW), sessions: sessions.into_iter().collect() }.complete_until()
    }

    #[test]
    fn with_nobody_at_work_it_is_eleven_seconds_ago() {
        assert_eq!(complete_until([]), ago(11));
        let idle = Session { state: Some(SessionState::Idle), ..busy(100, 100, 100) };
        assert_eq!(complete_until([idle]), ago(11), "idle sessions do not count");
    }

    #[test]
    fn the_oldest_of_transaction_query_and_state_counts_of_every_session() {
        assert_eq!(complete_until([busy(3, 2, 1)]), ago(14));
        assert_eq!(complete_until([busy(1, 3, 2)]), ago(14), "a DO that commits inside");
        assert_eq!(complete_until([busy(2, 1, 3)]), ago(14));
        assert_eq!(complete_until([busy(1, 1, 1), busy(60, 1, 1)]), ago(71));
        let unknown = Session { xact_start: None, query_start: None, ..busy(0, 0, 5) };
        assert_eq!(complete_until([unknown]), ago(16));
    }

    #[test]
    fn of_a_walsender_only_its_transaction_counts() {
        let walsender = Session { kind: SessionKind::WalSender, ..busy(0, 1000, 1000) };
        assert_eq!(complete_until([Session { xact_start: None, ..walsender.clone() }]), ago(11));
        assert_eq!(complete_until([Session { xact_start: ago(4), ..walsender }]), ago(15));
    }

    #[test]
    fn a_client_that_hides_its_state_makes_it_unknown() {
        for state in [None, Some(SessionState::Disabled)] {
            let hidden = Session { state, xact_start: None, query_start: None, state_change: None, ..busy(0, 0, 0) };
            assert_eq!(complete_until([hidden.clone(), busy(1, 1, 1)]), None, "{state:?}");
            let worker = Session { kind: SessionKind::Worker, ..hidden };
            assert_eq!(complete_until([worker]), ago(11), "{state:?}");
        }
    }
}
