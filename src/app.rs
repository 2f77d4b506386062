//! The service: build, bind, spawn, wait, stop, in that order. It keeps every task; one that ends early ends the
//! process by name.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use anyhow::Context;
use sd_notify::NotifyState;
use tokio::{net::TcpListener, sync::broadcast, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    access::Access,
    board::{self, Board, Event, memory::MemoryBoard, mirror, redis::RedisBoard, view::View},
    clock::{Clock, SystemClock},
    collector::{self, Collector, gate::PublishGate},
    config::{Config, Loaded},
    counting::Counting,
    credentials::Port,
    estimator::Estimator,
    gauge::{Gauge, gate::EstimateGate},
    grpc::{
        self, Door,
        collections::Collections,
        counts::Counts,
        health::Health,
        lease::Leases,
        rate_service::RateService,
        rates::{estimates::Estimates, validations::Validations},
        row_count_service::Service,
        streams::Streams,
    },
    incoming::Incoming,
    lease::{self, Backend, BoardHints, LeaseHandle, MemoryBackend, redis::RedisBackend, survey::Survey},
    memory_store::MemoryStore,
    metrics::{
        Exporter, build,
        collector::CollectorMetrics,
        estimate::{self, EstimateMetrics},
        follow::FollowMetrics,
        lease::LeaseMetrics,
        query::QueryMetrics,
        reload::{self, ReloadMetrics},
        rows,
        rpc::RpcMetrics,
    },
    observer::{Observer, Turn},
    ops::{self, OpsState, history::History, status::Status},
    prometheus::Prometheus,
    redis_link::Route,
    reload::Reloader,
    shutdown, telemetry,
};

use tasks::Tasks;

mod parts;
mod tasks;

/// The parts of a stop, one after the other, each with its bound. The connections to the database close beside the lease
/// and the calls; `telemetry::FLUSH_TIMEOUT` comes last.
mod bound {
    use std::time::Duration;

    use crate::{counting, telemetry};

    /// End the runs and write the last counts.
    pub const COLLECTOR: Duration = Duration::from_millis(500);
    /// Release the lease.
    pub const RELEASE: Duration = Duration::from_millis(300);
    /// Answer the open calls.
    pub const DRAIN: Duration = Duration::from_millis(250);
    /// Everything that only reads.
    pub const REST: Duration = Duration::from_millis(150);

    // 1.7 s in all at the worst. The lease and the calls take no longer than the database may anyway.
    const _: () = {
        let (middle, close) = (RELEASE.as_millis() + DRAIN.as_millis(), counting::CLOSE_TIMEOUT.as_millis());
        assert!(middle <= close);
        let ends = COLLECTOR.as_millis() + REST.as_millis() + telemetry::FLUSH_TIMEOUT.as_millis();
        assert!(ends + close <= 1700);
    };
}

/// The store that the fleet shares, or this process's memory.
struct Store {
    board: Arc<dyn Board>,
    lease: Arc<dyn Backend>,
    events: broadcast::Sender<Event>,
    /// The subscription to run; memory needs none.
    subscription: Option<Arc<RedisBoard>>,
}

/// Runs the service until a signal.
pub async fn serve(loaded: Loaded) -> anyhow::Result<()> {
    let settings: Arc<str> = loaded.render().into();
    let Loaded { config, credentials, warnings, colour, .. } = loaded;
    let identity = telemetry::Identity { instance_id: &config.instance_id, cluster: &config.cluster };
    let guard = telemetry::init(&config.log, &config.tracing, identity, colour)?;
    for warning in warnings {
        warn!("{warning}");
    }
    let stop = shutdown::on_signal().context("cannot listen to signals")?;
    let reloader = Reloader::new(config.sources.clone(), credentials).context("cannot listen to signals")?;
    let grpc = TcpListener::bind(config.grpc.addr).await.with_context(|| bind_failed("grpc.addr", config.grpc.addr))?;
    let http = TcpListener::bind(config.http.addr).await.with_context(|| bind_failed("http.addr", config.http.addr))?;

    let outcome = run(config, settings, grpc, http, reloader, stop).await;
    guard.shutdown().await;
    outcome
}

fn bind_failed(setting: &str, addr: SocketAddr) -> String {
    format!("cannot listen on {setting} {addr}")
}

async fn run(
    config: Config,
    settings: Arc<str>,
    grpc_listener: TcpListener,
    http_listener: TcpListener,
    reloader: Reloader,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let start_time = SystemTime::now();
    let (grpc_addr, http_addr) = (grpc_listener.local_addr()?, http_listener.local_addr()?);
    if config.lease.enabled {
        info!(
            interval_s = config.collection.interval.as_secs_f64(),
            lease_duration_s = config.lease.duration.as_secs_f64(),
            "database row count metrics collection started"
        );
    }
    info!(%grpc_addr, %http_addr, instance_id = config.instance_id, cluster = config.cluster, "Listening");

    // Build.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let exporter = Exporter::new()?;
    let meter = exporter.meter();
    build::export(&meter);
    let credentials = reloader.subscribe();
    let shown = credentials.clone();
    reload::export_not_after(&meter, Arc::new(move |port| shown.borrow().tls(port)?.not_after));
    let reload_metrics = ReloadMetrics::new(&meter);
    let lease_metrics = LeaseMetrics::new(&meter);
    let rpc_metrics = Arc::new(RpcMetrics::new(&meter));
    let collector_metrics = Arc::new(CollectorMetrics::new(&meter));
    let query_metrics = QueryMetrics::new(&meter, config.collection.queries.iter().map(|query| &query.name));
    let Store { board, lease: backend, events, subscription } = store(&config, clock.clone());
    let view = View::new();
    let counting = Counting::new(config.database.clone(), &config.instance_id);
    let prometheus = config.rates.prometheus.clone().map(Prometheus::new).transpose().context("rates.prometheus")?;
    let estimator = Estimator { prometheus: prometheus.clone(), overrides: config.rates.costs.clone() };

    // Tokens in the order in which they are cancelled at the end.
    let stop_collecting = CancellationToken::new();
    let end_streams = CancellationToken::new();
    let drain = CancellationToken::new();
    let end_rest = CancellationToken::new();

    // Spawn.
    let mut tasks = Tasks::default();
    tasks.spawn("reload", ends(reloader.run(reload_metrics, end_rest.clone())));
    if let Some(redis) = subscription {
        tasks.spawn("subscription", ends(redis.run_subscription(end_rest.clone())));
    }
    let survey = Survey::new(backend.clone(), board.events());
    tasks.spawn("survey", ends(survey.run(end_rest.clone())));
    let revisions = events.clone();
    let (copy, floor) = (view.clone(), view.clone());
    let lease_setup = lease::Setup {
        backend,
        events: board.events(),
        hint: Box::new(move |epoch, revision| {
            floor.granted(epoch);
            // Nobody listens only while the process stops.
            let _ = revisions.send(Event::Revision(revision));
        }),
        board: Box::new(move || hints(&copy.now().state)),
        config: config.lease.clone(),
        instance_id: config.instance_id.clone(),
        address: advertised(grpc_addr),
        clock: clock.clone(),
        metrics: lease_metrics.clone(),
        collected_level: config.log.collected,
    };
    tasks.spawn("mirror", ends(mirror::mirror(board.clone(), view.clone(), end_rest.clone())));
    let (lease, lease_task) = lease::spawn(lease_setup, stop_collecting.clone());
    tasks.spawn("lease", async move { Ok(lease_task.await?) });

    let gate = Arc::new(PublishGate::new(lease.subscribe(), clock.clone()));
    let rows_gate = gate.clone();
    let rows_source: rows::RowsSource = Arc::new(move || rows_gate.rows());
    rows::export(&meter, &rows_source);
    let parts =
        parts::Parts { counting: counting.clone(), lease: lease.clone(), view: view.clone(), clock: clock.clone() };
    parts.export(&meter, config.redis.is_some());
    let collector = Collector {
        instance_id: config.instance_id.clone(),
        connections: config.database.connections,
        collected_level: config.log.collected,
        clock: clock.clone(),
        lease: lease.clone(),
        board: board.clone(),
        view: view.clone(),
        gate,
        counting: counting.clone(),
        metrics: collector::Metrics {
            collector: collector_metrics.clone(),
            query: query_metrics,
            follow: FollowMetrics::new(&meter, &rows_source),
            lease: lease_metrics,
        },
        config: config.collection.clone(),
    };
    tasks.spawn("collector", ends(collector.run(stop_collecting.clone())));
    if let Some(gauge) = config.rates.gauge {
        let gate = Arc::new(EstimateGate::new(lease.subscribe(), clock.clone(), gauge.interval));
        let shown = gate.clone();
        estimate::export(&meter, Arc::new(move || shown.shown()));
        let metrics = EstimateMetrics::new(&meter);
        let (estimator, role, clock) = (estimator.clone(), lease.subscribe(), clock.clone());
        let gauge = Gauge { config: gauge, estimator, role, clock, gate, metrics };
        tasks.spawn("rates", ends(gauge.run(stop_collecting.clone())));
    }

    let health = Health::serving().await;
    tasks.spawn("health", ends(health.clone().keep(view.clone(), stop.clone())));
    let history = Arc::new(History::default());
    tasks.spawn("history", ends(history.clone().keep(view.clone(), end_rest.clone())));
    let counts = Counts::new(view, config.collection.queries.clone().into());
    let leases = Leases {
        cluster: config.cluster.clone(),
        instance_id: config.instance_id.clone(),
        start_time,
        lease: lease.clone(),
        board: board.clone(),
        clock,
    };
    let status = Status { counts: counts.clone(), leases: leases.clone(), history };
    let service = Service {
        collections: Collections::new(counts.clone(), board, end_streams.clone(), collector_metrics),
        counts,
        leases,
        streams: Streams::new(end_streams.clone(), rpc_metrics.clone()),
    };
    let estimates = Estimates::new(estimator);
    let observer = Observer { counting: config.database.target.is_given().then(|| counting.clone()), prometheus };
    let rates = RateService {
        validations: Validations {
            estimates: estimates.clone(),
            observer,
            turn: Turn::default(),
            stop: end_streams.clone(),
        },
        estimates,
    };
    let door = Door {
        incoming: Incoming::new(grpc_listener, Port::Grpc, credentials.clone()),
        access: Access::new(Port::Grpc, credentials.clone()),
        reflection: config.grpc.reflection,
    };
    let server = grpc::serve(door, service, rates, health, rpc_metrics, drain.clone());
    tasks.spawn("grpc", async move { Ok(server.await?) });

    let is_ready = Arc::new(AtomicBool::new(true));
    let (ready, shown) = (is_ready.clone(), parts.clone());
    let ops = OpsState {
        ready: Arc::new(move || ready.load(Ordering::Relaxed)),
        parts: Arc::new(move || parts.list()),
        status: Arc::new(move |after| status.now(&shown.list(), after)),
        config: settings,
        metrics: exporter,
        access: Access::new(Port::Http, credentials.clone()),
    };
    let incoming = Incoming::new(http_listener, Port::Http, credentials);
    tasks.spawn("ops", ends(ops::serve(incoming, ops, end_rest.clone())));
    tell_service_manager(NotifyState::Ready);

    // Wait.
    let outcome = tokio::select! {
        // First: the signal itself ends the task that tells the health.
        biased;
        () = stop.cancelled() => Ok(()),
        error = tasks.next_end() => {
            error!(error = format!("{error:#}"), "Stopping");
            Err(error)
        }
    };

    // Stop.
    is_ready.store(false, Ordering::Relaxed);
    tell_service_manager(NotifyState::Stopping);
    stop.cancel();
    stop_collecting.cancel();
    tasks.finish(&["collector", "rates"], bound::COLLECTOR).await;
    let hand_over = async {
        release(&lease).await;
        end_streams.cancel();
        drain.cancel();
        tasks.finish(&["grpc"], bound::DRAIN).await;
    };
    // Nobody counts any more, and neither the lease nor the calls need the database.
    let ((), are_closed) = tokio::join!(hand_over, counting.close());
    if !are_closed {
        warn!("Connections to the database did not close in time");
    }
    end_rest.cancel();
    let rest = ["lease", "mirror", "health", "history", "ops", "reload", "subscription", "survey"];
    tasks.finish(&rest, bound::REST).await;
    info!("Stopped");
    outcome
}

/// Tells systemd, where it started this process with `Type=notify`; elsewhere nothing.
fn tell_service_manager(state: NotifyState) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "The service manager was not told");
    }
}

/// A task without a result.
async fn ends(task: impl Future<Output = ()>) -> anyhow::Result<()> {
    task.await;
    Ok(())
}

async fn release(lease: &LeaseHandle) {
    if timeout(bound::RELEASE, lease.release()).await.is_err() {
        warn!("The lease was not released in time; it ends by itself");
    }
}

fn hints(state: &board::State) -> BoardHints {
    BoardHints { resign: state.resign, epoch: state.snapshot.as_ref().map_or(0, |snapshot| snapshot.epoch) }
}

fn store(config: &Config, clock: Arc<dyn Clock>) -> Store {
    let Some(redis) = &config.redis else {
        let memory = Arc::new(MemoryStore::new(clock));
        let board = MemoryBoard::new(memory.clone());
        let events = board.event_sender();
        let lease = Arc::new(MemoryBackend::new(memory, &config.lease));
        return Store { board, lease, events, subscription: None };
    };
    let route = Route::new(redis.clone(), &config.cluster);
    let board = RedisBoard::new(&route);
    Store {
        lease: Arc::new(RedisBackend::new(&route, &config.lease)),
        events: board.event_sender(),
        board: board.clone(),
        subscription: Some(board),
    }
}

/// Where others reach this port: the host's name when it listens on every interface.
fn advertised(addr: SocketAddr) -> String {
    if !addr.ip().is_unspecified() {
        return addr.to_string();
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{}", addr.port())
}
