//! WatchRowCounts, deadlines, and what the port counts of its calls.

use std::time::Duration;

use http::HeaderMap;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rowcount::proto::v1::{self, row_count_service_client::RowCountServiceClient};
use tokio::net::TcpStream;
use tonic::{Code, Request, Streaming, transport::Endpoint};
use tonic_types::StatusExt;

use crate::{
    fleet::{Fleet, Instance, PATIENCE, sample},
    trigger::{Client, LONG, fleet, request, settled, trigger},
};

mod health;

type Watch = Streaming<v1::WatchRowCountsResponse>;

async fn watch(client: &mut Client, query_names: &[&str], start_revision: i64) -> Result<Watch, tonic::Status> {
    let query_names = query_names.iter().map(ToString::to_string).collect();
    let request = v1::WatchRowCountsRequest { query_names, start_revision };
    client.watch_row_counts(request).await.map(tonic::Response::into_inner)
}

async fn next(watch: &mut Watch) -> v1::WatchRowCountsResponse {
    let message = tokio::time::timeout(PATIENCE, watch.message()).await.expect("a message comes");
    message.expect("no error").expect("it goes on")
}

fn names(message: &v1::WatchRowCountsResponse) -> Vec<&str> {
    message.row_counts.iter().map(|count| count.query_name.as_str()).collect()
}

/// One more row of the table `calls`, counted by `query`. Returns the revision at which `client`'s instance has it.
async fn count_one_more(fleet: &Fleet, client: &mut Client, query: &str) -> i64 {
    fleet.sql("INSERT INTO calls VALUES (1)").await;
    trigger(client, request(&[query], LONG)).await.expect("triggers");
    client.get_row_counts(v1::GetRowCountsRequest::default()).await.expect("answers").into_inner().revision
}

/// Sends an empty request by hand, since a client of tonic's own gives up by itself at a deadline. Returns the headers
/// of the answer, which is only headers when it is an error.
async fn by_hand(instance: &Instance, method: &str, timeout: &str) -> HeaderMap {
    let stream = TcpStream::connect(&instance.grpc).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}/{method}", instance.grpc))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body("\0\0\0\0\0".to_owned())
        .unwrap();
    sender.send_request(request).await.unwrap().headers().clone()
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

fn calls(page: &str, method: &str, code: &str) -> Option<f64> {
    let series = format!(
        "rpc_server_call_duration_seconds_count{{rpc_method=\"{method}\",rpc_response_status_code=\"{code}\",\
         rpc_system_name=\"grpc\"}}"
    );
    sample(page, &series)
}

#[tokio::test]
async fn a_watch_begins_with_everything_or_where_it_left_off_and_then_sends_only_changes() {
    let fleet = fleet().await;
    let (a, b) = tokio::join!(fleet.instance("a"), fleet.instance("b"));
    let holds_a = settled(&fleet, &[&a, &b]).await.id == a.id;
    // Whoever does not hold hears of every change.
    let mut client = if holds_a { &b } else { &a }.client().await;
    let now = count_one_more(&fleet, &mut client, "calls").await;

    let mut full = watch(&mut client, &[], 0).await.unwrap();
    let first = next(&mut full).await;
    assert_eq!((names(&first), first.revision), (vec!["calls", "gated"], now));
    let mut resumed = watch(&mut client, &[], now).await.unwrap();
    let mut of_a_lost_board = watch(&mut client, &[], now + 1000).await.unwrap();
    assert_eq!(next(&mut of_a_lost_board).await, first);
    let mut of_one = watch(&mut client, &["gated"], 0).await.unwrap();
    assert_eq!(names(&next(&mut of_one).await), ["gated"]);

    let later = count_one_more(&fleet, &mut client, "calls").await;
    assert!(later > now);
    for watch in [&mut full, &mut resumed, &mut of_a_lost_board] {
        let change = next(watch).await;
        assert_eq!((names(&change), change.row_counts[0].row_count), (vec!["calls"], Some(2)), "{change:?}");
        assert!(change.revision > now && change.revision <= later);
    }
    count_one_more(&fleet, &mut client, "gated").await;
    for watch in [&mut full, &mut of_one] {
        let change = next(watch).await;
        assert_eq!((names(&change), change.row_counts[0].row_count), (vec!["gated"], Some(3)), "{change:?}");
    }

    let unknown = watch(&mut client, &["nobody"], 0).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(unknown.get_details_error_info().unwrap().reason, "UNKNOWN_QUERY");
    assert_eq!(watch(&mut client, &[], -1).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_reader_that_does_not_read_gets_the_newest_counts_and_few_of_those_between() {
    const CHANGES: i64 = 60;
    let fleet = fleet().await;
    let instance = fleet.instance("a").await;
    settled(&fleet, &[&instance]).await;
    // Room for some messages of a hundred bytes; what does not fit has to wait at the server.
    let endpoint = Endpoint::from_shared(format!("http://{}", instance.grpc)).unwrap().initial_stream_window_size(1024);
    let mut narrow = RowCountServiceClient::new(endpoint.connect().await.unwrap());
    let mut slow = watch(&mut narrow, &["calls"], 0).await.unwrap();

    let mut client = instance.client().await;
    for _ in 0..CHANGES {
        count_one_more(&fleet, &mut client, "calls").await;
    }
    let mut messages = 0;
    let newest = loop {
        let message = next(&mut slow).await;
        messages += 1;
        if message.row_counts[0].row_count == Some(CHANGES) {
            break message.revision;
        }
    };
    assert_eq!(newest, instance.counts().await.revision);
    assert!(messages < CHANGES / 3, "{messages} messages for {CHANGES} changes");
}

#[tokio::test]
async fn a_watch_tells_when_counts_become_stale_though_nobody_counts_any_more() {
    let fleet = Fleet::start().await;
    let reader = fleet.instance_with("reader", &[("ROWCOUNT_DATABASE_METRICS_ENABLED", "false")]).await;
    let holder = fleet.instance("a").await;
    settled(&fleet, &[&holder]).await;
    let mut client = reader.client().await;
    let mut open = watch(&mut client, &["tags"], 0).await.unwrap();
    while next(&mut open).await.row_counts[0].stale {}
    drop(holder);
    let last = loop {
        let message = next(&mut open).await;
        if message.row_counts[0].stale {
            break message;
        }
    };
    let told = reader.counts().await;
    assert_eq!((last.revision, names(&last)), (told.revision, vec!["tags"]));
    // Whoever comes back to that revision has the count, but not the news of its age.
    let resumed = next(&mut watch(&mut client, &["tags"], last.revision).await.unwrap()).await;
    assert_eq!(resumed, last);
}

#[tokio::test]
async fn a_deadline_ends_a_call_with_its_own_code_and_every_call_is_counted_under_a_method_that_exists() {
    const SERVICE: &str = "rowcount.v1.RowCountService";
    let fleet = fleet().await;
    let instance = fleet.instance("a").await;
    settled(&fleet, &[&instance]).await;
    let mut client = instance.client().await;

    let mut request = Request::new(v1::WatchRowCountsRequest::default());
    request.set_timeout(Duration::from_millis(400));
    let mut stream = client.watch_row_counts(request).await.unwrap().into_inner();
    let end = loop {
        match tokio::time::timeout(PATIENCE, stream.message()).await.expect("it ends") {
            Ok(message) => assert!(message.is_some(), "it ends with its deadline, not in peace"),
            Err(end) => break end,
        }
    };
    assert_eq!(end.code(), Code::DeadlineExceeded);

    fleet.redis.pause();
    let late = by_hand(&instance, &format!("{SERVICE}/GetLeaseStatus"), "200m").await;
    fleet.redis.resume();
    assert_eq!(code(&late), Some(Code::DeadlineExceeded), "{late:?}");

    let too_many = v1::GetRowCountsRequest { query_names: vec!["nobody".to_owned()], max_age: None };
    assert_eq!(client.get_row_counts(too_many).await.unwrap_err().code(), Code::NotFound);
    instance.counts().await;
    for path in [format!("{SERVICE}/DropTables"), "made.up.Service/Method".to_owned()] {
        assert_eq!(code(&by_hand(&instance, &path, "5S").await), Some(Code::Unimplemented));
    }
    let page = instance.metrics().await;
    for (method, code, times) in [
        ("WatchRowCounts", "DEADLINE_EXCEEDED", 1.0),
        ("GetLeaseStatus", "DEADLINE_EXCEEDED", 1.0),
        ("GetRowCounts", "NOT_FOUND", 1.0),
        ("GetRowCounts", "OK", 1.0),
    ] {
        assert_eq!(calls(&page, &format!("{SERVICE}/{method}"), code), Some(times), "{method} {code}");
    }
    assert_eq!(calls(&page, "_OTHER", "UNIMPLEMENTED"), Some(2.0));
    assert!(!page.contains("DropTables") && !page.contains("made.up"), "a caller made a series");
}
