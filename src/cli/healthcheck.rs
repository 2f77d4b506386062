//! `rowcount healthcheck`: the standard health check, for probes in images that hold nothing but this program.

use std::time::Duration;

use anyhow::bail;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{
    client::{Client, ClientArgs},
    output::Output,
};

/// Arguments of `healthcheck`.
#[derive(Debug, clap::Args)]
pub struct HealthcheckArgs {
    /// liveness, rowcount.v1.RowCountService or rowcount.v1.RateService [default: readiness]
    #[arg(long, value_name = "SERVICE", default_value = "", hide_default_value = true)]
    service: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the status; fails unless it is SERVING.
pub async fn run(args: HealthcheckArgs) -> anyhow::Result<()> {
    let request = HealthCheckRequest { service: args.service.clone() };
    let answer = Client::connect(&args.client.connection)
        .await?
        .call(request, Duration::ZERO, async |service, request| HealthClient::new(service).check(request).await)
        .await?;
    let status = answer.status().as_str_name();
    let mut output = Output::new(args.client.output);
    let text = match output.is_table() {
        true => status.to_owned(),
        false => serde_json::json!({"status": status}).to_string(),
    };
    output.lines([text])?;
    if answer.status() != ServingStatus::Serving {
        bail!("the server's health {:?} is {status}", args.service);
    }
    Ok(())
}
