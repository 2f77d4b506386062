//! What several servers say who may be silent, behind the times, or cut off from the others.

use std::{pin::pin, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use redis::RedisResult;
use tokio::time::{Instant, sleep_until};

use super::together;
use crate::config::RedisAddr;

/// After the first answer the others may take so long, unless more than half agree before.
const GRACE: Duration = Duration::from_millis(50);

/// What one of them was asked.
pub(super) type Asked<'a> = (&'a RedisAddr, BoxFuture<'a, RedisResult<RedisAddr>>);

/// What more than half of all agree on; without such, all that was said, what most say first. Asks all at once, so
/// that the silent ones cost no time. `who` names them in the error.
pub(super) async fn agreed(who: &str, all: Vec<Asked<'_>>) -> RedisResult<Vec<RedisAddr>> {
    let quorum = all.len() / 2 + 1;
    let mut answers: FuturesUnordered<_> = all.into_iter().map(async |(whom, answer)| (whom, answer.await)).collect();
    let mut said: Vec<(usize, RedisAddr)> = Vec::new();
    let mut failed = Vec::new();
    let mut grace = pin!(sleep_until(Instant::now()));
    loop {
        let (whom, answer) = tokio::select! {
            biased;
            Some(answered) = answers.next() => answered,
            () = &mut grace, if !said.is_empty() => break,
            else => break,
        };
        match answer {
            Ok(addr) => {
                if said.is_empty() {
                    grace.as_mut().reset(Instant::now() + GRACE);
                }
                let at = said.iter().position(|(_, known)| *known == addr).unwrap_or_else(|| {
                    said.push((0, addr));
                    said.len() - 1
                });
                said[at].0 += 1;
                if said[at].0 >= quorum {
                    return Ok(vec![said.swap_remove(at).1]);
                }
            }
            Err(error) => failed.push((whom.clone(), error)),
        }
    }
    if said.is_empty() {
        return Err(together(who, &failed));
    }
    said.sort_by_key(|(votes, _)| std::cmp::Reverse(*votes));
    Ok(said.into_iter().map(|(_, addr)| addr).collect())
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures_util::FutureExt;

    use super::*;

    fn addr(port: u16) -> RedisAddr {
        RedisAddr { host: "h".to_owned(), port }
    }

    /// Each server says a port after so many milliseconds, or fails.
    async fn asked(answers: &[(u64, Option<u16>)]) -> Result<Vec<u16>, String> {
        let addrs: Vec<_> = (0u16..).zip(answers).map(|(port, answer)| (addr(port), *answer)).collect();
        let ask = |(whom, (after, answer)): &'static (RedisAddr, (u64, Option<u16>))| -> Asked<'static> {
            let answer = async move {
                tokio::time::sleep(Duration::from_millis(*after)).await;
                answer.map(addr).ok_or_else(|| io::Error::other("refused").into())
            };
            (whom, answer.boxed())
        };
        let addrs: &'static Vec<_> = Box::leak(Box::new(addrs));
        let agreed = agreed("nobody answers", addrs.iter().map(ask).collect()).await;
        agreed.map(|addrs| addrs.iter().map(|addr| addr.port).collect()).map_err(|error| error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_half_decide_and_the_rest_is_not_waited_for() {
        let began = Instant::now();
        assert_eq!(asked(&[(0, Some(1)), (10, Some(2)), (20, Some(2)), (9_000, None)]).await, Ok(vec![2, 1]));
        assert_eq!(began.elapsed(), GRACE, "two of four are no majority");
        let began = Instant::now();
        assert_eq!(asked(&[(0, Some(1)), (10, Some(2)), (20, Some(2))]).await, Ok(vec![2]));
        assert_eq!(began.elapsed(), Duration::from_millis(20));
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_one_that_answers_is_believed() {
        let began = Instant::now();
        assert_eq!(asked(&[(9_000, Some(1)), (10, None), (500, Some(2))]).await, Ok(vec![2]));
        assert_eq!(began.elapsed(), Duration::from_millis(500) + GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn who_did_not_answer_is_told_with_the_reason() {
        let told = asked(&[(5, None), (1, None)]).await.unwrap_err();
        assert_eq!(told, "nobody answers: h:1: refused; h:0: refused");
    }
}
