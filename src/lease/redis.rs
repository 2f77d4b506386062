//! The lease in Redis: each command is one script, idempotent, on a connection that nothing else waits on.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use redis::{RedisError, Script, Value, from_redis_value};
use tracing::instrument;

use crate::{
    claim::LeaseState,
    config::LeaseConfig,
    lease::{Backend, Error, survey::Server},
    lease_protocol::{Acquire, Answer, Command, Renew, Reply, Rules, Standing},
    redis_link::{self, RedisLink, Route, script},
};

/// The lease in Redis.
pub struct RedisBackend {
    /// The task's alone: a renewal never waits behind a caller's question.
    claims: RedisLink,
    /// For `Command::Status`, `is_alone` and `server`.
    questions: RedisLink,
    rules: Rules,
    acquire: Script,
    renew: Script,
    release: Script,
    status: Script,
    listeners: Script,
    survey: Script,
}

// === impl RedisBackend ===

impl RedisBackend {
    /// The lease of the fleet whose keys `route` leads to; connects with the first command.
    pub fn new(route: &Arc<Route>, config: &LeaseConfig) -> Self {
        let link = || RedisLink::new(Arc::clone(route));
        Self {
            claims: link(),
            questions: link(),
            rules: Rules::from(config),
            acquire: script(concat!(include_str!("prologue.lua"), include_str!("acquire.lua"))),
            renew: script(concat!(include_str!("prologue.lua"), include_str!("renew.lua"))),
            release: script(concat!(include_str!("prologue.lua"), include_str!("release.lua"))),
            status: script(concat!(include_str!("prologue.lua"), include_str!("status.lua"))),
            listeners: script(include_str!("listeners.lua")),
            survey: Script::new(include_str!("survey.lua")),
        }
    }
}

#[async_trait]
impl Backend for RedisBackend {
    #[instrument(
        name = "lease_command",
        skip_all,
        fields(db.system.name = "redis", otel.kind = "client", otel.name = name(command), otel.status_code)
    )]
    async fn ask(&self, command: &Command, timeout: Duration) -> Result<Answer, Error> {
        let (link, script) = match command {
            Command::Acquire(_) => (&self.claims, &self.acquire),
            Command::Renew(_) => (&self.claims, &self.renew),
            Command::Release { .. } => (&self.claims, &self.release),
            Command::Status => (&self.questions, &self.status),
        };
        let args = arguments(self.rules, command);
        let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
        let answered = link.run(script, &args, timeout).await.map_err(|error| unavailable(&error)).and_then(answer);
        if answered.is_err() {
            tracing::Span::current().record("otel.status_code", "ERROR");
        }
        answered
    }

    async fn is_alone(&self, timeout: Duration) -> Result<bool, Error> {
        let asked = self.questions.run(&self.listeners, &[], timeout).await.map_err(|error| unavailable(&error))?;
        let listeners: i64 = from_redis_value(asked).map_err(|error| Error::Malformed(error.to_string()))?;
        Ok(listeners <= 1)
    }

    async fn server(&self, timeout: Duration) -> Result<Option<Server>, Error> {
        let info = self.questions.run(&self.survey, &[], timeout).await.map_err(|error| unavailable(&error))?;
        let sections: Vec<String> = from_redis_value(info).map_err(|error| Error::Malformed(error.to_string()))?;
        Ok(Some(Server::parse(&sections.join("\n"))))
    }
}

/// Of a command's span; a span that has begun takes no other name.
fn name(command: &Command) -> &'static str {
    match command {
        Command::Acquire(_) => "lease acquire",
        Command::Renew(_) => "lease renew",
        Command::Release { .. } => "lease release",
        Command::Status => "lease status",
    }
}

/// A command's arguments as its script takes them, after the channel.
pub fn arguments(rules: Rules, command: &Command) -> Vec<String> {
    let first_start = if rules.immediate { "immediate" } else { "wait" };
    let mut args = vec![rules.quarantine_us.to_string(), first_start.to_owned()];
    match command {
        Command::Acquire(Acquire { token, holder, address, ttl_us, floor }) => {
            args.extend([token.clone(), holder.clone(), address.clone(), ttl_us.to_string(), floor.to_string()]);
        }
        Command::Renew(Renew { token, epoch, holder, address, since_us, ttl_us, until_seen_us }) => {
            args.extend([token.clone(), epoch.to_string(), holder.clone(), address.clone()]);
            args.extend([since_us, ttl_us, until_seen_us].map(i64::to_string));
        }
        Command::Release { token, epoch } => args.extend([token.clone(), epoch.to_string()]),
        Command::Status => {}
    }
    args
}

/// A script's answer as it is understood here.
pub fn answer(value: Value) -> Result<Answer, Error> {
    let malformed = |error: &dyn std::fmt::Display| Error::Malformed(error.to_string());
    let (reply, standing, revision) =
        from_redis_value::<(Vec<Value>, Shown, i64)>(value).map_err(|error| malformed(&error))?;
    let mut words = reply.into_iter();
    let kind: String = words.next().map_or(Ok(String::new()), from_redis_value).map_err(|error| malformed(&error))?;
    let numbers: Vec<i64> = words.map(from_redis_value).collect::<Result<_, _>>().map_err(|error| malformed(&error))?;
    let reply = match (kind.as_str(), numbers.as_slice()) {
        ("GRANTED", &[epoch, until_us, since_us, mark_us]) => Reply::Granted { epoch, until_us, since_us, mark_us },
        ("HELD", &[remaining_us]) => Reply::Held { remaining_us },
        ("QUARANTINED", &[remaining_us]) => Reply::Quarantined { remaining_us },
        ("STALE", &[epoch]) => Reply::Stale { epoch },
        ("RENEWED", &[until_us, lapsed, mark_us]) => Reply::Renewed { until_us, lapsed: lapsed != 0, mark_us },
        ("RECLAIMED", &[until_us, mark_us]) => Reply::Reclaimed { until_us, mark_us },
        ("TOO_LATE", &[]) => Reply::TooLate,
        ("LOST", &[epoch]) => Reply::Lost { epoch },
        ("RELEASED", &[epoch]) => Reply::Released { epoch },
        ("NOT_HELD", &[]) => Reply::NotHeld,
        ("STATUS", &[]) => Reply::Status,
        _ => return Err(malformed(&format_args!("reply {kind:?} with {} numbers", numbers.len()))),
    };
    let (now_us, state, holder, address, epoch, since_us, until_us, ttl_us, remaining_us, quarantine_us) = standing;
    let state = match state.as_str() {
        "HELD" => LeaseState::Held,
        "QUARANTINED" => LeaseState::Quarantined,
        "FREE" => LeaseState::Free,
        _ => return Err(malformed(&format_args!("state {state:?}"))),
    };
    let standing =
        Standing { now_us, state, holder, address, epoch, since_us, until_us, ttl_us, remaining_us, quarantine_us };
    Ok(Answer { reply, standing, revision })
}

/// A `Standing` as prologue.lua writes it, in the order of its fields.
type Shown = (i64, String, String, String, i64, i64, i64, i64, i64, i64);

fn unavailable(error: &RedisError) -> Error {
    Error::Unavailable(redis_link::explained(error))
}
