//! The promise against a model of the server's statistics: sessions that flush late, aborts, VACUUM and ANALYZE that
//! overwrite, TRUNCATE and resets, with work between the statements of a reading.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;

const LEAF: Oid = 7;
const TABLE: &str = "t";
const SESSIONS: usize = 3;
const SECOND: i64 = 1_000_000;

/// What a transaction did: rows inserted, updated, deleted.
type Work = (i64, i64, i64);

#[derive(Clone, Debug)]
enum Op {
    /// Work of a session, in its open transaction or in one of its own.
    Work(usize, Work),
    /// The same, rolled back.
    Abort(usize, Work),
    Open(usize),
    Close(usize),
    Flush(usize),
    Wait(i64),
    Vacuum,
    Analyze {
        some_columns: bool,
    },
    Truncate(usize),
    Reset,
    /// With what happens between the activity and the counters, and between those and the filenodes.
    Read(Vec<Op>, Vec<Op>),
    /// An exact count begins at the last reading, with what happens before it counts.
    Count(Vec<Op>),
}

/// What a session committed or aborted and has not flushed.
#[derive(Clone, Debug, Default)]
struct Pending {
    done: Work,
    committed: Work,
    /// Of `committed`, what happened to the rows that are there now.
    change: i64,
    truncates: bool,
    oldest: Option<i64>,
}

#[derive(Clone, Debug, Default)]
struct Connection {
    open_since: Option<i64>,
    open: Work,
    pending: Pending,
}

struct Server {
    now: i64,
    sessions: Vec<Connection>,
    counters: Counters,
    filenode: u32,
    resets: i64,
    /// Rows by what is committed, and by what is flushed.
    rows: i64,
    flushed: i64,
    follower: Follower,
    checked: usize,
}

impl Server {
    fn new() -> Self {
        let rows = 30;
        Self {
            now: 1_000 * SECOND,
            sessions: vec![Connection::default(); SESSIONS],
            counters: Counters { live: 25, ..Counters::default() },
            filenode: 1,
            resets: 0,
            rows,
            flushed: rows,
            follower: Follower::default(),
            checked: 0,
        }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Work(session, work) => self.work(*session, *work, true),
            Op::Abort(session, work) => self.work(*session, *work, false),
            Op::Open(session) => {
                let now = self.now;
                self.sessions[*session].open_since.get_or_insert(now);
            }
            Op::Close(session) => self.close(*session),
            Op::Flush(session) => self.flush(*session),
            Op::Wait(us) => self.wait(*us),
            Op::Vacuum => {
                self.counters.vacuums += 1;
                self.counters.live = self.rows;
            }
            Op::Analyze { some_columns } => {
                self.counters.analyzes += 1;
                self.counters.live = self.rows * 9 / 10;
                if !some_columns {
                    self.counters.modified = 0;
                }
            }
            Op::Truncate(session) => self.truncate(*session),
            Op::Reset => {
                self.resets += 1;
                self.counters = Counters::default();
            }
            Op::Read(before_counters, before_filenodes) => self.read(before_counters, before_filenodes),
            Op::Count(before) => {
                let Some((ticket, _)) = self.follower.begin_anchor(LEAF) else { return };
                before.iter().for_each(|op| self.run(op));
                let end = ServerTime::from_us(self.now);
                self.follower.counted(LEAF, ticket, Counted { rows: self.rows, end });
            }
        }
    }

    fn work(&mut self, session: usize, (inserted, updated, deleted): Work, commits: bool) {
        let reserved: i64 = self.sessions.iter().map(|one| one.open.2).sum();
        let there = (self.rows - reserved).max(0);
        let work = (inserted, updated.min(there), deleted.min(there));
        let connection = &mut self.sessions[session];
        if commits && connection.open_since.is_some() {
            connection.open = sum(connection.open, work);
            return;
        }
        connection.pending.done = sum(connection.pending.done, work);
        if commits {
            self.commit(session, work);
        }
        self.sessions[session].pending.oldest.get_or_insert(self.now);
    }

    fn commit(&mut self, session: usize, work: Work) {
        self.rows += work.0 - work.2;
        let pending = &mut self.sessions[session].pending;
        pending.committed = sum(pending.committed, work);
        pending.change += work.0 - work.2;
    }

    fn close(&mut self, session: usize) {
        if self.sessions[session].open_since.take().is_none() {
            return;
        }
        let work = std::mem::take(&mut self.sessions[session].open);
        let pending = &mut self.sessions[session].pending;
        pending.done = sum(pending.done, work);
        let oldest = *pending.oldest.get_or_insert(self.now);
        self.commit(session, work);
        // A session that becomes idle flushes what is older than its last flush by enough.
        if self.now - oldest > SECOND {
            self.flush(session);
        }
    }

    fn flush(&mut self, session: usize) {
        if self.sessions[session].open_since.is_some() {
            return;
        }
        let Pending { done, committed, change, truncates, .. } = std::mem::take(&mut self.sessions[session].pending);
        let counters = &mut self.counters;
        counters.inserted += done.0;
        counters.updated += done.1;
        counters.deleted += done.2;
        if truncates {
            counters.live = 0;
        }
        counters.live = (counters.live + if truncates { change } else { committed.0 - committed.2 }).max(0);
        counters.modified += committed.0 + committed.1 + committed.2;
        self.flushed += change;
    }

    fn truncate(&mut self, session: usize) {
        // It needs the table for itself.
        if self.sessions.iter().any(|one| one.open != (0, 0, 0) || one.open_since.is_some()) {
            return;
        }
        self.filenode += 1;
        (self.rows, self.flushed) = (0, 0);
        for one in &mut self.sessions {
            one.pending.change = 0;
        }
        let pending = &mut self.sessions[session].pending;
        pending.truncates = true;
        pending.oldest.get_or_insert(self.now);
    }

    /// Time passes; who stays idle flushes in time.
    fn wait(&mut self, us: i64) {
        let mut left = us;
        while left > 0 {
            let step = left.min(SECOND / 2);
            left -= step;
            for session in 0..SESSIONS {
                if self.sessions[session].pending.oldest.is_some_and(|at| at + 10 * SECOND <= self.now + step) {
                    self.flush(session);
                }
            }
            self.now += step;
        }
    }

    fn activity(&self) -> Activity {
        let at = |us| Some(ServerTime::from_us(us));
        let session = |(pid, one): (usize, &Connection)| Session {
            id: SessionId { pid: i32::try_from(pid).unwrap(), start: at(0) },
            kind: SessionKind::Client,
            state: Some(if one.open_since.is_some() { SessionState::Busy } else { SessionState::Idle }),
            xact_start: one.open_since.map(ServerTime::from_us),
            query_start: one.open_since.map(ServerTime::from_us),
            state_change: one.open_since.map(ServerTime::from_us),
        };
        let sessions = self.sessions.iter().enumerate().map(session).collect();
        Activity { now: ServerTime::from_us(self.now), sessions }
    }

    fn read(&mut self, before_counters: &[Op], before_filenodes: &[Op]) {
        let activity = self.activity();
        before_counters.iter().for_each(|op| self.run(op));
        let (counters, flushed, filenode) = (self.counters, self.flushed, self.filenode);
        let reset = Some(ServerTime::from_us(self.resets));
        let end = ServerTime::from_us(self.now);
        before_filenodes.iter().for_each(|op| self.run(op));
        let name = LeafName { name: TABLE.to_owned(), estimate: None };
        let local = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        self.follower.take(&Reading {
            activity,
            counters: [(LEAF, counters)].into(),
            sentinels: Sentinels {
                database_reset: reset,
                writer_reset: None,
                server_start: ServerTime::from_us(0),
                system: 1,
                in_recovery: false,
            },
            end,
            local_end: LocalTimes { asked: local, answered: local },
            filenodes: [(LEAF, Some(self.filenode))].into(),
            trees: [(TABLE.to_owned(), Tree::Leaves([(LEAF, name)].into()))].into(),
        });
        if let Some(Rows::Followed { bounds, .. }) = self.follower.rows(TABLE) {
            assert_eq!(filenode, self.filenode, "a truncate between the statements voids");
            assert!(
                bounds.lower <= flushed && flushed <= bounds.upper && bounds.lower <= bounds.value,
                "{flushed} rows, told {bounds:?}"
            );
            assert!(bounds.value <= bounds.upper, "{bounds:?}");
            self.checked += 1;
        }
    }

    /// Reads each second, and counts whenever that is wanted.
    fn calm(&mut self, seconds: usize) {
        for _ in 0..seconds {
            self.run(&Op::Read(Vec::new(), Vec::new()));
            if self.follower.wanted_anchor().is_some() {
                self.run(&Op::Count(Vec::new()));
            }
            self.wait(SECOND);
        }
    }
}

fn sum(one: Work, two: Work) -> Work {
    (one.0 + two.0, one.1 + two.1, one.2 + two.2)
}

fn work() -> impl Strategy<Value = Work> {
    (0..20_i64, 0..5_i64, 0..20_i64)
}

fn simple() -> impl Strategy<Value = Op> {
    let session = 0..SESSIONS;
    prop_oneof![
        12 => (session.clone(), work()).prop_map(|(session, work)| Op::Work(session, work)),
        3 => (session.clone(), work()).prop_map(|(session, work)| Op::Abort(session, work)),
        2 => session.clone().prop_map(Op::Open),
        4 => session.clone().prop_map(Op::Close),
        4 => session.clone().prop_map(Op::Flush),
        8 => (0..3 * SECOND).prop_map(Op::Wait),
        2 => Just(Op::Vacuum),
        2 => any::<bool>().prop_map(|some_columns| Op::Analyze { some_columns }),
        1 => session.prop_map(Op::Truncate),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let few = || prop::collection::vec(simple(), 0..3);
    prop_oneof![
        30 => simple(),
        1 => Just(Op::Reset),
        30 => (few(), few()).prop_map(|(one, two)| Op::Read(one, two)),
        12 => few().prop_map(Op::Count),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_flushed_rows_are_always_within_the_bounds(ops in prop::collection::vec(op(), 1..250)) {
        let mut server = Server::new();
        server.calm(14);
        prop_assert!(server.checked > 0, "it follows from the start");
        ops.iter().for_each(|op| server.run(op));
        (0..SESSIONS).for_each(|session| server.close(session));
        server.calm(40);
        let exact = Rows::Followed { bounds: Bounds::exactly(server.rows), anchored_at: None };
        let Some(Rows::Followed { bounds, .. }) = server.follower.rows(TABLE) else { panic!("not followed: {exact:?}") };
        prop_assert_eq!(bounds, Bounds::exactly(server.rows));
    }
}
