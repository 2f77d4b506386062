//! The lease protocol: the scripts in Redis do what the pure step does, and the step keeps what it must.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use redis::{Script, Value, aio::MultiplexedConnection};
use rowcount::{
    claim::Proof,
    demo::redis::RedisServer,
    lease::redis::{answer, arguments},
    lease_protocol::{
        Acquire, Answer, Command, Record, Renew, Reply, Rules, is_confirmed_holder, margin, standing, step,
    },
    redis_link::Keys,
};

const PRELUDE: &str = include_str!("../../src/redis_link/prelude.lua");
const PROLOGUE: &str = include_str!("../../src/lease/prologue.lua");
const GUARD: &str = "return is_confirmed_holder(ARGV[4], ARGV[5], ARGV[6]) and 1 or 0";
const START_US: i64 = 1_790_000_000_000_000;
const RULES: Rules = Rules { quarantine_us: 10_500_000, immediate: false };

/// The scripts with moment and generation taken from the last two arguments.
struct Scripts {
    connection: MultiplexedConnection,
    keys: Keys,
}

impl Scripts {
    async fn run(&mut self, body: &str, args: &[String], now_us: i64, generation: &str) -> Value {
        let injected = PRELUDE
            .replace("local now = server_time()", "local now = tonumber(ARGV[#ARGV - 1])")
            .replace("local generation = server_generation()", "local generation = ARGV[#ARGV]");
        assert!(!injected.contains("= server_"), "the prelude takes moment and generation from elsewhere");
        let script = Script::new(&format!("{injected}\n{body}"));
        let mut call = script.prepare_invoke();
        self.keys.keys.iter().for_each(|key| {
            call.key(key);
        });
        call.arg(&self.keys.events).arg(args).arg(now_us).arg(generation);
        call.invoke_async(&mut self.connection).await.unwrap()
    }

    async fn ask(&mut self, rules: Rules, command: &Command, now_us: i64, generation: &str) -> Answer {
        let body = match command {
            Command::Acquire(_) => include_str!("../../src/lease/acquire.lua"),
            Command::Renew(_) => include_str!("../../src/lease/renew.lua"),
            Command::Release { .. } => include_str!("../../src/lease/release.lua"),
            Command::Status => include_str!("../../src/lease/status.lua"),
        };
        let value = self.run(&format!("{PROLOGUE}{body}"), &arguments(rules, command), now_us, generation).await;
        answer(value).unwrap()
    }

    async fn guard(&mut self, proof: &Proof, now_us: i64, generation: &str) -> bool {
        let Proof { token, epoch, mark_us } = proof;
        let args = [String::new(), String::new(), token.clone(), epoch.to_string(), mark_us.to_string()];
        self.run(GUARD, &args, now_us, generation).await == Value::Int(1)
    }

    async fn record(&mut self) -> Option<Record> {
        let fields: HashMap<String, String> =
            redis::cmd("HGETALL").arg(&self.keys.keys[0]).query_async(&mut self.connection).await.unwrap();
        let text = |name: &str| fields.get(name).cloned().unwrap_or_default();
        let number = |name: &str| fields.get(name).map_or(0, |number| number.parse().unwrap());
        (!fields.is_empty()).then(|| Record {
            v: number("v"),
            token: text("token"),
            holder: text("holder"),
            address: text("address"),
            epoch: number("epoch"),
            since_us: number("since_us"),
            until_us: number("until_us"),
            q_us: number("q_us"),
            generation: text("generation"),
            mark_us: number("mark_us"),
            holder_generation: text("holder_generation"),
            ttl_us: number("ttl_us"),
            released_epoch: number("released_epoch"),
            renewals: number("renewals"),
        })
    }

    async fn put(&mut self, record: Option<&Record>) {
        let mut pipe = redis::pipe();
        pipe.del(&self.keys.keys[0]).ignore();
        if let Some(record) = record {
            let text = [
                ("token", &record.token),
                ("holder", &record.holder),
                ("address", &record.address),
                ("generation", &record.generation),
                ("holder_generation", &record.holder_generation),
            ];
            let numbers = [
                ("v", record.v),
                ("epoch", record.epoch),
                ("since_us", record.since_us),
                ("until_us", record.until_us),
                ("q_us", record.q_us),
                ("mark_us", record.mark_us),
                ("ttl_us", record.ttl_us),
                ("released_epoch", record.released_epoch),
                ("renewals", record.renewals),
            ];
            pipe.hset_multiple(&self.keys.keys[0], &text).ignore();
            pipe.hset_multiple(&self.keys.keys[0], &numbers).ignore();
        }
        pipe.exec_async(&mut self.connection).await.unwrap();
    }
}

fn kind(reply: Reply) -> String {
    format!("{reply:?}").split(' ').next().unwrap().to_owned()
}

/// A command that has a fair chance to be of interest to this record.
fn random_command(rng: &mut fastrand::Rng, record: Option<&Record>, seen: &[(String, i64, i64)]) -> Command {
    let (token, epoch, until_us) = match rng.choice(seen) {
        Some(claim) if rng.u8(..) < 200 => claim.clone(),
        _ => (format!("token-{}", rng.u8(..4)), record.map_or(0, |record| record.epoch), START_US),
    };
    let ttl_us = [900_000, 2_500_000, 10_000_000][rng.usize(..3)];
    let near = record.map_or(0, |record| record.epoch) + rng.i64(-1..=1);
    let holder = format!("holder-{token}");
    match rng.u8(..10) {
        0..4 => {
            let floor = if rng.bool() { near.max(0) } else { rng.i64(0..2) * START_US };
            let token = format!("token-{}", rng.u8(..6));
            Command::Acquire(Acquire { token, holder, address: "a:1".to_owned(), ttl_us, floor })
        }
        4..8 => {
            let epoch = if rng.u8(..8) == 0 { near.max(1) } else { epoch };
            let until_seen_us = until_us + rng.i64(-1..=1) * 3_000_000;
            let address = "a:2".to_owned();
            Command::Renew(Renew { token, epoch, holder, address, since_us: START_US, ttl_us, until_seen_us })
        }
        8 => Command::Release { token, epoch: if rng.bool() { 0 } else { epoch } },
        _ => Command::Status,
    }
}

#[tokio::test]
async fn the_scripts_do_what_the_step_does() {
    let server = RedisServer::start().await.unwrap();
    let mut scripts = Scripts { connection: server.connect().await.unwrap(), keys: Keys::new("differential", 0) };
    let mut kinds = BTreeSet::new();
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let rules = Rules { immediate: rng.bool(), ..RULES };
        let (mut state, mut now_us, mut generation) = (None::<Record>, START_US, "g0".to_owned());
        let (mut seen, mut copies) = (Vec::new(), vec![None]);
        scripts.put(None).await;
        for step_number in 0..100 {
            match rng.u8(..40) {
                0 => generation = format!("g{}", rng.u8(..4)),
                1 => now_us -= rng.i64(0..20_000_000),
                2 => {
                    state = rng.choice(&copies).unwrap().clone();
                    scripts.put(state.as_ref()).await;
                }
                3 => copies.push(state.clone()),
                _ => now_us += [0, 1, 300_000, 4_000_000][rng.usize(..4)],
            }
            let command = random_command(&mut rng, state.as_ref(), &seen);
            let (next, reply) = step(state, now_us, &generation, rules, &command);
            state = next;
            let context = format!("seed {seed}, step {step_number}: {command:?} at {now_us} in {generation}");
            let expected =
                Answer { reply, standing: standing(state.as_ref(), now_us, &generation, rules), revision: 0 };
            assert_eq!(scripts.ask(rules, &command, now_us, &generation).await, expected, "{context}");
            assert_eq!(scripts.record().await, state, "{context}");
            if let (Reply::Granted { epoch, until_us, .. }, Command::Acquire(bid)) = (reply, &command) {
                seen.push((bid.token.clone(), epoch, until_us));
            }
            if let Some((token, epoch, _)) = rng.choice(&seen) {
                let mark_us = state.as_ref().map_or(0, |record| record.mark_us);
                let mark_us = if rng.u8(..4) == 0 { mark_us - rng.i64(-1..=1) } else { mark_us };
                let proof = Proof { token: token.clone(), epoch: *epoch, mark_us };
                let confirmed = is_confirmed_holder(state.as_ref(), now_us, &generation, &proof);
                assert_eq!(scripts.guard(&proof, now_us, &generation).await, confirmed, "{context}");
                kinds.insert(format!("confirmed: {confirmed}"));
            }
            kinds.insert(kind(reply));
        }
    }
    let all = [
        "Granted",
        "Held",
        "Lost",
        "NotHeld",
        "Quarantined",
        "Reclaimed",
        "Released",
        "Renewed",
        "Stale",
        "Status",
        "TooLate",
        "confirmed: false",
        "confirmed: true",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all, "commands too tame to compare every reply");
}

#[tokio::test]
async fn every_answer_tells_the_revision_of_the_board() {
    let server = RedisServer::start().await.unwrap();
    let mut scripts = Scripts { connection: server.connect().await.unwrap(), keys: Keys::new("revision", 0) };
    let snapshot = scripts.keys.keys[1].clone();
    assert_eq!(scripts.ask(RULES, &Command::Status, START_US, "g").await.revision, 0);
    let revision = START_US.to_string();
    server.cli(&["HSET", &snapshot, "revision", &revision]).await.unwrap();
    assert_eq!(scripts.ask(RULES, &Command::Status, START_US, "g").await.revision, START_US);
    assert_eq!(scripts.record().await, None, "a question makes no record");
}

/// What may happen to a fleet of three and its store.
#[derive(Clone, Debug)]
enum Op {
    Tick(i64),
    Acquire(usize),
    Renew(usize),
    Release(usize),
    /// Any earlier command arrives once more.
    Duplicate(prop::sample::Index),
    /// FLUSHALL or DEL.
    Lose,
    /// A fail-over to a copy of any age, whose clock may be behind.
    FailOver(prop::sample::Index, i64),
}

struct Belief {
    renew: Renew,
    deadline_us: i64,
}

/// Honest clients, a store that loses its data, and everything that was ever granted.
#[derive(Default)]
struct Fleet {
    /// True time.
    time_us: i64,
    /// The server's clock minus true time.
    offset_us: i64,
    generation: u32,
    state: Option<Record>,
    copies: Vec<Option<Record>>,
    sent: Vec<Command>,
    floors: [i64; 3],
    beliefs: [Option<Belief>; 3],
    tokens: BTreeMap<i64, String>,
    campaigns: u32,
    last_grant: i64,
}

const TTL_US: i64 = 10_000_000;

impl Fleet {
    fn send(&mut self, command: &Command) -> Reply {
        let before = self.state.clone();
        let now_us = START_US + self.time_us + self.offset_us;
        let generation = self.generation.to_string();
        let (next, reply) = step(self.state.take(), now_us, &generation, RULES, command);
        if let Command::Release { token, .. } = command
            && before.as_ref().is_none_or(|record| record.token != *token)
        {
            assert_eq!(next, before, "S6: a release by a non-holder changed something");
        }
        let granted = match (command, reply) {
            (Command::Acquire(bid), Reply::Granted { epoch, .. }) => Some((epoch, &bid.token)),
            (Command::Renew(sign), Reply::Reclaimed { .. }) => Some((sign.epoch, &sign.token)),
            _ => None,
        };
        if let Some((epoch, token)) = granted {
            let first = self.tokens.entry(epoch).or_insert_with(|| token.clone());
            assert_eq!(first, token, "S1: two tokens under epoch {epoch}");
            if matches!(command, Command::Acquire(_)) && before.is_none_or(|record| record.token != *token) {
                assert!(epoch > self.last_grant, "S3: {epoch} after {}", self.last_grant);
                self.last_grant = epoch;
            }
        }
        self.state = next;
        self.copies.push(self.state.clone());
        self.sent.push(command.clone());
        reply
    }

    fn deadline(&self) -> i64 {
        let margin = i64::try_from(margin(std::time::Duration::from_micros(TTL_US.unsigned_abs())).as_micros());
        self.time_us + TTL_US - margin.unwrap()
    }

    fn acquire(&mut self, client: usize) {
        self.campaigns += 1;
        let (token, floor) = (format!("token-{}", self.campaigns), self.floors[client]);
        let name = format!("client-{client}");
        let bid = Acquire { token: token.clone(), holder: name.clone(), address: String::new(), ttl_us: TTL_US, floor };
        let mut reply = self.send(&Command::Acquire(bid.clone()));
        if let Reply::Stale { epoch } = reply {
            reply = self.send(&Command::Acquire(Acquire { floor: epoch, ..bid }));
        }
        let seen = self.state.as_ref().map_or(0, |record| record.epoch);
        self.floors[client] = self.floors[client].max(seen);
        if let Reply::Granted { epoch, until_us, since_us, .. } = reply {
            let renew = Renew {
                token,
                epoch,
                holder: name,
                address: String::new(),
                since_us,
                ttl_us: TTL_US,
                until_seen_us: until_us,
            };
            self.beliefs[client] = Some(Belief { renew, deadline_us: self.deadline() });
        }
    }

    fn renew(&mut self, client: usize) {
        let Some(mut belief) = self.beliefs[client].take() else { return };
        match self.send(&Command::Renew(belief.renew.clone())) {
            Reply::Renewed { until_us, .. } | Reply::Reclaimed { until_us, .. } => {
                belief.renew.until_seen_us = until_us;
                belief.deadline_us = belief.deadline_us.max(self.deadline());
                self.beliefs[client] = Some(belief);
            }
            Reply::TooLate => self.beliefs[client] = Some(belief),
            _ => {}
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Tick(us) => self.time_us += us,
            Op::Acquire(client) if self.beliefs[*client].is_none() => self.acquire(*client),
            Op::Acquire(client) | Op::Renew(client) => self.renew(*client),
            Op::Release(client) => {
                if let Some(belief) = self.beliefs[*client].take() {
                    self.send(&Command::Release { token: belief.renew.token, epoch: belief.renew.epoch });
                }
            }
            Op::Duplicate(which) if !self.sent.is_empty() => {
                let command = which.get(&self.sent).clone();
                self.send(&command);
            }
            Op::FailOver(which, offset_us) if !self.copies.is_empty() => {
                self.state = which.get(&self.copies).clone();
                self.generation += 1;
                self.offset_us = *offset_us;
            }
            Op::Lose => self.state = None,
            Op::Duplicate(_) | Op::FailOver(..) => {}
        }
        for belief in &mut self.beliefs {
            belief.take_if(|belief| self.time_us >= belief.deadline_us);
        }
        let holders = self.beliefs.iter().flatten().count();
        assert!(holders <= 1, "S2: {holders} clients believe that they hold");
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..6_000_000i64).prop_map(Op::Tick),
        4 => (0..3usize).prop_map(Op::Acquire),
        4 => (0..3usize).prop_map(Op::Renew),
        1 => (0..3usize).prop_map(Op::Release),
        2 => any::<prop::sample::Index>().prop_map(Op::Duplicate),
        1 => Just(Op::Lose),
        1 => (any::<prop::sample::Index>(), -10_000_000..=0i64).prop_map(|(which, offset)| Op::FailOver(which, offset)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn one_token_an_epoch_growing_epochs_and_one_believer(ops in prop::collection::vec(op(), 1..80)) {
        let mut fleet = Fleet::default();
        ops.iter().for_each(|op| fleet.apply(op));
    }
}

#[test]
fn the_fleet_of_the_property_grants_hands_over_and_reclaims() {
    let mut fleet = Fleet::default();
    let ops = [Op::Acquire(0), Op::Tick(11_000_000), Op::Acquire(0), Op::Lose, Op::Tick(2_000_000), Op::Renew(0)];
    ops.iter().for_each(|op| fleet.apply(op));
    let first = fleet.last_grant;
    assert!(first > 0 && fleet.beliefs[0].is_some(), "granted after the quarantine, and reclaimed");
    assert!(fleet.state.as_ref().unwrap().q_us > START_US + fleet.time_us, "a reclaim leaves a quarantine");
    [Op::Release(0), Op::Tick(11_000_000), Op::Acquire(1)].iter().for_each(|op| fleet.apply(op));
    assert!(fleet.last_grant > first && fleet.beliefs[1].is_some());
}
