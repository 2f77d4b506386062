//! What instances that have nothing to do ask of Redis, by its own count: of a holder, of a fleet, and so of a standby.

use std::time::Duration;

use rowcount::{demo::redis::RedisServer, proto::v1::instance::Role};

use super::{
    commandstats::{Statistics, reset, statistics},
    fleet::eventually,
    report::Report,
    rounds, steady,
};

const SPAN: Duration = Duration::from_secs(60);

/// Of the fleet; the other is the holder.
const STANDBYS: usize = 49;

pub async fn measure(mut report: Report) -> Report {
    // A lease must be longer than the interval.
    let fleet = steady::fleet("9900ms", "10s").await;
    let _holder = steady::holder(&fleet).await;
    let alone = during(&fleet.redis).await;

    let mut standbys = Vec::new();
    for index in 0..rounds(STANDBYS) {
        standbys.push(fleet.instance(&format!("standby-{index}")).await);
    }
    for standby in &standbys {
        eventually("it stands by", async || (standby.lease().await.instance?.role() == Role::Standby).then_some(()))
            .await;
    }
    let together = during(&fleet.redis).await;

    let size = standbys.len() + 1;
    let standby = (together.sent() - alone.sent()) / standbys.len() as f64;
    let rate = |calls: f64| format!("{:.2}/s", calls / SPAN.as_secs_f64());
    report.row("Redis commands of an idle standby, lease of 10 s", rate(standby), "≤ 0.2/s");
    let holder = format!("{}, and {} that its scripts run", rate(alone.sent()), rate(alone.of_scripts()));
    report.row("Redis commands of a holder, lease of 10 s, interval of 9.9 s", holder, "");
    report.row(format!("Redis commands of a fleet of {size}, the same"), rate(together.sent()), "≤ 10/s");
    let script = format!("{:.1} us a call", together.of("evalsha").micros_per_call());
    report.row(format!("time of a script in Redis, on the average of that fleet of {size}"), script, "≤ 20 us");
    report
}

/// What was run while nothing but the instances was there.
async fn during(redis: &RedisServer) -> Statistics {
    reset(redis).await;
    tokio::time::sleep(SPAN).await;
    statistics(redis).await
}
