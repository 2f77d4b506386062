//! What a holder and a standby hold in memory while they work hard, and what they hold of PostgreSQL.

use std::{env, time::Duration};

use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{process, report::Report, steady};

/// Between two scrapes, calls and looks.
const LOOK: Duration = Duration::from_secs(2);

/// In how many minutes; an hour or more shows slow growth.
const MINUTES: &str = "ROWCOUNT_BENCH_MINUTES";

pub async fn measure(mut report: Report) -> Report {
    let minutes = env::var(MINUTES).map_or(1, |text| text.parse().unwrap_or_else(|_| panic!("{MINUTES}: {text:?}")));
    let span = Duration::from_secs(60 * minutes);
    let fleet = steady::fleet("1s", "3s").await;
    let holder = steady::holder(&fleet).await;
    let standby = fleet.instance("bob").await;
    let mut database = PgConnection::connect(&fleet.postgres.url("postgres")).await.expect("PostgreSQL answers");

    let mut residents = [Vec::new(), Vec::new()];
    let mut backends = 0;
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = Instant::now() + span;
    while Instant::now() < end {
        tick.tick().await;
        for (instance, residents) in [&holder, &standby].into_iter().zip(&mut residents) {
            instance.metrics().await;
            instance.counts().await;
            residents.push(process::resident(instance.pid()));
        }
        let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'rowcount/%'";
        let now: i64 = sqlx::query_scalar(ours).fetch_one(&mut database).await.expect("PostgreSQL answers");
        backends = backends.max(now);
    }
    for (role, residents) in ["holder", "standby"].into_iter().zip(&residents) {
        // The first and the last minute; of a short run, its halves.
        let window = (60 / LOOK.as_secs() as usize).min(residents.len() / 2).max(1);
        let mean = |part: &[u64]| part.iter().sum::<u64>() as f64 / part.len() as f64 / 1024.0;
        let (first, last) = (mean(&residents[..window]), mean(&residents[residents.len() - window..]));
        let measured = format!("{last:.1} MiB, {:+.2} MiB since the first {} s", last - first, window * 2);
        report.row(format!("resident memory of a {role} after {minutes} min, counting each second"), measured, "");
    }
    report.row("backends of a holder in PostgreSQL, at most", backends.to_string(), "≤ 2 (`database.connections`)");
    report
}
