//! grpc.health.v1 of instances that hold, stand by or only read.

use rustix::process::Signal;
use tonic::{Code, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt;

use crate::fleet::{Fleet, Instance, PATIENCE, eventually};

const COUNTS: &str = "rowcount.v1.RowCountService";

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn client(instance: &Instance) -> HealthClient<Channel> {
    HealthClient::new(instance.channel().await)
}

async fn check(instance: &Instance, service: &str) -> ServingStatus {
    client(instance).await.check(of(service)).await.expect("answers").into_inner().status()
}

/// Reads on until the watched service says so.
async fn until(watch: &mut Streaming<HealthCheckResponse>, says: ServingStatus) {
    let said = async { while watch.message().await.expect("no error").expect("it goes on").status() != says {} };
    tokio::time::timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("it never says {says:?}"));
}

#[tokio::test]
async fn an_instance_is_healthy_from_its_start_and_its_counts_are_while_anybody_publishes_some() {
    let fleet = Fleet::start().await;
    let reader = fleet.instance_with("reader", &[("ROWCOUNT_DATABASE_METRICS_ENABLED", "false")]).await;
    for service in ["", "liveness"] {
        assert_eq!(check(&reader, service).await, ServingStatus::Serving, "{service:?}");
    }
    assert_eq!(check(&reader, COUNTS).await, ServingStatus::NotServing, "nobody has counted");
    assert_eq!(client(&reader).await.check(of("nobody")).await.unwrap_err().code(), Code::NotFound);
    let mut watch = client(&reader).await.watch(of(COUNTS)).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);

    let (a, b) = tokio::join!(fleet.instance("a"), fleet.instance("b"));
    until(&mut watch, ServingStatus::Serving).await;
    for instance in [&a, &b] {
        eventually("holder and standby say that there are counts", async || {
            (check(instance, COUNTS).await == ServingStatus::Serving).then_some(())
        })
        .await;
    }

    eventually("the reader knows counts", async || {
        reader.counts().await.row_counts.iter().any(|count| count.row_count.is_some()).then_some(())
    })
    .await;

    drop((a, b));
    until(&mut watch, ServingStatus::NotServing).await;
    assert!(reader.counts().await.row_counts.iter().any(|count| count.row_count.is_some()), "old ones are still told");
    for service in ["", "liveness"] {
        assert_eq!(check(&reader, service).await, ServingStatus::Serving, "{service:?}");
    }
}

#[tokio::test]
async fn whoever_watches_the_health_hears_that_it_ends_and_holds_up_no_stop() {
    let fleet = Fleet::start().await;
    let mut instance = fleet.instance("a").await;
    let mut watch = client(&instance).await.watch(of("liveness")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    instance.signal(Signal::TERM);
    until(&mut watch, ServingStatus::NotServing).await;
    let end = watch.message().await.unwrap_err();
    assert_eq!(
        (end.code(), end.get_details_error_info().unwrap().reason.as_str()),
        (Code::Unavailable, "SHUTTING_DOWN")
    );
    assert_eq!(instance.exit().await.code(), Some(0));
    assert_eq!(instance.lines("Tasks did not end in time"), [] as [serde_json::Value; 0]);
}
