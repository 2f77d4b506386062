//! Each fault does what its name says, seen from both sides of the proxy.

use std::time::Instant;

use tokio::sync::mpsc;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const A_WHILE: Duration = Duration::from_millis(100);

/// Echoes what it hears, and tells it.
async fn server() -> (SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (heard, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 64];
                while let Ok(length @ 1..) = client.read(&mut buffer).await {
                    heard.send(buffer[..length].to_vec()).unwrap();
                    if client.write_all(&buffer[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (addr, told)
}

async fn heard(told: &mut mpsc::UnboundedReceiver<Vec<u8>>) -> Vec<u8> {
    tokio::time::timeout(PATIENCE, told.recv()).await.expect("the server hears it").unwrap()
}

/// The next bytes; empty when the connection ended or was reset.
async fn answered(client: &mut TcpStream) -> Vec<u8> {
    let mut buffer = [0; 64];
    let length = tokio::time::timeout(PATIENCE, client.read(&mut buffer)).await.expect("an answer").unwrap_or(0);
    buffer[..length].to_vec()
}

async fn is_silent(client: &mut TcpStream) -> bool {
    tokio::time::timeout(A_WHILE, client.read_u8()).await.is_err()
}

/// A proxy before a server, and a connection through it that works.
async fn setup() -> (Proxy, TcpStream, mpsc::UnboundedReceiver<Vec<u8>>) {
    let (addr, mut told) = server().await;
    let proxy = Proxy::to(addr).await;
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    assert_eq!((heard(&mut told).await, answered(&mut client).await), (b"hello".to_vec(), b"hello".to_vec()));
    (proxy, client, told)
}

#[tokio::test]
async fn what_a_black_hole_takes_comes_out_when_it_is_gone() {
    let (proxy, mut client, mut told) = setup().await;
    proxy.flow(Flow::Hold, Flow::Pass);
    client.write_all(b"one").await.unwrap();
    assert!(is_silent(&mut client).await && told.try_recv().is_err(), "nothing reaches the server");
    proxy.flow(Flow::Pass, Flow::Hold);
    assert_eq!(heard(&mut told).await, b"one", "late");
    assert!(is_silent(&mut client).await, "the server did it, and its client is not told");
    let mut other = TcpStream::connect(proxy.addr).await.unwrap();
    other.write_all(b"two").await.unwrap();
    assert_eq!(heard(&mut told).await, b"two");
    assert!(is_silent(&mut other).await, "new connections too");
    proxy.flow(Flow::Pass, Flow::Pass);
    assert_eq!((answered(&mut client).await, answered(&mut other).await), (b"one".to_vec(), b"two".to_vec()));
}

#[tokio::test]
async fn what_was_held_arrives_even_when_its_client_has_gone() {
    let (proxy, mut client, mut told) = setup().await;
    proxy.flow(Flow::Hold, Flow::Hold);
    client.write_all(b"ghost").await.unwrap();
    drop(client);
    tokio::time::sleep(A_WHILE).await;
    proxy.flow(Flow::Pass, Flow::Pass);
    assert_eq!(heard(&mut told).await, b"ghost");
}

#[tokio::test]
async fn a_delay_delays() {
    let (proxy, mut client, _told) = setup().await;
    proxy.flow(Flow::Late(A_WHILE), Flow::Late(A_WHILE));
    let sent = Instant::now();
    client.write_all(b"late").await.unwrap();
    assert_eq!(answered(&mut client).await, b"late");
    assert!(sent.elapsed() >= 2 * A_WHILE, "{:?}", sent.elapsed());
}

#[tokio::test]
async fn a_reset_ends_both_sides_and_new_connections_work() {
    let (proxy, mut client, mut told) = setup().await;
    proxy.reset();
    let error = tokio::time::timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    client.write_all(b"again").await.unwrap();
    assert_eq!((heard(&mut told).await, answered(&mut client).await), (b"again".to_vec(), b"again".to_vec()));
}

#[tokio::test]
async fn a_half_open_connection_says_nothing_for_ever_and_new_ones_work() {
    let (proxy, mut client, mut told) = setup().await;
    proxy.half_open();
    assert!(is_silent(&mut client).await);
    client.write_all(b"anybody?").await.unwrap();
    assert!(is_silent(&mut client).await && told.try_recv().is_err());
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    client.write_all(b"me").await.unwrap();
    assert_eq!((heard(&mut told).await, answered(&mut client).await), (b"me".to_vec(), b"me".to_vec()));
}

#[tokio::test]
async fn a_truncated_answer_ends_in_the_middle_and_new_connections_work() {
    let (proxy, mut client, mut told) = setup().await;
    proxy.truncate();
    client.write_all(b"answer").await.unwrap();
    assert_eq!(heard(&mut told).await, b"answer", "the server has done it");
    assert_eq!((answered(&mut client).await, answered(&mut client).await), (b"ans".to_vec(), Vec::new()));
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    client.write_all(b"whole").await.unwrap();
    assert_eq!(answered(&mut client).await, b"whole");
}

#[tokio::test]
async fn what_was_sent_is_sent_again() {
    let (proxy, client, mut told) = setup().await;
    drop(client);
    proxy.duplicate().await;
    assert_eq!(heard(&mut told).await, b"hello");
}

#[tokio::test]
async fn connections_wait_while_they_lead_nowhere_and_then_lead_to_the_new_server() {
    let (proxy, mut client, mut told) = setup().await;
    let (other, mut other_told) = server().await;
    proxy.lead_nowhere();
    assert_eq!(answered(&mut client).await, b"");
    let mut client = TcpStream::connect(proxy.addr).await.unwrap();
    client.write_all(b"moved").await.unwrap();
    assert!(is_silent(&mut client).await);
    proxy.lead_to(other);
    assert_eq!((heard(&mut other_told).await, answered(&mut client).await), (b"moved".to_vec(), b"moved".to_vec()));
    assert!(told.try_recv().is_err());
}
