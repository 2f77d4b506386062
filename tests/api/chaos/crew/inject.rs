//! How each fault is done and undone.

use rowcount::{demo::redis::RedisServer, proto::v1::ResignLeaseRequest};
use rustix::process::Signal;

use super::{Contender, Crew, Member, Proxy};
use crate::{
    chaos::{
        fault::{Kind, Memory, Span, Way, Whom},
        proxy::Flow,
        scraper,
        store::empty_redis,
    },
    fleet::{PATIENCE, eventually},
    modes::LEASE,
};

/// What is in the way until it is undone.
enum Harm {
    Over,
    /// These members stand still.
    Stopped(Vec<usize>),
    RedisStopped,
    RedisDead,
    WritesRefused,
    /// Bytes of these members do not pass as they should.
    Disturbed(Vec<usize>),
}

// === impl Crew ===

impl Crew<'_> {
    /// Injects a fault and undoes it when its time is over.
    pub(super) async fn inject(&mut self, kind: Kind) {
        if kind == Kind::Two {
            return self.inject_two().await;
        }
        let leases = kind.leases(&mut self.rng);
        let harm = self.begin(kind, leases).await;
        self.wait(leases).await;
        self.undo(harm).await;
    }

    /// One in the middle of another.
    async fn inject_two(&mut self) {
        let longs = [
            Kind::StopHolder(Span::Over),
            Kind::StopHolder(Span::Three),
            Kind::StopRedis(Span::Half),
            Kind::StopRedis(Span::Over),
            Kind::BlackHole(Way::ToRedis, Whom::Holder),
            Kind::BlackHole(Way::FromRedis, Whom::Holder),
            Kind::BlackHole(Way::Both, Whom::All),
            Kind::Delay(Whom::All),
        ];
        let long = self.rng.choice(longs).unwrap();
        let shorts: &[Kind] = match long {
            // Redis would not answer to whoever asks it for a fault.
            Kind::StopRedis(_) => &[Kind::KillHolder, Kind::Reset, Kind::HalfOpen],
            _ => &[
                Kind::FlushAll,
                Kind::DeleteLease,
                Kind::KillSubscriptions,
                Kind::KillConnections,
                Kind::Reset,
                Kind::Duplicate,
                Kind::KillRedis(Memory::Whole),
                Kind::KillRedis(Memory::Old),
                Kind::KillRedis(Memory::Lost),
            ],
        };
        let short = *self.rng.choice(shorts).unwrap();
        let (leases, part) = (long.leases(&mut self.rng), self.rng.f64());
        let harm = self.begin(long, leases).await;
        self.wait(leases * part).await;
        let inner = self.begin(short, 0.0).await;
        self.undo(inner).await;
        self.wait(leases * (1.0 - part)).await;
        self.undo(harm).await;
    }

    /// Begins a fault that is to take so many leases.
    async fn begin(&mut self, kind: Kind, leases: f64) -> Harm {
        let span = self.terms.ttl.mul_f64(leases);
        let holder = self.holder_or_any();
        match kind {
            Kind::Start | Kind::Two => unreachable!("no single fault"),
            Kind::Resign => self.resign(holder).await,
            Kind::Terminate => self.replace(holder, Signal::TERM).await,
            Kind::TerminateUnheard => {
                self.redis(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
                self.replace(holder, Signal::TERM).await;
            }
            Kind::KillHolder => self.replace(holder, Signal::KILL).await,
            Kind::StopHolder(_) => return self.stop(vec![holder]),
            Kind::StopAll(_) => return self.stop((0..self.members.len()).collect()),
            Kind::KillRedis(memory) => {
                self.kill_redis(memory).await;
                return Harm::RedisDead;
            }
            Kind::StopRedis(_) => {
                self.store.master().pause();
                return Harm::RedisStopped;
            }
            Kind::FlushAll => self.redis(&["FLUSHALL"]).await,
            Kind::DeleteLease => {
                self.redis(&["DEL", LEASE]).await;
            }
            Kind::PauseClients(_) => {
                self.redis(&["CLIENT", "PAUSE", &span.as_millis().to_string(), "ALL"]).await;
            }
            Kind::RefuseWrites(_) => {
                self.redis(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
                return Harm::WritesRefused;
            }
            Kind::KillSubscriptions => self.redis(&["CLIENT", "KILL", "TYPE", "pubsub"]).await,
            Kind::KillConnections => self.redis(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await,
            Kind::Promote => self.promote(holder).await,
            Kind::FailOver(how) => self.fail_over(how, holder).await,
            Kind::BlackHole(way, whom) => {
                let held = |is_held: bool| if is_held { Flow::Hold } else { Flow::Pass };
                return self.disturb(holder, whom, held(way != Way::FromRedis), held(way != Way::ToRedis));
            }
            Kind::Delay(whom) => {
                // From what a renewal waits for to what it does not.
                let delay = Flow::Late(self.terms.ttl.mul_f64(self.rng.choice([0.02, 0.08, 0.5]).unwrap()));
                return self.disturb(holder, whom, delay, delay);
            }
            Kind::HalfOpen => self.proxy(holder).half_open(),
            Kind::Reset => self.proxy(holder).reset(),
            Kind::Truncate => self.proxy(holder).truncate(),
            Kind::Duplicate => {
                let proxies = (0..self.members.len()).map(|index| self.proxy(index).duplicate());
                futures_util::future::join_all(proxies).await;
            }
        }
        Harm::Over
    }

    async fn undo(&mut self, harm: Harm) {
        match harm {
            Harm::Over => {}
            Harm::Stopped(members) => {
                for index in members {
                    let Member { process, instance, .. } = &self.members[index];
                    // These wait in its socket: nothing that it does comes before them.
                    for _ in 0..3 {
                        tokio::spawn(scraper::scrape(*process, instance.http.clone(), self.history.clone()));
                    }
                    tokio::task::yield_now().await;
                    self.members[index].instance.signal(Signal::CONT);
                }
            }
            Harm::RedisStopped => self.store.master().resume(),
            Harm::RedisDead => {
                self.store.master_mut().restart().await.expect("Redis starts");
            }
            Harm::WritesRefused => self.redis(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await,
            Harm::Disturbed(members) => {
                for index in members {
                    self.proxy(index).flow(Flow::Pass, Flow::Pass);
                }
            }
        }
    }

    async fn redis(&self, command: &[&str]) {
        self.store.master().cli(command).await.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }

    fn stop(&self, members: Vec<usize>) -> Harm {
        for index in &members {
            self.members[*index].instance.signal(Signal::STOP);
        }
        Harm::Stopped(members)
    }

    fn disturb(&self, holder: usize, whom: Whom, to_server: Flow, to_client: Flow) -> Harm {
        let members: Vec<_> = match whom {
            Whom::Holder => vec![holder],
            Whom::All => (0..self.members.len()).collect(),
        };
        for index in &members {
            self.proxy(*index).flow(to_server, to_client);
        }
        Harm::Disturbed(members)
    }

    /// Asks any instance for the resignation of the holder, who holds off for up to a lease.
    pub(super) async fn resign(&mut self, holder: usize) {
        if self.contender == Contender::Naive {
            return self.replace(holder, Signal::TERM).await;
        }
        let asked = self.rng.usize(..self.members.len());
        let hold_off = self.terms.ttl.mul_f64(self.rng.f64());
        let request = ResignLeaseRequest { hold_off_duration: Some(hold_off.try_into().unwrap()) };
        let mut client = self.members[asked].instance.client().await;
        let answer = tokio::time::timeout(PATIENCE, client.resign_lease(request)).await.expect("an answer");
        if let Err(status) = answer {
            self.tails.push_back(format!("resign: {status}"));
        }
    }

    /// Ends the process of a member and starts another one in its place.
    async fn replace(&mut self, index: usize, signal: Signal) {
        let mut member = self.members.remove(index);
        self.end_of(&mut member, signal).await;
        let Member { name, proxy, .. } = member;
        let (process, instance, watchers) = self.process(&name, proxy.as_ref()).await;
        self.members.insert(index, Member { name, proxy, process, instance, watchers });
    }

    async fn kill_redis(&mut self, memory: Memory) {
        if memory == Memory::Old {
            // From here on nothing is written for the next start.
            self.redis(&["CONFIG", "SET", "appendonly", "no"]).await;
            let forgotten = self.rng.f64() * 1.5;
            self.wait(forgotten).await;
        }
        self.store.master_mut().kill().await.expect("Redis is killed");
        if memory == Memory::Lost {
            // Another one without data, in its place.
            discard(std::mem::replace(self.store.master_mut(), empty_redis().await));
            self.store.master_mut().stop().await.expect("Redis stops");
            self.move_over();
        }
    }

    /// Promotes a replica that did not get the last writes, and moves every instance over to it.
    async fn promote(&mut self, holder: usize) {
        let replica = empty_redis().await;
        let link = Proxy::to(self.redis_addr()).await;
        let (host, port) = (link.addr.ip().to_string(), link.addr.port().to_string());
        replica.cli(&["REPLICAOF", &host, &port]).await.expect("it becomes a replica");
        shows(&replica, "replication", &["master_link_status:up"]).await;
        shows(&replica, "persistence", &["aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"]).await;
        let synced = self.rng.f64();
        self.wait(synced).await;
        link.lead_nowhere();
        if self.rng.bool() {
            // So that a grant is among what is lost.
            self.resign(holder).await;
        }
        let lost = self.rng.f64();
        self.wait(lost).await;

        // Nobody may reach the old master once there is a new one: its answers would be of another lease.
        for index in 0..self.members.len() {
            self.proxy(index).lead_nowhere();
        }
        self.store.master_mut().kill().await.expect("Redis is killed");
        replica.cli(&["REPLICAOF", "NO", "ONE"]).await.expect("it is promoted");
        discard(std::mem::replace(self.store.master_mut(), replica));
        self.move_over();
    }

    /// Leads every instance, and the ledger, to the Redis that is there now.
    fn move_over(&self) {
        self.url.send_replace(self.store.master().url());
        for index in 0..self.members.len() {
            self.proxy(index).lead_to(self.redis_addr());
        }
    }
}

/// Away with its directory, which takes a while that nobody needs to wait for.
fn discard(redis: RedisServer) {
    tokio::task::spawn_blocking(move || drop(redis));
}

/// Waits until INFO has these lines.
async fn shows(redis: &RedisServer, section: &str, lines: &[&str]) {
    eventually(&format!("INFO {section} has {lines:?}"), async || {
        let info = redis.cli(&["INFO", section]).await.expect("Redis answers");
        lines.iter().all(|line| info.lines().any(|found| found == *line)).then_some(())
    })
    .await;
}
