//! What a session can do, as steps; which numbers it takes is up to its generator.

use std::fmt;

use fastrand::Rng;

use super::schema::{BUSY, GUEST, RANGE, ROUGH, SESSION};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Insert,
    InsertPartitions,
    Delete,
    HotUpdate,
    Update,
    Move,
    UpsertUpdate,
    UpsertNothing,
    Merge,
    Abort,
    FailInTheMiddle,
    Savepoints,
    Copy,
    CopyFails,
    CommitPrepared,
    RollbackPrepared,
    LongTransaction,
    CommitTwiceThenIdle,
    Truncate,
    TruncateAmongInserts,
    TruncateRolledBack,
    TruncateInSavepoint,
    TruncateThenVacuum,
    /// A procedure commits, and goes on for longer than a flush may take.
    CommitInsideCall,
    /// Tables that are followed are emptied, filled and vacuumed before anybody looks.
    TruncateFollowed,
    // Of whoever looks after the tables.
    Vacuum,
    Analyze,
    AnalyzeColumn,
    VacuumAnalyze,
    VacuumFull,
    Rewrite,
    Detach,
    DetachConcurrently,
    Terminate,
}

/// A part of an operation.
#[derive(Clone, Debug)]
pub enum Step {
    Run(String),
    /// On another connection, which is closed then.
    Elsewhere(String),
    /// COPY of these lines.
    Copy(String, String),
    /// It must fail.
    Fails(String),
    CopyFails(String, String),
    /// In milliseconds.
    Wait(u64),
}

/// What the sessions of the load do, each as often as it is named.
pub const LOAD: &[Operation] = {
    use Operation::*;
    &[
        Insert,
        Insert,
        Insert,
        InsertPartitions,
        InsertPartitions,
        InsertPartitions,
        Delete,
        Delete,
        HotUpdate,
        Update,
        Move,
        Move,
        UpsertUpdate,
        UpsertNothing,
        Merge,
        Abort,
        Abort,
        FailInTheMiddle,
        Savepoints,
        Savepoints,
        Copy,
        CopyFails,
        CommitPrepared,
        RollbackPrepared,
        LongTransaction,
        CommitTwiceThenIdle,
        CommitTwiceThenIdle,
        Truncate,
        TruncateAmongInserts,
        TruncateRolledBack,
        TruncateInSavepoint,
        TruncateThenVacuum,
    ]
};

/// What the one who looks after the tables does.
pub const UPKEEP: &[Operation] = {
    use Operation::*;
    &[
        Vacuum,
        Vacuum,
        Vacuum,
        Analyze,
        Analyze,
        AnalyzeColumn,
        VacuumAnalyze,
        VacuumFull,
        Rewrite,
        Detach,
        DetachConcurrently,
        Terminate,
    ]
};

// === impl Operation ===

impl Operation {
    /// Its steps; `gid` names a transaction of it that is prepared.
    pub fn steps(self, rng: &mut Rng, gid: &str) -> Vec<Step> {
        let run = |sql: &str| Step::Run(sql.to_owned());
        let wrapped = |middle: Vec<Step>, end: &str| {
            let mut steps = vec![run("BEGIN")];
            steps.extend(middle);
            steps.push(run(end));
            steps
        };
        let leaf = rng.choice(BUSY).unwrap();
        let rough = if rng.u8(..16) == 0 { leaf } else { rng.choice(ROUGH).unwrap() };
        match self {
            Self::Insert
            | Self::InsertPartitions
            | Self::Delete
            | Self::HotUpdate
            | Self::Update
            | Self::Move
            | Self::UpsertUpdate
            | Self::UpsertNothing
            | Self::Merge => vec![Step::Run(self.statement(rng))],
            Self::Abort => wrapped(vec![any(rng), any(rng)], "ROLLBACK"),
            Self::FailInTheMiddle => vec![Step::Fails(format!(
                "INSERT INTO t SELECT CASE g WHEN 20 THEN NULL ELSE nextval('ids') END, 0, 0 FROM generate_series(1, {}) g",
                20 + rng.i64(0..20)
            ))],
            Self::Savepoints => {
                let mut middle = vec![any(rng), run("SAVEPOINT a"), any(rng), run("SAVEPOINT b"), any(rng)];
                middle.push(run(["ROLLBACK TO b", "RELEASE b", "ROLLBACK TO a"][rng.usize(..3)]));
                middle.extend([
                    any(rng),
                    run("SAVEPOINT c"),
                    any(rng),
                    run("RELEASE c"),
                    run("ROLLBACK TO a"),
                    any(rng),
                ]);
                wrapped(middle, if rng.bool() { "COMMIT" } else { "ROLLBACK" })
            }
            Self::Copy => vec![Step::Copy("COPY p FROM STDIN".to_owned(), lines(rng, 3 * RANGE))],
            // The last line is of no partition.
            Self::CopyFails => {
                vec![Step::CopyFails("COPY p FROM STDIN".to_owned(), lines(rng, 3 * RANGE) + "1\t-1\t0\n")]
            }
            Self::CommitPrepared | Self::RollbackPrepared => {
                let end = if self == Self::CommitPrepared { "COMMIT" } else { "ROLLBACK" };
                let name = Step::Run(format!("SET LOCAL {SESSION} = '{gid}'"));
                let mut steps = wrapped(vec![name, any(rng), any(rng)], &format!("PREPARE TRANSACTION '{gid}'"));
                steps.push(Step::Wait(rng.u64(..1_500)));
                let end = format!("{end} PREPARED '{gid}'");
                steps.push(if rng.bool() { Step::Run(end) } else { Step::Elsewhere(end) });
                steps
            }
            Self::LongTransaction => {
                let pause = Step::Wait(500 + rng.u64(..1_500));
                wrapped(vec![any(rng), pause, any(rng)], if rng.u8(..4) == 0 { "ROLLBACK" } else { "COMMIT" })
            }
            // The counters of the second wait for their flush until the session has been idle for ten seconds.
            Self::CommitTwiceThenIdle => vec![any(rng), any(rng), Step::Wait(2_000 + rng.u64(..9_500))],
            Self::Truncate => {
                let what = if rng.u8(..16) > 0 { rough } else { rng.choice(["t", "p"]).unwrap() };
                vec![Step::Run(format!("TRUNCATE {what}"))]
            }
            Self::TruncateAmongInserts => {
                let end = if rng.bool() { "COMMIT" } else { "ROLLBACK" };
                wrapped(vec![any(rng), Step::Run(format!("TRUNCATE {rough}")), fill(rng, rough), any(rng)], end)
            }
            Self::TruncateRolledBack => wrapped(vec![any(rng), Step::Run(format!("TRUNCATE {rough}"))], "ROLLBACK"),
            Self::TruncateInSavepoint => {
                let middle = vec![
                    any(rng),
                    run("SAVEPOINT a"),
                    Step::Run(format!("TRUNCATE {rough}")),
                    fill(rng, rough),
                    run(["ROLLBACK TO a", "RELEASE a"][rng.usize(..2)]),
                    any(rng),
                ];
                wrapped(middle, "COMMIT")
            }
            // After a while of idling the counters are flushed at once, and VACUUM tells its own at once.
            Self::TruncateThenVacuum => vec![
                Step::Wait(1_100),
                Step::Run(format!("BEGIN; TRUNCATE {rough}; {}; COMMIT", filling(rng, rough))),
                Step::Run(format!("VACUUM {rough}")),
            ],
            Self::TruncateFollowed => {
                let tables = ["emptied", "emptied_too"];
                let mut steps: Vec<_> =
                    tables.map(|table| Step::Run(format!("INSERT INTO {table} SELECT generate_series(1, 10)"))).into();
                // Until they are followed: an exact count takes eleven seconds and a half.
                steps.push(Step::Wait(22_000));
                for table in tables {
                    let refill = format!("INSERT INTO {table} SELECT generate_series(1, 5)");
                    steps.push(Step::Run(format!("BEGIN; TRUNCATE {table}; {refill}; COMMIT")));
                    steps.push(Step::Run(format!("VACUUM {table}")));
                    steps.push(Step::Wait(1_300));
                }
                steps
            }
            Self::CommitInsideCall => vec![run("CALL chain(15)")],
            Self::Vacuum => vec![Step::Run(format!("VACUUM {leaf}"))],
            Self::Analyze => vec![Step::Run(format!("ANALYZE {leaf}"))],
            Self::AnalyzeColumn => vec![Step::Run(format!("ANALYZE {leaf} (k)"))],
            Self::VacuumAnalyze => vec![Step::Run(format!("VACUUM ANALYZE {leaf}"))],
            Self::VacuumFull => vec![Step::Run(format!("VACUUM FULL {rough}"))],
            Self::Rewrite => {
                let kind = if rng.bool() { "int" } else { "bigint" };
                let all = format!("ALTER TABLE {} ALTER COLUMN v TYPE {kind}", rng.choice(["t", "p"]).unwrap());
                let one = format!("CLUSTER {rough} USING {rough}_pkey");
                vec![Step::Run(if rng.u8(..6) > 0 { one } else { all })]
            }
            Self::Detach | Self::DetachConcurrently => {
                let how = if self == Self::Detach { "" } else { " CONCURRENTLY" };
                let rows = format!(
                    "INSERT INTO {GUEST} SELECT nextval('ids'), {} + g % {RANGE}, 0 FROM generate_series(1, 20) g",
                    3 * RANGE
                );
                vec![
                    Step::Run(format!("ALTER TABLE p DETACH PARTITION {GUEST}{how}")),
                    Step::Run(rows),
                    Step::Wait(rng.u64(..2_000)),
                    Step::Run(format!(
                        "ALTER TABLE p ATTACH PARTITION {GUEST} FOR VALUES FROM ({}) TO ({})",
                        3 * RANGE,
                        4 * RANGE
                    )),
                ]
            }
            Self::Terminate => {
                vec![run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'load' \
                 AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1")]
            }
        }
    }

    fn statement(self, rng: &mut Rng) -> String {
        let (count, of, rest) = (1 + rng.i64(0..12), 15 + rng.i64(0..20), rng.i64(0..5));
        let table = if rng.bool() { "t" } else { "p" };
        let known = "SELECT last_value - g * 3 AS id, g % 50 AS k, 0 AS v FROM ids, generate_series(1, 8) g";
        match self {
            Self::Insert => filling(rng, "t"),
            Self::InsertPartitions => format!(
                "INSERT INTO p SELECT nextval('ids'), {} + g % {RANGE}, 0 FROM generate_series(1, {count}) g",
                rng.i64(0..4) * RANGE
            ),
            Self::Delete => format!("DELETE FROM {table} WHERE id % {of} = {rest}"),
            Self::HotUpdate => format!("UPDATE t SET v = v + 1 WHERE id % {of} = {rest}"),
            Self::Update => format!("UPDATE t SET k = k + 1 WHERE id % {of} = {rest}"),
            Self::Move => format!("UPDATE p SET k = (k + {RANGE}) % {} WHERE id % {of} = {rest}", 3 * RANGE),
            Self::UpsertUpdate => format!("INSERT INTO t {known} ON CONFLICT (id) DO UPDATE SET v = t.v + 1"),
            Self::UpsertNothing => format!("INSERT INTO t {known} ON CONFLICT DO NOTHING"),
            _ => format!(
                "MERGE INTO t USING ({known} OFFSET 0) s ON t.id = s.id WHEN MATCHED AND s.k % 3 = 0 THEN DELETE \
                 WHEN MATCHED THEN UPDATE SET v = t.v + 1 WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.k, s.v)"
            ),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Any single statement.
fn any(rng: &mut Rng) -> Step {
    use Operation::*;
    let all = [Insert, InsertPartitions, Delete, HotUpdate, Update, Move, UpsertUpdate, UpsertNothing, Merge];
    let operation = rng.choice(all).unwrap();
    Step::Run(operation.statement(rng))
}

fn fill(rng: &mut Rng, leaf: &str) -> Step {
    Step::Run(filling(rng, leaf))
}

/// Rows for one leaf; for those of a hash whatever it takes.
fn filling(rng: &mut Rng, leaf: &str) -> String {
    let (into, from) = match leaf {
        "p_0" => ("p", 0),
        "p_1" => ("p", RANGE),
        "p_2a" | "p_2b" => ("p", 2 * RANGE),
        other => (other, 0),
    };
    let count = 1 + rng.i64(0..20);
    format!("INSERT INTO {into} SELECT nextval('ids'), {from} + g % {RANGE}, 0 FROM generate_series(1, {count}) g")
}

/// Lines for COPY, of ids that no sequence gives.
fn lines(rng: &mut Rng, keys: i64) -> String {
    (0..1 + rng.i64(0..12)).map(|_| format!("{}\t{}\t0\n", -rng.i64(1..i64::MAX), rng.i64(0..keys))).collect()
}
