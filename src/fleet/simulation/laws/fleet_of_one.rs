//! A fleet of one is the breaker: given time to speak with its store between events, an instance decides what a breaker
//! without a store decides.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::super::rng::Chance;
use super::super::runner::seeds;
use super::super::setup::Setup;
use super::pair::{Pair, one};
use super::schedule::{Ending, Event, Step, Style, shorten, with_heads};
use crate::circuit::detector::{LoadError, consecutive_failures, failure_rate, failures, slow_call_rate};
use crate::circuit::{Call, Cooldown, Detector, Horizon, Outcome, Probes, Tally};
use crate::time::Timestamp;

type Make = fn() -> Box<dyn Detector>;

const S: Duration = Duration::from_secs(1);
const SLOW: Duration = Duration::from_millis(50);

const SHAPED: [(&str, Make); 14] = [
    ("in a row", || Box::new(consecutive_failures(3))),
    ("the first", || Box::new(consecutive_failures(1))),
    ("k of n", || Box::new(failures(3).of_last(8))),
    ("k of n, with a minimum", || Box::new(failures(2).of_last(10).min_calls(6))),
    ("a rate of the last", || Box::new(failure_rate(0.5).of_last(10))),
    ("a rate of the last, with a minimum", || Box::new(failure_rate(0.4).of_last(20).min_calls(5))),
    ("a rate within a time", || Box::new(failure_rate(0.5).within(10 * S).min_calls(5))),
    ("failures within a time", || Box::new(failures(4).within(2 * S))),
    ("failures within hours", || Box::new(failures(4).within(7_200 * S))),
    ("slow of the last", || Box::new(slow_call_rate(0.3).slower_than(SLOW).of_last(10))),
    ("slow within a time", || Box::new(slow_call_rate(0.3).slower_than(SLOW).within(20 * S).min_calls(4))),
    ("either", || Box::new(consecutive_failures(4).or(failure_rate(0.5).within(5 * S).min_calls(6)))),
    ("both", || Box::new(failures(3).within(20 * S).and(failure_rate(0.3).of_last(10)))),
    ("either of three", || {
        let slow = slow_call_rate(0.5).slower_than(SLOW).of_last(6).min_calls(3);
        Box::new(failures(5).of_last(9).or(slow).or(failures(3).within(S / 10)))
    }),
];

/// Trips on failures that outweigh what successes have made good: no built-in rule, and no shape.
#[derive(Clone, Debug, Default)]
struct Leaky {
    level: u32,
    calls: u64,
}

impl Detector for Leaky {
    fn record(&mut self, call: &Call) {
        self.calls += 1;
        self.level = if call.failed() { self.level + 3 } else { self.level.saturating_sub(1) };
    }

    fn verdict(&self, _now: Timestamp) -> bool {
        self.level >= 8
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn tally(&self, _now: Timestamp) -> Tally {
        Tally::failures(self.level.into()).of(self.calls)
    }

    fn save(&self) -> Vec<u8> {
        [u64::from(self.level).to_le_bytes(), self.calls.to_le_bytes()].concat()
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let number = |at: usize| bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let (Some(level), Some(calls)) = (number(0), number(8)) else {
            return Err(LoadError::new("too short"));
        };
        (self.level, self.calls) = (u32::try_from(level).unwrap_or(0), calls);
        Ok(())
    }

    fn horizon(&self) -> Horizon {
        Horizon::everything()
    }
}

const OPAQUE: [(&str, Make); 2] =
    [("one's own", || Box::<Leaky>::default()), ("one's own, or three in a row", || Box::new(Leaky::default_or()))];

impl Leaky {
    fn default_or() -> crate::circuit::detector::Combined {
        crate::circuit::detector::Combined::any(vec![Box::new(Self::default()), Box::new(consecutive_failures(3))])
    }
}

/// The rest of the rules, by chance.
fn setup(seed: u64, detector: Make, chance: &mut Chance) -> Setup {
    Setup {
        cooldown: chance.pick(&[S / 10, 5 * S]).into(),
        probes: chance.pick(&[Probes::one(), Probes::consecutive(3), Probes::ratio(2, 3)]),
        ..one(seed, detector)
    }
    .growing(chance.permille(300))
}

impl Setup {
    /// Cooldowns that grow with each reopening. Without jitter: what an instance draws is its own.
    fn growing(self, grows: bool) -> Self {
        let cooldown = if grows { Cooldown::exponential(S..=20 * S).jitter(0.0) } else { self.cooldown.clone() };
        Self { cooldown, ..self }
    }
}

/// What differs, if anything does.
fn difference(setup: &Setup, steps: &[Step]) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| Pair::play(setup, steps))) {
        Ok(same) => same.err(),
        Err(said) => Some(said.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned())),
    }
}

/// The setup and the steps of a seed.
fn drawn(seed: u64, detector: Make) -> (Setup, Vec<Step>) {
    let mut chance = Chance::new(seed ^ 0x1a3 << 32);
    let setup = setup(seed, detector, &mut chance);
    (setup, Style::random(&mut chance).draw(30, &mut chance))
}

/// Plays schedules of a rule, and tells of the first difference by the shortest schedule that shows it.
fn agree(name: &str, detector: Make, schedules: u64) -> Option<String> {
    for seed in seeds(schedules) {
        let (setup, steps) = drawn(seed, detector);
        let steps = with_heads(steps, &mut Chance::new(seed ^ 0x4ead << 32));
        if difference(&setup, &steps).is_some() {
            let (steps, said) = shorten(steps, |steps| difference(&setup, steps));
            // Once more, so that its log is the last one.
            difference(&setup, &steps);
            let steps: Vec<_> = steps.iter().map(|step| format!("{step:?}")).collect();
            let (cooldown, probes, steps) = (&setup.cooldown, setup.probes, steps.join("\n"));
            return Some(format!("{name}, seed {seed}, {cooldown:?}, {probes:?}:\n{steps}\n{said}"));
        }
    }
    None
}

/// The same of several rules, each of whose first difference is told.
fn all_agree(rules: &[(&str, Make)]) {
    let only = std::env::var("FUSEBOX_SIM_RULE").unwrap_or_default();
    let rules = rules.iter().filter(|(name, _)| name.contains(&only));
    let said: Vec<_> = rules.filter_map(|(name, detector)| agree(name, *detector, 150)).collect();
    assert!(said.is_empty(), "{}", said.join("\n\n"));
}

#[test]
fn an_instance_alone_decides_what_a_breaker_without_a_store_decides() {
    all_agree(&SHAPED);
}

#[test]
fn so_it_does_with_a_rule_that_only_its_detector_can_judge() {
    all_agree(&OPAQUE);
}

fn call(after: u64, outcome: Outcome) -> Step {
    Step { after: Duration::from_millis(after), event: Event::Call(Ending { outcome, took: None }) }
}

fn begin(after: u64) -> Step {
    Step { after: Duration::from_millis(after), event: Event::Begin }
}

/// Plays one schedule without allowance for any fault.
fn plays(setup: Setup, steps: &[Step]) {
    let said = Pair::play(&Setup { cooldown: (S / 10).into(), ..setup }, steps);
    assert_eq!(said, Ok(()));
}

#[test]
fn the_first_call_after_the_deadline_of_a_probe_is_not_told_that_probes_are_busy() {
    plays(one(0, SHAPED[1].1), &[call(0, Outcome::Failure), begin(200), call(11_000, Outcome::Success)]);
}

#[test]
fn one_instance_has_as_many_probes_on_their_way_as_a_breaker() {
    let setup = Setup { concurrent: 2, probes: Probes::consecutive(3), ..one(0, SHAPED[1].1) };
    plays(setup, &[call(0, Outcome::Failure), begin(200), begin(10)]);
}

#[test]
fn a_probe_that_says_nothing_costs_no_second_call() {
    let ignored = |after| call(after, Outcome::Ignored);
    plays(one(0, SHAPED[1].1), &[call(0, Outcome::Failure), ignored(200), ignored(10), ignored(10), ignored(10)]);
}

/// What slow calls opened: the head of the probe's response comes after each time, and the rest goes on.
#[test]
fn a_late_head_is_for_the_fleet_what_it_is_for_a_breaker() {
    let ms = Duration::from_millis;
    let slow = Step { after: ms(1), event: Event::Call(Ending { outcome: Outcome::Success, took: Some(SLOW) }) };
    let head = |took| Step { after: ms(1), event: Event::Head(0, took) };
    for rule in [9, 10, 13] {
        for took in [None, Some(SLOW.saturating_sub(ms(1))), Some(SLOW)] {
            for (wait, probes) in [499, 500, 5_000].into_iter().zip([Probes::one(), Probes::one(), Probes::ratio(1, 2)])
            {
                let after = [call(wait, Outcome::Success), call(200, Outcome::Success)];
                let steps = [&[slow; 6][..], &[begin(200), head(took)], &after, &after].concat();
                plays(Setup { probes, ..one(0, SHAPED[rule].1) }, &steps);
            }
        }
    }
}

/// "Three failures within 100 ms", where the breaker says "5 failures in 6 calls".
#[test]
fn the_reason_of_a_mixed_rule_is_what_its_detector_says() {
    let burst = Step { after: Duration::from_millis(1_679), event: Event::Burst(6, 0b101_1101) };
    plays(one(0, SHAPED[13].1), &[call(929, Outcome::Failure), call(127, Outcome::Failure), burst]);
}

/// The failure that says when to come back is not the one that meets the rule.
#[test]
fn a_mixed_rule_waits_for_what_the_failure_that_met_it_asked_for() {
    let waits = call(1_001, Outcome::FailureAfter(8 * S));
    let burst = Step { after: Duration::ZERO, event: Event::Burst(7, 0b1001) };
    let said = Pair::play(&Setup { cooldown: (S / 10).into(), ..one(0, SHAPED[13].1) }, &[waits, burst]);
    assert_eq!(said, Ok(()));
}

/// An operator trips while a suspicion stands: it stays in the record, and the instance that sees to its end, over and over,
/// comes to ask for a lease by chance only; here not within two polls.
#[test]
fn a_circuit_that_is_tripped_while_it_is_suspected_probes() {
    let (setup, steps) = drawn(1_550, SHAPED[10].1);
    assert_eq!(Pair::play(&setup, &steps), Ok(()));
}

/// The clock of the breaker stands still a millisecond before the cooldown is over.
#[test]
fn an_engine_sleeps_while_the_clock_of_its_breaker_stands_still() {
    let turns = Pair::turns_after(&one(0, SHAPED[1].1), &[call(0, Outcome::Failure), begin(4_999)]);
    assert!(turns < 50, "{turns} looks in 2.5 s");
}
