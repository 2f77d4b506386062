//! Calls to one instance. Every call has a deadline, told to the server.

use std::{
    io,
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail};
use tonic::{Code, Request, Response, Status, Streaming, service::interceptor::InterceptedService, transport::Channel};
use tonic_types::StatusExt;

use super::{
    connection::{ConnectionArgs, Credentials},
    fault,
    output::Format,
};

/// How often in a row a stream that the server ended is called again; from the start after one that lasted.
const CALLS_AGAIN: u32 = 5;

/// A stream this long has lasted.
const LASTING: Duration = Duration::from_secs(60);

/// Before calling again, where the server does not say.
const CALL_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Options of every command that asks a server.
#[derive(Debug, clap::Args)]
pub struct ClientArgs {
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// How answers are written
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    #[arg(help_heading = "Client options")]
    pub output: Format,
}

/// The connection with its credentials, as a generated client takes it.
pub type Service = InterceptedService<Channel, Credentials>;

/// A connected client.
pub struct Client {
    server: fault::Server,
    timeout: Duration,
    service: Service,
}

// === impl Client ===

impl Client {
    /// Connects, so that an unreachable server is told from one that fails.
    pub async fn connect(args: &ConnectionArgs) -> anyhow::Result<Self> {
        let (endpoint, credentials) = (args.endpoint()?, args.credentials()?);
        let server = args.server();
        let channel = match tokio::time::timeout(args.timeout, endpoint.connect()).await {
            Ok(connected) => connected.map_err(|error| anyhow!(fault::unreachable(&server, &error)))?,
            Err(_) => {
                let late = format!("no connection within {}", humantime::format_duration(args.timeout));
                bail!(fault::unreachable(&server, &io::Error::other(late)));
            }
        };
        let server = fault::Server { url: server, has_certificate: args.tls_cert.is_some() };
        Ok(Self { server, timeout: args.timeout, service: InterceptedService::new(channel, credentials) })
    }

    /// One call. `wait` is what the server is asked to wait, on top of the time for the answer.
    pub async fn call<Q, R>(
        &self,
        message: Q,
        wait: Duration,
        rpc: impl AsyncFnOnce(Service, Request<Q>) -> Result<Response<R>, Status>,
    ) -> anyhow::Result<R> {
        let bound = self.timeout + wait;
        let mut request = Request::new(message);
        request.set_timeout(bound);
        let answer = bounded(bound, rpc(self.service.clone(), request)).await;
        Ok(answer.map_err(|status| self.fault(&status))?.into_inner())
    }

    /// A call that answers with a stream: hands each message to `each` until the stream ends or the user interrupts. A
    /// stream that the server ends with UNAVAILABLE and a time to retry after is called again, with a new `message`.
    pub async fn follow<Q, R>(
        &self,
        message: impl Fn() -> Q,
        rpc: impl AsyncFn(Service, Request<Q>) -> Result<Response<Streaming<R>>, Status>,
        mut each: impl FnMut(R) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut interrupt = pin!(tokio::signal::ctrl_c());
        let mut calls_again = 0;
        loop {
            let began = Instant::now();
            let mut was_open = false;
            let end = tokio::select! {
                end = self.read(message(), &rpc, &mut each, &mut was_open) => end?,
                _ = &mut interrupt => return Ok(()),
            };
            let Err(status) = end else { return Ok(()) };
            if was_open && began.elapsed() >= LASTING {
                calls_again = 0;
            }
            let delay = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
            // While calling again, also the instance that has gone and the next one that is not there yet.
            let may_help = status.code() == Code::Unavailable && (calls_again > 0 || (was_open && delay.is_some()));
            if !may_help || calls_again == CALLS_AGAIN {
                return Err(self.fault(&status));
            }
            calls_again += 1;
            tokio::select! {
                () = tokio::time::sleep(delay.unwrap_or(CALL_AGAIN_AFTER).min(self.timeout)) => {}
                _ = &mut interrupt => return Ok(()),
            }
        }
    }

    /// One stream to its end. The outer error is that of `each`.
    async fn read<Q, R>(
        &self,
        message: Q,
        rpc: &impl AsyncFn(Service, Request<Q>) -> Result<Response<Streaming<R>>, Status>,
        each: &mut impl FnMut(R) -> anyhow::Result<()>,
        was_open: &mut bool,
    ) -> anyhow::Result<Result<(), Status>> {
        let mut stream = match bounded(self.timeout, rpc(self.service.clone(), Request::new(message))).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Ok(Err(status)),
        };
        *was_open = true;
        loop {
            match stream.message().await {
                Ok(Some(message)) => each(message)?,
                Ok(None) => return Ok(Ok(())),
                Err(status) => return Ok(Err(status)),
            }
        }
    }

    fn fault(&self, status: &Status) -> anyhow::Error {
        anyhow!(fault::line(status, &self.server))
    }
}

async fn bounded<R>(bound: Duration, rpc: impl Future<Output = Result<R, Status>>) -> Result<R, Status> {
    tokio::time::timeout(bound, rpc).await.unwrap_or_else(|_| {
        Err(Status::deadline_exceeded(format!("no answer within {}", humantime::format_duration(bound))))
    })
}
