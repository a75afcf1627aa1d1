//! One process of the soak: breakers over both stores, calls all the time, and an ear for the parent's orders.

use std::fmt::Write as _;
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fusebox::fleet::{self, Fleet};
use fusebox::store::{PostgresStore, RedisStore, Store};
use fusebox::{
    CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, Event, EventKind, Permit,
    circuit_breaker::StateScope, detect,
};
use redis::sentinel::{SentinelClient, SentinelServerType};

use super::counted::{Counted, Counts};
use super::draw::Draw;

/// Where a child finds its number, its seed, the Sentinel and the PostgreSQL, in lines.
pub(crate) const SETTINGS: &str = "FUSEBOX_SOAK_INSTANCE";
/// The stores, as they are called in orders and answers.
pub(crate) const STORES: [&str; 2] = ["redis", "postgres"];
/// Breakers over each store that open and recover, each with a rule of its own.
pub(crate) const PAYS: usize = 5;

/// From one round of calls to the next.
const ROUND: Duration = Duration::from_millis(50);
const COOLDOWN: Duration = Duration::from_secs(1);
/// Calls to a breaker that recovers, in percent, that fail where its dependency is well.
const FAILS_AT_TIMES: u64 = 1;

/// A breaker that counts and never opens; the same in each process, and in the parent that looks what was counted.
pub(crate) fn counting(phase: u32, store: Arc<dyn Store>) -> CircuitBreaker {
    let detector = detect::failures(60_000).within(Duration::from_secs(3_600));
    let config = CircuitBreakerConfig::builder(format!("count-{phase}")).detector(detector).store(store);
    CircuitBreaker::new(config.build().expect("a configuration"))
}

/// What a process has over one store.
struct Side {
    name: &'static str,
    store: Arc<dyn Store>,
    counts: Arc<Counts>,
    pays: Vec<CircuitBreaker>,
    /// How many percent of the calls of each fail.
    sick: [AtomicU64; PAYS],
    counter: Mutex<Counter>,
}

/// The breaker of this phase that counts, and what it was told.
#[derive(Default)]
struct Counter {
    breaker: Option<CircuitBreaker>,
    goes_on: bool,
    told: u64,
}

struct Process {
    sides: Vec<Side>,
    calls: AtomicU64,
    rejected: AtomicU64,
    /// Microseconds of the longest `acquire` with its report.
    longest: AtomicU64,
    is_calm: AtomicBool,
}

/// Runs until the parent has no more to say. Returns whether this process is a child at all.
pub(crate) fn run() -> bool {
    let Ok(settings) = std::env::var(SETTINGS) else {
        return false;
    };
    let settings: Vec<_> = settings.lines().collect();
    let [number, seed, sentinel, postgres] = settings[..] else {
        panic!("four settings: {settings:?}");
    };
    let seed: u64 = seed.parse().expect("a number");
    let number: u64 = number.parse().expect("a number");
    let client = SentinelClient::build(vec![sentinel], String::from("main"), None, SentinelServerType::Master);
    let stores: [Arc<dyn Store>; 2] = [
        Arc::new(RedisStore::builder(client.expect("a sentinel")).build().expect("a store")),
        Arc::new(PostgresStore::builder().url(postgres).build().expect("a store")),
    ];
    let process = Arc::new(Process::over(stores));
    let calling = Arc::clone(&process);
    thread::spawn(move || calling.call_steadily(Draw::of(seed ^ number)));
    say("@ready");
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        if let Some(answer) = process.obey(&line.split(' ').collect::<Vec<_>>()) {
            say(&format!("@{answer}"));
        }
    }
    std::process::exit(0);
}

/// A line for the parent, in one piece. Where the parent is gone, so is the purpose.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Five rules: by failures alone, by share, by order, by the newest calls, and by votes.
fn with_rule(config: CircuitBreakerConfigBuilder, number: usize) -> CircuitBreakerConfigBuilder {
    const WINDOW: Duration = Duration::from_secs(10);
    match number {
        0 => config.detector(detect::failures(5).within(WINDOW)),
        1 => config.detector(detect::failure_rate(0.5).within(WINDOW).min_calls(20)),
        2 => config.detector(detect::consecutive_failures(5)),
        3 => config.detector(detect::failures(8).of_last(20)),
        _ => config.detector(detect::failures(5).within(WINDOW)).fleet(Fleet::votes(3)),
    }
}

impl Process {
    fn over(stores: [Arc<dyn Store>; 2]) -> Self {
        let side = |(name, store): (&'static str, Arc<dyn Store>)| {
            let counts = Arc::<Counts>::default();
            let store: Arc<dyn Store> = Arc::new(Counted { store, counts: Arc::clone(&counts), pushes: true });
            let pay = |number| {
                let name_of_it = format!("pay-{number}");
                let config = CircuitBreakerConfig::builder(name_of_it).store(Arc::clone(&store)).cooldown(COOLDOWN);
                let config = config.on_event(move |event| tell(name, event));
                CircuitBreaker::new(with_rule(config, number).build().expect("a configuration"))
            };
            let pays = (0..PAYS).map(pay).collect();
            Side { name, store, counts, pays, sick: Default::default(), counter: Mutex::default() }
        };
        Self {
            sides: STORES.into_iter().zip(stores).map(side).collect(),
            calls: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            is_calm: AtomicBool::new(true),
        }
    }

    /// An answer, where the order wants one.
    fn obey(&self, words: &[&str]) -> Option<String> {
        let side = |name: &str| self.sides.iter().find(|side| side.name == name).expect("a store's name");
        match words {
            ["sick", name, number, percent] => {
                let number: usize = number.parse().expect("a number");
                side(name).sick[number].store(percent.parse().expect("a number"), Relaxed);
                None
            }
            // All dependencies are well, and nothing is to be counted any more.
            ["calm"] => {
                self.is_calm.store(true, Relaxed);
                for side in &self.sides {
                    side.sick.iter().for_each(|sick| sick.store(0, Relaxed));
                    side.counter().goes_on = false;
                }
                None
            }
            ["go"] => {
                self.is_calm.store(false, Relaxed);
                None
            }
            ["phase", number] => {
                let number = number.parse().expect("a number");
                for side in &self.sides {
                    let breaker = Some(counting(number, Arc::clone(&side.store)));
                    *side.counter() = Counter { breaker, goes_on: true, told: 0 };
                }
                self.is_calm.store(false, Relaxed);
                Some(String::new())
            }
            ["flush"] => {
                for side in &self.sides {
                    futures::executor::block_on(fleet::flush(&side.store));
                }
                Some(String::new())
            }
            ["look"] => Some(self.look()),
            other => panic!("no order {other:?}"),
        }
    }

    fn look(&self) -> String {
        let mut line = String::new();
        for (name, count) in [("calls", &self.calls), ("rejected", &self.rejected), ("longest", &self.longest)] {
            write!(line, "{name}={}\t", count.load(Relaxed)).expect("memory");
        }
        for side in &self.sides {
            let name = side.name;
            for breaker in &side.pays {
                let seen = breaker.snapshot();
                let fleet = seen.fleet.as_ref();
                let generation = fleet.and_then(|fleet| fleet.generation).map_or(0, |generation| generation.get());
                let why = fleet.and_then(|fleet| fleet.away.as_ref().or(fleet.trouble.as_ref()));
                let contact = why.map_or("there".to_owned(), |why| why.replace(['\n', '\t', '='], " "));
                write!(line, "{name}/{}={},{generation},{contact}\t", seen.name, seen.state).expect("memory");
            }
            let Counts { loads, commits, changes, elsewhere, .. } = &*side.counts;
            let operations: u64 = [loads, commits, changes].map(|count| count.load(Relaxed)).iter().sum();
            write!(line, "{name}/operations={operations}\t{name}/elsewhere={}\t", elsewhere.load(Relaxed))
                .expect("memory");
            let counter = side.counter();
            let fleet = counter.breaker.as_ref().and_then(|breaker| breaker.snapshot().fleet);
            let (waiting, forgotten) = fleet.map_or((0, 0), |fleet| (fleet.waiting, fleet.forgotten));
            let told = counter.told;
            write!(line, "{name}/told={told}\t{name}/waiting={waiting}\t{name}/forgotten={forgotten}\t")
                .expect("memory");
        }
        line
    }

    /// Each round: one call to one of the breakers that recover, and one that is counted, over each store.
    fn call_steadily(&self, mut draw: Draw) {
        let mut held: Vec<(Permit, bool)> = Vec::new();
        for round in 0_usize.. {
            for (permit, fails) in held.drain(..) {
                if fails { permit.failure() } else { permit.success() }
            }
            for side in &self.sides {
                let number = round % PAYS;
                let sick = side.sick[number].load(Relaxed);
                let least = if self.is_calm.load(Relaxed) { 0 } else { FAILS_AT_TIMES };
                let fails = draw.below(100) < sick.max(least);
                self.calls.fetch_add(2, Relaxed);
                let start = Instant::now();
                match side.pays[number].acquire() {
                    // Some calls take until the next round.
                    Ok(permit) if draw.below(10) == 0 => held.push((permit, fails)),
                    Ok(permit) if fails => permit.failure(),
                    Ok(permit) => permit.success(),
                    Err(_) => drop(self.rejected.fetch_add(1, Relaxed)),
                }
                side.count(draw.below(4) == 0);
                let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.longest.fetch_max(took, Relaxed);
            }
            thread::sleep(ROUND);
        }
    }
}

impl Side {
    fn counter(&self) -> std::sync::MutexGuard<'_, Counter> {
        self.counter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, fails: bool) {
        let mut counter = self.counter();
        let Counter { breaker: Some(breaker), goes_on: true, .. } = &*counter else {
            return;
        };
        let permit = breaker.acquire().expect("it never opens");
        if fails {
            permit.failure();
            counter.told += 1;
        } else {
            permit.success();
        }
    }
}

/// What the parent is to hear of by itself: who decided which generation of the fleet.
fn tell(store: &str, event: &Event) {
    if let EventKind::StateChanged { from, to, .. } = event.kind()
        && event.scope() == StateScope::Fleet
    {
        let (origin, generation) = (event.origin(), event.generation().get());
        say(&format!("!{store}/{}\t{from}\t{to}\t{origin:?}\t{generation}", event.name()));
    }
}
