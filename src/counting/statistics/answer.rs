//! The answers to the statements of a reading, as values.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{
    Row,
    postgres::{PgRow, types},
};

use super::obstacles::Obstacles;
use crate::{
    failure::{Failure, FailureReason},
    follow::{
        Activity, Counted, Counters, LeafName, Oid, Sentinels, ServerTime, Session, SessionId, SessionKind,
        SessionState, Support, Tree, Trees,
    },
};

/// To `SUPPORT`.
pub fn support(rows: &[PgRow]) -> Result<Support, Failure> {
    let row = rows.first().ok_or_else(unreadable)?;
    Ok(Support {
        version: get(row, 0)?,
        version_name: get(row, 1)?,
        is_standby: get(row, 2)?,
        tracks_counts: get(row, 3)?,
        may_see_sessions: get(row, 4)?,
        role: get(row, 5)?,
        untracked: get(row, 6)?,
    })
}

/// To `ACTIVITY`.
pub fn activity(rows: &[PgRow]) -> Result<Activity, Failure> {
    let now = ServerTime::from_us(get(rows.first().ok_or_else(unreadable)?, 0)?);
    let mut sessions = Vec::new();
    for row in rows {
        // None: the one row of a database in which nobody else is.
        let Some(pid) = get::<Option<i32>>(row, 1)? else { continue };
        sessions.push(Session {
            id: SessionId { pid, start: time(row, 2)? },
            kind: match get::<Option<&str>>(row, 3)? {
                None | Some("client backend") => SessionKind::Client,
                Some("walsender") => SessionKind::WalSender,
                Some(_) => SessionKind::Worker,
            },
            state: get::<Option<&str>>(row, 4)?.map(|state| match state {
                "idle" => SessionState::Idle,
                "disabled" => SessionState::Disabled,
                _ => SessionState::Busy,
            }),
            xact_start: time(row, 5)?,
            query_start: time(row, 6)?,
            state_change: time(row, 7)?,
        });
    }
    Ok(Activity { now, sessions })
}

/// To `COUNTERS`.
pub fn counters(rows: &[PgRow]) -> Result<BTreeMap<Oid, Counters>, Failure> {
    rows.iter()
        .map(|row| {
            let counters = Counters {
                inserted: get(row, 1)?,
                updated: get(row, 2)?,
                deleted: get(row, 3)?,
                live: get(row, 4)?,
                modified: get(row, 5)?,
                vacuums: get(row, 6)?,
                analyzes: get(row, 7)?,
            };
            let types::Oid(oid) = get(row, 0)?;
            Ok((oid, counters))
        })
        .collect()
}

/// To `SENTINELS`, with the time after the counters.
pub fn sentinels(rows: &[PgRow]) -> Result<(Sentinels, ServerTime), Failure> {
    let row = rows.first().ok_or_else(unreadable)?;
    let sentinels = Sentinels {
        database_reset: time(row, 1)?,
        writer_reset: time(row, 2)?,
        server_start: ServerTime::from_us(get(row, 3)?),
        system: get(row, 4)?,
        in_recovery: get(row, 5)?,
    };
    Ok((sentinels, ServerTime::from_us(get(row, 0)?)))
}

/// To `FILENODES` of these relations.
pub fn filenodes(relations: &[types::Oid], rows: &[PgRow]) -> Result<BTreeMap<Oid, Option<u32>>, Failure> {
    let filenodes: Vec<Option<types::Oid>> = get(rows.first().ok_or_else(unreadable)?, 0)?;
    if filenodes.len() != relations.len() {
        return Err(unreadable());
    }
    Ok(relations.iter().map(|oid| oid.0).zip(filenodes.into_iter().map(|node| node.map(|node| node.0))).collect())
}

/// To `fingerprint`.
pub fn fingerprint(rows: &[PgRow]) -> Result<String, Failure> {
    get(rows.first().ok_or_else(unreadable)?, 0)
}

/// Those of `leaves` that may have children: a partition that has rows may not, as long as it is one.
pub fn parents(rows: &[PgRow]) -> Result<BTreeSet<Oid>, Failure> {
    let mut parents = BTreeSet::new();
    for row in rows {
        if get(row, 8)? {
            parents.insert(oid(row, 2)?);
        }
    }
    Ok(parents)
}

/// To `leaves` of these tables, in the same order.
pub fn trees<'a>(tables: impl IntoIterator<Item = &'a String>, rows: &[PgRow]) -> Result<Trees, Failure> {
    let mut trees: Vec<(&String, Tree)> = tables.into_iter().map(|table| (table, Tree::Missing)).collect();
    for row in rows {
        let index = usize::try_from(get::<i32>(row, 0)?).map_err(|_| unreadable())?;
        let (_, tree) = trees.get_mut(index).ok_or_else(unreadable)?;
        // A temporary child is another session's affair.
        if matches!(tree, Tree::Refused(_)) || get(row, 7)? {
            continue;
        }
        let (kind, method, name): (&str, Option<&str>, String) = (get(row, 3)?, get(row, 4)?, get(row, 5)?);
        let refused = match (kind, method) {
            ("p", _) | ("r", Some("heap")) => None,
            ("r", method) => Some(format!("has the access method {}", method.unwrap_or("unknown"))),
            ("f", _) => Some("is a foreign table".to_owned()),
            ("v", _) => Some("is a view".to_owned()),
            ("m", _) => Some("is a materialized view".to_owned()),
            _ => Some("is no table".to_owned()),
        };
        if let Some(why) = refused {
            *tree = Tree::Refused(format!("{name} {why}"));
            continue;
        }
        if matches!(tree, Tree::Missing) {
            *tree = Tree::Leaves(BTreeMap::new());
        }
        if let (Tree::Leaves(leaves), "r") = (tree, kind) {
            // −1: it was never vacuumed or analyzed.
            let estimate = Some(get::<i64>(row, 6)?).filter(|rows| *rows >= 0);
            leaves.insert(oid(row, 2)?, LeafName { name, estimate });
        }
    }
    Ok(trees.into_iter().map(|(table, tree)| (table.clone(), tree)).collect())
}

/// To `estimate` of this table.
pub fn estimate(table: &str, rows: &[PgRow]) -> Result<i64, Failure> {
    match trees([&table.to_owned()], rows)?.remove(table) {
        None | Some(Tree::Missing) => {
            Err(Failure::new(FailureReason::TableMissing, format!("relation \"{table}\" does not exist")))
        }
        Some(Tree::Refused(why)) => {
            Err(Failure::new(FailureReason::Sql, format!("{table} cannot be estimated: {why}")))
        }
        Some(Tree::Leaves(leaves)) => leaves.into_values().try_fold(0_i64, |sum, leaf| {
            let unknown = || format!("{} was never analyzed, so nothing is known of its rows", leaf.name);
            let rows = leaf.estimate.ok_or_else(|| Failure::new(FailureReason::WrongResult, unknown()))?;
            Ok(sum.saturating_add(rows))
        }),
    }
}

/// To `count`, with the relation that was counted.
pub fn counted(rows: &[PgRow]) -> Result<(Counted, Oid), Failure> {
    let row = rows.first().ok_or_else(unreadable)?;
    Ok((Counted { rows: get(row, 0)?, end: ServerTime::from_us(get(row, 2)?) }, oid(row, 1)?))
}

/// To `obstacles`.
pub fn obstacles(rows: &[PgRow]) -> Result<Obstacles, Failure> {
    let mut obstacles = Obstacles::default();
    for row in rows {
        let names = match get(row, 0)? {
            "schema" => &mut obstacles.schemas,
            "leaf" => &mut obstacles.leaves,
            _ => &mut obstacles.policies,
        };
        names.push(get(row, 1)?);
    }
    Ok(obstacles)
}

fn oid(row: &PgRow, column: usize) -> Result<Oid, Failure> {
    get::<i64>(row, column)?.try_into().map_err(|_| unreadable())
}

fn time(row: &PgRow, column: usize) -> Result<Option<ServerTime>, Failure> {
    Ok(get::<Option<i64>>(row, column)?.map(ServerTime::from_us))
}

fn get<'r, T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>>(
    row: &'r PgRow,
    column: usize,
) -> Result<T, Failure> {
    row.try_get(column).map_err(|_| unreadable())
}

fn unreadable() -> Failure {
    Failure::new(FailureReason::WrongResult, "the server's statistics are not what was expected of its version")
}
