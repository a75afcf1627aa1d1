//! What a child process does: it is one instance of a fleet, and obeys the lines it reads.
//!
//! It has no runtime of its own: whatever calls need, they find without one.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fusebox::fleet::{Fleet, WhenDown};
use fusebox::store::{PostgresStore, RedisStore, Store};
use fusebox::{
    CircuitBreaker, CircuitBreakerConfig, Clock, Cooldown, Event, EventKind, Outcome, Override, Permit, Probes,
    clock::{SystemClock, Timestamp},
    detect,
};

/// Where a child finds how it is set up; whoever has none of it is no child.
pub(crate) const SETTINGS: &str = "FUSEBOX_TEST_INSTANCE";

/// The system's clock, hours away from where other instances have theirs.
#[derive(Debug)]
struct Shifted(Duration);

impl Clock for Shifted {
    fn now(&self) -> Timestamp {
        SystemClock.now() + self.0
    }
}

/// Setting by setting, `name=value` in lines.
struct Settings(BTreeMap<String, String>);

impl Settings {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name).map(|text| text.parse().expect("a number"))
    }

    fn millis(&self, name: &str) -> Option<Duration> {
        self.number(name).map(Duration::from_millis)
    }

    fn store(&self) -> Arc<dyn Store> {
        let url = self.get("store").expect("a store");
        if url.starts_with("redis") {
            Arc::new(RedisStore::builder(url).build().expect("a store"))
        } else {
            Arc::new(PostgresStore::builder().url(url).build().expect("a store"))
        }
    }

    fn breaker(&self, to: &Output) -> CircuitBreaker {
        let mut config = CircuitBreakerConfig::builder(self.get("name").unwrap_or("payments")).store(self.store());
        if let Some(detector) = self.get("detector") {
            let parts: Vec<_> = detector.split(' ').collect();
            let number = |at: usize| parts[at].parse::<u32>().expect("a number");
            config = match parts[0] {
                "within" => config.detector(detect::failures(number(1)).within(Duration::from_secs(number(2).into()))),
                "row" => config.detector(detect::consecutive_failures(number(1))),
                "rate" => {
                    let within = Duration::from_secs(number(2).into());
                    config.detector(detect::failure_rate(f64::from(number(1)) / 100.0).within(within))
                }
                "of_last" => config.detector(detect::failures(number(1)).of_last(number(2))),
                other => panic!("no detector {other}"),
            };
        }
        if let Some(cooldown) = self.millis("cooldown") {
            config = config.cooldown(Cooldown::fixed(cooldown));
        }
        if let Some(probes) = self.number("probes") {
            let mut probes = Probes::consecutive(u32::try_from(probes).expect("small"));
            if let Some(concurrent) = self.number("concurrent") {
                probes = probes.concurrent(u32::try_from(concurrent).expect("small"));
            }
            if let Some(deadline) = self.millis("deadline") {
                probes = probes.deadline(deadline);
            }
            config = config.probes(probes);
        }
        if let Some(votes) = self.number("votes") {
            config = config.fleet(Fleet::votes(u32::try_from(votes).expect("small")));
        }
        config = match self.get("when_down") {
            Some("admit") => config.fleet(Fleet::pooled().when_down(WhenDown::Admit)),
            Some("reject") => config.fleet(Fleet::pooled().when_down(WhenDown::Reject)),
            _ => config,
        };
        if let Some(hours) = self.number("hours") {
            config = config.clock(Shifted(Duration::from_secs(hours * 3_600)));
        }
        let to = to.clone();
        CircuitBreaker::new(config.on_event(move |event| to.tell(event)).build().expect("a configuration"))
    }
}

/// Lines for the parent: answers begin with `@`, events with `!`.
#[derive(Clone)]
struct Output(Arc<Mutex<std::io::Stdout>>);

impl Output {
    fn line(&self, line: &str) {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // In one piece; where the parent is gone, so is the purpose.
        if out.write_all(format!("\n{line}\n").as_bytes()).and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }

    fn tell(&self, event: &Event) {
        let (origin, scope) = (event.origin(), event.scope());
        let generation = event.generation().get();
        match event.kind() {
            EventKind::StateChanged { from, to, reason, .. } => {
                self.line(&format!("!changed\t{from}\t{to}\t{reason}\t{origin:?}\t{scope:?}\t{generation}"));
            }
            EventKind::Ended { .. } | EventKind::Rejected { .. } => {}
            other => self.line(&format!("!{other:?}")),
        }
    }
}

/// What traffic has come to.
#[derive(Default)]
struct Counts {
    stops: AtomicBool,
    admitted: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
}

struct Child {
    breaker: CircuitBreaker,
    held: Vec<Permit>,
    counts: Arc<Counts>,
    number: String,
    /// Where it is asked for its health.
    #[cfg(feature = "http")]
    health: String,
}

/// Runs until the parent has no more to say. Returns whether this process is a child at all.
pub(crate) fn run() -> bool {
    let Ok(settings) = std::env::var(SETTINGS) else {
        return false;
    };
    let pairs = settings.lines().filter_map(|line| line.split_once('='));
    let settings = Settings(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
    let output = Output(Arc::new(Mutex::new(std::io::stdout())));
    #[cfg(feature = "tracing")]
    if let Some(file) = settings.get("log") {
        write_log(file);
    }
    let breaker = settings.breaker(&output);
    let number = settings.get("number").unwrap_or_default().to_owned();
    #[cfg(feature = "http")]
    let health = serve_health(settings.get("critical"));
    let mut child = Child {
        breaker,
        held: Vec::new(),
        counts: Arc::default(),
        number,
        #[cfg(feature = "http")]
        health,
    };
    output.line("@ready");
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let answer = child.obey(&line.split(' ').collect::<Vec<_>>());
        output.line(&format!("@{answer}"));
    }
    // No farewell: what is told to a parent that is gone would make a panic of the end.
    std::process::exit(0);
}

impl Child {
    fn obey(&mut self, words: &[&str]) -> String {
        match words {
            ["fail", count] => self.report(count, Outcome::Failure),
            ["ok", count] => self.report(count, Outcome::Success),
            ["hold"] => match self.breaker.acquire() {
                Ok(permit) => {
                    let kind = if permit.is_probe() { "probe" } else { "call" };
                    self.held.push(permit);
                    kind.to_owned()
                }
                Err(rejected) => format!("rejected: {rejected}"),
            },
            ["release", end] => {
                for permit in self.held.drain(..) {
                    permit.report(if *end == "ok" { Outcome::Success } else { Outcome::Failure });
                }
                String::new()
            }
            ["look"] => self.look(),
            ["flush"] => {
                futures::executor::block_on(self.breaker.flush());
                String::new()
            }
            #[cfg(feature = "http")]
            ["health"] => self.health.clone(),
            ["trip"] => format!("{:?}", self.breaker.trip()),
            ["reset"] => format!("{:?}", self.breaker.reset()),
            ["force_open", reason, actor] => {
                self.breaker.set_override(Override::force_open(reason).by(actor));
                String::new()
            }
            ["resume"] => {
                self.breaker.resume();
                String::new()
            }
            ["time", count] => self.time(count.parse().expect("a number")),
            ["traffic", address, period, threads] => {
                let period = Duration::from_millis(period.parse().expect("a number"));
                self.counts = Arc::default();
                for _ in 0..threads.parse().expect("a number") {
                    let (breaker, counts) = (self.breaker.clone(), Arc::clone(&self.counts));
                    let (address, number) = ((*address).to_owned(), self.number.clone());
                    thread::spawn(move || call_steadily(&breaker, &counts, &address, &number, period));
                }
                String::new()
            }
            ["quiet"] => {
                self.counts.stops.store(true, Ordering::SeqCst);
                String::new()
            }
            ["counts"] => {
                let read = |count: &AtomicU64| count.load(Ordering::SeqCst);
                let Counts { admitted, rejected, failed, .. } = &*self.counts;
                format!("admitted={}\trejected={}\tfailed={}", read(admitted), read(rejected), read(failed))
            }
            other => panic!("no command {other:?}"),
        }
    }

    /// Makes calls, until they are rejected. Returns how many there were.
    fn report(&self, count: &str, outcome: Outcome) -> String {
        let count: u32 = count.parse().expect("a number");
        let made = (0..count).map_while(|_| self.breaker.acquire().ok()).map(|permit| permit.report(outcome)).count();
        made.to_string()
    }

    /// How long calls take, in nanoseconds: the median and the longest of them.
    fn time(&self, count: usize) -> String {
        let mut took: Vec<_> = (0..count)
            .map(|_| {
                let start = Instant::now();
                if let Ok(permit) = self.breaker.acquire() {
                    permit.success();
                }
                start.elapsed().as_nanos()
            })
            .collect();
        took.sort_unstable();
        let part = |of: usize| took[took.len() * of / 1_000];
        format!("p50={}\tp99={}\ttotal={}", part(500), part(990), took.iter().sum::<u128>())
    }

    fn look(&self) -> String {
        let seen = self.breaker.snapshot();
        let mut fields = vec![
            ("state", seen.state.to_string()),
            ("scope", format!("{:?}", seen.scope)),
            ("generation", seen.generation.get().to_string()),
            ("openings", seen.openings.to_string()),
            ("failures", seen.detectors.iter().map(|part| part.tally.count()).sum::<u64>().to_string()),
        ];
        fields.extend(seen.reason.map(|reason| ("reason", reason.to_string())));
        fields.extend(seen.retry_after.map(|wait| ("retry_after", wait.as_millis().to_string())));
        if let Some(order) = &seen.overridden {
            fields.push(("override", order.reason().to_owned()));
            fields.extend(order.by().map(|by| ("actor", by.to_owned())));
        }
        if let Some(fleet) = &seen.fleet {
            fields.push(("waiting", fleet.waiting.to_string()));
            fields.push(("forgotten", fleet.forgotten.to_string()));
            fields.extend(fleet.generation.map(|generation| ("fleet", generation.get().to_string())));
            fields.extend(fleet.away.as_ref().map(|why| ("away", why.replace(['\n', '\t'], " "))));
            fields.extend(fleet.trouble.as_ref().map(|why| ("trouble", why.replace(['\n', '\t'], " "))));
            fields.extend(fleet.votes.map(|votes| ("votes", votes.to_string())));
        }
        fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("\t")
    }
}

fn call_steadily(breaker: &CircuitBreaker, counts: &Counts, address: &str, number: &str, period: Duration) {
    while !counts.stops.load(Ordering::SeqCst) {
        match breaker.acquire() {
            Ok(permit) => {
                counts.admitted.fetch_add(1, Ordering::SeqCst);
                let kind = if permit.is_probe() { "probe" } else { "call" };
                if call(address, &format!("{number} {kind}\n")).unwrap_or(false) {
                    permit.success();
                } else {
                    counts.failed.fetch_add(1, Ordering::SeqCst);
                    permit.failure();
                }
            }
            Err(_) => {
                counts.rejected.fetch_add(1, Ordering::SeqCst);
            }
        }
        thread::sleep(period);
    }
}

/// Calls the dependency; whether it says that all is well.
fn call(address: &str, request: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    std::io::BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer == "ok\n")
}

/// Writes what the instance logs into a file, as an application does that has nothing but the defaults.
#[cfg(feature = "tracing")]
fn write_log(file: &str) {
    let file = std::fs::File::create(file).expect("a file");
    tracing_subscriber::fmt().with_ansi(false).with_writer(Mutex::new(file)).init();
}

/// Answers questions of how this instance is; returns where.
#[cfg(feature = "http")]
fn serve_health(critical: Option<&str>) -> String {
    let health = fusebox::health::Health::process().critical(critical);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = std::io::BufReader::new(stream.try_clone().expect("a stream")).lines();
            // Up to the empty line at its end.
            if !head.any(|line| line.is_ok_and(|line| line.is_empty())) {
                continue;
            }
            let response = fusebox::web::health::<String>(&health.check());
            let mut answer = format!("HTTP/1.1 {}\r\n", response.status());
            for (name, value) in response.headers() {
                answer += &format!("{name}: {}\r\n", value.to_str().expect("text"));
            }
            stream.write_all(format!("{answer}\r\n{}", response.body()).as_bytes()).ok();
        }
    });
    address
}
