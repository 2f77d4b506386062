//! What there is to compare with: a tonic server that does nothing but answer GetRowCounts with one message. It runs in
//! a process of its own, this program under another argument.

use std::{
    convert::Infallible,
    env,
    future::{Ready, ready},
    io::Read,
    process::Stdio,
    task::{Context, Poll},
};

use prost::Message;
use rowcount::proto::v1::{GetRowCountsRequest, GetRowCountsResponse};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, http},
    server::{Grpc, NamedService, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

pub const ARGUMENT: &str = "bare-server";

/// The process.
pub struct BareServer {
    /// `host:port`.
    pub grpc: String,
    child: Child,
}

#[derive(Clone)]
struct Answer(GetRowCountsResponse);

// === impl BareServer ===

impl BareServer {
    /// Starts one that answers with `message`.
    pub async fn start(message: &GetRowCountsResponse) -> Self {
        let program = env::current_exe().expect("this program has a file");
        let mut command = Command::new(program);
        command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("this program starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(&message.encode_to_vec()).await.expect("it reads");
        drop(stdin);
        let mut grpc = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        stdout.read_line(&mut grpc).await.expect("it tells its port");
        Self { grpc: grpc.trim_end().to_owned(), child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }
}

/// The process's side: reads the message from stdin, tells its port on stdout, serves until it is killed.
pub async fn serve() {
    let mut message = Vec::new();
    std::io::stdin().read_to_end(&mut message).expect("stdin has the message");
    let answer = Answer(GetRowCountsResponse::decode(message.as_slice()).expect("it is one"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("{}", listener.local_addr().expect("it is bound"));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder().add_service(answer).serve_with_incoming(incoming).await.expect("it serves");
}

// === impl Answer ===

impl UnaryService<GetRowCountsRequest> for Answer {
    type Response = GetRowCountsResponse;
    type Future = Ready<Result<Response<GetRowCountsResponse>, Status>>;

    fn call(&mut self, _request: Request<GetRowCountsRequest>) -> Self::Future {
        ready(Ok(Response::new(self.0.clone())))
    }
}

impl tower::Service<http::Request<Body>> for Answer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.clone();
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(answer, request).await) })
    }
}

impl NamedService for Answer {
    const NAME: &'static str = "rowcount.v1.RowCountService";
}
