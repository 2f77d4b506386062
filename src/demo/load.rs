//! A registry's request load without the registry: plays a mix of requests as the SQL that a registry sends for them, and
//! serves the counters that a registry serves. What it says it sent is what it sent: it counts where it sends, and a
//! statement that fails or finds other rows than it should ends it with an error.

use std::{
    net::{Ipv4Addr, SocketAddr},
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
use player::{Player, Role, Stage};
use sample::Sample;
use script::Size;
use sent::Tally;

pub use command::{LoadArgs, run};
pub use counted::counted;
pub use mix::{Kind, Mix};
pub use query::Verb;
pub use sent::{Operations, Sent};
pub use share::{Share, ShareError};

mod command;
mod counted;
mod mix;
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

/// What to play.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Which requests.
    pub mix: Mix,
    /// How many times as many: at 1 about 303 requests a second.
    pub multiple: f64,
    /// Connections to the database; each plays one request at a time.
    pub connections: usize,
    /// Decides when what is played, and what reads read.
    pub seed: u64,
    /// Of kinds whose labels are the same; the mix has its own for the rest.
    pub shares: Vec<Share>,
    /// Layers of an image that is pushed.
    pub layers: usize,
    /// Children of an index that is pushed.
    pub children: usize,
    /// Where `/metrics` is served; with port 0 on a free one.
    pub listen: SocketAddr,
}

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
    #[error("the database refused {what} of {kind}")]
    Refused {
        /// Name of the query.
        what: &'static str,
        /// Of which request.
        kind: Kind,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A statement found rows where there should be none, or none where there should be some.
    #[error("{what} of {kind} came to {found} rows, which is not what such a request finds")]
    Surprise {
        /// Name of the query.
        what: &'static str,
        /// Of which request.
        kind: Kind,
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

// === impl LoadOptions ===

impl Default for LoadOptions {
    /// The mix of 2020 as it was measured.
    fn default() -> Self {
        Self {
            mix: Mix::default(),
            multiple: 1.0,
            connections: 8,
            seed: 0,
            shares: Vec::new(),
            layers: 10,
            children: 2,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        }
    }
}

impl LoadOptions {
    /// Whether this can be played on any database.
    pub fn validate(&self) -> Result<(), Error> {
        let Self { mix, multiple, connections, seed: _, shares, layers, children, listen: _ } = self;
        let refuse = |name, range, value: String| Err(Error::Option { name, range, value });
        if !(*multiple > 0.0 && *multiple <= 1000.0) {
            return refuse("multiple", "more than 0 and at most 1000", multiple.to_string());
        }
        for (name, value) in [("connections", connections), ("layers", layers), ("children", children)] {
            if !(1..=1000).contains(value) {
                return refuse(name, "from 1 to 1000", value.to_string());
            }
        }
        share::apply(*mix, shares)?;
        Ok(())
    }

    /// The kinds that are played, with their rates.
    fn roles(&self) -> Result<Vec<Role>, Error> {
        let size = self.size();
        let shares = share::apply(self.mix, &self.shares)?;
        let mut roles = Vec::new();
        for (pair, shares) in self.mix.pairs().iter().zip(shares) {
            for (part, share) in pair.kinds.iter().zip(shares) {
                let rate = pair.rate * share * self.multiple;
                if rate > 0.0 {
                    roles.push(Role { kind: pair.kind(part), about: part.about, script: (part.script)(size), rate });
                }
            }
        }
        Ok(roles)
    }

    fn size(&self) -> Size {
        Size { layers: self.layers, children: self.children }
    }
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

    /// Waits until it ends by an error, which `stop` and `finish` then tell.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_their_range_are_refused_by_their_names() {
        let refused = |options: LoadOptions| options.validate().unwrap_err().to_string();
        for multiple in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let message = refused(LoadOptions { multiple, ..Default::default() });
            assert_eq!(message, format!("multiple must be more than 0 and at most 1000, not {multiple}"));
        }
        assert!(refused(LoadOptions { connections: 0, ..Default::default() }).starts_with("connections must"));
        assert!(refused(LoadOptions { layers: 0, ..Default::default() }).starts_with("layers must"));
        assert!(refused(LoadOptions { children: 1001, ..Default::default() }).starts_with("children must"));
        assert!(LoadOptions::default().validate().is_ok());
    }

    #[test]
    fn kinds_that_are_never_asked_for_have_no_role() {
        let roles = |mix| LoadOptions { mix, ..Default::default() }.roles().unwrap();
        assert!(roles(Mix::Published2020).iter().all(|role| role.kind.handler != "catalog"));
        assert!(roles(Mix::Registry432).iter().all(|role| role.kind.name != "new index by digest"));
        let rate: f64 = roles(Mix::Registry432).iter().map(|role| role.rate).sum();
        assert!((rate - 303.0).abs() < 1.0, "{rate}");
    }
}
