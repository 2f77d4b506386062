//! The time that each script takes in Redis, by its own count.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rowcount::{
    board::{Board, Publication, redis::RedisBoard},
    claim::Proof,
    collection::CollectionId,
    config::{Acquire as Mode, FirstStart, LeaseConfig, RedisAddr, RedisConfig, RedisServers},
    demo::redis::RedisServer,
    lease::{Backend, redis::RedisBackend},
    lease_protocol::{Acquire, Command, Renew, Reply},
    query::{Method, QueryName},
    redis_link::Route,
    snapshot::{Count, Snapshot},
};

use super::{
    commandstats::{reset, statistics},
    report::Report,
    rounds,
};

const CALLS: usize = 10_000;

/// Queries of the catalogue.
const QUERIES: usize = 19;

const TTL: Duration = Duration::from_secs(60);

const PATIENCE: Duration = Duration::from_secs(10);

pub async fn measure(mut report: Report) -> Report {
    let redis = RedisServer::start().await.expect("Redis starts");
    let route = Route::new(config(redis.port()), "bench");
    let lease = LeaseConfig {
        enabled: true,
        duration: TTL,
        quarantine: 2 * TTL,
        acquire: Mode::Standby,
        first_start: FirstStart::Immediate,
    };
    let backend = RedisBackend::new(&route, &lease);
    let ttl_us = i64::try_from(TTL.as_micros()).expect("a minute");
    let bid = |token: &str| {
        let [token, holder, address] = [token, "alice", "127.0.0.1:50051"].map(str::to_owned);
        Command::Acquire(Acquire { token, holder, address, ttl_us, floor: 0 })
    };
    let answer = backend.ask(&bid("alice"), PATIENCE).await.expect("Redis answers");
    let Reply::Granted { epoch, since_us, mark_us, .. } = answer.reply else { panic!("{answer:?}") };
    let renewal = Command::Renew(Renew {
        token: "alice".to_owned(),
        epoch,
        holder: "alice".to_owned(),
        address: "127.0.0.1:50051".to_owned(),
        since_us,
        ttl_us,
        until_seen_us: i64::MAX / 2,
    });
    let bob = bid("bob");
    for (what, command) in [("renewal", &renewal), ("bid that is denied", &bob), ("status", &Command::Status)] {
        reset(&redis).await;
        for _ in 0..rounds(CALLS) {
            backend.ask(command, PATIENCE).await.expect("Redis answers");
        }
        row(&mut report, &redis, what, "≤ 20 us").await;
    }

    let board: Arc<dyn Board> = RedisBoard::new(&route);
    let proof = Proof { token: "alice".to_owned(), epoch, mark_us };
    reset(&redis).await;
    for revision in 1..=i64::try_from(rounds(CALLS)).expect("few") {
        let publication = Publication { snapshot: Some(snapshot(&proof, epoch + revision)), ..Default::default() };
        board.publish(&proof, publication).await.expect("Redis answers");
    }
    row(&mut report, &redis, "publication of 19 counts", "").await;
    report
}

async fn row(report: &mut Report, redis: &RedisServer, what: &str, goal: &'static str) {
    let script = statistics(redis).await.of("evalsha");
    let measured = format!("{:.1} us a call, of {}", script.micros_per_call(), script.calls);
    report.row(format!("time of a script in Redis: {what}"), measured, goal);
}

fn snapshot(proof: &Proof, revision: i64) -> Snapshot {
    let now = SystemTime::now();
    let count = |index: usize| {
        let name: QueryName = format!("some_table_of_the_registry_{index}").parse().expect("a name");
        let count = Count {
            value: Some(1_234_567),
            lower_bound: Some(1_234_567),
            upper_bound: Some(1_234_567),
            observe_time: Some(now),
            attempt_time: Some(now),
            query_duration: Some(Duration::from_millis(20)),
            collection_id: Some(CollectionId::generate()),
            epoch: proof.epoch,
            ..Count::never_run(Method::Exact, Duration::from_secs(10), Duration::from_secs(30))
        };
        (name, count)
    };
    Snapshot {
        epoch: proof.epoch,
        token: proof.token.clone(),
        revision,
        publish_time: now,
        last_collection: None,
        counts: (0..QUERIES).map(count).collect(),
    }
}

fn config(port: u16) -> RedisConfig {
    RedisConfig {
        servers: RedisServers::Single(RedisAddr { host: "127.0.0.1".to_owned(), port }),
        username: None,
        password: None,
        db: 0,
        dial_timeout: PATIENCE,
        read_timeout: PATIENCE,
        write_timeout: PATIENCE,
        tls: None,
    }
}
