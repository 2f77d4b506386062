//! Redis or PostgreSQL away, silent or refusing: the instance lives and answers, shows nothing that it may not, says
//! what is wrong, and is right again by itself.

#![allow(clippy::unwrap_used, reason = "all of it is test code, also what is no test itself")]

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use rowcount::{
    demo::{
        postgres::{PostgresOptions, PostgresServer},
        redis::{RedisOptions, RedisServer},
        server::free_port,
    },
    proto::v1::{
        RowCount, TriggerCollectionRequest, TriggerCollectionResponse, collection,
        instance::Role,
        lease::{self, State},
    },
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::fleet::{Fleet, Instance, eventually, sample, told};

/// Of `Fleet`.
const TTL: Duration = Duration::from_secs(2);

/// An answer from memory on a machine that is busy with other tests.
const QUICK: Duration = Duration::from_secs(1);

/// How a server is away.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outage {
    /// Connections are refused.
    Dead,
    /// Connections stay open, new ones are taken, nothing answers.
    Silent,
}

/// A fleet that counts one table `t` of three rows.
async fn fleet() -> Fleet {
    let mut fleet = Fleet::servers().await;
    fleet.set("ROWCOUNT_CATALOG", "none");
    fleet.set("ROWCOUNT_QUERIES_T_TABLE", "t");
    fleet.set("ROWCOUNT_DATABASE_CONNECTTIMEOUT", "1s");
    fleet.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2), (3)").await;
    fleet
}

async fn trigger(instance: &Instance) -> Result<TriggerCollectionResponse, Status> {
    let wait_timeout = Some(prost_types::Duration { seconds: 20, nanos: 0 });
    let request = TriggerCollectionRequest { wait_timeout, ..Default::default() };
    Ok(instance.client().await.trigger_collection(request).await?.into_inner())
}

fn exports(page: &str) -> bool {
    page.contains("registry_database_rows{")
}

fn gauge(page: &str, name: &str) -> f64 {
    sample(page, name).unwrap_or_else(|| panic!("no {name}"))
}

fn observed(count: &RowCount) -> SystemTime {
    count.observe_time.unwrap().try_into().unwrap()
}

/// A count that was read after this call, as soon as there is one.
async fn counted_anew(instance: &Instance) -> RowCount {
    let now = SystemTime::now();
    eventually("t is counted", async || {
        Some(instance.count("t").await)
            .filter(|count| count.error.is_none() && count.observe_time.is_some() && observed(count) > now)
    })
    .await
}

/// The line of a part on `/readyz?verbose`, which answers 200 whatever it says of its parts.
async fn part(instance: &Instance, name: &str) -> String {
    let (status, body) = instance.get("/readyz?verbose").await;
    assert_eq!(status, 200, "{body}");
    body.lines().find(|line| line[3..].starts_with(name)).unwrap_or_else(|| panic!("no {name} in {body}")).to_owned()
}

/// Asks for metrics, probes and counts as long as `outage` takes; returns the longest time of a page and of an answer.
async fn asked_during(instance: &Instance, outage: impl Future<Output = ()>) -> (Duration, Duration) {
    let mut outage = std::pin::pin!(outage);
    let (mut page, mut answer) = (Duration::ZERO, Duration::ZERO);
    loop {
        tokio::select! {
            biased;
            () = &mut outage => return (page, answer),
            () = async {
                let began = Instant::now();
                instance.metrics().await;
                assert_eq!((instance.get("/livez").await.0, instance.get("/readyz").await.0), (200, 200));
                page = page.max(began.elapsed());
                let began = Instant::now();
                instance.counts().await;
                answer = answer.max(began.elapsed());
            } => {}
        }
    }
}

#[tokio::test]
async fn without_redis_an_instance_starts_answers_and_says_so_and_counts_once_it_comes() {
    let mut fleet = fleet().await;
    fleet.redis.stop().await.unwrap();
    let instance = fleet.instance("alice").await;
    for path in ["/livez", "/readyz", "/version", "/config", "/"] {
        assert_eq!(instance.get(path).await.0, 200, "{path}");
    }
    let page = instance.metrics().await;
    assert_eq!(
        (exports(&page), gauge(&page, "rowcount_redis_up"), gauge(&page, "rowcount_lease_held")),
        (false, 0.0, 0.0)
    );
    eventually("the page says why", async || {
        part(&instance, "redis").await.starts_with("[-]redis failed: the board is out of reach").then_some(())
    })
    .await;

    let count = instance.count("t").await;
    assert_eq!((count.row_count, count.observe_time, count.error), (None, None, None));
    let lease = instance.lease().await;
    let (seen, own) = (lease.lease.unwrap(), lease.instance.unwrap());
    assert_eq!((seen.state(), seen.observe_time), (State::Unknown, None), "never an invented FREE");
    assert_eq!(own.role(), Role::Standby);
    let (code, reason, _) = told(&own.error.unwrap());
    assert_eq!((code, &*reason), (Code::Unavailable, "LEASE_STORE_UNAVAILABLE"));
    let refused = trigger(&instance).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "LEASE_STORE_UNAVAILABLE");
    assert!(refused.get_details_retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);

    fleet.redis.restart().await.unwrap();
    assert_eq!(counted_anew(&instance).await.row_count, Some(3));
    let page = instance.metrics().await;
    assert!(exports(&page), "{page}");
    eventually("Redis is up everywhere", async || {
        let up = gauge(&instance.metrics().await, "rowcount_redis_up") == 1.0;
        (up && part(&instance, "redis").await == "[+]redis ok").then_some(())
    })
    .await;
    assert_eq!(instance.lease().await.lease.unwrap().state(), State::Held);
}

/// The holder exports until its own deadline and not after it; both instances go on answering.
async fn redis_goes_and_comes(outage: Outage) {
    let mut fleet = fleet().await;
    // Otherwise half of the standby's attempts would wait longer than the outage takes.
    fleet.set("ROWCOUNT_REDIS_CACHE_DIALTIMEOUT", "1s");
    let (alice, bob) = (fleet.instance("alice").await, fleet.instance("bob").await);
    let (holder, standby) = match &*fleet.holder(&[&alice, &bob]).await.id {
        "alice" => (&alice, &bob),
        _ => (&bob, &alice),
    };
    eventually("the standby has the copy", async || {
        Some(standby.count("t").await).filter(|count| count.row_count == Some(3))
    })
    .await;
    match outage {
        Outage::Dead => fleet.redis.kill().await.unwrap(),
        Outage::Silent => fleet.redis.pause(),
    }
    let gone = Instant::now();
    assert!(exports(&holder.metrics().await), "the lease is not over yet");
    let (mut page_took, mut answer_took) = (Duration::ZERO, Duration::ZERO);
    let exported_for = eventually("the holder exports nothing", async || {
        let asked = Instant::now();
        let page = holder.metrics().await;
        page_took = page_took.max(asked.elapsed());
        let still = exports(&page);
        // Judged by the moment of the question: what comes later may have waited in a queue of the test.
        assert!(!still || asked.duration_since(gone) < TTL, "exports {:?} after the store went", gone.elapsed());
        let asked = Instant::now();
        assert_eq!(standby.count("t").await.row_count, Some(3));
        answer_took = answer_took.max(asked.elapsed());
        (!still).then_some(gone.elapsed())
    })
    .await;
    println!(
        "{outage:?}: exports ended after {exported_for:?}; a page took {page_took:?}, an answer {answer_took:?} at most"
    );
    assert!(page_took < QUICK && answer_took < QUICK);

    for instance in [holder, standby] {
        let told_state = eventually("the store is out of reach for it", async || {
            let asked = instance.lease().await;
            (asked.lease.as_ref().unwrap().state() == State::Unknown).then_some(asked)
        })
        .await;
        let (seen, own) = (told_state.lease.unwrap(), told_state.instance.unwrap());
        assert_eq!((&seen.holder_id, own.role()), (&holder.id, Role::Standby), "the last observation");
        assert!(
            SystemTime::try_from(seen.observe_time.unwrap()).unwrap() < SystemTime::now() - Duration::from_millis(1)
        );
        let count = instance.count("t").await;
        assert_eq!(count.row_count, Some(3));
        let stale =
            eventually("its age shows", async || Some(instance.count("t").await).filter(|count| count.stale)).await;
        assert_eq!((stale.row_count, observed(&stale)), (Some(3), observed(&count)));
        eventually("Redis is down for it", async || {
            let down = gauge(&instance.metrics().await, "rowcount_redis_up") == 0.0;
            (down && part(instance, "redis").await.starts_with("[-]redis failed: ")).then_some(())
        })
        .await;
    }

    fleet.sql("INSERT INTO t VALUES (4)").await;
    match outage {
        Outage::Dead => fleet.redis.restart().await.unwrap(),
        Outage::Silent => fleet.redis.resume(),
    }
    let back = Instant::now();
    let holder = fleet.holder(&[&alice, &bob]).await;
    let took = back.elapsed();
    println!("{outage:?}: somebody exports again after {took:?}");
    // L3: a quarantine, which a killed Redis without its data costs, and a lease; the rest is this machine's.
    assert!(took < 2 * TTL + TTL + Duration::from_secs(6), "{took:?}");
    for instance in [&alice, &bob] {
        eventually("everybody has the new count", async || {
            Some(instance.count("t").await).filter(|count| count.row_count == Some(4) && !count.stale)
        })
        .await;
        eventually("Redis is up for it", async || {
            (gauge(&instance.metrics().await, "rowcount_redis_up") == 1.0).then_some(())
        })
        .await;
    }
    assert_eq!(holder.lease().await.lease.unwrap().holder_id, holder.id);
}

#[tokio::test]
async fn a_holder_exports_nothing_after_its_deadline_when_redis_dies_and_somebody_holds_when_it_is_back() {
    redis_goes_and_comes(Outage::Dead).await;
}

#[tokio::test]
async fn a_holder_exports_nothing_after_its_deadline_when_redis_falls_silent_and_somebody_holds_when_it_speaks() {
    redis_goes_and_comes(Outage::Silent).await;
}

#[tokio::test]
async fn without_postgres_an_instance_starts_and_counts_once_it_comes() {
    let mut fleet = fleet().await;
    fleet.postgres.stop().await.unwrap();
    let instance = fleet.instance("alice").await;
    let count =
        eventually("the count fails", async || Some(instance.count("t").await).filter(|c| c.error.is_some())).await;
    let (code, reason, message) = told(&count.error.unwrap());
    assert_eq!((code, &*reason, count.row_count), (Code::Unavailable, "CONNECTION", None));
    assert!(message.starts_with("cannot connect to the database: Connection refused"), "{message}");
    assert_eq!((instance.get("/livez").await.0, instance.get("/readyz").await.0), (200, 200));
    let page = instance.metrics().await;
    assert_eq!((exports(&page), gauge(&page, "rowcount_postgres_up")), (false, 0.0));
    assert!(part(&instance, "postgres").await.starts_with("[-]postgres failed: cannot connect"));

    fleet.postgres.restart().await.unwrap();
    assert_eq!(counted_anew(&instance).await.row_count, Some(3));
    assert_eq!(gauge(&instance.metrics().await, "rowcount_postgres_up"), 1.0);
    assert_eq!(part(&instance, "postgres").await, "[+]postgres ok");
}

/// Old values age and go, calls end as failed, and counting goes on by itself.
async fn postgres_goes_and_comes(outage: Outage) {
    let mut fleet = fleet().await;
    let instance = fleet.instance("alice").await;
    counted_anew(&instance).await;
    match outage {
        Outage::Dead => fleet.postgres.kill().await.unwrap(),
        Outage::Silent => fleet.postgres.pause(),
    }
    let gone = Instant::now();
    let failed =
        eventually("the count fails", async || Some(instance.count("t").await).filter(|c| c.error.is_some())).await;
    let noticed = gone.elapsed();
    let (code, reason, message) = told(failed.error.as_ref().unwrap());
    let expected = match (code, &*reason) {
        (Code::Unavailable, "CONNECTION") => true,
        // A statement was under way.
        (Code::DeadlineExceeded, "TIMEOUT") => outage == Outage::Silent,
        _ => false,
    };
    assert!(expected, "{reason}: {message}");
    assert_eq!(failed.row_count, Some(3), "the last value");
    eventually("PostgreSQL is down", async || {
        let page = instance.metrics().await;
        (gauge(&page, "rowcount_postgres_up") == 0.0 && !exports(&page)).then_some(())
    })
    .await;
    assert!(instance.count("t").await.stale);
    assert!(part(&instance, "postgres").await.starts_with("[-]postgres failed: "));
    let asked = Instant::now();
    let collection = trigger(&instance).await.unwrap().collection.unwrap();
    assert_eq!((collection.state(), collection.failed_query_names), (collection::State::Failed, vec!["t".to_owned()]));
    println!("{outage:?}: noticed after {noticed:?}; a requested collection failed within {:?}", asked.elapsed());
    assert_eq!(instance.lease().await.lease.unwrap().state(), lease::State::Held, "the lease is none of its business");

    match outage {
        Outage::Dead => fleet.postgres.restart().await.unwrap(),
        Outage::Silent => fleet.postgres.resume(),
    }
    let back = Instant::now();
    let count = counted_anew(&instance).await;
    let took = back.elapsed();
    println!("{outage:?}: counted again after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!((count.row_count, count.stale), (Some(3), false));
    assert_eq!(part(&instance, "postgres").await, "[+]postgres ok");
    let ours = "SELECT 1 / (count(*) < 3)::int FROM pg_stat_activity WHERE application_name LIKE 'rowcount/%'";
    eventually("no more backends than allowed", async || fleet.postgres.execute("registry", ours).await.ok()).await;
}

#[tokio::test]
async fn counting_goes_on_after_a_crash_of_postgres() {
    postgres_goes_and_comes(Outage::Dead).await;
}

#[tokio::test]
async fn counting_goes_on_after_postgres_was_silent() {
    postgres_goes_and_comes(Outage::Silent).await;
}

#[tokio::test]
async fn with_both_stores_silent_every_answer_comes_at_once() {
    let fleet = fleet().await;
    let instance = fleet.instance("alice").await;
    counted_anew(&instance).await;
    fleet.redis.pause();
    fleet.postgres.pause();
    let outage = async {
        eventually("both are down", async || {
            let page = instance.metrics().await;
            let down = |name| gauge(&page, name) == 0.0;
            (down("rowcount_redis_up") && down("rowcount_lease_held") && instance.count("t").await.stale).then_some(())
        })
        .await;
    };
    let (page, answer) = asked_during(&instance, outage).await;
    println!("both silent: a page and two probes took {page:?} at most, counts over a new connection {answer:?}");
    assert!(page < QUICK && answer < QUICK);
    let asked = Instant::now();
    assert_eq!(instance.lease().await.lease.unwrap().state(), State::Unknown);
    assert!(asked.elapsed() < 2 * QUICK, "it waits a second for the store");
    let asked = Instant::now();
    assert_eq!(trigger(&instance).await.unwrap_err().code(), Code::Unavailable);
    println!("both silent: a trigger is refused after {:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(15));

    fleet.postgres.resume();
    fleet.redis.resume();
    assert_eq!(counted_anew(&instance).await.row_count, Some(3));
}

#[tokio::test]
async fn a_password_rotated_in_its_file_needs_no_restart() {
    const HBA: &str = "host all postgres 127.0.0.1/32 trust\nhost all counter 127.0.0.1/32 scram-sha-256\n";
    let mut fleet = fleet().await;
    let files = vec![("pg_hba.conf".to_owned(), HBA.as_bytes().to_vec())];
    fleet.postgres = PostgresServer::start_with(PostgresOptions { files, ..Default::default() }).await.unwrap();
    fleet.postgres.create_database("registry").await.unwrap();
    let setup = "CREATE TABLE t (n int); INSERT INTO t VALUES (1); CREATE ROLE counter LOGIN PASSWORD 'first'; GRANT \
                 SELECT ON t TO counter";
    fleet.sql(setup).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    fs::write(&file, "first\n").unwrap();
    fleet.set("ROWCOUNT_DATABASE_URL", "");
    fleet.set("ROWCOUNT_DATABASE_HOST", "127.0.0.1");
    fleet.set("ROWCOUNT_DATABASE_PORT", fleet.postgres.port().to_string());
    fleet.set("ROWCOUNT_DATABASE_USER", "counter");
    fleet.set("ROWCOUNT_DATABASE_DBNAME", "registry");
    fleet.set("ROWCOUNT_DATABASE_PASSWORDFILE", file.to_str().unwrap());
    let instance = fleet.instance("alice").await;
    assert_eq!(counted_anew(&instance).await.row_count, Some(1));

    let rotate = "ALTER ROLE counter PASSWORD 'second'; INSERT INTO t VALUES (2);
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'counter'";
    fleet.sql(rotate).await;
    let refused = eventually("the old one is refused", async || instance.count("t").await.error).await;
    let (code, reason, message) = told(&refused);
    assert_eq!((code, &*reason), (Code::Unavailable, "CONNECTION"));
    let want = "cannot connect to the database: password authentication failed for user \"counter\"";
    eventually("the reason is told", async || {
        let error = instance.count("t").await.error;
        error.is_some_and(|error| error.message == want).then_some(())
    })
    .await;
    assert!(message.contains("database") || message.contains("connection"), "{message}");
    fs::write(&file, "second\n").unwrap();
    assert_eq!(counted_anew(&instance).await.row_count, Some(2));
}

/// An authority `ca.pem`, another one `other.pem`, and a certificate of the first for 127.0.0.1.
fn certificates(dir: &Path) {
    let openssl = |args: &str| {
        let output = Command::new("openssl").args(args.split(' ')).current_dir(dir).output().expect("openssl starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(&format!("{new} -keyout ca.key -out ca.pem -subj /CN=ca"));
    openssl(&format!("{new} -keyout other.key -out other.pem -subj /CN=other"));
    openssl(&format!(
        "{new} -keyout redis.key -out redis.pem -subj /CN=redis -CA ca.pem -CAkey ca.key -addext \
         subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
    ));
}

#[tokio::test]
async fn redis_is_spoken_to_over_tls_with_the_authority_that_was_given() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let mut fleet = fleet().await;
    let tls_port = free_port().unwrap();
    let config = ["tls-cert-file redis.pem", "tls-key-file redis.key", "tls-auth-clients no"].map(str::to_owned);
    let config = config.into_iter().chain([format!("tls-port {tls_port}")]).collect();
    let files = ["redis.pem", "redis.key"].map(|name| (name.to_owned(), fs::read(dir.path().join(name)).unwrap()));
    let options = RedisOptions { config, files: files.into(), ..Default::default() };
    fleet.redis = RedisServer::start_with(options).await.unwrap();
    fleet.set("ROWCOUNT_REDIS_CACHE_ADDR", format!("127.0.0.1:{tls_port}"));
    fleet.set("ROWCOUNT_REDIS_CACHE_TLS_ENABLED", "true");
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (ours, other) = (file("ca.pem"), file("other.pem"));

    for settings in [[("ROWCOUNT_REDIS_CACHE_TLS_CA", &*other)], [("ROWCOUNT_CLUSTER", "of-the-system")]] {
        let refused = fleet.run(&["check", "--connect"], &settings).await;
        let table = String::from_utf8_lossy(&refused.stdout).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{table}");
        let line = table.lines().find(|line| line.starts_with("redis")).unwrap_or_else(|| panic!("{table}"));
        assert!(line.contains("FAILED") && line.contains("certificate"), "{line}");
    }
    let refused = fleet.instance_with("stranger", &[("ROWCOUNT_REDIS_CACHE_TLS_CA", &other)]).await;
    let line = refused.logged("lease store does not answer").await;
    assert!(line["error"].as_str().unwrap().contains("certificate"), "{line}");
    assert!(part(&refused, "redis").await.contains("certificate"));

    let trusts = [("ROWCOUNT_REDIS_CACHE_TLS_CA", &*ours), ("ROWCOUNT_REDIS_CACHE_TLS_INSECURE", "true")];
    for (settings, cluster) in trusts.into_iter().zip(["verified", "insecure"]) {
        let settings = [settings, ("ROWCOUNT_CLUSTER", cluster)];
        let instance = fleet.instance_with("friend", &settings).await;
        assert_eq!(counted_anew(&instance).await.row_count, Some(3), "{settings:?}");
        // The events come over it too.
        instance.logged("Subscribed to the board's events").await;
    }
}

#[tokio::test]
async fn a_redis_user_without_a_right_or_with_a_wrong_password_is_told_what_is_missing() {
    let mut fleet = fleet().await;
    let users = [
        "user poor on >right ~{rowcount:default}:* &{rowcount:default}:* +@all -@dangerous",
        "user rich on >right ~{rowcount:default}:* &{rowcount:default}:* +@all -@dangerous +info",
    ];
    let options = RedisOptions { config: users.map(str::to_owned).into(), ..Default::default() };
    fleet.redis = RedisServer::start_with(options).await.unwrap();
    fleet.set("ROWCOUNT_REDIS_CACHE_ADDR", fleet.redis.addr());
    let of = |user, password| [("ROWCOUNT_REDIS_CACHE_USERNAME", user), ("ROWCOUNT_REDIS_CACHE_PASSWORD", password)];
    for (user, password, want) in [
        ("poor", "right", "give the user of redis.cache the commands +info"),
        ("poor", "wrong", "Password authentication failed"),
    ] {
        let instance = fleet.instance_with(&format!("{user}-{password}"), &of(user, password)).await;
        let line = instance.logged("lease store does not answer").await;
        assert!(line["error"].as_str().unwrap().contains(want), "{line}");
        let own = instance.lease().await.instance.unwrap();
        assert!(told(&own.error.unwrap()).2.contains(want));
        let checked = fleet.run(&["check", "--connect"], &of(user, password)).await;
        let table = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert_eq!(checked.status.code(), Some(1), "{table}");
        assert!(table.lines().any(|line| line.starts_with("redis") && line.contains(want)), "{table}");
        assert!(part(&instance, "redis").await.contains(want));
    }
    let instance = fleet.instance_with("rich", &of("rich", "right")).await;
    assert_eq!(counted_anew(&instance).await.row_count, Some(3));
}
