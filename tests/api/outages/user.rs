//! The Redis user of docs/lease.md: what it may is enough for all that an instance does, and nothing of it too much.

use std::time::Duration;

use rowcount::proto::v1::{ResignLeaseRequest, collection};
use rustix::process::Signal;

use super::{counted_anew, fleet, trigger};
use crate::fleet::{Fleet, eventually, span};

const PAGE: &str = include_str!("../../../docs/lease.md");

/// The command of the page that makes the user, word by word.
fn command() -> Vec<&'static str> {
    let line = PAGE.lines().find(|line| line.starts_with("ACL SETUSER rowcount "));
    line.expect("docs/lease.md has the command").split(' ').collect()
}

/// What the user may run, as Redis calls it in its statistics.
fn allowed() -> Vec<&'static str> {
    command().into_iter().filter_map(|word| word.strip_prefix('+')).collect()
}

async fn user(fleet: &mut Fleet) {
    fleet.redis.cli(&command()).await.unwrap();
    fleet.set("ROWCOUNT_REDIS_CACHE_USERNAME", "rowcount");
    fleet.set("ROWCOUNT_REDIS_CACHE_PASSWORD", "PASSWORD");
}

#[tokio::test]
async fn all_that_an_instance_does_is_allowed_and_all_that_is_allowed_is_used() {
    let mut fleet = fleet().await;
    user(&mut fleet).await;
    fleet.redis.cli(&["CONFIG", "RESETSTAT"]).await.unwrap();
    let checked = fleet.run(&["check", "--connect"], &[]).await;
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
    // One that reaches no database gives up for the other.
    let mut alice = fleet.instance_with("alice", &[("ROWCOUNT_DATABASE_URL", "postgres://u@127.0.0.1:1/none")]).await;
    alice.logged("obtained database row count metrics lock").await;
    let bob = fleet.instance("bob").await;
    counted_anew(&bob).await;
    let done = trigger(&alice).await.unwrap().collection.unwrap();
    assert_eq!(done.state(), collection::State::Succeeded, "{done:?}");
    let resign = ResignLeaseRequest { hold_off_duration: Some(span(Duration::from_millis(100))) };
    alice.client().await.resign_lease(resign).await.unwrap();
    alice.signal(Signal::TERM);
    alice.exit().await;
    counted_anew(&bob).await;
    // The subscription is tried for its life every 12 s.
    let unused = eventually("everything was used", async || {
        let statistics = fleet.redis.cli(&["INFO", "commandstats"]).await.unwrap();
        // Before 7 only the command is told, without its subcommand.
        let is_told = |name: &str| statistics.contains(&format!("cmdstat_{name}:"));
        let was_used = |command: &&str| is_told(command) || is_told(command.split('|').next().unwrap());
        let unused: Vec<_> = allowed().into_iter().filter(|command| !was_used(command)).collect();
        unused.is_empty().then_some(unused)
    })
    .await;
    assert_eq!(unused, [""; 0]);
    let refused = fleet.redis.cli(&["ACL", "LOG"]).await.unwrap();
    // What a client says of its library may be refused.
    let refused: Vec<_> = refused.split("reason").skip(1).filter(|entry| !entry.contains("\nobject\nclient")).collect();
    assert_eq!(refused, [""; 0]);
}

#[tokio::test]
async fn whoever_lacks_one_right_hears_of_it_from_check() {
    let mut fleet = fleet().await;
    user(&mut fleet).await;
    let redis = async |settings: &[(&str, &str)]| {
        // So that the scripts have to be loaded.
        fleet.redis.cli(&["SCRIPT", "FLUSH"]).await.unwrap();
        let output = fleet.run(&["check", "--connect"], settings).await;
        let table = String::from_utf8(output.stdout).unwrap();
        let failed = table.lines().find(|line| line.starts_with("redis") && line.contains("FAILED"));
        failed.map(str::to_owned)
    };
    assert_eq!(redis(&[]).await, None);
    for right in allowed() {
        // Before 7 a subcommand cannot be taken away.
        let without: Vec<_> = command().into_iter().filter(|word| word.strip_prefix('+') != Some(right)).collect();
        fleet.redis.cli(&without).await.unwrap();
        let told = redis(&[]).await.unwrap_or_else(|| panic!("{right} is not missed"));
        let name = right.split('|').next().unwrap();
        assert!(told.contains(name), "{right}: {told}");
    }
    fleet.redis.cli(&command()).await.unwrap();
    let told = redis(&[("ROWCOUNT_CLUSTER", "another")]).await.expect("its keys are not ours");
    assert!(told.ends_with("give the user of redis.cache ~{rowcount:CLUSTER}:* &{rowcount:CLUSTER}:*"), "{told}");
    fleet.redis.cli(&["ACL", "SETUSER", "rowcount", "resetchannels"]).await.unwrap();
    let told = redis(&[]).await.expect("it may not publish");
    assert!(told.ends_with("give the user of redis.cache ~{rowcount:CLUSTER}:* &{rowcount:CLUSTER}:*"), "{told}");
}
