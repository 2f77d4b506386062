//! A registry's request load without the registry: plays a mix of requests as the SQL that a registry sends for them, and
//! serves the counters that a registry serves. What it says it sent is what it sent: it counts where it sends, and a
//! statement that fails or finds other rows than it should ends it with an error.

use std::{
    net::SocketAddr,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use pace::Schedule;
use page::Page;
use player::{Player, Stage};
use sample::Sample;
use sent::Tally;

pub use command::{LoadArgs, run};
pub use counted::counted;
pub use mix::{Kind, Mix};
pub use options::LoadOptions;
pub use query::Verb;
pub use sent::{Operations, Sent};
pub use share::{Share, ShareError};

mod command;
mod counted;
mod mix;
mod options;
mod pace;
mod page;
mod player;
mod private;
mod query;
mod report;
mod request;
mod sample;
mod script;
mod sent;
mod share;
mod spare;

/// Why a load cannot be played, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option is out of its range.
    #[error("{name} must be {range}, not {value}")]
    Option {
        /// Its name.
        name: &'static str,
        /// What it may be.
        range: &'static str,
        /// What it is.
        value: String,
    },
    /// Shares of kinds are wrong.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The database cannot be reached.
    #[error("cannot connect to the database")]
    Connect(#[source] sqlx::Error),
    /// The database does not say what it has.
    #[error("cannot read what the database has")]
    Sample(#[source] sqlx::Error),
    /// The database has a row that makes no sense.
    #[error("cannot read what the database has: a row is not of its form")]
    Row,
    /// The database has too few rows.
    #[error("the database has no {0}")]
    NothingThere(&'static str),
    /// The page cannot be served.
    #[error("cannot listen on {addr}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database refused a statement.
    #[error("the database refused {what} of {request}")]
    Refused {
        /// Name of the query.
        what: &'static str,
        /// Of which kind of request.
        request: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A statement found rows where there should be none, or none where there should be some.
    #[error("{what} of {request} came to {found} rows, which is not what such a request finds")]
    Surprise {
        /// Name of the query.
        what: &'static str,
        /// Of which kind of request.
        request: String,
        /// Rows found or changed.
        found: u64,
    },
}

/// A load that is played; dropping it ends it at once.
pub struct Load {
    stage: Arc<Stage>,
    stop: CancellationToken,
    players: JoinSet<Result<(), Error>>,
    page: Page,
}

// === impl Load ===

impl Load {
    /// Begins to play on a database that `schema::create` and `schema::generate` made, or one like it. All it takes to
    /// begin is done before the first request, and none of it counts as an operation.
    pub async fn start(url: &str, options: LoadOptions) -> Result<Self, Error> {
        options.validate()?;
        let roles = options.roles()?;
        let rates: Vec<_> = roles.iter().map(|role| role.rate).collect();
        let database = PgConnectOptions::from_str(url).map_err(Error::Connect)?.application_name("rowcount-load");
        let mut connection = database.connect().await.map_err(Error::Connect)?;
        let (sample, spare) = Sample::read(&mut connection).await?;
        connection.close().await.map_err(Error::Connect)?;

        let tally = Tally::new(&roles);
        let stage = Arc::new(Stage { roles, size: options.size(), sample, spare, tally });
        let page = Page::start(options.listen, options.mix.handler_label(), Arc::clone(&stage)).await?;
        let mut ready = Vec::with_capacity(options.connections);
        for _ in 0..options.connections {
            ready.push(Player::connect(&database, Arc::clone(&stage)).await?);
        }

        let stop = CancellationToken::new();
        let schedule = Arc::new(Mutex::new(Schedule::new(&rates, options.seed)));
        let started = Instant::now();
        let mut players = JoinSet::new();
        for player in ready {
            let (stage, schedule, stop) = (Arc::clone(&stage), Arc::clone(&schedule), stop.clone());
            players.spawn(async move {
                let played = play(player, &stage, &schedule, started, &stop).await;
                if played.is_err() {
                    stop.cancel();
                }
                played
            });
        }
        Ok(Self { stage, stop, players, page })
    }

    /// Where `/metrics` is served.
    pub fn addr(&self) -> SocketAddr {
        self.page.addr()
    }

    /// What was sent so far.
    pub fn sent(&self) -> Sent {
        self.stage.tally.sent()
    }

    /// Waits until it plays no more. Unless it was stopped, an error ended it: `stop` and `finish` tell which.
    pub async fn broken(&self) {
        self.stop.cancelled().await;
    }

    /// Begins no more requests and waits for those that have begun. The page stays.
    pub async fn stop(&mut self) -> Result<Sent, Error> {
        self.stop.cancel();
        let mut ended = Ok(());
        while let Some(player) = self.players.join_next().await {
            let player = player.expect("a player neither panics nor is aborted while its load is there");
            ended = ended.and(player);
        }
        ended.map(|()| self.sent())
    }

    /// Ends it in good order.
    pub async fn finish(mut self) -> Result<Sent, Error> {
        self.stop().await
    }
}

/// Takes one request after the other from the schedule, each when it is due.
async fn play(
    mut player: Player,
    stage: &Stage,
    schedule: &Mutex<Schedule>,
    started: Instant,
    stop: &CancellationToken,
) -> Result<(), Error> {
    while !stop.is_cancelled() {
        // A schedule is whole before and after each step, so a panic elsewhere takes nothing from it.
        let next = schedule.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(due) = next else { break };
        let at = started + due.at;
        if stop.run_until_cancelled(sleep_until(at)).await.is_none() {
            break;
        }
        stage.tally.began(at.elapsed());
        player.play(due.kind, due.seed).await?;
    }
    player.close().await
}
