//! A fleet that is made to suffer: instances, each behind a proxy of its own where there is one Redis, its servers, and all
//! that watches them.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use rustix::process::Signal;
use tokio::{sync::watch, task::JoinHandle};

use super::{
    checker::Terms,
    control,
    fault::{Fault, Kind},
    history::{Event, History, Micros, What, now},
    ledger,
    proxy::Proxy,
    reader, scraper,
    store::{Setting, Store},
};
use crate::fleet::{Fleet, Instance, PATIENCE};

mod failover;
mod inject;

/// The name of every fleet: each has servers of its own.
const CLUSTER: &str = "default";

/// Instances of one fleet.
const SIZE: usize = 3;

/// Between two looks at what the processes tell.
const LOOK: Duration = Duration::from_millis(10);

/// Lines of a process beside its history that are kept for whoever looks for a reason.
const TAIL: usize = 100;

/// Whom the faults meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// The program.
    Rowcount,
    /// The control: a holder without a deadline of its own on a board without a guard.
    Naive,
}

pub struct Crew<'a> {
    fleet: &'a Fleet,
    terms: Terms,
    contender: Contender,
    store: Store,
    /// Of the server that is the master.
    url: watch::Sender<String>,
    members: Vec<Member>,
    history: Arc<Mutex<History>>,
    ledger: JoinHandle<()>,
    rng: Rng,
    /// Processes started so far.
    processes: usize,
    /// By process: the last answer that its claim rests on; gone when the claim has ended.
    claims: BTreeMap<usize, Answered>,
    /// What the processes told beside their history.
    tails: VecDeque<String>,
}

/// An instance, this process or the next one in its place.
struct Member {
    name: String,
    /// Between it and the only Redis.
    proxy: Option<Proxy>,
    process: usize,
    instance: Instance,
    /// Ask it as long as it lives.
    watchers: [JoinHandle<()>; 2],
}

struct Answered {
    epoch: i64,
    sent: Micros,
    deadline: Micros,
}

// === impl Crew ===

impl<'a> Crew<'a> {
    /// Starts a fleet that has never run, and waits until somebody holds.
    pub async fn start(fleet: &'a Fleet, setting: Setting, terms: Terms, contender: Contender, seed: u64) -> Self {
        let begin = now();
        let store = Store::start(setting).await;
        let url = watch::Sender::new(store.master().url());
        let history = Arc::<Mutex<History>>::default();
        let ledger = tokio::spawn(ledger::keep(url.subscribe(), CLUSTER, history.clone()));
        let mut crew = Self {
            fleet,
            terms,
            contender,
            store,
            url,
            members: Vec::new(),
            history,
            ledger,
            rng: Rng::with_seed(seed),
            processes: 0,
            claims: BTreeMap::new(),
            tails: VecDeque::new(),
        };
        for index in 0..SIZE {
            let proxy = match setting {
                Setting::Alone => Some(Proxy::to(crew.redis_addr()).await),
                Setting::Sentinels | Setting::Cluster => None,
            };
            let name = ["alice", "bob", "carol"][index].to_owned();
            let (process, instance, watchers) = crew.process(&name, proxy.as_ref()).await;
            crew.members.push(Member { name, proxy, process, instance, watchers });
        }
        // Whoever starts waits for the quarantine of a Redis without a record from its first bid on.
        crew.note(Kind::Start, begin, now());
        crew.settle(begin).await;
        crew
    }

    /// Waits a random part of a lease, injects, and waits until somebody holds by an answer that was asked for since;
    /// false when nobody does.
    pub async fn suffer(&mut self, kind: Kind) -> bool {
        let pause = self.rng.f64();
        self.wait(pause).await;
        if !matches!(self.store, Store::Alone(_)) {
            // An earlier fail-over may have left the master alone, or nobody asked for one.
            self.store.settle().await;
            self.has_master();
        }
        let begin = now();
        self.inject(kind).await;
        let healed = now();
        self.note(kind, begin, if kind.spares_the_others() { begin } else { healed });
        self.settle(healed).await
    }

    /// Ends the fleet, the holder first and then whoever holds next, so that each of its instances has to; then tells
    /// all that happened.
    pub async fn end(mut self) -> (History, Vec<String>) {
        while self.members.len() > 1 {
            let begin = now();
            let holder = self.holder_or_any();
            let mut member = self.members.remove(holder);
            self.end_of(&mut member, Signal::TERM).await;
            self.note(Kind::Terminate, begin, begin);
            if !self.settle(now()).await {
                break;
            }
        }
        self.history.lock().unwrap().end = now();
        for mut member in std::mem::take(&mut self.members) {
            self.end_of(&mut member, Signal::TERM).await;
        }
        self.ledger.abort();
        let history = std::mem::take(&mut *self.history.lock().unwrap());
        (history, std::mem::take(&mut self.tails).into())
    }

    /// Waits until somebody holds by an answer that was asked for after `since`.
    async fn settle(&mut self, since: Micros) -> bool {
        let patience = PATIENCE + self.terms.quarantine + self.terms.ttl + self.terms.slack;
        let fresh = async |crew: &mut Self| {
            loop {
                crew.gather();
                if crew.holder().is_some_and(|holder| crew.claims[&crew.members[holder].process].sent >= since) {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(patience, fresh(self)).await.is_ok()
    }

    /// Takes in what the processes have told since.
    fn gather(&mut self) {
        for index in 0..self.members.len() {
            let process = self.members[index].process;
            let lines = self.members[index].instance.take_log();
            self.take_in(process, lines);
            let has_ended = self.members[index].instance.has_ended();
            assert!(!has_ended, "process {process} ended by itself\n{}", self.tails.make_contiguous().join("\n"));
        }
    }

    fn take_in(&mut self, process: usize, lines: Vec<String>) {
        for line in lines {
            let Some(event) = Event::parse(process, &line) else {
                self.tails.push_back(format!("{process}: {line}"));
                if self.tails.len() > TAIL * SIZE {
                    self.tails.pop_front();
                }
                continue;
            };
            match event.what {
                What::Granted { epoch, sent, deadline, .. } | What::Renewed { epoch, sent, deadline, .. } => {
                    self.claims.insert(process, Answered { epoch, sent, deadline });
                }
                What::Ended { .. } => _ = self.claims.remove(&process),
                _ => {}
            }
            self.history.lock().unwrap().events.push(event);
        }
    }

    /// The member that believes to hold, of several the one with the greatest epoch.
    fn holder(&self) -> Option<usize> {
        let epoch = |member: &Member| {
            let claim = self.claims.get(&member.process)?;
            (now() < claim.deadline).then_some(claim.epoch)
        };
        let holders = self.members.iter().enumerate().filter_map(|(index, member)| Some((epoch(member)?, index)));
        holders.max().map(|(_, index)| index)
    }

    fn holder_or_any(&mut self) -> usize {
        self.gather();
        self.holder().unwrap_or_else(|| self.rng.usize(..self.members.len()))
    }

    /// A process of this name, and who watches it.
    async fn process(&mut self, name: &str, proxy: Option<&Proxy>) -> (usize, Instance, [JoinHandle<()>; 2]) {
        let process = self.processes;
        self.processes += 1;
        let mut settings = self.store.settings();
        if let Some(proxy) = proxy {
            settings = vec![("ROWCOUNT_REDIS_CACHE_ADDR", proxy.addr.to_string())];
        }
        let milliseconds = |span: Duration| format!("{}ms", span.as_millis());
        settings.push(("ROWCOUNT_CLUSTER", CLUSTER.to_owned()));
        settings.push(("ROWCOUNT_DATABASE_METRICS_LEASEDURATION", milliseconds(self.terms.ttl)));
        settings.push(("ROWCOUNT_DATABASE_METRICS_INTERVAL", milliseconds(self.terms.ttl / 4)));
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let instance = match self.contender {
            Contender::Rowcount => self.fleet.instance_with(name, &settings).await,
            Contender::Naive => Instance::start(control::command(settings[0].1, CLUSTER, self.terms.ttl), name).await,
        };
        let scraper = tokio::spawn(scraper::watch(process, instance.http.clone(), self.history.clone()));
        let reader = tokio::spawn(reader::watch(process, instance.grpc.clone(), self.history.clone()));
        (process, instance, [scraper, reader])
    }

    /// Ends the process of a member and takes in its last words.
    async fn end_of(&mut self, member: &mut Member, signal: Signal) {
        member.instance.signal(signal);
        member.instance.exit().await;
        self.history.lock().unwrap().deaths.insert(member.process, now());
        member.watchers.iter().for_each(JoinHandle::abort);
        let lines = member.instance.take_last_log().await;
        self.take_in(member.process, lines);
        self.claims.remove(&member.process);
    }

    fn note(&self, kind: Kind, begin: Micros, from: Micros) {
        self.history.lock().unwrap().faults.push(Fault { kind, begin, from });
    }

    fn proxy(&self, member: usize) -> &Proxy {
        self.members[member].proxy.as_ref().expect("what is done to connections is done where there is one Redis")
    }

    fn redis_addr(&self) -> SocketAddr {
        self.store.master().addr().parse().unwrap()
    }

    async fn wait(&self, leases: f64) {
        tokio::time::sleep(self.terms.ttl.mul_f64(leases)).await;
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        self.ledger.abort();
        for member in &self.members {
            member.watchers.iter().for_each(JoinHandle::abort);
        }
    }
}
