//! Instances of this very program as child processes, so that they can be killed, and what they say of themselves.

use std::{env, time::Duration};

use tonic::transport::{Channel, Endpoint};

use crate::{
    demo::server::{Error, Server, free_port},
    proto::v1::{
        self, GetLeaseStatusRequest, GetLeaseStatusResponse, GetRowCountsRequest, GetRowCountsResponse, instance::Role,
        row_count_service_client::RowCountServiceClient,
    },
};

/// The longest that an instance may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A child process.
pub(super) struct Instance {
    /// `instanceid`.
    pub(super) name: String,
    /// Its gRPC port on 127.0.0.1.
    pub(super) grpc: u16,
    /// Its ops port on 127.0.0.1.
    pub(super) http: u16,
    server: Server,
    client: RowCountServiceClient<Channel>,
}

/// All of them, dead ones included: none is started again.
pub(super) struct Fleet {
    instances: Vec<Instance>,
}

/// What the fleet says at one moment.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// The newest counts that any instance gave.
    pub(super) counts: Option<GetRowCountsResponse>,
    /// The lease as the holder, else any other instance, sees it.
    pub(super) lease: Option<v1::Lease>,
    /// One a child.
    pub(super) instances: Vec<InstanceLook>,
}

/// What is known of one instance.
#[derive(Debug)]
pub(super) struct InstanceLook {
    /// `instanceid`.
    pub(super) name: String,
    /// `None`: it is dead.
    pub(super) pid: Option<u32>,
    /// Its gRPC port on 127.0.0.1.
    pub(super) grpc: u16,
    /// Its ops port on 127.0.0.1.
    pub(super) http: u16,
    /// `None`: it does not answer.
    pub(super) role: Option<Role>,
}

// === impl Instance ===

impl Instance {
    /// Starts it and waits until it answers.
    async fn start(name: String, settings: &[(&str, String)]) -> Result<Self, Error> {
        let mut server = Server::new_as_us("rowcount", "TERM")?;
        let (grpc, http) = (free_port()?, free_port()?);
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{grpc}")).expect("it is a URL");
        let client = RowCountServiceClient::new(endpoint.connect_timeout(PATIENCE).timeout(PATIENCE).connect_lazy());

        let exe = env::current_exe().map_err(|source| Error::Io { what: "find this program".into(), source })?;
        let mut command = server.command(exe)?;
        // Nothing of the caller's: a ROWCOUNT_ variable of his would change the demo.
        command.arg("serve").env_clear();
        command.env("ROWCOUNT_INSTANCEID", &name);
        command.env("ROWCOUNT_GRPC_ADDR", format!("127.0.0.1:{grpc}"));
        command.env("ROWCOUNT_HTTP_ADDR", format!("127.0.0.1:{http}"));
        command.envs(settings.iter().map(|(key, value)| (key, value)));
        let ready = async |_| client.clone().get_lease_status(GetLeaseStatusRequest::default()).await.is_ok();
        server.start(command, "rowcount", ready).await?;
        Ok(Self { name, grpc, http, server, client })
    }

    async fn lease(&self) -> Option<GetLeaseStatusResponse> {
        let answer = self.client.clone().get_lease_status(GetLeaseStatusRequest::default()).await;
        answer.ok().map(tonic::Response::into_inner)
    }

    async fn counts(&self) -> Option<GetRowCountsResponse> {
        let answer = self.client.clone().get_row_counts(GetRowCountsRequest::default()).await;
        answer.ok().map(tonic::Response::into_inner)
    }
}

// === impl Fleet ===

impl Fleet {
    /// Starts this many, one after the other.
    pub(super) async fn start(size: usize, settings: &[(&str, String)]) -> Result<Self, Error> {
        let mut instances = Vec::with_capacity(size);
        for number in 1..=size {
            instances.push(Instance::start(format!("demo-{number}"), settings).await?);
        }
        Ok(Self { instances })
    }

    /// Asks every instance that lives.
    pub(super) async fn look(&mut self) -> Result<Look, Error> {
        let mut look = Look::default();
        for instance in &mut self.instances {
            let alive = instance.server.is_running()?;
            let lease = if alive { instance.lease().await } else { None };
            let counts = if alive { instance.counts().await } else { None };
            let role = lease.as_ref().and_then(|answer| answer.instance.as_ref()).map(v1::Instance::role);
            if look.lease.is_none() || role == Some(Role::Holder) {
                look.lease = lease.and_then(|answer| answer.lease).or(look.lease);
            }
            if counts.as_ref().map(|counts| counts.revision) > look.counts.as_ref().map(|counts| counts.revision) {
                look.counts = counts;
            }
            let Instance { name, grpc, http, server, .. } = &*instance;
            look.instances.push(InstanceLook { name: name.clone(), pid: server.pid(), grpc: *grpc, http: *http, role });
        }
        Ok(look)
    }

    /// Kills the instance of this name, as a crash would.
    pub(super) async fn kill(&mut self, name: &str) -> Result<(), Error> {
        for instance in self.instances.iter_mut().filter(|instance| instance.name == name) {
            instance.server.kill().await?;
        }
        Ok(())
    }
}

// === impl Look ===

impl Look {
    /// The instance that says it holds the lease; of two the first.
    pub(super) fn holder(&self) -> Option<&InstanceLook> {
        self.instances.iter().find(|instance| instance.role == Some(Role::Holder))
    }

    /// How many say they hold the lease.
    pub(super) fn holders(&self) -> usize {
        self.instances.iter().filter(|instance| instance.role == Some(Role::Holder)).count()
    }

    /// Epoch of the lease; 0 when nobody answers.
    pub(super) fn epoch(&self) -> i64 {
        self.lease.as_ref().map_or(0, |lease| lease.epoch)
    }
}
