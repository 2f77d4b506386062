//! Streams: each sends the newest state when the client is ready for it, so a slow reader skips states and never makes
//! a queue grow. They end with UNAVAILABLE as soon as the instance stops, and when they have reached their age.

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::metrics::rpc::{OpenWatch, RpcMetrics};

use super::{CONNECTION_AGE, layer::Deadline, status};

/// Streams open at once on one instance; each holds one copy of the counts.
const MAX_STREAMS: usize = 1024;

/// An idle WatchRowCounts says this often that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(30);

/// A stream ends by itself after this long, so that its client spreads too. Longer than the connection's age: by then
/// calling again makes a new connection.
pub const MAX_AGE: Duration = CONNECTION_AGE.saturating_add(Duration::from_secs(60));

/// What tonic is given.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Lets streams in and ends them.
#[derive(Clone)]
pub struct Streams {
    places: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
    metrics: Arc<RpcMetrics>,
}

/// What differs between the streams.
pub trait Source: Send + 'static {
    /// What changes.
    type State: Clone + Send + Sync + 'static;
    /// What is sent.
    type Message: Send + 'static;

    /// The message that brings the client from what it has to `state`; `None` when nothing changed for it.
    fn message(&mut self, state: &Self::State) -> Option<Self::Message>;

    /// When there may be a message though the state is the same; `None`: never.
    fn due(&self) -> Option<Instant>;

    /// Sent when nothing else was for `HEARTBEAT`; `None` for streams without one.
    fn heartbeat(&self) -> Option<Self::Message>;
}

/// An open stream.
struct Open<S: Source> {
    source: S,
    state: watch::Receiver<S::State>,
    streams: Streams,
    deadline: Option<Instant>,
    max_age: Instant,
    heartbeat: tokio::time::Interval,
    /// The first message is due at once.
    is_fresh: bool,
    _place: OwnedSemaphorePermit,
    _counted: OpenWatch,
}

// === impl Streams ===

impl Streams {
    /// Streams that end when `stop` does.
    pub fn new(stop: CancellationToken, metrics: Arc<RpcMetrics>) -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_STREAMS)), stop, metrics }
    }

    /// Opens a stream of what `source` makes of `state`.
    pub fn open<S: Source>(
        &self,
        source: S,
        state: watch::Receiver<S::State>,
        deadline: Option<Deadline>,
    ) -> Result<BoxStream<S::Message>, Status> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| status::too_many_streams(MAX_STREAMS))?;
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let open = Open {
            source,
            state,
            streams: self.clone(),
            deadline: deadline.map(|Deadline(at)| at),
            max_age: Instant::now() + MAX_AGE,
            heartbeat,
            is_fresh: true,
            _place: place,
            _counted: self.metrics.watch_opened(),
        };
        Ok(Box::pin(futures_util::stream::unfold(Some(open), |open| async {
            let mut open = open?;
            match open.next().await {
                Ok(message) => Some((Ok(message), Some(open))),
                Err(end) => Some((Err(end), None)),
            }
        })))
    }
}

// === impl Open ===

impl<S: Source> Open<S> {
    async fn next(&mut self) -> Result<S::Message, Status> {
        loop {
            let mut is_idle = false;
            if !std::mem::take(&mut self.is_fresh) {
                tokio::select! {
                    biased;
                    () = self.streams.stop.cancelled() => return Err(status::shutting_down()),
                    () = at(self.deadline) => return Err(status::deadline_exceeded()),
                    () = sleep_until(self.max_age) => return Err(status::stream_too_old()),
                    changed = self.state.changed() => if changed.is_err() { return Err(status::shutting_down()) },
                    _ = self.heartbeat.tick() => is_idle = true,
                    () = at(self.source.due()) => {}
                }
            }
            let state = self.state.borrow_and_update().clone();
            if let Some(message) = self.source.message(&state) {
                self.heartbeat.reset();
                return Ok(message);
            }
            if is_idle && let Some(message) = self.source.heartbeat() {
                return Ok(message);
            }
        }
    }
}

/// The moment; never, without one.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;
    use crate::metrics::Exporter;

    /// Sends each number once, but for zero at first.
    #[derive(Default)]
    struct Numbers(u32);

    impl Source for Numbers {
        type State = u32;
        type Message = String;

        fn message(&mut self, state: &u32) -> Option<String> {
            let before = std::mem::replace(&mut self.0, *state);
            (*state != before).then(|| state.to_string())
        }

        fn due(&self) -> Option<Instant> {
            None
        }

        fn heartbeat(&self) -> Option<String> {
            Some("alive".to_owned())
        }
    }

    fn streams(stop: &CancellationToken) -> Streams {
        let metrics = RpcMetrics::new(&Exporter::new().unwrap().meter());
        Streams::new(stop.clone(), Arc::new(metrics))
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_stream_says_every_half_minute_that_it_lives_and_a_busy_one_does_not() {
        let (state, receiver) = watch::channel(1);
        let mut open = streams(&CancellationToken::new()).open(Numbers::default(), receiver, None).unwrap();
        let began = Instant::now();
        assert_eq!(open.next().await.unwrap().unwrap(), "1");
        assert_eq!(began.elapsed(), Duration::ZERO);

        tokio::time::advance(HEARTBEAT / 2).await;
        state.send_replace(2);
        assert_eq!(open.next().await.unwrap().unwrap(), "2");
        for _ in 0..2 {
            let idle = Instant::now();
            assert_eq!(open.next().await.unwrap().unwrap(), "alive");
            assert_eq!(idle.elapsed(), HEARTBEAT);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_comes_late_gets_the_newest_state_and_none_of_those_between() {
        let (state, receiver) = watch::channel(1);
        let mut open = streams(&CancellationToken::new()).open(Numbers::default(), receiver, None).unwrap();
        for number in 2..=1000 {
            state.send_replace(number);
        }
        assert_eq!(open.next().await.unwrap().unwrap(), "1000");
        assert_eq!(open.next().await.unwrap().unwrap(), "alive");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_its_deadline_and_with_the_instance() {
        let (_state, receiver) = watch::channel(0);
        let stop = CancellationToken::new();
        let streams = streams(&stop);
        let deadline = Instant::now() + Duration::from_secs(3);
        let mut bounded = streams.open(Numbers::default(), receiver.clone(), Some(Deadline(deadline))).unwrap();
        assert_eq!(bounded.next().await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(Instant::now(), deadline);
        assert!(bounded.next().await.is_none());

        let mut endless = streams.open(Numbers::default(), receiver, None).unwrap();
        stop.cancel();
        assert_eq!(endless.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_has_reached_its_age_tells_its_client_to_call_again() {
        let (_state, receiver) = watch::channel(0);
        let mut open = streams(&CancellationToken::new()).open(Numbers::default(), receiver, None).unwrap();
        let began = Instant::now();
        let end = loop {
            match open.next().await.unwrap() {
                Ok(message) => assert_eq!(message, "alive"),
                Err(end) => break end,
            }
        };
        assert_eq!((end.code(), began.elapsed()), (Code::Unavailable, MAX_AGE));
        assert!(end.get_details_retry_info().unwrap().retry_delay.is_some());
    }

    #[tokio::test]
    async fn no_more_streams_are_let_in_than_there_are_places_and_an_ended_one_gives_its_place_back() {
        let (_state, receiver) = watch::channel(0);
        let streams = streams(&CancellationToken::new());
        let mut open: Vec<_> =
            (0..MAX_STREAMS).map(|_| streams.open(Numbers::default(), receiver.clone(), None).unwrap()).collect();
        let refused = streams.open(Numbers::default(), receiver.clone(), None).map(|_| ()).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        open.pop();
        assert!(streams.open(Numbers::default(), receiver, None).is_ok());
    }
}
