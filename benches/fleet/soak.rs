//! Five processes that share breakers over two stores, while both stores, the processes and what they call are in trouble:
//! `cargo bench --bench fleet --features redis,postgres -- soak 20`, for twenty minutes.
//!
//! In each phase faults come every few seconds, then they stop, and it is looked whether the processes are one again,
//! whether each failure that was told is in the stores once, and what the processes hold of their machine. Faults of
//! all phases but the last lose nothing that a store has answered, so what is counted must be exact; those of the last
//! may (a failover to a replica that lags, a crash of PostgreSQL before evidence is written), so it must not be more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fusebox::store::{PostgresStore, RedisStore, Store};

use super::draw::Draw;
use super::soak_child::{PAYS, STORES, counting};
use super::soak_instances::{Decided, Instance, View, Vitals, disagreement, vitals};
use super::soak_plan::{Kind, Target};
use super::soak_stores::{Postgres, RedisPair};

/// Those that stay from the first moment to the last. One more comes and goes.
const STAYING: usize = 5;
/// Faults are over, and all agree by then: an outage is noticed to be over within 2 s, a cooldown takes one, and so on.
const AGREED_WITHIN: Duration = Duration::from_secs(30);
/// And all that was told is in the stores.
const COUNTED_WITHIN: Duration = Duration::from_secs(20);
/// A process may hold so much more at the end than after the warm-up: a tenth, and 1 MiB.
const RESIDENT: (u64, u64) = (10, 1_024);
/// An instance has one connection to Postgres where two are not needed, and so on: it may hold two descriptors more.
const DESCRIPTORS: u64 = 2;

/// What a phase came to.
struct Phase {
    with_losses: bool,
    faults: u32,
    openings: u32,
    agreed_after: Option<Duration>,
    /// For each store: failures told, those given up, those in the store.
    counted: Vec<(u64, u64, u64)>,
}

struct Soak {
    draw: Draw,
    redis: RedisPair,
    postgres: Postgres,
    /// The one that comes and goes is the last.
    instances: Vec<Instance>,
    settings: String,
    decided: Arc<Mutex<Decided>>,
    done: BTreeMap<Kind, u32>,
    /// What goes on, and until when.
    active: Vec<(Kind, usize, Instant)>,
    failures: Vec<String>,
}

/// Runs for so many minutes. Returns whether all was well.
pub(crate) fn run(minutes: u64) -> bool {
    let seed = std::env::var("FUSEBOX_SOAK_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("a soak of {minutes} min; seed {seed} (set FUSEBOX_SOAK_SEED for another)");
    let whole = Duration::from_secs(minutes * 60);
    let count = u32::try_from(minutes / 2).unwrap_or(u32::MAX).clamp(3, 30);
    let mut soak = Soak::start(seed);
    println!(
        "{:>5} {:>6} {:>8} {:>10}   {:<29} {:<32} {:>14}",
        "phase",
        "faults",
        "openings",
        "agreed [s]",
        "redis: told, given up, there",
        "postgres: told, given up, there",
        "resident [KiB]"
    );
    let (start, mut baseline) = (Instant::now(), None);
    let (mut phases, mut last) = (Vec::new(), Vec::new());
    for number in 0..count {
        let end = start + whole * (number + 1) / count;
        let phase = soak.phase(number, number + 1 == count, end);
        last = vitals(&soak.instances[..STAYING]);
        phase.print(number, &last);
        phases.push(phase);
        if start.elapsed() >= whole * 3 / 20 {
            baseline.get_or_insert_with(|| last.clone());
        }
    }
    soak.report(&phases, &baseline.expect("a first phase"), &last);
    for failure in &soak.failures {
        println!("FAILED: {failure}");
    }
    println!("{}", if soak.failures.is_empty() { "all was well" } else { "not all was well" });
    soak.failures.is_empty()
}

impl Soak {
    fn start(seed: u64) -> Self {
        let (redis, postgres) = (RedisPair::start(), Postgres::start());
        let settings = format!("{seed}\n{}\n{}", redis.sentinel_url(), postgres.url_through_proxy());
        let decided = Arc::<Mutex<Decided>>::default();
        let instances = (0..=STAYING).map(|number| Instance::start(number, &settings, &decided)).collect();
        Self {
            draw: Draw::of(seed),
            redis,
            postgres,
            instances,
            settings,
            decided,
            done: BTreeMap::new(),
            active: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn phase(&mut self, number: u32, with_losses: bool, end: Instant) -> Phase {
        let openings = self.decided().openings;
        let faults: u32 = self.done.values().sum();
        // What the guest had told when it is killed could not be asked any more, so it counts nothing.
        for instance in &self.instances[..STAYING] {
            instance.ask(&format!("phase {number}"));
        }
        self.instances[STAYING].tell("go");
        // What comes after the faults takes some seconds as well.
        let left = end.saturating_duration_since(Instant::now());
        let faults_end = Instant::now() + (left * 2 / 3).max(left.saturating_sub(Duration::from_secs(15)));
        let mut next = Instant::now();
        while Instant::now() < faults_end {
            self.end_those_over(Instant::now());
            if Instant::now() >= next {
                self.begin_one(with_losses);
                next = Instant::now() + Duration::from_millis(500 + self.draw.below(2_500));
            }
            sleep(Duration::from_millis(50));
        }
        self.end_those_over(faults_end + Duration::from_secs(60));
        self.instances.iter().for_each(|instance| instance.tell("calm"));
        let agreed_after = self.await_agreement(number);
        let counted = self.count(number, with_losses);
        let twice = std::mem::take(&mut self.decided().twice);
        // What a store has lost may be decided anew.
        if !twice.is_empty() && !with_losses {
            self.failures.push(format!("phase {number}: decided twice: {}", twice.join("; ")));
        }
        Phase {
            with_losses,
            faults: self.done.values().sum::<u32>() - faults,
            openings: self.decided().openings - openings,
            agreed_after,
            counted,
        }
    }

    fn decided(&self) -> std::sync::MutexGuard<'_, Decided> {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_one(&mut self, with_losses: bool) {
        let targets = [Target::Redis, Target::Postgres, Target::Processes, Target::Dependency];
        let target = targets[usize::try_from(self.draw.below(4)).expect("small")];
        if self.active.iter().any(|(kind, ..)| kind.target() == target) {
            return;
        }
        let kind = Kind::draw(target, with_losses, &mut self.draw);
        let lasts = Duration::from_millis(200 + self.draw.below(2_800));
        let lasts = if target == Target::Dependency { lasts * 2 } else { lasts };
        let number = usize::try_from(self.draw.below(10)).expect("small");
        let begun = match target {
            Target::Redis => self.redis.begin(kind, lasts),
            Target::Postgres => self.postgres.begin(kind),
            Target::Processes => self.trouble_process(kind, number),
            Target::Dependency => self.set_dependency(number, 90),
        };
        if begun {
            *self.done.entry(kind).or_default() += 1;
            self.active.push((kind, number, Instant::now() + lasts));
        }
    }

    fn trouble_process(&mut self, kind: Kind, number: usize) -> bool {
        if kind == Kind::ProcessFrozen {
            self.instances[number % STAYING].signal("STOP");
        } else {
            // No goodbye.
            drop(self.instances.pop());
        }
        true
    }

    /// So many percent of the calls of one breaker over one store fail.
    fn set_dependency(&self, number: usize, percent: u32) -> bool {
        let order = format!("sick {} {} {percent}", STORES[number / PAYS], number % PAYS);
        self.instances.iter().for_each(|instance| instance.tell(&order));
        true
    }

    fn end_those_over(&mut self, now: Instant) {
        let (over, active) = std::mem::take(&mut self.active).into_iter().partition(|(_, _, end)| *end <= now);
        self.active = active;
        let over: Vec<_> = over;
        for (kind, number, _) in over {
            match kind.target() {
                Target::Redis => self.redis.end(),
                Target::Postgres => self.postgres.end(),
                Target::Processes if kind == Kind::ProcessFrozen => {
                    self.instances[number % STAYING].signal("CONT");
                }
                Target::Processes => {
                    let guest = Instance::start(STAYING, &self.settings, &self.decided);
                    self.instances.push(guest);
                }
                Target::Dependency => drop(self.set_dependency(number, 0)),
            }
        }
    }

    fn await_agreement(&mut self, number: u32) -> Option<Duration> {
        let start = Instant::now();
        while let Some(why) = disagreement(&self.instances) {
            if start.elapsed() > AGREED_WITHIN {
                self.failures.push(format!("phase {number}: no agreement within {AGREED_WITHIN:?}: {why}"));
                return None;
            }
            sleep(Duration::from_millis(50));
        }
        Some(start.elapsed())
    }

    /// Looks what the stores have of the failures that were told in a phase, and compares.
    fn count(&mut self, number: u32, with_losses: bool) -> Vec<(u64, u64, u64)> {
        let start = Instant::now();
        let views = loop {
            self.instances.iter().for_each(|instance| drop(instance.ask("flush")));
            let views: Vec<_> = self.instances[..STAYING].iter().map(Instance::look).collect();
            let waits = |view: &View| STORES.iter().any(|store| view.number(&format!("{store}/waiting")) > 0);
            let is_over = start.elapsed() > COUNTED_WITHIN;
            if is_over {
                self.failures.push(format!("phase {number}: failures still wait after {COUNTED_WITHIN:?}"));
            }
            if is_over || !views.iter().any(waits) {
                break views;
            }
        };
        let mut counted = Vec::new();
        for (name, store) in STORES.into_iter().zip(self.stores()) {
            let sum = |field: &str| views.iter().map(|view| view.number(&format!("{name}/{field}"))).sum::<u64>();
            let (told, given_up) = (sum("told"), sum("forgotten"));
            let there = recorded(number, store, told - given_up.min(told));
            // A batch whose answer never came may have been taken all the same.
            let least = if with_losses { 0 } else { told.saturating_sub(given_up) };
            if !(least..=told).contains(&there) {
                self.failures.push(format!(
                    "phase {number}: {name} has {there} failures of {told} that were told and {given_up} given up"
                ));
            }
            counted.push((told, given_up, there));
        }
        counted
    }

    /// The stores past all proxies, with connections of their own.
    fn stores(&self) -> [Arc<dyn Store>; 2] {
        [
            Arc::new(RedisStore::builder(self.redis.url()).build().expect("a store")),
            Arc::new(PostgresStore::builder().url(self.postgres.url()).build().expect("a store")),
        ]
    }
}

/// What an instance that has seen nothing itself finds in the store: what is expected, or else what there is after a while.
fn recorded(phase: u32, store: Arc<dyn Store>, expected: u64) -> u64 {
    let reader = counting(phase, store);
    let start = Instant::now();
    loop {
        let seen = reader.snapshot();
        let failures = seen.detectors.iter().map(|part| part.tally.count()).sum();
        let knows = seen.fleet.is_some_and(|fleet| fleet.generation.is_some() && fleet.away.is_none());
        if knows && failures >= expected && start.elapsed() > Duration::from_secs(2)
            || start.elapsed() > Duration::from_secs(10)
        {
            return failures;
        }
        sleep(Duration::from_millis(20));
    }
}

impl Phase {
    fn print(&self, number: u32, vitals: &[Vitals]) {
        let agreed = self.agreed_after.map_or("never".to_owned(), |after| format!("{:.1}", after.as_secs_f64()));
        let counted: Vec<_> = self.counted.iter().map(|(told, up, there)| format!("{told} {up} {there}")).collect();
        let losses = if self.with_losses { "with losses" } else { "" };
        let (faults, openings) = (self.faults, self.openings);
        let resident = vitals.iter().map(|vitals| vitals.resident).sum::<u64>() / vitals.len().max(1) as u64;
        println!(
            "{number:>5} {faults:>6} {openings:>8} {agreed:>10}   {:<29} {:<32} {resident:>14} {losses}",
            counted[0], counted[1]
        );
    }
}

impl Soak {
    fn report(&mut self, phases: &[Phase], baseline: &[Vitals], last: &[Vitals]) {
        println!("\nfaults");
        for kind in Kind::all(true) {
            println!("  {:<40} {:>6}", kind.name(), self.done.get(&kind).unwrap_or(&0));
        }
        let longest = phases.iter().filter_map(|phase| phase.agreed_after).max().unwrap_or_default();
        println!("all agreed within {longest:.1?} of the last fault of a phase (allowed: {AGREED_WITHIN:?})");
        let told: u64 = phases.iter().flat_map(|phase| &phase.counted).map(|(told, ..)| told).sum();
        let openings: u32 = phases.iter().map(|phase| phase.openings).sum();
        if openings == 0 || told == 0 {
            self.failures.push(format!("{openings} openings, {told} failures: nothing was put to the test"));
        }
        println!(
            "\n{:<10} {:>9} {:>9} {:>11} {:>11}   {:<19} {:<11} {:<11}",
            "process", "calls", "rejected", "operations", "longest", "resident [KiB]", "threads", "descriptors"
        );
        let views: Vec<_> = self.instances[..STAYING].iter().map(Instance::look).collect();
        for (number, ((view, from), to)) in views.iter().zip(baseline).zip(last).enumerate() {
            let operations: u64 = STORES.iter().map(|store| view.number(&format!("{store}/operations"))).sum();
            println!(
                "{number:<10} {:>9} {:>9} {operations:>11} {:>8} us   {:>8} > {:<8} {:>4} > {:<4} {:>4} > {:<4}",
                view.number("calls"),
                view.number("rejected"),
                view.number("longest"),
                from.resident,
                to.resident,
                from.threads,
                to.threads,
                from.descriptors,
                to.descriptors,
            );
            self.judge(number, view, *from, *to);
        }
        let (share, more) = RESIDENT;
        println!(
            "allowed to grow from the warm-up to the end: resident by {share} % and {more} KiB, threads not at all, \
             descriptors by {DESCRIPTORS}"
        );
    }

    fn judge(&mut self, number: usize, view: &View, from: Vitals, to: Vitals) {
        let (share, more) = RESIDENT;
        let rows = [
            ("resident memory", to.resident, from.resident + from.resident * share / 100 + more),
            ("threads", to.threads, from.threads),
            ("descriptors", to.descriptors, from.descriptors + DESCRIPTORS),
        ];
        for (what, held, most) in rows {
            if held > most {
                self.failures.push(format!("process {number}: {what} grew to {held}, {most} are allowed"));
            }
        }
        let elsewhere: u64 = STORES.iter().map(|store| view.number(&format!("{store}/elsewhere"))).sum();
        if elsewhere > 0 {
            self.failures.push(format!("process {number}: {elsewhere} operations were begun by calls"));
        }
    }
}
