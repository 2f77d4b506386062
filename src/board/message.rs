//! What goes over the events channel: `kind:body`. Messages carry the data itself, so no reader fetches after one; kinds
//! that this version does not know are ignored, so that newer instances may add some.

use super::{
    Error, Event, Pending, Resign,
    record::{decode_collection, decode_snapshot, from_us, parse},
};
use crate::collection::CollectionId;

/// The event that a message tells; `None` for a kind that this version does not know.
pub fn decode(message: &[u8]) -> Result<Option<Event>, Error> {
    let Some(colon) = message.iter().position(|byte| *byte == b':') else {
        return Ok(None);
    };
    let body = &message[colon + 1..];
    Ok(Some(match &message[..colon] {
        b"granted" => Event::Granted(parse("granted", text(body)?)?),
        b"released" => Event::Released(parse("released", text(body)?)?),
        b"snapshot" => Event::Snapshot(Box::new(decode_snapshot(body)?)),
        b"collection" => Event::Collection(Box::new(decode_collection(body)?)),
        b"forgotten" => Event::Forgotten(decode_forgotten(text(body)?)?),
        b"pending" => Event::Pending(decode_pending(text(body)?)?),
        b"resign" => Event::Resign(decode_resign(text(body)?)?),
        _ => return Ok(None),
    }))
}

/// The pending collection of `id create_us version queries`.
pub fn decode_pending(line: &str) -> Result<Pending, Error> {
    let [id, create_us, version, queries] = fields(line)?;
    Ok(Pending {
        id: parse("pending id", id)?,
        create_time: from_us(parse("pending create time", create_us)?),
        query_names: queries.split(',').map(|name| parse("pending query", name)).collect::<Result<_, _>>()?,
        version: parse("pending version", version)?,
    })
}

/// The wish of `epoch until_us`.
pub fn decode_resign(line: &str) -> Result<Resign, Error> {
    let [epoch, until_us] = fields(line)?;
    Ok(Resign { epoch: parse("resign epoch", epoch)?, until: from_us(parse("resign until", until_us)?) })
}

fn decode_forgotten(line: &str) -> Result<Vec<CollectionId>, Error> {
    line.split(' ').map(|id| parse("forgotten id", id)).collect()
}

/// The first `N` words; more of them are a newer version's and ignored.
fn fields<const N: usize>(line: &str) -> Result<[&str; N], Error> {
    let words: Vec<_> = line.split(' ').take(N).collect();
    words.try_into().map_err(|_| Error::Malformed(format!("want {N} words, got {line:?}")))
}

fn text(body: &[u8]) -> Result<&str, Error> {
    str::from_utf8(body).map_err(|error| Error::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_the_scripts_are_understood() {
        assert!(matches!(decode(b"granted:1790000000000001"), Ok(Some(Event::Granted(1_790_000_000_000_001)))));
        assert!(matches!(decode(b"released:7"), Ok(Some(Event::Released(7)))));
        let id = CollectionId::generate();
        let pending = Pending {
            id,
            create_time: from_us(5),
            query_names: ["blobs".parse().unwrap(), "tags".parse().unwrap()].into(),
            version: 3,
        };
        let message = format!("pending:{id} 5 3 blobs,tags");
        assert!(matches!(decode(message.as_bytes()), Ok(Some(Event::Pending(told))) if told == pending));
        let forgotten = format!("forgotten:{id} {id}");
        assert!(matches!(decode(forgotten.as_bytes()), Ok(Some(Event::Forgotten(ids))) if ids == [id, id]));
        let resign = Resign { epoch: 7, until: from_us(9) };
        assert!(matches!(decode(b"resign:7 9"), Ok(Some(Event::Resign(told))) if told == resign));
    }

    #[test]
    fn an_unknown_kind_is_ignored_and_a_broken_body_is_told() {
        assert!(matches!(decode(b"hello"), Ok(None)));
        assert!(matches!(decode(b"rates:whatever"), Ok(None)));
        for broken in ["granted:x", "pending:1 2", "resign:7", "snapshot:\u{1}", "collection:"] {
            assert!(matches!(decode(broken.as_bytes()), Err(Error::Malformed(_))), "{broken:?}");
        }
    }
}
