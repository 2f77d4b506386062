//! The part of `check --connect` that is Redis: what the service does there, tried with its rights.

use std::time::{Duration, Instant};

use super::{Checked, Outcome, line};
use crate::{
    board::{Board, redis::RedisBoard},
    config::{Config, RedisConfig},
    lease::{
        self, Backend,
        redis::RedisBackend,
        survey::{Finding, Server},
    },
    lease_protocol::Command,
    redis_link::Route,
};

/// The longest that one question may take; connecting is part of the first.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tries what lies behind `redis.cache`, and tells what of it may break a promise of the lease.
pub async fn check(config: &Config, redis: &RedisConfig) -> Vec<Checked> {
    let route = Route::new(redis.clone(), &config.cluster);
    let board = RedisBoard::new(&route);
    let lease = RedisBackend::new(&route, &config.lease);

    let began = Instant::now();
    let commands = async {
        // A replica answers to this and to nothing else.
        let server = lease.server(PATIENCE).await;
        board.load().await.map_err(|error| line(&error))?;
        board.rehearse().await.map_err(|error| line(&error))?;
        let server = server.map_err(|error| line(&error))?.as_ref().map(Server::to_string).unwrap_or_default();
        Ok(format!("{server} at {}", route.describe().unwrap_or_default()))
    };
    let mut checked = vec![Checked::new("redis", began, commands.await)];
    if matches!(checked[0].outcome, Outcome::Failed(_)) {
        return checked;
    }
    let began = Instant::now();
    let events = async {
        board.try_subscription().await.map_err(|error| line(&error))?;
        lease.is_alone(PATIENCE).await.map_err(|error| line(&error))?;
        Ok("can be subscribed to".to_owned())
    };
    checked.push(Checked::new("redis events", began, events.await));
    let began = Instant::now();
    match findings(config, &lease).await {
        Ok(findings) => {
            let odd = |finding: &Finding| Checked::odd("redis", began, finding.to_string());
            checked.extend(findings.iter().map(odd));
        }
        Err(error) => checked.push(Checked::new("lease", began, Err(line(&error)))),
    }
    checked
}

async fn findings(config: &Config, lease: &RedisBackend) -> Result<Vec<Finding>, lease::Error> {
    let server = lease.server(PATIENCE).await?;
    let standing = lease.ask(&Command::Status, PATIENCE).await?.standing;
    let of_server = server.iter().flat_map(Server::findings);
    Ok(of_server.chain(Finding::of_lease(&standing, config.lease.quarantine)).collect())
}
