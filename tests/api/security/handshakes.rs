//! What happens before the first byte of a request.

use std::time::Instant;

use rowcount::proto::v1;
use rustls::version::{TLS12, TLS13};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Caller, Secured};
use crate::fleet::{PATIENCE, eventually, http_get};

/// More than the ops port has connections.
const SILENT: usize = 100;

#[tokio::test]
async fn clients_that_begin_no_handshake_hold_up_nobody_and_are_let_go() {
    let secured = Secured::start().await;
    let instance = secured.instance(secured.tls()).await;
    // On a busy machine the silent ones may be let go before the others are even there: that says nothing.
    let mut silent = Vec::new();
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < 2 * PATIENCE, "others are answered only when the silent ones are gone");
        silent.clear();
        let before = instance.lines("Handshake failed").len();
        for addr in [&instance.http, &instance.grpc] {
            for _ in 0..SILENT {
                silent.push(TcpStream::connect(addr).await.unwrap());
            }
        }
        assert_eq!(secured.get(&instance, "/livez", Caller::default()).await.unwrap().status, 200);
        let mut client = secured.client(&instance, Caller::default());
        client.list_queries(v1::ListQueriesRequest {}).await.unwrap();
        if instance.lines("Handshake failed").len() == before {
            break;
        }
    }
    for mut stream in silent {
        let end = tokio::time::timeout(PATIENCE, stream.read(&mut [0])).await.expect("it is closed");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}

#[tokio::test]
async fn one_who_speaks_plaintext_to_a_tls_port_is_refused_and_nobody_else_is() {
    let secured = Secured::start().await;
    let instance = secured.instance(secured.tls()).await;
    assert!(http_get(&instance.http, "/livez").await.is_err());
    let mut stream = TcpStream::connect(&instance.grpc).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is closed");
    // An alert, or nothing: no frame of HTTP/2.
    assert!(answer.first().is_none_or(|first| *first == 21), "{answer:?}");
    eventually("both are told of", async || (instance.lines("Handshake failed").len() >= 2).then_some(())).await;
    assert_eq!(secured.get(&instance, "/livez", Caller::default()).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_port_speaks_no_older_version_than_it_may_and_only_its_own_protocol() {
    let secured = Secured::start().await;
    let mut settings = secured.tls();
    settings.insert("ROWCOUNT_HTTP_TLS_MINIMUMTLS".to_owned(), "tls1.3".to_owned());
    let instance = secured.instance(settings).await;
    let connect = async |addr: &str, version, alpn: &[u8]| {
        let stream = secured.connect(addr, None, &[version], alpn).await?;
        Ok::<_, std::io::Error>(stream.get_ref().1.protocol_version())
    };
    let (grpc, http) = (&instance.grpc, &instance.http);
    assert_eq!(connect(grpc, &TLS12, b"h2").await.unwrap(), Some(TLS12.version));
    assert_eq!(connect(grpc, &TLS13, b"h2").await.unwrap(), Some(TLS13.version));
    assert_eq!(connect(http, &TLS13, b"http/1.1").await.unwrap(), Some(TLS13.version));
    let old = connect(http, &TLS12, b"http/1.1").await.unwrap_err();
    assert!(old.to_string().contains("ProtocolVersion"), "{old}");
    for (addr, other) in [(grpc, &b"http/1.1"[..]), (http, b"h2")] {
        let other = connect(addr, &TLS13, other).await.unwrap_err();
        assert!(other.to_string().contains("NoApplicationProtocol"), "{other}");
    }
}
