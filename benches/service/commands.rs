//! What an instance that has nothing to do asks of Redis. The commands of one instance, then of more: the difference is
//! the standbys'.

use std::time::Duration;

use rowcount::proto::v1::instance::Role;

use super::{
    fleet::eventually,
    monitor::{Command, Monitor},
    report::Report,
    steady,
};

const SPAN: Duration = Duration::from_secs(60);

/// So that a command more or less in a span weighs little.
const STANDBYS: usize = 4;

pub async fn measure(mut report: Report) -> Report {
    // A lease must be longer than the interval.
    let fleet = steady::fleet("9900ms", "10s").await;
    let _holder = steady::holder(&fleet).await;
    let mut monitor = Monitor::start(&fleet.redis).await;
    let alone = monitor.record(SPAN).await;

    let mut standbys = Vec::new();
    for index in 0..STANDBYS {
        let standby = fleet.instance(&format!("standby-{index}")).await;
        eventually("it stands by", async || (standby.lease().await.instance?.role() == Role::Standby).then_some(()))
            .await;
        standbys.push(standby);
    }
    let together = monitor.record(SPAN).await;

    let standby = (sent(&together) - sent(&alone)) / STANDBYS as f64;
    report.row("Redis commands of an idle standby, lease of 10 s", format!("{standby:.2}/s"), "≤ 0.2/s");
    let by_scripts = alone.len() as f64 / SPAN.as_secs_f64() - sent(&alone);
    report.row(
        "Redis commands of a holder, lease of 10 s, interval of 9.9 s",
        format!("{:.2}/s, and {by_scripts:.1}/s that its scripts run", sent(&alone)),
        "",
    );
    report
}

/// Those that came over the network, a second.
fn sent(commands: &[Command]) -> f64 {
    commands.iter().filter(|command| !command.is_from_script).count() as f64 / SPAN.as_secs_f64()
}
