//! The collector on a board that fails at the worst moment. Its database is out of reach, so every collection ends at
//! once, FAILED.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use rowcount::{
    board::{
        Begun, Board, Error, Event, Pending, Publication, State, TriggerRequest, Triggered, Written,
        memory::MemoryBoard, mirror::mirror, view::View,
    },
    catalog::Catalog,
    claim::Proof,
    clock::{Clock, SystemClock},
    collection::{Collection, CollectionId, CollectionState, Trigger},
    collector::{Collector, Metrics, gate::PublishGate},
    config::{Acquire, CollectionConfig, DatabaseConfig, DatabaseTarget, FirstStart, LeaseConfig, Secret},
    counting::Counting,
    follow,
    lease::{self, BoardHints, LeaseHandle, MemoryBackend, Setup},
    memory_store::MemoryStore,
    metrics::{
        Exporter, collector::CollectorMetrics, follow::FollowMetrics, lease::LeaseMetrics, query::QueryMetrics,
        rows::RowsSource,
    },
    query::{Method, Query, Source},
};
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::fleet::eventually;

/// What becomes of a begin.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It is carried out, and the answer is lost.
    Unanswered,
    /// The board does not know the holder at this moment.
    Refused,
}

/// A board in memory on which the first begins fail.
struct FaultyBoard {
    inner: Arc<MemoryBoard>,
    begins: Mutex<VecDeque<Fault>>,
}

#[async_trait]
impl Board for FaultyBoard {
    async fn load(&self) -> Result<State, Error> {
        self.inner.load().await
    }

    async fn followed(&self) -> Result<Option<follow::State>, Error> {
        self.inner.followed().await
    }

    async fn publish(&self, proof: &Proof, publication: Publication) -> Result<Written, Error> {
        self.inner.publish(proof, publication).await
    }

    async fn trigger(&self, request: TriggerRequest) -> Result<Triggered, Error> {
        self.inner.trigger(request).await
    }

    async fn begin(&self, proof: &Proof, pending: &Pending, running: Collection) -> Result<Begun, Error> {
        let fault = self.begins.lock().unwrap().pop_front();
        match fault {
            None => self.inner.begin(proof, pending, running).await,
            Some(Fault::Unanswered) => {
                self.inner.begin(proof, pending, running).await?;
                Err(Error::Unavailable("the answer was lost".to_owned()))
            }
            Some(Fault::Refused) => Ok(Begun::NotHolder),
        }
    }

    async fn resign(&self, epoch: i64, hold_off: Duration) -> Result<(), Error> {
        self.inner.resign(epoch, hold_off).await
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events()
    }
}

/// One instance that holds the lease, and does not count yet.
struct Stage {
    board: Arc<FaultyBoard>,
    view: Arc<View>,
    lease: LeaseHandle,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    _ends: DropGuard,
}

impl Stage {
    async fn set(faults: &[Fault]) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Arc::new(MemoryStore::new(clock.clone()));
        let begins = Mutex::new(faults.iter().copied().collect());
        let board = Arc::new(FaultyBoard { inner: MemoryBoard::new(store.clone()), begins });
        let duration = Duration::from_secs(600);
        let config = LeaseConfig {
            enabled: true,
            duration,
            quarantine: 2 * duration,
            acquire: Acquire::Standby,
            first_start: FirstStart::Immediate,
        };
        let setup = Setup {
            backend: Arc::new(MemoryBackend::new(store, &config)),
            events: board.events(),
            hint: Box::new(|_, _| {}),
            board: Box::new(BoardHints::default),
            config,
            instance_id: "alice".to_owned(),
            address: String::new(),
            clock: clock.clone(),
            metrics: LeaseMetrics::new(&Exporter::new().unwrap().meter()),
            collected_level: tracing::Level::DEBUG,
        };
        let stop = CancellationToken::new();
        let (lease, _task) = lease::spawn(setup, stop.clone());
        lease.subscribe().wait_for(|role| role.current_claim(clock.now()).is_some()).await.unwrap();
        Self { board, view: View::new(), lease, clock, _ends: stop.clone().drop_guard(), stop }
    }

    fn proof(&self) -> Proof {
        self.lease.role().current_claim(self.clock.now()).expect("it holds").proof()
    }

    /// Begins to count `t`.
    fn count(&self) {
        let hour = Duration::from_secs(3600);
        let query = Query {
            name: "t".parse().unwrap(),
            description: String::new(),
            source: Source::Table("t".to_owned()),
            method: Method::Exact,
            cap: None,
            interval: hour,
            timeout: hour,
            builtin: false,
        };
        let meter = Exporter::new().unwrap().meter();
        let rows: RowsSource = Arc::new(|| None);
        let nowhere = "postgres://nobody@127.0.0.1:1/none".to_owned();
        let database = DatabaseConfig {
            target: DatabaseTarget::Url(Secret::Inline(nowhere)),
            connect_timeout: Duration::from_secs(5),
            connections: 1,
        };
        let collector = Collector {
            instance_id: "alice".to_owned(),
            connections: 1,
            collected_level: tracing::Level::DEBUG,
            clock: self.clock.clone(),
            lease: self.lease.clone(),
            board: self.board.clone(),
            view: self.view.clone(),
            gate: Arc::new(PublishGate::new(self.lease.subscribe(), self.clock.clone())),
            counting: Counting::new(database, "alice"),
            metrics: Metrics {
                collector: Arc::new(CollectorMetrics::new(&meter)),
                query: QueryMetrics::new(&meter, [&query.name]),
                follow: FollowMetrics::new(&meter, &rows),
                lease: LeaseMetrics::new(&meter),
            },
            config: CollectionConfig {
                interval: hour,
                trigger_interval: Duration::from_millis(10),
                stale_after: 3,
                catalog: Catalog::None,
                queries: vec![query],
            },
        };
        tokio::spawn(collector.run(self.stop.clone()));
    }

    fn mirror(&self) {
        tokio::spawn(mirror(self.board.clone(), self.view.clone(), self.stop.clone()));
    }

    async fn trigger(&self) -> CollectionId {
        let new_id = CollectionId::generate();
        let query_names = ["t".parse().unwrap()].into();
        self.board.trigger(TriggerRequest { request_id: Uuid::new_v4(), query_names, new_id }).await.unwrap();
        new_id
    }

    /// The collection on the board, once it has ended.
    async fn ended(&self, id: CollectionId) -> Collection {
        eventually("the collection ends", async || {
            let state = self.board.load().await.unwrap();
            state.collections.get(&id).filter(|one| one.state.is_done()).cloned()
        })
        .await
    }
}

#[tokio::test]
async fn a_begin_whose_answer_was_lost_is_carried_out_though_its_repetition_is_refused() {
    for faults in [&[Fault::Unanswered, Fault::Refused][..], &[Fault::Refused, Fault::Unanswered, Fault::Refused]] {
        let stage = Stage::set(faults).await;
        stage.mirror();
        stage.count();
        let id = stage.trigger().await;
        let ended = stage.ended(id).await;
        assert_eq!((ended.state, ended.epoch), (CollectionState::Failed, stage.proof().epoch), "{faults:?}");
        assert!(stage.board.begins.lock().unwrap().is_empty(), "each fault happened");
    }
}

#[tokio::test]
async fn what_runs_on_the_board_under_our_own_epoch_and_not_here_is_cancelled() {
    let stage = Stage::set(&[]).await;
    let proof = stage.proof();
    let now = SystemTime::now();
    let left = Collection {
        id: CollectionId::generate(),
        state: CollectionState::Running,
        trigger: Trigger::Request,
        create_time: now,
        start_time: Some(now),
        end_time: None,
        query_names: ["t".parse().unwrap()].into(),
        failed_query_names: [].into(),
        instance_id: "alice".to_owned(),
        epoch: proof.epoch,
        failure: None,
    };
    let publication = Publication { collections: vec![left.clone()], ..Publication::default() };
    assert_eq!(stage.board.publish(&proof, publication).await.unwrap(), Written::Accepted);
    stage.count();
    let ended = stage.ended(left.id).await;
    assert_eq!(ended.state, CollectionState::Cancelled);
    assert!(ended.failure.is_some_and(|failure| failure.message.contains("lost the lease")));
}

#[tokio::test]
async fn what_is_pending_when_it_begins_to_hold_is_begun_though_no_news_of_it_ever_comes() {
    let stage = Stage::set(&[Fault::Refused]).await;
    let id = stage.trigger().await;
    stage.count();
    assert_eq!(stage.ended(id).await.state, CollectionState::Failed);
    assert_eq!(stage.view.now().load_count, 0, "nobody mirrors the board here");
}
