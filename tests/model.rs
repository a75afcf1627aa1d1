//! The breaker against an independent model: naive, slow, and written from the documentation.
//!
//! Random schedules of calls, clock steps, commands and overrides; after every step both must agree on the decision, the
//! state, the generation and the counts. The schedules are steered so that most pass through half-open.
#![expect(
    clippy::expect_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "test code with small numbers"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fusebox::{
    CircuitBreaker, CircuitBreakerConfig, Cooldown, ManualClock, Outcome, Override, Permit, Probes, State,
    circuit_breaker::RejectReason, detect,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

// ── what is tried ───────────────────────────────────────────────────────────
#[derive(Clone, Copy, Debug)]
enum Rule {
    Within { failures: u32, ms: u64 },
    OfLast { failures: u32, calls: u32, min: u32 },
    Rate { percent: u32, calls: u32, min: u32 },
    RateWithin { percent: u32, ms: u64, min: u32 },
    Slow { percent: u32, calls: u32 },
    Consecutive { failures: u32 },
}

#[derive(Clone, Debug)]
struct Setup {
    rules: Vec<Rule>,
    all: bool,
    cooldown: (u64, u64),
    needed: u32,
    of: u32,
    concurrent: u32,
    deadline: u64,
    longest: Option<u64>,
    abandoned: Option<u64>,
}

#[derive(Clone, Debug)]
enum Op {
    Acquire,
    End(usize, Ended),
    Advance(u64),
    ToCooldownEnd,
    Burst(u8),
    Trip,
    Reset,
    Hold(Kind, Option<u64>),
    Resume,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ended {
    Success,
    Failure,
    Ignored,
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    ForceOpen,
    Disable,
    DryRun,
}

const SLOW: u64 = 400;

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        (1..5_u32, 500..6000_u64).prop_map(|(failures, ms)| Rule::Within { failures, ms }),
        (1..7_u32, 1..4_u32, 1..7_u32).prop_map(|(calls, failures, min)| Rule::OfLast {
            failures: failures.min(calls),
            calls,
            min: min.min(calls)
        }),
        (20..101_u32, 1..8_u32, 1..8_u32).prop_map(|(percent, calls, min)| Rule::Rate {
            percent,
            calls,
            min: min.min(calls)
        }),
        (20..101_u32, 500..6000_u64, 1..5_u32).prop_map(|(percent, ms, min)| Rule::RateWithin { percent, ms, min }),
        (30..101_u32, 1..6_u32).prop_map(|(percent, calls)| Rule::Slow { percent, calls }),
        (1..5_u32).prop_map(|failures| Rule::Consecutive { failures }),
    ]
}

fn setup() -> impl Strategy<Value = Setup> {
    let rules = prop_oneof![4 => prop::collection::vec(rule(), 1), 2 => prop::collection::vec(rule(), 2)];
    let cooldown = prop_oneof![(0..3000_u64).prop_map(|ms| (ms, ms)), (200..1500_u64).prop_map(|ms| (ms, ms * 6))];
    let probes = (1..4_u32, 1..4_u32).prop_map(|(a, b)| (a.min(b), a.max(b)));
    (rules, any::<bool>(), cooldown, probes, 1..4_u32, 1000..9000_u64, limits()).prop_map(
        |(rules, all, cooldown, (needed, of), concurrent, deadline, (abandoned, longest))| Setup {
            rules,
            all,
            cooldown,
            needed,
            of,
            concurrent,
            deadline,
            longest,
            abandoned,
        },
    )
}

/// When a call is abandoned, and how long half-open may last.
fn limits() -> impl Strategy<Value = (Option<u64>, Option<u64>)> {
    (prop::option::of(300..3000_u64), prop::option::weighted(0.3, 500..20_000_u64))
}

fn op() -> impl Strategy<Value = Op> {
    let ended = prop_oneof![
        6 => Just(Ended::Success), 8 => Just(Ended::Failure), 1 => Just(Ended::Ignored), 3 => Just(Ended::Dropped)
    ];
    let kind = prop_oneof![Just(Kind::ForceOpen), Just(Kind::Disable), Just(Kind::DryRun)];
    prop_oneof![
        30 => Just(Op::Acquire),
        30 => (any::<usize>(), ended).prop_map(|(i, e)| Op::End(i, e)),
        12 => prop_oneof![0..50_u64, 0..2000_u64, 0..20_000_u64].prop_map(Op::Advance),
        8 => Just(Op::ToCooldownEnd),
        6 => (1..7_u8).prop_map(Op::Burst),
        1 => Just(Op::Trip),
        1 => Just(Op::Reset),
        1 => (kind, prop::option::of(0..4000_u64)).prop_map(|(k, d)| Op::Hold(k, d)),
        2 => Just(Op::Resume),
    ]
}

// ── the model ───────────────────────────────────────────────────────────────
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: u64,
    failed: bool,
    took: u64,
}

#[derive(Clone, Copy, Debug)]
struct Ticket {
    generation: u64,
    probe: Option<u64>,
    started: u64,
}

#[derive(Clone, Debug)]
struct Model {
    setup: Setup,
    now: u64,
    state: State,
    generation: u64,
    since: u64,
    seen: Vec<Seen>,
    until: u64,
    cooldown: u64,
    openings: u32,
    /// While a cooldown that has grown is kept in mind, in nanoseconds: how long it is, for how much of that the
    /// circuit has been seen to be healthy, and when last.
    recovery: Option<(u64, u64, u64)>,
    /// (failed, slow) of each probe.
    results: Vec<(bool, bool)>,
    /// Slow calls have opened the circuit.
    by_slowness: bool,
    /// (lease, deadline)
    leases: Vec<(u64, u64)>,
    next_lease: u64,
    fruitless_since: Option<u64>,
    /// Probes in a row that were given up.
    given_up: u32,
    held: Option<(Kind, u64)>,
    was_half_open: bool,
}

fn rate(bad: usize, calls: usize, percent: u32) -> bool {
    calls > 0 && bad as f64 / calls as f64 >= f64::from(percent) / 100.0
}

impl Model {
    fn new(setup: Setup, generation: u64) -> Self {
        Self {
            setup,
            now: 0,
            state: State::Closed,
            generation,
            since: 0,
            seen: Vec::new(),
            until: 0,
            cooldown: 0,
            openings: 0,
            recovery: None,
            results: Vec::new(),
            by_slowness: false,
            leases: Vec::new(),
            next_lease: 0,
            fruitless_since: None,
            given_up: 0,
            held: None,
            was_half_open: false,
        }
    }

    /// (bad, calls) as the rule sees them.
    fn counts(&self, rule: Rule) -> (usize, usize) {
        let last = |n: u32| &self.seen[self.seen.len().saturating_sub(n as usize)..];
        let of = |calls: &[Seen], bad: &dyn Fn(&Seen) -> bool| (calls.iter().filter(|s| bad(s)).count(), calls.len());
        match rule {
            Rule::Within { ms, .. } => {
                let bad = self.seen.iter().filter(|s| s.failed && self.now - s.at < ms).count();
                (bad, bad)
            }
            Rule::OfLast { calls, .. } | Rule::Rate { calls, .. } => of(last(calls), &|s| s.failed),
            Rule::Slow { calls, .. } => of(last(calls), &|s| s.took >= SLOW),
            Rule::Consecutive { .. } => {
                let run = self.seen.iter().rev().take_while(|s| s.failed).count();
                (run, run)
            }
            Rule::RateWithin { ms, .. } => {
                // Slots of a power of two of nanoseconds, at most a sixteenth of the window.
                let (ns, now) = (ms * 1_000_000, self.now * 1_000_000);
                let width = 1_u64 << (ns / 16).ilog2();
                let within: Vec<Seen> =
                    self.seen.iter().filter(|s| now - s.at * 1_000_000 / width * width < ns).copied().collect();
                of(&within, &|s| s.failed)
            }
        }
    }

    fn detects(&self) -> bool {
        let verdict = |rule: &Rule| {
            let (bad, calls) = self.counts(*rule);
            match *rule {
                Rule::Within { failures, .. } | Rule::Consecutive { failures } => bad >= failures as usize,
                Rule::OfLast { failures, min, .. } => calls >= min as usize && bad >= failures as usize,
                Rule::Rate { percent, min, .. } | Rule::RateWithin { percent, min, .. } => {
                    calls >= min as usize && rate(bad, calls, percent)
                }
                Rule::Slow { percent, calls: n } => calls >= n.min(5) as usize && rate(bad, calls, percent),
            }
        };
        if self.setup.all { self.setup.rules.iter().all(verdict) } else { self.setup.rules.iter().any(verdict) }
    }

    /// The first rule that is met: what the breaker says it trips on.
    fn detects_slowness(&self) -> bool {
        let met = |rule: &&Rule| {
            Self { setup: Setup { rules: vec![**rule], ..self.setup.clone() }, ..self.clone() }.detects()
        };
        self.setup.rules.iter().find(met).is_some_and(|rule| matches!(rule, Rule::Slow { .. }))
    }

    /// The probes of the round would open a circuit by their slowness.
    fn round_is_too_slow(&self) -> bool {
        let (calls, slow) = (self.results.len(), self.results.iter().filter(|(_, slow)| *slow).count());
        let failures = self.results.iter().filter(|(failed, _)| *failed).count();
        let met = |rule: &Rule| match *rule {
            Rule::Slow { percent, calls: n } => calls >= n.min(5) as usize && rate(slow, calls, percent),
            Rule::Within { failures: n, .. } | Rule::Consecutive { failures: n } => failures >= n as usize,
            Rule::OfLast { failures: n, min, .. } => calls >= min as usize && failures >= n as usize,
            Rule::Rate { percent, min, .. } | Rule::RateWithin { percent, min, .. } => {
                calls >= min as usize && rate(failures, calls, percent)
            }
        };
        let is_slow = |rule: &&Rule| matches!(rule, Rule::Slow { .. });
        let mut slow_rules = self.setup.rules.iter().filter(is_slow);
        if self.setup.all {
            slow_rules.next().is_some() && self.setup.rules.iter().all(met)
        } else {
            slow_rules.any(met)
        }
    }

    /// Probes that count for the dependency, and against it.
    fn counts_of_round(&self) -> (u32, u32) {
        let slow_counts = self.by_slowness;
        let against = self.results.iter().filter(|(failed, slow)| *failed || *slow && slow_counts).count() as u32;
        (self.results.len() as u32 - against, against)
    }

    fn looks_at_slowness(&self) -> bool {
        self.setup.rules.iter().any(|rule| matches!(rule, Rule::Slow { .. }))
    }

    fn go(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
        self.since = self.now;
        if state != State::HalfOpen {
            self.leases.clear();
        }
        if state == State::Closed {
            self.seen.clear();
            self.recovery = self.recovery.map(|(period, ..)| (period, 0, self.now * 1_000_000));
        }
        self.was_half_open |= state == State::HalfOpen;
    }

    fn open(&mut self) {
        self.by_slowness &= self.state == State::HalfOpen;
        let (min, max) = self.setup.cooldown;
        if self.state == State::Closed && min == max {
            self.openings = 0;
        }
        self.cooldown = (0..self.openings).fold(min, |ms, _| (ms * 2).min(max));
        self.openings += 1;
        self.recovery = (min != max).then_some((self.cooldown * 1_000_000, 0, 0));
        self.until = self.now + self.cooldown;
        self.go(State::Open);
    }

    /// Successes are known by the tick: half a sixteenth of the shortest cooldown, or what a rule over a time takes.
    fn tick(&self) -> u64 {
        let of_rule = |rule: &Rule| match *rule {
            Rule::RateWithin { ms, .. } => 1_u64 << (ms * 1_000_000 / 16).ilog2(),
            _ => u64::MAX,
        };
        let of_rules = self.setup.rules.iter().map(of_rule).min().unwrap_or(u64::MAX);
        let (shortest, longest) = self.setup.cooldown;
        let of_cooldown = if shortest == longest { u64::MAX } else { (shortest * 1_000_000 / 32).max(1_000_000) };
        1 << of_cooldown.min(of_rules).ilog2()
    }

    fn succeeded(&mut self) {
        let at = self.now * 1_000_000 / self.tick() * self.tick();
        let Some((period, healthy_for, newest)) = &mut self.recovery else { return };
        *healthy_for += at.saturating_sub(*newest).min(*period / 16);
        *newest = at.max(*newest);
        if *healthy_for >= *period / 16 * 16 {
            (self.openings, self.recovery) = (0, None);
        }
    }

    fn expire_hold(&mut self) {
        if self.held.is_some_and(|(_, until)| until <= self.now) {
            self.held = None;
            self.go(State::Closed);
        }
    }

    fn end_round(&mut self) {
        if self.state != State::HalfOpen {
            return;
        }
        let expired = self.leases.iter().filter(|(_, deadline)| *deadline <= self.now).count() as u32;
        self.leases.retain(|(_, deadline)| *deadline > self.now);
        for _ in 0..expired {
            // Without an answer it has taken its whole time.
            self.results.push((true, self.looks_at_slowness() && self.setup.deadline >= SLOW));
            self.by_slowness |= self.round_is_too_slow();
        }
        if expired > 0 {
            self.given_up = 0;
            self.fruitless_since = None;
        }
        let patience = (self.cooldown * 10).max(60_000).max(self.setup.deadline * 2);
        let too_long = self.setup.longest.is_some_and(|longest| self.now - self.since >= longest);
        let fruitless = self.fruitless_since.is_some_and(|since| self.now - since >= patience);
        if self.counts_of_round().1 > self.setup.of - self.setup.needed || fruitless || too_long {
            self.open();
        }
    }

    fn acquire(&mut self) -> Result<Ticket, (RejectReason, Option<u64>)> {
        self.expire_hold();
        let ticket = |model: &Self, probe| Ticket { generation: model.generation, probe, started: model.now };
        match self.held {
            Some((Kind::ForceOpen, until)) => {
                let left = (until < u64::MAX).then(|| until - self.now);
                return Err((RejectReason::ForcedOpen, left));
            }
            Some(_) => return Ok(ticket(self, None)),
            None => {}
        }
        self.end_round();
        match self.state {
            State::Closed => return Ok(ticket(self, None)),
            State::Open if self.now < self.until => return Err((RejectReason::Open, Some(self.until - self.now))),
            State::Open => {
                self.results.clear();
                self.fruitless_since = None;
                self.given_up = 0;
                self.go(State::HalfOpen);
            }
            State::HalfOpen => {}
        }
        if self.leases.len() >= self.setup.concurrent as usize {
            return Err((RejectReason::ProbesBusy, None));
        }
        self.next_lease += 1;
        self.leases.push((self.next_lease, self.now + self.setup.deadline));
        self.fruitless_since.get_or_insert(self.now);
        Ok(ticket(self, Some(self.next_lease)))
    }

    fn end(&mut self, ticket: Ticket, ended: Ended) {
        if ticket.generation != self.generation {
            return;
        }
        let took = self.now - ticket.started;
        let failed = match ended {
            Ended::Success => Some(false),
            Ended::Failure => Some(true),
            Ended::Ignored => None,
            Ended::Dropped => self.setup.abandoned.filter(|limit| took >= *limit).map(|_| true),
        };
        let slow = failed.is_some() && self.looks_at_slowness() && took >= SLOW;
        if let Some(lease) = ticket.probe {
            self.end_round();
            if ticket.generation != self.generation {
                return;
            }
            let Some(place) = self.leases.iter().position(|(id, _)| *id == lease) else { return };
            self.leases.remove(place);
            self.given_up = if failed.is_none() && ended == Ended::Dropped { self.given_up + 1 } else { 0 };
            let Some(failed) = failed else {
                if self.given_up == 3 {
                    self.open();
                }
                return;
            };
            self.fruitless_since = None;
            self.results.push((failed, slow));
            self.by_slowness |= (failed || slow) && self.round_is_too_slow();
            let (succeeded, failed) = self.counts_of_round();
            if succeeded >= self.setup.needed {
                self.go(State::Closed);
            } else if failed > self.setup.of - self.setup.needed {
                self.open();
            }
            return;
        }
        let Some(failed) = failed else { return };
        if matches!(self.held, Some((Kind::Disable, _))) {
            return;
        }
        self.seen.push(Seen { at: self.now, failed, took });
        if !failed && !slow {
            self.succeeded();
        }
        if (failed || slow) && self.detects() {
            if self.held.is_some() {
                self.seen.clear();
            } else {
                let by_slowness = self.detects_slowness();
                self.open();
                self.by_slowness = by_slowness;
            }
        }
    }

    fn command(&mut self, f: impl FnOnce(&mut Self)) -> bool {
        self.expire_hold();
        if self.held.is_none() {
            f(self);
        }
        self.held.is_none()
    }
}

// ── the breaker under test ──────────────────────────────────────────────────
fn breaker(setup: &Setup, clock: &ManualClock) -> CircuitBreaker {
    use fusebox::detect::{Combined, Detector};
    let ms = Duration::from_millis;
    let detectors: Vec<_> = setup
        .rules
        .iter()
        .map(|rule| -> Box<dyn Detector> {
            let share = |percent: u32| f64::from(percent) / 100.0;
            match *rule {
                Rule::Within { failures, ms: d } => Box::new(detect::failures(failures).within(ms(d))),
                Rule::OfLast { failures, calls, min } => {
                    Box::new(detect::failures(failures).of_last(calls).min_calls(min))
                }
                Rule::Rate { percent, calls, min } => {
                    Box::new(detect::failure_rate(share(percent)).of_last(calls).min_calls(min))
                }
                Rule::RateWithin { percent, ms: d, min } => {
                    Box::new(detect::failure_rate(share(percent)).within(ms(d)).min_calls(min))
                }
                Rule::Slow { percent, calls } => {
                    Box::new(detect::slow_call_rate(share(percent)).slower_than(ms(SLOW)).of_last(calls))
                }
                Rule::Consecutive { failures } => Box::new(detect::consecutive_failures(failures)),
            }
        })
        .collect();
    let detector = if setup.all { Combined::all(detectors) } else { Combined::any(detectors) };
    let (min, max) = setup.cooldown;
    let cooldown =
        if min == max { Cooldown::fixed(ms(min)) } else { Cooldown::exponential(ms(min)..=ms(max)).jitter(0.0) };
    let probes = Probes::ratio(setup.needed, setup.of).concurrent(setup.concurrent).deadline(ms(setup.deadline));
    let mut builder = CircuitBreakerConfig::builder("model").detector(detector).cooldown(cooldown).probes(probes);
    if let Some(longest) = setup.longest {
        builder = builder.probes(probes.decide_within(ms(longest)));
    }
    if let Some(limit) = setup.abandoned {
        builder = builder.abandoned_after(ms(limit));
    }
    CircuitBreaker::new(builder.clock(clock.clone()).build().expect("a valid setup"))
}

struct Pair {
    model: Model,
    breaker: CircuitBreaker,
    clock: ManualClock,
    running: Vec<(Permit, Ticket)>,
    asks_first: bool,
}

impl Pair {
    /// Every other call is asked for before it is made.
    fn acquire(&mut self) -> Result<(), TestCaseError> {
        self.asks_first = !self.asks_first;
        let foretold = self.asks_first.then(|| self.breaker.would_admit());
        let running = self.running.len();
        self.make()?;
        prop_assert_eq!(foretold.unwrap_or(self.running.len() > running), self.running.len() > running);
        Ok(())
    }

    fn make(&mut self) -> Result<(), TestCaseError> {
        match (self.breaker.acquire(), self.model.acquire()) {
            (Ok(permit), Ok(ticket)) => {
                prop_assert_eq!(permit.is_probe(), ticket.probe.is_some());
                prop_assert_eq!(permit.generation().get(), ticket.generation);
                self.running.push((permit, ticket));
            }
            (Err(rejected), Err((reason, left))) => {
                prop_assert_eq!(rejected.reason(), reason);
                prop_assert_eq!(rejected.retry_after(), left.map(Duration::from_millis));
            }
            (seen, expected) => prop_assert!(false, "breaker {seen:?}, model {expected:?}"),
        }
        Ok(())
    }

    fn end(&mut self, i: usize, ended: Ended) {
        if self.running.is_empty() {
            return;
        }
        let (permit, ticket) = self.running.swap_remove(i % self.running.len());
        match ended {
            Ended::Success => permit.success(),
            Ended::Failure => permit.failure(),
            Ended::Ignored => permit.report(Outcome::Ignored),
            Ended::Dropped => drop(permit),
        }
        self.model.end(ticket, ended);
    }

    fn advance(&mut self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
        self.model.now += ms;
    }

    fn perform(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match *op {
            Op::Acquire => self.acquire()?,
            Op::End(i, ended) => self.end(i, ended),
            Op::Advance(ms) => self.advance(ms),
            Op::ToCooldownEnd => {
                if self.model.state == State::Open && self.model.held.is_none() {
                    self.advance(self.model.until.saturating_sub(self.model.now));
                    self.acquire()?;
                }
            }
            Op::Burst(n) => {
                for _ in 0..n {
                    let before = self.running.len();
                    self.acquire()?;
                    if self.running.len() > before {
                        self.end(before, Ended::Failure);
                    }
                }
            }
            Op::Trip => {
                let done = self.model.command(|model| {
                    if model.state != State::Open {
                        model.open();
                    }
                });
                prop_assert_eq!(self.breaker.trip().is_ok(), done);
            }
            Op::Reset => {
                let done = self.model.command(|model| {
                    (model.openings, model.recovery) = (0, None);
                    model.go(State::Closed);
                });
                prop_assert_eq!(self.breaker.reset().is_ok(), done);
            }
            Op::Hold(kind, expires) => {
                let order = match kind {
                    Kind::ForceOpen => Override::force_open("test"),
                    Kind::Disable => Override::disable("test"),
                    Kind::DryRun => Override::dry_run("test"),
                };
                let order = expires.map_or(order.clone(), |ms| order.expires_after(Duration::from_millis(ms)));
                self.breaker.set_override(order);
                self.model.held = Some((kind, expires.map_or(u64::MAX, |ms| self.model.now + ms)));
                self.model.seen.clear();
                self.model.go(if kind == Kind::ForceOpen { State::Open } else { State::Closed });
            }
            Op::Resume => {
                self.breaker.resume();
                self.model.expire_hold();
                if self.model.held.take().is_some() {
                    self.model.go(State::Closed);
                }
            }
        }
        self.compare()
    }

    fn compare(&mut self) -> Result<(), TestCaseError> {
        self.model.expire_hold();
        prop_assert_eq!(self.breaker.state(), self.model.state);
        let snapshot = self.breaker.snapshot();
        prop_assert_eq!(snapshot.state, self.model.state);
        prop_assert_eq!(snapshot.generation.get(), self.model.generation);
        prop_assert_eq!(snapshot.openings, self.model.openings);
        if self.model.state == State::Closed {
            for (part, rule) in snapshot.detectors.iter().zip(&self.model.setup.rules) {
                let (bad, calls) = self.model.counts(*rule);
                prop_assert_eq!(part.tally.count(), bad as u64, "{}", part.rule);
                prop_assert_eq!(part.tally.calls().unwrap_or(bad as u64), calls as u64, "{}", part.rule);
            }
        }
        if let Some(probes) = snapshot.probes {
            prop_assert!(probes.in_flight <= self.model.setup.concurrent, "invariant 5");
            prop_assert_eq!((probes.succeeded, probes.failed), self.model.counts_of_round());
        }
        Ok(())
    }
}

#[test]
fn the_breaker_agrees_with_the_model() {
    let (cases, through_half_open) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut runner = TestRunner::new(Config { cases: 20_000, failure_persistence: None, ..Config::default() });
    runner
        .run(&(setup(), prop::collection::vec(op(), 1..120)), |(setup, ops)| {
            let clock = ManualClock::new();
            let breaker = breaker(&setup, &clock);
            let model = Model::new(setup, breaker.snapshot().generation.get());
            let mut pair = Pair { model, breaker, clock, running: Vec::new(), asks_first: false };
            for op in &ops {
                pair.perform(op)?;
            }
            cases.fetch_add(1, Ordering::Relaxed);
            through_half_open.fetch_add(usize::from(pair.model.was_half_open), Ordering::Relaxed);
            Ok(())
        })
        .unwrap_or_else(|failure| std::panic::panic_any(failure.to_string()));
    let (cases, through) = (cases.into_inner(), through_half_open.into_inner());
    println!("model: {cases} schedules, {through} of them ({} %) through half-open", 100 * through / cases);
    assert!(2 * through >= cases, "the schedules must be steered into half-open");
}
