//! How much of a window there are samples for. `rate(x[48h])` divides by 48 h, also when x is half an hour old, and is
//! then a hundred times too low. What must hold: a rate is asked only for a window that is covered from end to end, and
//! whatever else makes it too low is said.
//!
//! It is the counter as a whole that must be there: a series that begins within the window is most often a pod that
//! took over from another, whose increase `sum(rate())` adds to that of the one before.

use std::{collections::BTreeMap, time::Duration};

use super::{
    answer::Labels,
    client::Client,
    error::{Cause, Error},
    notes::Notes,
    promql::{self, Counter, Moment},
};

/// Looks at a window at so many moments: the beginning is known to a five-hundredth, which an estimate bears.
const LOOKS: u32 = 576;

/// Samples of one series below which the extrapolation of `rate` is most of the rate.
const FEWEST_SAMPLES: u64 = 4;

/// Windows that may hold fewer: nobody scrapes less often than every two minutes.
const SHORT: Duration = Duration::from_secs(600);

/// Share of a window without samples that nobody need hear of.
const SMALL_HOLE: f64 = 0.02;

/// A window that is covered at each of its ends.
#[derive(Debug)]
pub struct Covered {
    /// Not longer than what was asked for.
    pub window: Duration,
    /// Where it ends: the times that were asked for, or the last sample before one.
    pub ends: Vec<Moment>,
    /// For how long each sum has had samples.
    pub ages: BTreeMap<Labels, Duration>,
    /// How exact the ages are.
    pub slack: Duration,
}

/// What there is of one window.
struct Span {
    first: Moment,
    last: Moment,
    firsts: BTreeMap<Labels, Moment>,
    /// How exact `first` and `firsts` are.
    step: Duration,
}

// === impl Covered ===

impl Covered {
    /// Cuts `window` down to what is covered at each of `times`, which are not none; says so.
    pub async fn of(
        client: &Client,
        counter: Counter,
        window: Duration,
        times: &[Moment],
        notes: &mut Notes,
    ) -> Result<Self, Error> {
        let mut spans = Vec::new();
        for &at in times {
            spans.push(Span::find(client, counter, window, at, notes).await?);
        }
        let mut covered = window;
        for (&at, span) in times.iter().zip(&spans) {
            let Span { first, last, .. } = *span;
            let there = last.since(first);
            if there + span.slack() < window {
                // Seconds are exact enough, and easier to read. A window of nothing is none to Prometheus.
                covered = covered.min(Duration::from_secs(there.as_secs().max(1)));
                let (there, window) = (rounded(there), rounded(window));
                let ends = if last == at { String::new() } else { format!(", the last from {}", last.rfc3339()) };
                let at = at.rfc3339();
                notes.add(format!("{} has samples for only {there} of the {window} before {at}{ends}", counter.name));
            }
        }
        if covered < window {
            notes.add(format!("the window was cut from {} to {}", rounded(window), promql::duration(covered)));
        }
        let ends: Vec<Moment> = spans.iter().map(|span| span.last).collect();
        if covered < SHORT {
            for &end in &ends {
                enough_samples(client, counter, covered, end).await?;
            }
        }
        let slack = spans.iter().map(Span::slack).max().unwrap_or_default();
        let mut ages = BTreeMap::new();
        for Span { last, firsts, .. } in spans {
            for (labels, first) in firsts {
                let age = last.since(first);
                ages.entry(labels).and_modify(|known: &mut Duration| *known = age.min(*known)).or_insert(age);
            }
        }
        Ok(Self { window: covered, ends, ages, slack })
    }
}

// === impl Span ===

impl Span {
    async fn find(
        client: &Client,
        counter: Counter,
        window: Duration,
        at: Moment,
        notes: &mut Notes,
    ) -> Result<Self, Error> {
        let mut step = step(window);
        let mut firsts = firsts(client, counter, window, step, at, notes).await?;
        let mut age = age(&firsts, at);
        if age + step * 2 < window {
            // Younger than the window, perhaps so young that it began after the last step: look closer.
            let closer = (age + step * 2).min(window);
            step = self::step(closer);
            firsts = self::firsts(client, counter, closer, step, at, notes).await?;
            age = self::age(&firsts, at);
        }
        let none = || client.error(Cause::NoSeries { what: counter.name.to_owned(), window, at: at.rfc3339() });
        let first = earliest(&firsts).ok_or_else(none)?;
        // A counter that is there at the end covers the end, as Prometheus itself has it.
        let last = match single(client, &counter.newest(), at, notes).await? {
            Some(_) => at,
            None => {
                let step = single(client, &counter.last(age.max(step), step), at, notes).await?.ok_or_else(none)?;
                // It is there for some minutes after its last sample.
                let last = single(client, &counter.newest(), Moment::of_unix(step), notes).await?.ok_or_else(none)?;
                Moment::of_unix(last)
            }
        };
        let span = Self { first, last, firsts, step };
        span.look_for_holes(client, counter, notes).await?;
        Ok(span)
    }

    /// What is there from the beginning is found up to one step later; another is for the grid on which steps lie.
    fn slack(&self) -> Duration {
        self.step * 2
    }

    async fn look_for_holes(&self, client: &Client, counter: Counter, notes: &mut Notes) -> Result<(), Error> {
        let whole = self.last.since(self.first);
        let step = step(whole);
        if whole < step {
            return Ok(());
        }
        let looks = (whole.as_secs_f64() / step.as_secs_f64()).floor();
        let present = single(client, &counter.present(whole, step), self.last, notes).await?.unwrap_or_default();
        let missing = looks - present;
        if missing > 2.0 && missing > looks * SMALL_HOLE {
            let missing = rounded(step.mul_f64(missing));
            let (name, whole, at) = (counter.name, rounded(whole), self.last.rfc3339());
            notes.add(format!(
                "{name} has no samples for about {missing} of the {whole} before {at}: what series counted that ended or \
                 began meanwhile is missing"
            ));
        }
        Ok(())
    }
}

/// At which distance to look.
fn step(window: Duration) -> Duration {
    Duration::from_secs((window / LOOKS).as_secs().max(1))
}

async fn firsts(
    client: &Client,
    counter: Counter,
    window: Duration,
    step: Duration,
    at: Moment,
    notes: &mut Notes,
) -> Result<BTreeMap<Labels, Moment>, Error> {
    let answer = client.query(&counter.first(window, step), at).await?;
    notes.extend(answer.warnings);
    Ok(answer.samples.into_iter().map(|(labels, first)| (labels, Moment::of_unix(first))).collect())
}

fn earliest(firsts: &BTreeMap<Labels, Moment>) -> Option<Moment> {
    firsts.values().copied().reduce(|a, b| if b < a { b } else { a })
}

fn age(firsts: &BTreeMap<Labels, Moment>, at: Moment) -> Duration {
    earliest(firsts).map_or(Duration::ZERO, |first| at.since(first))
}

/// The value of an expression that has one element at most.
async fn single(client: &Client, promql: &str, at: Moment, notes: &mut Notes) -> Result<Option<f64>, Error> {
    let answer = client.query(promql, at).await?;
    notes.extend(answer.warnings);
    Ok(answer.samples.first().map(|(_, value)| *value))
}

async fn enough_samples(client: &Client, counter: Counter, window: Duration, at: Moment) -> Result<(), Error> {
    let most = single(client, &counter.samples(window), at, &mut Notes::default()).await?.unwrap_or_default();
    // A count of samples, far below where the conversion would lose any.
    let samples = most as u64;
    if samples >= FEWEST_SAMPLES {
        return Ok(());
    }
    Err(client.error(Cause::FewSamples { metric: counter.name, samples, window, at: at.rfc3339() }))
}

/// A span for people, who need no seconds of an hour.
pub fn rounded(span: Duration) -> String {
    let unit = match span.as_secs() {
        0..60 => 1,
        60..7200 => 60,
        _ => 600,
    };
    promql::duration(Duration::from_secs(span.as_secs() / unit * unit))
}
