//! Watches what the registry asks of its database for a while, from the best source that is there. One at a time: each
//! costs the database two readings of its statistics, and what is dropped half-way leaves nothing behind.

use std::time::{Duration, Instant, SystemTime};

use tokio::time::sleep_until;

use crate::{
    counting::{
        Counting,
        activity::{Statements, Unusable},
    },
    failure::Failure,
    prometheus::{self, Prometheus},
    rates::validation::{Observation, Rates, Source, TooShort, statements, tables, told},
};

pub use turn::{Taken, Turn};

mod turn;

/// Watches. Cheap to clone.
#[derive(Clone)]
pub struct Observer {
    /// The database, where one is configured.
    pub counting: Option<Counting>,
    /// The Prometheus that scrapes the registry, where one is configured.
    pub prometheus: Option<Prometheus>,
}

/// Why nothing was observed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no database to look at.
    #[error("no database is configured: set database.url or database.host")]
    NoDatabase,
    /// There is no Prometheus to ask.
    #[error("no Prometheus is configured: set rates.prometheus.url")]
    NoPrometheus,
    /// The statistics of statements tell nothing.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The database did not answer.
    #[error("{}", .0.message)]
    Database(Failure),
    /// Prometheus did not answer, or not with a rate.
    #[error(transparent)]
    Prometheus(#[from] prometheus::Error),
    /// The statistics were reset.
    #[error(transparent)]
    TooShort(#[from] TooShort),
}

/// A source with its first reading.
enum Begun {
    Statements(Statements, statements::Reading),
    RegistryQueries(Prometheus),
    TableStatistics(tables::Reading),
}

// === impl Observer ===

impl Observer {
    /// Whether `source` can be asked at all, `None` being whichever can; says nothing of whether it will answer.
    pub fn check(&self, source: Option<Source>) -> Result<(), Error> {
        match source {
            Some(Source::RegistryQueries) if self.prometheus.is_none() => Err(Error::NoPrometheus),
            Some(Source::Statements | Source::TableStatistics) => self.database().map(drop),
            None if self.prometheus.is_none() => self.database().map(drop),
            Some(Source::RegistryQueries) | None => Ok(()),
        }
    }

    /// What ran within `span` from now, by `source` or by the best that is there; a warning tells why not by a better.
    pub async fn observe(&self, source: Option<Source>, span: Duration) -> Result<Observation, Error> {
        let (begun, mut warnings) = match source {
            Some(source) => (self.begin(source).await?, Vec::new()),
            None => self.begin_with_best(span).await?,
        };
        let mut observation = match begun {
            Begun::Statements(source, before) => self.statements(&source, &before, span).await?,
            Begun::RegistryQueries(prometheus) => registry_queries(&prometheus, span).await?,
            Begun::TableStatistics(before) => {
                sleep_until((before.read_at + span).into()).await;
                let after = self.database()?.table_rows().await?;
                after.since(&before, SystemTime::now())?
            }
        };
        warnings.append(&mut observation.warnings);
        observation.warnings = warnings;
        Ok(observation)
    }

    async fn begin(&self, source: Source) -> Result<Begun, Error> {
        match source {
            Source::Statements => {
                let counting = self.database()?;
                let source = counting.statements().await??;
                let before = counting.statement_calls(&source).await??;
                Ok(Begun::Statements(source, before))
            }
            Source::RegistryQueries => {
                let prometheus = self.prometheus.clone().ok_or(Error::NoPrometheus)?;
                Ok(Begun::RegistryQueries(prometheus))
            }
            Source::TableStatistics => Ok(Begun::TableStatistics(self.database()?.table_rows().await?)),
        }
    }

    /// The next source is taken only where the better one is not there for good: a database that does not answer is an
    /// error, since it will the next time.
    async fn begin_with_best(&self, span: Duration) -> Result<(Begun, Vec<String>), Error> {
        let statements = match self.begin(Source::Statements).await {
            Err(error @ (Error::NoDatabase | Error::Unusable(_))) => error,
            begun => return Ok((begun?, Vec::new())),
        };
        let not = |source: Source, error: &Error| format!("not observed by {}: {error}", source.as_str());
        let mut warnings = vec![not(Source::Statements, &statements)];
        let queries = match self.probe_registry_queries(span).await {
            Ok(begun) => return Ok((begun, warnings)),
            Err(error) => error,
        };
        warnings.push(not(Source::RegistryQueries, &queries));
        match self.begin(Source::TableStatistics).await {
            // Then it is Prometheus that could have answered.
            Err(Error::NoDatabase) if self.prometheus.is_some() => Err(queries),
            begun => Ok((begun?, warnings)),
        }
    }

    /// A Prometheus that does not know the counter now will hardly know it when the time is over.
    async fn probe_registry_queries(&self, span: Duration) -> Result<Begun, Error> {
        let prometheus = self.prometheus.clone().ok_or(Error::NoPrometheus)?;
        prometheus.registry_statements(span, SystemTime::now()).await?;
        Ok(Begun::RegistryQueries(prometheus))
    }

    async fn statements(
        &self,
        source: &Statements,
        before: &statements::Reading,
        span: Duration,
    ) -> Result<Observation, Error> {
        sleep_until((before.read_at + span).into()).await;
        let counting = self.database()?;
        let after = counting.statement_calls(source).await??;
        let end_time = SystemTime::now();
        let changes = after.since(before)?;
        let texts = counting.statement_texts(source, changes.calls.iter().map(|(id, _)| *id)).await?;
        let mut observation = changes.observed(&texts, end_time);
        if source.mixes_nested() {
            let warning = "pg_stat_statements.track is all, and this server does not tell statements inside triggers and \
                           functions from others: they are in what is observed";
            observation.warnings.push(warning.to_owned());
        }
        Ok(observation)
    }

    fn database(&self) -> Result<&Counting, Error> {
        self.counting.as_ref().ok_or(Error::NoDatabase)
    }
}

// === impl Error ===

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Database(failure)
    }
}

/// The window ends at the end of the span, and nothing waits for the next scrape: that one's samples lie behind the
/// window. Prometheus extrapolates from the last one before, as it does in every graph.
async fn registry_queries(prometheus: &Prometheus, span: Duration) -> Result<Observation, Error> {
    sleep_until((Instant::now() + span).into()).await;
    let end_time = SystemTime::now();
    let ran = prometheus.registry_statements(span, end_time).await?;
    let mut warnings = ran.warnings;
    if ran.background_per_second > 0.0 {
        let rate = told(ran.background_per_second);
        warnings.push(format!("left out: {rate} statements a second of the registry's background, by their names"));
    }
    warnings.push("the registry's counter tells no operations apart: only the total is compared".to_owned());
    Ok(Observation {
        source: Source::RegistryQueries,
        span: ran.window,
        end_time,
        rates: Rates::Total(ran.per_second),
        reset_time: None,
        warnings,
    })
}
