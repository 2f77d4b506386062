//! GetRowCounts as fast as a few clients can call it, beside a bare tonic server that sends the same message.

use std::time::{Duration, Instant};

use rowcount::proto::v1::{GetRowCountsRequest, row_count_service_client::RowCountServiceClient};
use tokio::task::JoinSet;

use super::{bare::BareServer, process, report::Report, stats::Sorted, steady};

const CONNECTIONS: usize = 4;
const STREAMS: usize = 16;
const ROUND: Duration = Duration::from_secs(5);
const ROUNDS: usize = 5;

/// One server's rounds.
#[derive(Default)]
struct Rounds {
    per_second: Vec<f64>,
    cpu_us: Vec<f64>,
}

pub async fn measure(mut report: Report) -> Report {
    let fleet = steady::fleet("10m", "11m").await;
    let holder = steady::holder(&fleet).await;
    let message = holder.counts().await;
    let bare = BareServer::start(&message).await;

    let (mut ours, mut theirs) = (Rounds::default(), Rounds::default());
    // One after the other, again and again: whatever else the machine does, it does to both.
    for _ in 0..ROUNDS {
        ours.round(&holder.grpc, holder.pid()).await;
        theirs.round(&bare.grpc, bare.pid()).await;
    }
    let ratio: Vec<_> = ours.per_second.iter().zip(&theirs.per_second).map(|(ours, theirs)| ours / theirs).collect();
    let clients = format!("{CONNECTIONS} connections × {STREAMS} streams");
    report.row(format!("GetRowCounts of {} counts, {clients}", message.row_counts.len()), ours.cell(), "");
    report.row("the same message from a bare tonic server", theirs.cell(), "");
    let measured = format!("{:.2} (median of {ROUNDS} pairs of rounds)", Sorted::new(ratio).median());
    report.row("ratio of the two rates", measured, "≥ 0.9");
    report
}

// === impl Rounds ===

impl Rounds {
    async fn round(&mut self, grpc: &str, pid: u32) {
        let before = process::cpu(pid);
        let began = Instant::now();
        let calls = calls(grpc).await;
        self.per_second.push(calls as f64 / began.elapsed().as_secs_f64());
        self.cpu_us.push((process::cpu(pid) - before).as_secs_f64() * 1e6 / calls as f64);
    }

    fn cell(self) -> String {
        let [rate, cpu] = [self.per_second, self.cpu_us].map(|values| Sorted::new(values).median());
        format!("{rate:.0} calls/s, {cpu:.1} us of the server's CPU each")
    }
}

/// The number of calls answered in one round; each stream calls again as soon as it has its answer.
async fn calls(grpc: &str) -> u64 {
    let end = Instant::now() + ROUND;
    let mut streams = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let client = RowCountServiceClient::connect(format!("http://{grpc}")).await.expect("the server listens");
        for _ in 0..STREAMS {
            let mut client = client.clone();
            streams.spawn(async move {
                let mut calls = 0;
                while Instant::now() < end {
                    client.get_row_counts(GetRowCountsRequest::default()).await.expect("the server answers");
                    calls += 1;
                }
                calls
            });
        }
    }
    streams.join_all().await.into_iter().sum()
}
