//! A door in front of an instance that wants a token, as the instance itself does when it is configured with some: `/`
//! refuses with the page as its body, everything else without.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const CHALLENGE: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n";

/// Starts it; returns its address.
pub async fn start(instance: String, token: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            // An error is the browser's, which went away.
            let pass = pass(client, instance.clone(), token);
            tokio::spawn(async move { _ = pass.await });
        }
    });
    addr
}

async fn pass(mut client: TcpStream, instance: String, token: &str) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or_default();
    let is_let_in = head.lines().any(|line| line.eq_ignore_ascii_case(&format!("authorization: bearer {token}")));
    if !is_let_in && path != "/" {
        return client.write_all(format!("{CHALLENGE}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes()).await;
    }
    let mut upstream = TcpStream::connect(&instance).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {instance}\r\nConnection: close\r\n\r\n");
    upstream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    upstream.read_to_string(&mut answer).await?;
    if !is_let_in {
        answer = answer.replacen("HTTP/1.1 200 OK\r\n", CHALLENGE, 1);
    }
    client.write_all(answer.as_bytes()).await
}
