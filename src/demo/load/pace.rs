//! When each request is due: every kind at fixed times of its own, so that any stretch of time has as many of each as
//! its rate says, give or take one. Nothing that happens to a request moves the others: the loop is open.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use fastrand::Rng;

/// A request of the future.
#[derive(Debug, PartialEq)]
pub(super) struct Due {
    /// Since the start.
    pub(super) at: Duration,
    /// Index of its kind.
    pub(super) kind: usize,
    /// Decides what it is about.
    pub(super) seed: u64,
}

/// The times of all requests, the next one first; the same for the same rates and seed.
#[derive(Debug)]
pub(super) struct Schedule {
    next: BinaryHeap<Reverse<(Duration, usize)>>,
    kinds: Vec<Beat>,
    rng: Rng,
}

/// The times of one kind.
#[derive(Debug)]
struct Beat {
    /// Of the first one, in seconds: anywhere within the first period, so that kinds do not come in step.
    phase: f64,
    /// Seconds from one to the next.
    period: f64,
    /// How many were due.
    count: u64,
}

// === impl Schedule ===

impl Schedule {
    /// From rates a second, by kind; a kind with a rate of 0 is never due.
    pub(super) fn new(rates: &[f64], seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let kinds: Vec<_> =
            rates.iter().map(|rate| Beat { phase: rng.f64() / rate, period: 1.0 / rate, count: 0 }).collect();
        let firsts = kinds.iter().enumerate();
        let next = firsts.filter_map(|(kind, beat)| Some(Reverse((beat.due()?, kind)))).collect();
        Self { next, kinds, rng }
    }
}

impl Iterator for Schedule {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let Reverse((at, kind)) = self.next.pop()?;
        self.kinds[kind].count += 1;
        self.next.extend(self.kinds[kind].due().map(|at| Reverse((at, kind))));
        Some(Due { at, kind, seed: self.rng.u64(..) })
    }
}

// === impl Beat ===

impl Beat {
    /// `None` when it is later than any clock goes.
    fn due(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.phase + self.period * self.count as f64).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(rates: &[f64], seed: u64, seconds: u64) -> Vec<Due> {
        Schedule::new(rates, seed).take_while(|due| due.at < Duration::from_secs(seconds)).collect()
    }

    #[test]
    fn every_kind_comes_as_often_as_its_rate_says() {
        let rates = [141.142, 0.0, 1.7, 0.0317];
        let due = within(&rates, 7, 600);
        for (kind, rate) in rates.iter().enumerate() {
            let count = due.iter().filter(|due| due.kind == kind).count() as f64;
            assert!((count - rate * 600.0).abs() <= 1.0, "{rate}: {count}");
        }
    }

    #[test]
    fn requests_come_in_the_order_of_their_times() {
        let due = within(&[50.0, 3.0], 1, 10);
        assert!(due.len() > 500 && due.is_sorted_by_key(|due| due.at));
    }

    #[test]
    fn the_same_seed_gives_the_same_requests_and_another_does_not() {
        let rates = [20.0, 3.0];
        assert_eq!(within(&rates, 3, 5), within(&rates, 3, 5));
        assert_ne!(within(&rates, 3, 5), within(&rates, 4, 5));
    }

    #[test]
    fn nothing_is_due_where_every_rate_is_zero() {
        assert_eq!(Schedule::new(&[0.0, 0.0], 1).next(), None);
    }
}
