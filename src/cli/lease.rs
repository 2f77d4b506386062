//! `rowcount lease` and `rowcount resign`: who may count, and making it give that up.

use std::time::{Duration, SystemTime};

use super::{
    client::{Client, ClientArgs},
    output::Output,
    table::Pairs,
    text,
};
use crate::proto::v1::{
    GetLeaseStatusRequest, Instance, Lease, ResignLeaseRequest, WatchLeaseRequest, WatchLeaseResponse, instance, lease,
    row_count_service_client::RowCountServiceClient,
};

use live::Live;

mod live;

/// Arguments of `lease`.
#[derive(Debug, clap::Args)]
pub struct LeaseArgs {
    /// Print each change of holder or state until interrupted
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Arguments of `resign`.
#[derive(Debug, clap::Args)]
pub struct ResignArgs {
    /// How long the one who resigns does not compete [default: the server's, 10s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    hold_off: Option<Duration>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the lease, or its changes.
pub async fn run(args: LeaseArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client.connection).await?;
    let mut output = Output::new(args.client.output);
    if args.watch {
        let rpc = async |service, request| RowCountServiceClient::new(service).watch_lease(request).await;
        let live = Live::start();
        let each = |message: WatchLeaseResponse| {
            let lease = message.lease.clone().unwrap_or_default();
            live.change(&lease, || match output.is_table() {
                true => Ok(output.lines([line(&lease, SystemTime::now())])?),
                false => output.object_line(&message),
            })
        };
        return client.follow(|| WatchLeaseRequest {}, rpc, each).await;
    }
    let answer = client
        .call(GetLeaseStatusRequest::default(), Duration::ZERO, async |service, request| {
            RowCountServiceClient::new(service).get_lease_status(request).await
        })
        .await?;
    if !output.is_table() {
        return output.object(&answer);
    }
    let mut pairs = answer.lease.as_ref().map(|lease| block(lease, SystemTime::now())).unwrap_or_default();
    if let Some(instance) = &answer.instance {
        add_instance(&mut pairs, instance, SystemTime::now());
    }
    Ok(output.lines(pairs.lines())?)
}

/// Has the holder resign, and prints the lease after that.
pub async fn resign(args: ResignArgs) -> anyhow::Result<()> {
    let request =
        ResignLeaseRequest { hold_off_duration: args.hold_off.map(prost_types::Duration::try_from).transpose()? };
    let answer = Client::connect(&args.client.connection)
        .await?
        .call(request, Duration::ZERO, async |service, request| {
            RowCountServiceClient::new(service).resign_lease(request).await
        })
        .await?;
    let mut output = Output::new(args.client.output);
    if !output.is_table() {
        return output.object(&answer);
    }
    let pairs = answer.lease.as_ref().map(|lease| block(lease, SystemTime::now())).unwrap_or_default();
    Ok(output.lines(pairs.lines())?)
}

/// The lease as names and values. When the store is out of reach, `observed` tells how old the rest is.
fn block(lease: &Lease, now: SystemTime) -> Pairs {
    let ago = |at| text::since(at, now).map(|age| format!("{} ago", text::age(age)));
    let mut pairs = Pairs::default();
    pairs.add("lease", lease.lease_name.clone());
    pairs.add("state", text::word(lease.state().as_str_name(), "STATE_"));
    pairs.add(if lease.state() == lease::State::Held { "holder" } else { "last holder" }, lease.holder_id.clone());
    pairs.add("address", lease.holder_address.clone());
    pairs.add("epoch", lease.epoch.to_string());
    pairs.add(
        "since",
        text::moment(lease.acquire_time)
            .zip(ago(lease.acquire_time))
            .map(|(at, ago)| format!("{} ({ago})", text::time(at))),
    );
    pairs.add("renewed", ago(lease.renew_time));
    if lease.state() == lease::State::Held {
        pairs.add("expires in", text::length(lease.remaining_duration).map(text::span));
    }
    // Also beside a holder: until then nobody may take over from it.
    pairs.add("let in after", quarantine(lease).map(text::span));
    pairs.add("observed", ago(lease.observe_time));
    pairs
}

fn add_instance(pairs: &mut Pairs, instance: &Instance, now: SystemTime) {
    let up = text::since(instance.start_time, now).map(|up| format!(", up {}", text::age(up))).unwrap_or_default();
    pairs.add("this instance", format!("{} (version {}{up})", instance.instance_id, instance.version));
    let role = text::word(instance.role().as_str_name(), "ROLE_");
    let until = text::moment(instance.deadline_time).filter(|_| instance.role() == instance::Role::Holder);
    pairs.add(
        "role",
        match until.map(|until| until.duration_since(now).unwrap_or_default()) {
            Some(left) => format!("{role}, may publish for {} more", text::span(left)),
            None => role,
        },
    );
    pairs.add("wins", instance.acquire_count.to_string());
    pairs.add("error", instance.error.as_ref().map(text::error));
}

/// Time until new holders are let in, when there is any.
fn quarantine(lease: &Lease) -> Option<Duration> {
    text::length(lease.quarantine_remaining_duration).filter(|left| !left.is_zero())
}

/// A change as one line.
fn line(lease: &Lease, now: SystemTime) -> String {
    let mut parts = vec![
        text::time(now),
        format!("{:11}", text::word(lease.state().as_str_name(), "STATE_")),
        format!("epoch {}", lease.epoch),
    ];
    if !lease.holder_id.is_empty() {
        let role = if lease.state() == lease::State::Held { "holder" } else { "last holder" };
        parts.push(format!("{role} {}", text::one_line(&lease.holder_id)));
    }
    if !lease.holder_address.is_empty() {
        parts.push(format!("at {}", text::one_line(&lease.holder_address)));
    }
    match lease.state() {
        lease::State::Quarantined => {
            parts.extend(quarantine(lease).map(|left| format!("let in after {}", text::span(left))))
        }
        lease::State::Unknown => {
            let age = text::since(lease.observe_time, now);
            parts.push(
                age.map_or_else(|| "never observed".to_owned(), |age| format!("observed {} ago", text::age(age))),
            );
        }
        _ => {}
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn lease(state: lease::State) -> Lease {
        let ago = |seconds: i64| Some(Timestamp { seconds: 1_700_000_000 - seconds, nanos: 0 });
        Lease {
            lease_name: "default".into(),
            state: state.into(),
            holder_id: "alice".into(),
            holder_address: "10.0.0.1:50051".into(),
            epoch: 3,
            acquire_time: ago(120),
            renew_time: ago(4),
            remaining_duration: Some(prost_types::Duration { seconds: 26, nanos: 0 }),
            quarantine_remaining_duration: (state == lease::State::Quarantined)
                .then_some(prost_types::Duration { seconds: 9, nanos: 0 }),
            observe_time: ago(12),
            ..Lease::default()
        }
    }

    #[test]
    fn a_held_lease_tells_who_and_for_how_long() {
        assert_eq!(
            block(&lease(lease::State::Held), now()).lines().collect::<Vec<_>>(),
            [
                "lease       default",
                "state       held",
                "holder      alice",
                "address     10.0.0.1:50051",
                "epoch       3",
                "since       2023-11-14T22:11:20Z (2m ago)",
                "renewed     4s ago",
                "expires in  26s",
                "observed    12s ago",
            ]
        );
    }

    #[test]
    fn a_lease_that_is_not_held_has_only_a_last_holder() {
        let lines: Vec<String> = block(&lease(lease::State::Quarantined), now()).lines().collect();
        assert!(lines.contains(&"last holder   alice".to_owned()), "{lines:?}");
        assert!(lines.contains(&"let in after  9s".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|line| line.starts_with("expires")), "{lines:?}");
    }

    #[test]
    fn a_change_is_one_line() {
        assert_eq!(
            line(&lease(lease::State::Free), now()),
            "2023-11-14T22:13:20Z  free         epoch 3  last holder alice  at 10.0.0.1:50051"
        );
        let quarantined = line(&lease(lease::State::Quarantined), now());
        assert!(
            quarantined.ends_with("  quarantined  epoch 3  last holder alice  at 10.0.0.1:50051  let in after 9s"),
            "{quarantined}"
        );
        let unknown = line(&lease(lease::State::Unknown), now());
        assert!(unknown.ends_with("  last holder alice  at 10.0.0.1:50051  observed 12s ago"), "{unknown}");
    }
}
