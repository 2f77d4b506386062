//! Whoever reads by gRPC: watches the counts that a process tells, holder or not.

use std::sync::{Arc, Mutex};

use rowcount::proto::v1::{WatchRowCountsRequest, row_count_service_client::RowCountServiceClient};

use super::history::{History, Reading, now};

/// Watches the instance at `addr` until it goes.
pub async fn watch(process: usize, addr: String, history: Arc<Mutex<History>>) {
    let Ok(mut client) = RowCountServiceClient::connect(format!("http://{addr}")).await else { return };
    let Ok(stream) = client.watch_row_counts(WatchRowCountsRequest::default()).await else { return };
    let mut stream = stream.into_inner();
    while let Ok(Some(message)) = stream.message().await {
        let reading = Reading { process, at: now(), revision: message.revision };
        history.lock().unwrap().readings.push(reading);
    }
}
