//! The fleets, loads and rules that `docs/fleet-protocol.md` says hold: short runs here, whole ones by
//! `cargo bench --bench fleet --features redis,postgres -- falsehood`, `outage` or `background`.
#![expect(clippy::print_stdout, reason = "the whole runs report")]

use std::fmt::Write as _;
use std::time::Duration;

use super::super::runner::seeds;
use super::load::Load;
use super::run::{Outcomes, Run};
use crate::circuit::detector::{Detector, Limit, Over, Shape, consecutive_failures, failure_rate, failures};

pub(in super::super) type Rule = (&'static str, fn() -> Box<dyn Detector>);

pub(in super::super) fn rules() -> [Rule; 7] {
    [
        ("consecutive_failures(3)", || Box::new(consecutive_failures(3))),
        ("failures(5).of_last(20)", || Box::new(failures(5).of_last(20))),
        ("failure_rate(0.5).of_last(20)", || Box::new(failure_rate(0.5).of_last(20))),
        ("failure_rate(0.5).of_last(100)", || Box::new(failure_rate(0.5).of_last(100))),
        ("failure_rate(0.5).within(1s)", || Box::new(failure_rate(0.5).within(Duration::from_secs(1)))),
        ("failure_rate(0.5).within(10s)", || Box::new(failure_rate(0.5).within(Duration::from_secs(10)))),
        ("failure_rate(0.5).within(60s)", || Box::new(failure_rate(0.5).within(Duration::from_secs(60)))),
    ]
}

/// Instances, and calls of each a second.
const FLEETS: [(usize, f64); 10] = [
    (1, 50.0),
    (1, 500.0),
    (1, 5_000.0),
    (2, 500.0),
    (2, 20_000.0),
    (10, 5.0),
    (10, 50.0),
    (10, 500.0),
    (100, 5.0),
    (100, 50.0),
];

/// In seconds: what clocks may differ by, twice.
const TWO_TICKS: f64 = 0.067;

fn env(name: &str, usual: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| usual.to_owned())
}

/// How long runs are: `FUSEBOX_SIM_SECONDS`.
fn seconds(usual: u64) -> u64 {
    env("FUSEBOX_SIM_SECONDS", "").parse().unwrap_or(usual)
}

/// Tells whether the rule is run under this load by a fleet of so many. One bad instance of few is more than a tenth of the
/// calls; three failures in a row come by chance all the time.
fn is_run(load: Load, rule: &str, instances: usize) -> bool {
    let is_in_a_row = rule.starts_with("consecutive");
    !(load == Load::Skew && instances < 10 || is_in_a_row && load != Load::Even)
}

#[expect(clippy::cast_precision_loss, reason = "to print")]
fn of_a_thousand(count: u64, out: &Outcomes) -> f64 {
    count as f64 * 1_000.0 / out.calls.max(1) as f64
}

/// Tells whether a fleet has the calls of a rule's window within two ticks: which are the newest is not known then.
#[expect(clippy::cast_precision_loss, reason = "windows are short")]
fn is_short(detector: &dyn Detector, instances: usize, rate: f64) -> bool {
    let Shape::Threshold(threshold) = detector.shape() else {
        return false;
    };
    let calls = match (threshold.over(), threshold.limit) {
        (Over::Calls(calls), _) => calls as f64,
        (Over::Row, Limit::Count(calls)) => calls.into(),
        (Over::Row, Limit::Rate(_)) | (Over::Time(_), _) => return false,
    };
    instances > 1 && calls / (instances as f64 * rate) < TWO_TICKS
}

/// A verdict is false where the calls of all, in the order in which they ended, did not meet the rule. Returns how
/// often that was so, beyond what is allowed: once a minute where the window is short, and the fleet was told so.
fn falsehood_of(push: bool, load: Load, (rule, detector): Rule, (seconds, seed): (u64, u64)) -> u64 {
    let (mut line, mut wrong) = (String::new(), 0);
    for (instances, rate) in FLEETS.into_iter().filter(|(instances, _)| is_run(load, rule, *instances)) {
        let seed = 1_000 * seed + 7 + instances as u64;
        let out = Run { load, instances, rate, detector, seconds, push, seed }.run();
        let allowed = if is_short(&*detector(), instances, rate) { seconds.div_ceil(60) } else { 0 };
        wrong += out.wrong.saturating_sub(allowed);
        assert!(
            out.wrong == 0 || out.short_windows > 0,
            "{rule} {instances}x{rate}: it is not told that its window is short"
        );
        let alone = of_a_thousand(out.alone, &out);
        let rejected = of_a_thousand(out.rejected, &out);
        let commits = of_a_thousand(out.commits, &out);
        write!(line, " {instances}x{rate} {}/{}", out.wrong, out.openings).ok();
        write!(line, " ({rejected:.0} + {alone:.0} ‰ rejected, {commits:.0} ‰ commits, {} B);", out.most_bytes).ok();
        if load == Load::Skew && rule == "failure_rate(0.5).within(60s)" {
            assert!(
                rejected + alone <= 100.0,
                "one bad instance of many: {rejected} + {alone} of 1,000 calls rejected"
            );
        }
    }
    println!("{} {load:?} {rule}, false of openings:{line}", if push { "with push" } else { "without" });
    wrong
}

/// Minutes of every fleet, load and rule.
#[test]
#[ignore = "takes minutes: cargo bench --bench fleet --features redis,postgres -- falsehood"]
fn falsehood() {
    let mut wrong = 0;
    for (seed, push) in seeds(1).flat_map(|seed| [(seed, true), (seed, false)]) {
        for load in [Load::Even, Load::Chance, Load::Skew] {
            for rule in rules() {
                wrong += falsehood_of(push, load, rule, (seconds(60), seed));
            }
        }
    }
    assert_eq!(wrong, 0, "openings for nothing");
}

/// A fleet that is well writes nothing, whatever its rule is.
#[test]
fn a_fleet_that_is_well_writes_nothing_by_any_rule() {
    for (rule, detector) in rules() {
        let run = Run { load: Load::Well, instances: 10, rate: 50.0, detector, seconds: 20, push: true, seed: 3 };
        let out = run.run();
        assert_eq!((out.commits, out.openings), (0, 0), "{rule}: {out:?}");
        assert!(out.operations <= 10 * 25, "{rule}: one poll a second of each: {out:?}");
    }
}

/// Operations in 1,000 calls that a breaker may cost whose calls fail one in a hundred, by chance, with a hundred instances.
fn most_operations(rule: &str) -> f64 {
    if rule.starts_with("consecutive") || rule.starts_with("failures") { 35.0 } else { 25.0 }
}

#[test]
fn a_failure_in_a_hundred_calls_costs_few_operations() {
    for (rule, detector) in rules() {
        let run =
            Run { load: Load::Background, instances: 100, rate: 10.0, detector, seconds: 40, push: true, seed: 11 };
        let out = run.run();
        let commits = of_a_thousand(out.commits, &out);
        assert!(commits <= most_operations(rule), "{rule}: {commits} in 1,000 calls, {out:?}");
    }
}

/// How long it takes until all instances know that the circuit is open, from the call by which one breaker that sees
/// all calls would have opened, where all calls fail from some moment on.
fn outage_known(push: bool, (instances, rate): (usize, f64), (rule, detector): Rule, seed: u64) -> Duration {
    let seconds = 2 * (8 + detector().horizon().age_of().as_secs());
    let load = Load::Outage;
    let out = Run { load, instances, rate, detector, seconds, push, seed: 100 * seed + instances as u64 }.run();
    assert_eq!(out.wrong, 0, "{rule} {instances}x{rate}");
    out.known.expect("the fleet opens")
}

/// Of a hundred outages, 99 are known within this with notices; without, a poll later than the longest question.
const KNOWN_WITHIN: [(bool, Duration); 2] =
    [(true, Duration::from_millis(500)), (false, Duration::from_millis(1_600 + 1_100))];

/// A circuit opens in time where all calls fail from some moment on.
#[test]
#[ignore = "takes minutes: cargo bench --bench fleet --features redis,postgres -- outage"]
fn outage() {
    for (push, within) in KNOWN_WITHIN {
        let how = if push { "with push" } else { "without" };
        let mut took = Vec::new();
        for (rule, detector) in rules() {
            let mut line = String::new();
            for fleet in FLEETS.into_iter().filter(|(_, rate)| *rate < 1_000.0) {
                for seed in seeds(3) {
                    let known = outage_known(push, fleet, (rule, detector), seed);
                    took.push(known);
                    write!(line, " {}x{} {:.0};", fleet.0, fleet.1, known.as_secs_f64() * 1e3).ok();
                }
            }
            println!("{how} {rule}, ms until all are open:{line}");
        }
        if push {
            for (rule, detector) in rules() {
                let known = outage_known(push, (1_000, 10.0), (rule, detector), 0);
                println!("{how} {rule}, 1,000x10: {} ms until all are open", known.as_millis());
                assert!(known <= Duration::from_secs(2), "{rule}: {known:?}");
            }
        }
        took.sort_unstable();
        let (median, p99, most) = (took[took.len() / 2], took[took.len() * 99 / 100], took[took.len() - 1]);
        let [median, p99, most] = [median, p99, most].map(|took| took.as_millis());
        println!("{how}: median {median} ms, p99 {p99} ms, worst {most} ms, of {} runs", took.len());
        assert!(p99 <= within.as_millis(), "{how}: {p99} ms, {within:?} are allowed");
    }
}

/// Those that took longest: answers came late, the end of a question lost its races, and instances that all awaited a
/// verdict had nothing to tell for the next one.
#[test]
fn an_outage_that_begins_while_instances_protect_themselves_is_known_in_time() {
    let slowest = [
        ("within(10s)", (10, 5.0), &[2, 3, 11][..]),
        ("within(10s)", (10, 50.0), &[6]),
        ("within(60s)", (10, 5.0), &[2, 7, 11]),
        ("within(60s)", (100, 5.0), &[1]),
    ];
    for (name, fleet, seeds) in slowest {
        let rule = rules().into_iter().find(|(rule, _)| rule.contains(name)).expect("a rule");
        for seed in seeds {
            let known = outage_known(true, fleet, rule, *seed);
            assert!(known <= KNOWN_WITHIN[0].1, "{name} {fleet:?} {seed}: {known:?}");
        }
    }
}

/// What a breaker costs whose calls fail one in a hundred, by chance.
#[test]
#[ignore = "takes a while: cargo bench --bench fleet --features redis,postgres -- background"]
fn background() {
    for (rule, detector) in rules() {
        for (instances, seconds) in [(100, seconds(60)), (300, seconds(60)), (1_000, seconds(60)), (10_000, 5)] {
            let run = Run { load: Load::Background, instances, rate: 10.0, detector, seconds, push: true, seed: 11 };
            let out = run.run();
            let (commits, a_second) = (of_a_thousand(out.commits, &out), out.commits / seconds);
            println!(
                "1 % failures, {instances}x10, {rule}: {commits:.0} commits in 1,000 calls, {a_second} a second, {} B",
                out.most_bytes
            );
            assert_eq!(out.wrong, 0, "{rule}");
            assert!(instances > 300 || commits <= most_operations(rule), "{rule}: {commits}");
            assert!(instances > 1_000 || a_second <= 500, "{rule}: {a_second} a second");
        }
    }
}

/// One run of your choice: `N`, `RATE`, `LOAD`, `RULE` (a part of its name), `PUSH`, `SEED`.
#[test]
#[ignore = "to look at one"]
fn one_load() {
    let rule = rules().into_iter().find(|(name, _)| name.contains(&env("RULE", "consecutive"))).expect("a rule");
    let run = Run {
        load: Load::named(&env("LOAD", "Even")),
        instances: env("N", "10").parse().expect("a number"),
        rate: env("RATE", "5").parse().expect("a number"),
        detector: rule.1,
        seconds: seconds(20),
        push: env("PUSH", "true") == "true",
        seed: env("SEED", "17").parse().expect("a number"),
    };
    println!("{}: {:?}", rule.0, run.run());
}
