//! What a follower hands on, as bytes: some fifty a leaf. No reader of counts needs it, so it goes out with no event and
//! is loaded only by a new holder.

use prost::Message;

use super::{
    Error,
    record::{VERSION, check_version, malformed},
};
use crate::{
    follow::{Bounds, Counters, Oid, Sample, SavedLeaf, Sentinels, ServerTime, State},
    proto::board::{FollowRecord, LeafRecord},
};

/// The state as bytes.
pub fn encode(state: &State) -> Vec<u8> {
    let State { sentinels, leaves } = state;
    // A standby has nothing that is followed.
    let Sentinels { database_reset, writer_reset, server_start, system, in_recovery: _ } = sentinels;
    FollowRecord {
        version: VERSION,
        database_reset_us: database_reset.map(ServerTime::us),
        writer_reset_us: writer_reset.map(ServerTime::us),
        server_start_us: server_start.us(),
        system: *system,
        leaves: leaves.iter().filter_map(|(oid, leaf)| leaf_record(*oid, leaf)).collect(),
    }
    .encode_to_vec()
}

/// The state of these bytes.
pub fn decode(bytes: &[u8]) -> Result<State, Error> {
    let record = FollowRecord::decode(bytes).map_err(|error| malformed("what is followed", error))?;
    check_version(record.version)?;
    Ok(State {
        sentinels: Sentinels {
            database_reset: record.database_reset_us.map(ServerTime::from_us),
            writer_reset: record.writer_reset_us.map(ServerTime::from_us),
            server_start: ServerTime::from_us(record.server_start_us),
            system: record.system,
            in_recovery: false,
        },
        leaves: record.leaves.iter().map(|leaf| (leaf.oid, leaf_of(leaf))).collect(),
    })
}

fn leaf_record(oid: Oid, leaf: &SavedLeaf) -> Option<LeafRecord> {
    let SavedLeaf { last: Sample { counters, filenode }, bounds, anchored_at } = *leaf;
    let Counters { inserted, updated, deleted, live, modified, vacuums, analyzes } = counters;
    Some(LeafRecord {
        oid,
        filenode: filenode?,
        inserted,
        updated,
        deleted,
        live,
        modified,
        vacuums,
        analyzes,
        value: bounds.value,
        below: bounds.value.saturating_sub(bounds.lower),
        above: bounds.upper.saturating_sub(bounds.value),
        anchored_at_us: anchored_at.us(),
    })
}

fn leaf_of(record: &LeafRecord) -> SavedLeaf {
    let LeafRecord { oid: _, filenode, inserted, updated, deleted, live, modified, vacuums, analyzes, .. } = *record;
    let LeafRecord { value, below, above, anchored_at_us, .. } = *record;
    let counters = Counters { inserted, updated, deleted, live, modified, vacuums, analyzes };
    SavedLeaf {
        last: Sample { counters, filenode: Some(filenode) },
        bounds: Bounds { lower: value.saturating_sub(below), value, upper: value.saturating_add(above) },
        anchored_at: ServerTime::from_us(anchored_at_us),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_followed_comes_back_as_it_went() {
        let at = |seconds: i64| ServerTime::from_us(1_700_000_000_000_000 + seconds * 1_000_000);
        let counters =
            |inserted| Counters { inserted, updated: 2, deleted: 3, live: 4, modified: 5, vacuums: 6, analyzes: 7 };
        let leaf = |inserted, lower, value, upper| SavedLeaf {
            last: Sample { counters: counters(inserted), filenode: Some(17) },
            bounds: Bounds { lower, value, upper },
            anchored_at: at(inserted),
        };
        let sentinels = Sentinels {
            database_reset: None,
            writer_reset: Some(at(0)),
            server_start: at(1),
            system: -7_000_000_000_000_000_000,
            in_recovery: false,
        };
        let state = State { sentinels, leaves: [(16_384, leaf(9, -3, -1, 4)), (16_385, leaf(1, 5, 5, 5))].into() };
        assert_eq!(decode(&encode(&state)).unwrap(), state);
        let sentinels = Sentinels { database_reset: Some(at(9)), writer_reset: None, ..state.sentinels };
        let empty = State { sentinels, leaves: [].into() };
        assert_eq!(decode(&encode(&empty)).unwrap(), empty);
    }

    #[test]
    fn a_leaf_takes_some_fifty_bytes() {
        let counters = Counters {
            inserted: 20_000_000,
            updated: 100_000,
            deleted: 500_000,
            live: 19_500_000,
            modified: 300_000,
            vacuums: 200,
            analyzes: 300,
        };
        let leaf = SavedLeaf {
            last: Sample { counters, filenode: Some(20_000_000) },
            bounds: Bounds { lower: 19_499_990, value: 19_500_000, upper: 19_500_000 },
            anchored_at: ServerTime::from_us(1_700_000_000_000_000),
        };
        let record = leaf_record(20_000_001, &leaf).unwrap();
        assert!(record.encoded_len() < 60, "{}", record.encoded_len());
    }

    #[test]
    fn a_newer_version_is_refused() {
        let newer = FollowRecord { version: VERSION + 1, ..FollowRecord::default() };
        assert!(matches!(decode(&newer.encode_to_vec()), Err(Error::Malformed(_))));
    }
}
