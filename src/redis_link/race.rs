//! Several ways to the same thing, of which some may lead nowhere.

use std::{collections::VecDeque, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use redis::RedisResult;
use tokio::time::sleep;

use super::together;
use crate::config::RedisAddr;

/// A way that is silent so long is gone on with beside the next. Well below the time-out of any call.
const STAGGER: Duration = Duration::from_millis(100);

/// A way, by where it begins.
pub(super) type Way<'a, T> = (RedisAddr, BoxFuture<'a, RedisResult<T>>);

/// What the first way that leads there gives; they begin one after another. `what` says what none of them did.
pub(super) async fn first<T>(what: &str, ways: impl IntoIterator<Item = Way<'_, T>>) -> RedisResult<T> {
    let mut waiting: VecDeque<_> = ways.into_iter().map(async |(addr, way)| (addr, way.await)).collect();
    let mut begun: FuturesUnordered<_> = waiting.pop_front().into_iter().collect();
    let mut failed = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some((addr, outcome)) = begun.next() => match outcome {
                Ok(found) => return Ok(found),
                Err(error) => failed.push((addr, error)),
            },
            () = sleep(STAGGER), if !waiting.is_empty() => {}
            else => return Err(together(what, &failed)),
        }
        begun.extend(waiting.pop_front());
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures_util::FutureExt;
    use tokio::time::Instant;

    use super::*;

    /// Each way ends after so many milliseconds, with its number or an error; the time that the first took.
    async fn raced(ways: &[(u64, bool)]) -> (Result<u16, String>, u128) {
        let began = Instant::now();
        let way = |(number, (after, leads)): (u16, &(u64, bool))| -> Way<'static, u16> {
            let (after, leads) = (Duration::from_millis(*after), *leads);
            let way = async move {
                sleep(after).await;
                if leads { Ok(number) } else { Err(io::Error::other("refused").into()) }
            };
            (RedisAddr { host: "h".to_owned(), port: number }, way.boxed())
        };
        let outcome = first("no way", (0..).zip(ways).map(way)).await;
        (outcome.map_err(|error| error.to_string()), began.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_begins_when_one_fails_or_is_silent() {
        assert_eq!(raced(&[(10, true), (0, true)]).await, (Ok(0), 10), "the first is quick enough");
        assert_eq!(raced(&[(10, false), (5, true)]).await, (Ok(1), 15));
        assert_eq!(raced(&[(9_000, true), (9_000, true), (5, true)]).await, (Ok(2), 205));
        assert_eq!(raced(&[(150, true), (9_000, true)]).await, (Ok(0), 150), "and is not given up");
    }

    #[tokio::test(start_paused = true)]
    async fn every_failure_is_told_once_all_have_failed() {
        let (outcome, took) = raced(&[(300, false), (10, false)]).await;
        assert_eq!((outcome.unwrap_err().as_str(), took), ("no way: h:1: refused; h:0: refused", 300));
    }
}
