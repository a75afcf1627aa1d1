//! Instances as their parent sees them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::instance::SETTINGS;

/// An instance that answers later than this is stuck.
const PATIENCE: Duration = Duration::from_secs(20);
/// Every instance looks this often, give or take a fifth.
pub(crate) const POLL: Duration = Duration::from_millis(1_200);
/// How much longer than it should something may take on a machine that has other things to do.
pub(crate) const GRACE: Duration = Duration::from_secs(4);

/// How instances are set up; what is not set is as by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(BTreeMap<&'static str, String>);

impl Settings {
    pub(crate) fn store(url: impl Into<String>) -> Self {
        Self::default().with("store", url.into())
    }

    fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.0.insert(name, format!("{value}"));
        self
    }

    pub(crate) fn failures_within(self, failures: u32, seconds: u32) -> Self {
        self.with("detector", format!("within {failures} {seconds}"))
    }

    pub(crate) fn failures_of_last(self, failures: u32, calls: u32) -> Self {
        self.with("detector", format!("of_last {failures} {calls}"))
    }

    pub(crate) fn failures_in_a_row(self, failures: u32) -> Self {
        self.with("detector", format!("row {failures}"))
    }

    /// In percent.
    pub(crate) fn failure_rate(self, rate: u32, seconds: u32) -> Self {
        self.with("detector", format!("rate {rate} {seconds}"))
    }

    pub(crate) fn cooldown(self, cooldown: Duration) -> Self {
        self.with("cooldown", cooldown.as_millis())
    }

    pub(crate) fn probes(self, needed: u32, concurrent: u32, deadline: Duration) -> Self {
        self.with("probes", needed).with("concurrent", concurrent).with("deadline", deadline.as_millis())
    }

    pub(crate) fn votes(self, votes: u32) -> Self {
        self.with("votes", votes)
    }

    /// The breaker's name; `payments` without.
    #[cfg(all(feature = "cli", feature = "http", feature = "tracing", feature = "counts"))]
    pub(crate) fn named(self, breaker: &str) -> Self {
        self.with("name", breaker)
    }

    /// The file into which the instance logs.
    #[cfg(all(feature = "cli", feature = "http", feature = "tracing", feature = "counts"))]
    pub(crate) fn log(self, file: &std::path::Path) -> Self {
        self.with("log", file.display())
    }

    /// The instance is of no use without that breaker.
    #[cfg(feature = "http")]
    pub(crate) fn critical(self, breaker: &str) -> Self {
        self.with("critical", breaker)
    }

    /// `admit` or `reject`.
    pub(crate) fn when_down(self, what: &str) -> Self {
        self.with("when_down", what)
    }

    /// The instance's clock shows so many hours more.
    pub(crate) fn hours(self, hours: u64) -> Self {
        self.with("hours", hours)
    }
}

/// A process that is one instance of a fleet; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) number: usize,
    process: Child,
    lines: ChildStdin,
    answers: Receiver<String>,
    events: Arc<Mutex<Vec<String>>>,
}

/// A change of state that an instance told of.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) to: String,
    pub(crate) reason: String,
    pub(crate) is_decided: bool,
    pub(crate) is_fleets: bool,
    pub(crate) generation: u64,
}

/// A breaker at one moment: the fields of a snapshot, as text.
#[derive(Clone, Debug)]
pub(crate) struct View(BTreeMap<String, String>);

impl View {
    fn parse(line: &str) -> Self {
        Self(line.split('\t').filter_map(|pair| pair.split_once('=')).map(|(a, b)| (a.into(), b.into())).collect())
    }

    pub(crate) fn get(&self, field: &str) -> &str {
        self.0.get(field).map_or("", String::as_str)
    }

    pub(crate) fn number(&self, field: &str) -> u64 {
        self.get(field).parse().unwrap_or_else(|_| panic!("a number in `{field}` of {self:?}"))
    }

    pub(crate) fn is(&self, state: &str) -> bool {
        self.get("state") == state
    }

    /// The fleet is known, and the state is its own.
    pub(crate) fn is_fleets(&self, state: &str) -> bool {
        self.is(state) && self.get("scope") == "Fleet"
    }
}

impl Instance {
    pub(crate) fn start(number: usize, settings: &Settings) -> Self {
        let settings = settings.clone().with("number", number).0;
        let lines: Vec<_> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "one_instance_of_a_fleet", "--nocapture", "--test-threads=1"])
            .env(SETTINGS, lines.join("\n"))
            // As where pods share the network of their node: by its name none is told from another.
            .env("HOSTNAME", "node-1")
            .env_remove("POD_NAME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("an instance");
        let (answer, answers) = channel();
        let events = Arc::<Mutex<Vec<String>>>::default();
        let (out, told) = (process.stdout.take().expect("a pipe"), Arc::clone(&events));
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some(event) = line.strip_prefix('!') {
                    told.lock().unwrap_or_else(PoisonError::into_inner).push(event.to_owned());
                } else if let Some(line) = line.strip_prefix('@') {
                    answer.send(line.to_owned()).ok();
                }
            }
        });
        let lines = process.stdin.take().expect("a pipe");
        let instance = Self { number, process, lines, answers, events };
        assert_eq!(instance.answer("to start"), "ready");
        instance
    }

    /// Has the instance do something, and returns what it says.
    pub(crate) fn ask(&self, command: &str) -> String {
        self.say(command);
        self.answer(command)
    }

    /// Has the instance do something. Somebody must ask for the [`answer`](Self::answer).
    pub(crate) fn say(&self, command: &str) {
        (&self.lines).write_all(format!("{command}\n").as_bytes()).expect("the instance lives");
    }

    pub(crate) fn answer(&self, command: &str) -> String {
        let answer = self.answers.recv_timeout(PATIENCE);
        answer.unwrap_or_else(|_| panic!("instance {} does not answer `{command}`", self.number))
    }

    pub(crate) fn look(&self) -> View {
        View::parse(&self.ask("look"))
    }

    pub(crate) fn numbers(&self, command: &str) -> View {
        View::parse(&self.ask(command))
    }

    pub(crate) fn fail(&self, count: u32) {
        assert_eq!(self.ask(&format!("fail {count}")), count.to_string(), "calls of instance {}", self.number);
    }

    pub(crate) fn flush(&self) {
        self.ask("flush");
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many events there were of a kind that is no change of state.
    pub(crate) fn told(&self, kind: &str) -> usize {
        self.events().iter().filter(|event| *event == kind).count()
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        let changes = self.events().into_iter().filter_map(|event| {
            let parts: Vec<_> = event.strip_prefix("changed\t")?.split('\t').map(ToOwned::to_owned).collect();
            Some(Change {
                to: parts[1].clone(),
                reason: parts[2].clone(),
                is_decided: parts[3] == "Decided",
                is_fleets: parts[4] == "Fleet",
                generation: parts[5].parse().expect("a number"),
            })
        });
        changes.collect()
    }

    pub(crate) fn stop(&self) {
        signal("STOP", self.process.id());
    }

    pub(crate) fn go_on(&self) {
        signal("CONT", self.process.id());
    }

    /// For how long it has used a processor, where the system tells.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap_or_default();
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        // User and system time, in hundredths of a second.
        let ticks = rest.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>();
        Duration::from_millis(ticks * 10)
    }

    /// No goodbye.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("reaped");
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("instance {} has told: {:#?}", self.number, self.events());
        }
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn signal(name: &str, process: u32) {
    let kill = format!("kill -{name} {process}");
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success(), "{kill}");
}

/// Instances of one fleet, each of which knows its store.
pub(crate) fn start(count: usize, settings: &Settings) -> Vec<Instance> {
    let fleet: Vec<_> = (0..count).map(|number| Instance::start(number, settings)).collect();
    until("every instance knows the store", GRACE, || fleet.iter().all(knows_the_store));
    fleet
}

pub(crate) fn knows_the_store(instance: &Instance) -> bool {
    let view = instance.look();
    !view.get("fleet").is_empty() && view.get("away").is_empty()
}

/// Awaits a condition.
#[track_caller]
pub(crate) fn until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
    start.elapsed()
}

/// Awaits that every instance is in a state that is the fleet's.
#[track_caller]
pub(crate) fn until_all(fleet: &[Instance], state: &str, limit: Duration) -> Duration {
    let start = Instant::now();
    loop {
        let views: Vec<_> = fleet.iter().map(Instance::look).collect();
        if views.iter().all(|view| view.is_fleets(state)) {
            return start.elapsed();
        }
        assert!(start.elapsed() < limit, "not all {state} within {limit:?}: {views:#?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Holds a condition for a time.
#[track_caller]
pub(crate) fn throughout(what: &str, time: Duration, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < time {
        assert!(is_so(), "not any more after {:?}: {what}", start.elapsed());
        thread::sleep(Duration::from_millis(20));
    }
}

/// The one instance that decided to begin each of the fleet's generations; fails where there were two.
#[track_caller]
pub(crate) fn deciders(fleet: &[Instance]) -> BTreeMap<u64, (usize, Change)> {
    let mut deciders = BTreeMap::new();
    for instance in fleet {
        for change in instance.changes().into_iter().filter(|change| change.is_decided && change.is_fleets) {
            let other = deciders.insert(change.generation, (instance.number, change.clone()));
            assert!(other.is_none(), "decided twice: {other:?} and {change:?} by {}", instance.number);
        }
    }
    deciders
}
