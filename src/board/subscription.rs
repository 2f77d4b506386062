//! The subscription to the events channel, on a connection of its own. It is made again for ever, and a PING finds the
//! half-open connection on which nothing would ever come.

use std::{
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
};
use tokio::{sync::broadcast, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{EVENTS_BOUND, Event, message};
use crate::{
    config::RedisAddr,
    redis_link::{self, Kind, Reached, Route},
};

/// Between two PINGs.
const PING_INTERVAL: Duration = Duration::from_secs(12);

/// The first wait before connecting anew; it doubles up to `RETRY_MAX`.
const RETRY_MIN: Duration = Duration::from_millis(100);

/// The longest wait before connecting anew.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// A subscription that `run` keeps standing.
pub struct Subscription {
    route: Arc<Route>,
    /// `PING_INTERVAL`, but in a test.
    ping_interval: Duration,
    /// Bounded by `EVENTS_BOUND`: a receiver that lags behind loads.
    events: broadcast::Sender<Event>,
    standing: AtomicBool,
}

/// What a connection calls with each message; it must not block.
struct Listener {
    events: broadcast::Sender<Event>,
    broken: CancellationToken,
}

// === impl Subscription ===

impl Subscription {
    /// A subscription that does not stand yet.
    pub fn new(route: Arc<Route>) -> Self {
        Self {
            route,
            ping_interval: PING_INTERVAL,
            events: broadcast::Sender::new(EVENTS_BOUND),
            standing: AtomicBool::new(false),
        }
    }

    /// Where events are posted.
    pub fn event_sender(&self) -> broadcast::Sender<Event> {
        self.events.clone()
    }

    /// Events from now on. Every receiver hears first or soon that the subscription stands, also one that comes late.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        let receiver = self.events.subscribe();
        // Ordered before the look: if the task sets it just after, the receiver is there for the task's own event.
        if self.standing.load(Ordering::SeqCst) {
            self.post(Event::Subscribed);
        }
        receiver
    }

    /// Connects, listens and connects anew until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let mut delay = RETRY_MIN;
        let mut is_reported = false;
        loop {
            let error = tokio::select! {
                () = stop.cancelled() => return,
                error = self.stand() => error,
            };
            if self.standing.swap(false, Ordering::SeqCst) {
                self.post(Event::Unsubscribed);
                delay = RETRY_MIN;
                is_reported = false;
            }
            if !is_reported {
                warn!(%error, "No subscription to the board's events, connecting anew");
                is_reported = true;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(delay.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
            }
            delay = (delay * 2).min(RETRY_MAX);
        }
    }

    /// Subscribes, asks for a sign of life as `stand` does, and leaves.
    pub async fn try_once(&self) -> RedisResult<()> {
        let (_, mut connection) = self.subscribe(&CancellationToken::new()).await?;
        self.answered(redis::cmd("PING").exec_async(&mut connection)).await
    }

    /// Subscribes and stays until it fails or the board is elsewhere, which is what it returns.
    async fn stand(&self) -> RedisError {
        let broken = CancellationToken::new();
        let (addr, mut connection) = match self.subscribe(&broken).await {
            Ok(subscribed) => subscribed,
            Err(error) => return error,
        };
        self.standing.store(true, Ordering::SeqCst);
        self.post(Event::Subscribed);
        info!("Subscribed to the board's events");
        let mut left = pin!(self.route.left(&addr));
        loop {
            tokio::select! {
                () = broken.cancelled() => return RedisError::from(io::Error::from(io::ErrorKind::ConnectionReset)),
                () = &mut left => return io::Error::other(format!("{addr} has the board no more")).into(),
                () = tokio::time::sleep(self.ping_interval) => {}
            }
            match self.answered(redis::cmd("PING").exec_async(&mut connection)).await {
                Ok(()) => self.post(Event::Alive),
                Err(error) => return error,
            }
        }
    }

    /// A connection that posts what it hears, and cancels `broken` when it ends or hears no more; with where it leads.
    async fn subscribe(&self, broken: &CancellationToken) -> RedisResult<(RedisAddr, MultiplexedConnection)> {
        // Looked for by other connections: the end of any that has this listener would be taken for that of this one.
        let Reached { addr, mut connection } = self.route.connect().await?;
        let Kind { is_sharded, .. } = self.route.kind(&mut connection).await?;
        let listener = Listener { events: self.events.clone(), broken: broken.clone() };
        let how = AsyncConnectionConfig::new().set_push_sender(move |push| listener.hear(push));
        let mut connection = self.route.connect_to(&addr, ProtocolVersion::RESP3, how).await?;
        let mut command = redis::cmd(if is_sharded { "SSUBSCRIBE" } else { "SUBSCRIBE" });
        command.arg(&self.route.keys().events);
        self.answered(command.exec_async(&mut connection)).await?;
        Ok((addr, connection))
    }

    async fn answered(&self, answer: impl Future<Output = RedisResult<()>>) -> RedisResult<()> {
        let patience = self.route.patience();
        timeout(patience, answer).await.unwrap_or_else(|_| Err(redis_link::timed_out(patience)))
    }

    fn post(&self, event: Event) {
        // Nobody listens: nobody misses it.
        let _ = self.events.send(event);
    }
}

// === impl Listener ===

impl Listener {
    fn hear(&self, push: PushInfo) -> Result<(), broadcast::error::SendError<Event>> {
        // A node that gives the slot away ends the subscriptions of its channels by itself.
        if matches!(push.kind, PushKind::Disconnection | PushKind::SUnsubscribe) {
            self.broken.cancel();
        }
        let (PushKind::Message | PushKind::SMessage, [_, Value::BulkString(body)]) = (&push.kind, push.data.as_slice())
        else {
            return Ok(());
        };
        let event = message::decode(body).unwrap_or_else(|error| Some(Event::Unreadable(error.to_string())));
        event.map_or(Ok(()), |event| self.events.send(event).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::config::{RedisAddr, RedisConfig, RedisServers};

    const TINY: Duration = Duration::from_millis(50);

    /// Answers as Redis does until the subscription stands, and then never again.
    async fn fall_silent(mut client: TcpStream) {
        let mut heard = Vec::new();
        while client.read_buf(&mut heard).await.is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&heard).into_owned();
            for (command, reply) in [
                ("HELLO", "%0\r\n"),
                ("LIB-NAME", "+OK\r\n"),
                ("LIB-VER", "+OK\r\n"),
                ("EVALSHA", "*2\r\n:0\r\n:0\r\n"),
                ("SUBSCRIBE", ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"),
            ] {
                if text.contains(command) {
                    client.write_all(reply.as_bytes()).await.unwrap();
                }
            }
            heard.clear();
        }
    }

    #[tokio::test]
    async fn a_subscription_on_which_nothing_would_come_is_found_and_made_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = "127.0.0.1".to_owned();
        let config = RedisConfig {
            servers: RedisServers::Single(RedisAddr { host, port: listener.local_addr().unwrap().port() }),
            username: None,
            password: None,
            db: 0,
            dial_timeout: Duration::from_secs(5),
            read_timeout: TINY,
            write_timeout: TINY,
            tls: None,
        };
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(fall_silent(client));
            }
        });
        let subscription = Arc::new(Subscription { ping_interval: TINY, ..Subscription::new(Route::new(config, "c")) });
        let mut events = subscription.events();
        let stop = CancellationToken::new();
        let running = Arc::clone(&subscription);
        let running = tokio::spawn({
            let stop = stop.clone();
            async move { running.run(stop).await }
        });
        for stands in [true, false, true] {
            let event = timeout(Duration::from_secs(20), events.recv()).await.unwrap().unwrap();
            assert_eq!(matches!(event, Event::Subscribed), stands, "{event:?}");
            assert_eq!(matches!(event, Event::Unsubscribed), !stands, "{event:?}");
        }
        stop.cancel();
        running.await.unwrap();
        server.abort();
    }
}
