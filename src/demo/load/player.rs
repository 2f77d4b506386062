//! One connection that plays requests: each statement of their scripts is sent, counted, and must find what it should.

use std::sync::Arc;

use fastrand::Rng;
use sqlx::{ConnectOptions, Connection, PgConnection, Row, postgres::PgConnectOptions};

use super::{
    Error,
    mix::{About, Kind},
    query::Query,
    request::Request,
    sample::Sample,
    script::{Rows, Script, Size, Step},
    sent::Tally,
    spare::Spare,
};

/// A kind of request with what is done for it.
#[derive(Clone, Debug)]
pub(super) struct Role {
    pub(super) kind: Kind,
    pub(super) about: About,
    pub(super) script: Script,
    /// A second.
    pub(super) rate: f64,
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) roles: Vec<Role>,
    pub(super) size: Size,
    pub(super) sample: Sample,
    pub(super) spare: Spare,
    pub(super) tally: Tally,
}

/// A connection.
pub(super) struct Player {
    connection: PgConnection,
    stage: Arc<Stage>,
}

// === impl Player ===

impl Player {
    pub(super) async fn connect(options: &PgConnectOptions, stage: Arc<Stage>) -> Result<Self, Error> {
        // Even a log line that nobody reads is made for each statement.
        let options = options.clone().disable_statement_logging();
        let connection = options.connect().await.map_err(Error::Connect)?;
        Ok(Self { connection, stage })
    }

    /// Plays one request to its end.
    pub(super) async fn play(&mut self, role: usize, seed: u64) -> Result<(), Error> {
        let stage = Arc::clone(&self.stage);
        let role = &stage.roles[role];
        let mut rng = Rng::with_seed(seed);
        if !role.script.is_empty() {
            let mut request = Request::choose(role.about, &stage.sample, &stage.spare, stage.size, &mut rng)?;
            for step in &role.script {
                self.step(role.kind, *step, &mut request).await?;
            }
            stage.spare.pushed(role.about, request, &mut rng);
        }
        stage.tally.done(role.kind);
        Ok(())
    }

    /// Says good-bye to the database.
    pub(super) async fn close(self) -> Result<(), Error> {
        self.connection.close().await.map_err(Error::Connect)
    }

    async fn step(&mut self, kind: Kind, step: Step, request: &mut Request) -> Result<(), Error> {
        match step {
            Step::Begin => self.transaction(kind, "BEGIN").await,
            Step::Commit => self.transaction(kind, "COMMIT").await,
            Step::Wrapper(name) => {
                self.stage.tally.wrapper(name);
                Ok(())
            }
            Step::Send { query, nth, rows } => {
                let refused = |source| Error::Refused { what: query.name, request: kind.to_string(), source };
                let found = self.send(query, nth, request).await.map_err(refused)?;
                let as_expected = match rows {
                    Rows::Some => found > 0,
                    Rows::None => found == 0,
                    Rows::Any => true,
                };
                as_expected.then_some(()).ok_or_else(|| Error::Surprise {
                    what: query.name,
                    request: kind.to_string(),
                    found,
                })
            }
        }
    }

    /// Sends a statement; gives the number of rows that it found or changed.
    async fn send(&mut self, query: &'static Query, nth: usize, request: &mut Request) -> Result<u64, sqlx::Error> {
        let arguments = request.arguments(query, nth, &self.stage.sample).map_err(sqlx::Error::Encode)?;
        let statement = sqlx::query_with(query.sql, arguments);
        self.stage.tally.statement(query);
        let Some(learns) = query.learns else {
            return Ok(statement.execute(&mut self.connection).await?.rows_affected());
        };
        let row = statement.fetch_optional(&mut self.connection).await?;
        if let Some(row) = &row {
            request.learn(learns, row.try_get(0)?);
        }
        Ok(u64::from(row.is_some()))
    }

    async fn transaction(&mut self, kind: Kind, sql: &'static str) -> Result<(), Error> {
        let refused = |source| Error::Refused { what: sql, request: kind.to_string(), source };
        sqlx::raw_sql(sql).execute(&mut self.connection).await.map(|_| ()).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{
        load::{
            Mix, Verb, counted,
            mix::{Pair, Part},
            script::operations,
        },
        postgres::{PostgresOptions, PostgresServer},
        schema,
    };

    const SIZE: Size = Size { layers: 12, children: 3 };

    /// A role for every kind of the mix, also for those that are never due.
    fn roles(mix: Mix) -> Vec<Role> {
        let role = |pair: &Pair, part: &Part| Role {
            kind: pair.kind(part),
            about: part.about,
            script: (part.script)(SIZE),
            rate: 1.0,
        };
        mix.pairs().iter().flat_map(|pair| pair.kinds.iter().map(move |part| role(pair, part))).collect()
    }

    /// A server that counts statements, and the URL of a database with rows.
    async fn database() -> (PostgresServer, String) {
        let config = vec!["shared_preload_libraries = 'pg_stat_statements'".into()];
        let postgres = PostgresServer::start_with(PostgresOptions { config, ..Default::default() }).await.unwrap();
        let url = postgres.create_database("registry").await.unwrap();
        schema::create(&url, 4).await.unwrap();
        schema::generate(&url, 20).await.unwrap();
        postgres.execute("registry", "CREATE EXTENSION pg_stat_statements").await.unwrap();
        (postgres, url)
    }

    async fn stage(roles: Vec<Role>, options: &PgConnectOptions) -> Arc<Stage> {
        let mut connection = options.connect().await.unwrap();
        let (sample, spare) = Sample::read(&mut connection).await.unwrap();
        let tally = Tally::new(&roles);
        Arc::new(Stage { roles, size: SIZE, sample, spare, tally })
    }

    #[tokio::test]
    async fn postgresql_counts_of_every_kind_the_statements_of_its_script() {
        let (_postgres, url) = database().await;
        let options: PgConnectOptions = url.parse().unwrap();
        for mix in [Mix::Published2020, Mix::Registry432] {
            let before = counted(&url).await.unwrap();
            let stage = stage(roles(mix), &options).await;
            assert_eq!(counted(&url).await.unwrap(), before, "reading the sample counts as nothing");
            let mut player = Player::connect(&options, Arc::clone(&stage)).await.unwrap();
            for (at, role) in stage.roles.iter().enumerate() {
                let before = counted(&url).await.unwrap();
                for seed in 0..3 {
                    player.play(at, seed).await.unwrap();
                }
                let expected = Verb::ALL.map(|verb| 3 * operations(&role.script).of(verb));
                assert_eq!(counted(&url).await.unwrap() - before, expected.into(), "{}", role.kind);
                assert_eq!(stage.tally.sent().requests[&role.kind], 3);
            }
            player.close().await.unwrap();
        }
    }

    #[tokio::test]
    async fn all_that_is_set_aside_or_was_pushed_can_be_deleted() {
        let (_postgres, url) = database().await;
        let options: PgConnectOptions = url.parse().unwrap();
        let stage = stage(roles(Mix::Registry432), &options).await;
        let mut player = Player::connect(&options, Arc::clone(&stage)).await.unwrap();
        let roles = &stage.roles;
        let of_method = |method| (0..roles.len()).filter(move |at| roles[*at].kind.method == method);
        for seed in 0..10 {
            for role in of_method("put") {
                player.play(role, seed).await.unwrap();
            }
        }
        for role in of_method("delete").filter(|at| roles[*at].kind.code == "202") {
            let mut deleted = 0;
            let end = loop {
                match player.play(role, deleted).await {
                    Ok(()) => deleted += 1,
                    Err(error) => break error,
                }
            };
            assert!(matches!(end, Error::NothingThere(_)), "{end} after {deleted}");
            assert!(deleted >= 10, "{}: {deleted}", roles[role].kind);
        }
    }
}
