//! Wrong settings are refused by name, extremes that are right are not, and the defaults are the documented ones.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::time::Duration;

use fusebox::{
    CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, Cooldown, ManualClock, Probes, State,
    clock::Timestamp,
    detect::{self, Call, Combined, Detector, LoadError, Tally},
};
use own_detector::Mine;
use support::{Record, fail, secs, succeed};

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

#[path = "support/own_detector.rs"]
mod own_detector;

type Wrong = (&'static str, &'static str, &'static str, CircuitBreakerConfigBuilder);

fn builder() -> CircuitBreakerConfigBuilder {
    CircuitBreakerConfig::builder("x")
}

/// The field, the given value and the allowed ones as they must be reported, and the setting.
fn wrong_detectors() -> Vec<Wrong> {
    let d = |detector: Box<dyn Detector>| builder().detector(Combined::any(vec![detector]));
    let rate = |rate: f64| d(Box::new(detect::failure_rate(rate).of_last(10)));
    let rate_in_time = |rate: f64| d(Box::new(detect::failure_rate(rate).within(secs(10))));
    let slow_rate = |rate: f64| d(Box::new(detect::slow_call_rate(rate).slower_than(secs(1)).of_last(10)));
    let slower_than = |limit| detect::slow_call_rate(0.5).slower_than(limit);
    let (zero, any_rate) = (Duration::ZERO, "a number above 0 and at most 1");
    vec![
        ("failure_rate", "0", any_rate, rate(0.0)),
        ("failure_rate", "NaN", any_rate, rate(f64::NAN)),
        ("failure_rate", "1.0000001", any_rate, rate(1.000_000_1)),
        ("failure_rate", "inf", any_rate, rate(f64::INFINITY)),
        ("failure_rate", "-0.5", any_rate, rate(-0.5)),
        ("failure_rate", "-inf", any_rate, rate(f64::NEG_INFINITY)),
        ("failure_rate", "0", any_rate, rate_in_time(0.0)),
        ("failure_rate", "NaN", any_rate, rate_in_time(f64::NAN)),
        ("failure_rate", "2", any_rate, rate_in_time(2.0)),
        ("slow_call_rate", "0", any_rate, slow_rate(0.0)),
        ("slow_call_rate", "NaN", any_rate, slow_rate(f64::NAN)),
        ("slow_call_rate", "1.5", any_rate, slow_rate(1.5)),
        ("of_last", "0", "1 to 1048576 calls", d(Box::new(detect::failures(1).of_last(0)))),
        ("of_last", "0", "1 to 1048576 calls", d(Box::new(detect::failure_rate(0.5).of_last(0)))),
        ("of_last", "1048577", "1 to 1048576 calls", d(Box::new(detect::failures(1).of_last(1_048_577)))),
        ("of_last", "4294967295", "1 to 1048576 calls", d(Box::new(detect::failures(1).of_last(u32::MAX)))),
        ("within", "0s", "more than zero", d(Box::new(detect::failures(1).within(zero)))),
        ("within", "0s", "more than zero", d(Box::new(detect::failure_rate(0.5).within(zero)))),
        ("within", "0s", "more than zero", d(Box::new(slower_than(secs(1)).within(zero)))),
        ("failures", "0", "1 to 65536", d(Box::new(detect::failures(0).within(secs(1))))),
        ("failures", "65537", "1 to 65536", d(Box::new(detect::failures(65_537).within(secs(1))))),
        ("failures", "0", "1 to the window (10)", d(Box::new(detect::failures(0).of_last(10)))),
        ("failures", "11", "1 to the window (10)", d(Box::new(detect::failures(11).of_last(10)))),
        ("consecutive_failures", "0", "at least 1", d(Box::new(detect::consecutive_failures(0)))),
        ("min_calls", "0", "1 to the window (10)", d(Box::new(detect::failure_rate(0.5).of_last(10).min_calls(0)))),
        ("min_calls", "11", "1 to the window (10)", d(Box::new(detect::failure_rate(0.5).of_last(10).min_calls(11)))),
        ("min_calls", "11", "1 to the window (10)", d(Box::new(detect::failures(5).of_last(10).min_calls(11)))),
        ("min_calls", "0", "at least 1", d(Box::new(detect::failure_rate(0.5).within(secs(1)).min_calls(0)))),
        ("slower_than", "0s", "more than", d(Box::new(slower_than(zero).of_last(10)))),
        ("slower_than", "0s", "more than", d(Box::new(slower_than(zero).within(secs(1))))),
        ("detector", "a combination of nothing", "at least one part", builder().detector(Combined::any(vec![]))),
        ("detector", "a combination of nothing", "at least one part", builder().detector(Combined::all(vec![]))),
        (
            "failure_rate",
            "0",
            any_rate,
            builder().detector(detect::failures(5).within(secs(60)).and(detect::failure_rate(0.0).of_last(10))),
        ),
    ]
}

fn wrong_rules() -> Vec<Wrong> {
    let range = || Cooldown::exponential(secs(5)..=secs(300));
    let probes = |probes: Probes| builder().probes(probes);
    vec![
        ("name", "empty", "any text that is not empty", CircuitBreakerConfig::builder("")),
        ("probes", "0", "1 to 65536 probes", probes(Probes::consecutive(0))),
        ("probes", "0", "1 to 65536 probes", probes(Probes::ratio(0, 0))),
        ("probes", "0", "1 to 5 successes of 5", probes(Probes::ratio(0, 5))),
        ("probes", "6", "1 to 5 successes of 5", probes(Probes::ratio(6, 5))),
        ("probes", "65537", "1 to 65536 probes", probes(Probes::consecutive(65_537))),
        ("probes.concurrent", "0", "1 to 65536", probes(Probes::one().concurrent(0))),
        ("probes.concurrent", "65537", "1 to 65536", probes(Probes::one().concurrent(65_537))),
        ("probes.deadline", "0s", "more than zero", probes(Probes::one().deadline(Duration::ZERO))),
        ("abandoned_after", "0s", "more than zero", builder().abandoned_after(Duration::ZERO)),
        ("execution_log", "1048577", "at most 1048576 calls", builder().execution_log(1_048_577)),
        (
            "cooldown",
            "300s..=5s",
            "a range whose lower end is not above its upper end",
            builder().cooldown(Cooldown::exponential(secs(300)..=secs(5))),
        ),
        ("factor", "0.5", "a number of at least 1", builder().cooldown(range().factor(0.5))),
        ("factor", "NaN", "a number of at least 1", builder().cooldown(range().factor(f64::NAN))),
        ("factor", "inf", "a number of at least 1", builder().cooldown(range().factor(f64::INFINITY))),
        ("factor", "-2", "a number of at least 1", builder().cooldown(range().factor(-2.0))),
        ("cooldown.jitter", "-0.1", "a number from 0 to 1", builder().cooldown(range().jitter(-0.1))),
        ("cooldown.jitter", "1.1", "a number from 0 to 1", builder().cooldown(range().jitter(1.1))),
        (
            "cooldown.factor",
            "3",
            "nothing here: only `Cooldown::exponential` has a factor",
            builder().cooldown(Cooldown::fixed(secs(1)).factor(3.0)),
        ),
        (
            "cooldown.factor",
            "3",
            "nothing here: only `Cooldown::exponential` has a factor",
            builder().cooldown(Cooldown::with(|_| secs(1)).factor(3.0)),
        ),
        ("cooldown.step", "0s", "more than zero: without a step nothing grows", {
            builder().cooldown(Cooldown::linear(secs(1)..=secs(2), Duration::ZERO))
        }),
        ("probes.decide_within", "0s", "more than zero", {
            builder().probes(Probes::one().decide_within(Duration::ZERO))
        }),
        (
            "cooldown.factor",
            "3",
            "nothing here: only `Cooldown::exponential` has a factor",
            builder().cooldown(Cooldown::linear(secs(1)..=secs(2), secs(1)).factor(3.0)),
        ),
        (
            "cooldown.healthy_after",
            "60s",
            "nothing here: a fixed cooldown has no growth to forget",
            builder().cooldown(Cooldown::from(secs(1)).healthy_after(secs(60))),
        ),
        ("cooldown.jitter", "1.5", "a number from 0 to 1", builder().cooldown(Cooldown::fixed(secs(1)).jitter(1.5))),
        ("cooldown.jitter", "-1", "a number from 0 to 1", builder().cooldown(Cooldown::with(|_| secs(1)).jitter(-1.0))),
        ("cooldown.jitter", "NaN", "a number from 0 to 1", builder().cooldown(range().jitter(f64::NAN))),
        ("cooldown.jitter", "inf", "a number from 0 to 1", builder().cooldown(range().jitter(f64::INFINITY))),
    ]
}

#[test]
fn every_wrong_setting_is_an_error_that_names_field_given_and_allowed() {
    for (field, given, allowed, builder) in wrong_detectors().into_iter().chain(wrong_rules()) {
        let error = builder.build().map(|config| format!("{config:?}")).expect_err(field);
        assert_eq!((error.field(), error.given()), (field, given));
        assert!(error.allowed().starts_with(allowed), "{field}, {given}: {}", error.allowed());
        let text = error.to_string();
        assert!(text.contains(field) && text.contains(given) && text.contains(allowed), "{text}");
    }
}

#[test]
fn the_slowness_that_was_refused_is_the_one_that_was_given() {
    let detector = detect::slow_call_rate(0.5).slower_than(Duration::from_nanos(1)).of_last(10);
    if let Err(error) = builder().detector(detector).build() {
        assert_eq!((error.field(), error.given()), ("slower_than", "1ns"));
    }
}

#[test]
fn a_detector_of_ones_own_is_checked_too() {
    assert!(builder().detector(Mine { most: 1 }).build().is_ok());
    let alone = builder().detector(Mine { most: 0 }).build().expect_err("wrong");
    assert_eq!(alone.to_string(), "`most` is 0, allowed is at least 1");
    let part = builder().detector(detect::consecutive_failures(1).or(Mine { most: 0 })).build().expect_err("wrong");
    assert_eq!(part, alone);
}

#[test]
fn extremes_that_make_sense_are_accepted() {
    let (zero, longest) = (Duration::ZERO, Duration::MAX);
    let fine: Vec<(&str, CircuitBreakerConfigBuilder)> = vec![
        ("cooldown 0", builder().cooldown(zero)),
        ("cooldown without end", builder().cooldown(longest)),
        ("growing from 0", builder().cooldown(Cooldown::exponential(zero..=longest))),
        ("not growing", builder().cooldown(Cooldown::exponential(secs(1)..=secs(1)).factor(1.0).jitter(0.0))),
        ("wild jitter", builder().cooldown(Cooldown::exponential(secs(1)..=secs(2)).factor(1e300).jitter(1.0))),
        ("healthy at once", builder().cooldown(Cooldown::exponential(secs(1)..=secs(2)).healthy_after(zero))),
        ("min_calls = window", builder().detector(detect::failure_rate(0.5).of_last(10).min_calls(10))),
        ("failures = window", builder().detector(detect::failures(10).of_last(10))),
        ("every call", builder().detector(detect::failure_rate(1.0).of_last(1))),
        ("hardly any call", builder().detector(detect::failure_rate(f64::MIN_POSITIVE).of_last(1_048_576))),
        ("window without end", builder().detector(detect::failures(65_536).within(longest))),
        ("rate without end", builder().detector(detect::failure_rate(0.5).within(longest).min_calls(u32::MAX))),
        ("a nanosecond", builder().detector(detect::failure_rate(0.5).within(Duration::from_nanos(1)))),
        ("never slow", builder().detector(detect::slow_call_rate(0.5).slower_than(longest).within(secs(1)))),
        ("many in a row", builder().detector(detect::consecutive_failures(u32::MAX))),
        ("many probes", builder().probes(Probes::consecutive(65_536).concurrent(65_536).deadline(longest))),
        ("abandoned never", builder().abandoned_after(longest)),
        ("abandoned at once", builder().abandoned_after(Duration::from_nanos(1))),
        ("no Retry-After", builder().retry_after_cap(zero)),
        ("any Retry-After", builder().retry_after_cap(longest)),
        ("a long log", builder().execution_log(1_048_576)),
        ("an odd name", CircuitBreakerConfig::builder("\n\0 🦀")),
    ];
    for (name, builder) in fine {
        let clock = ManualClock::new();
        let breaker = CircuitBreaker::new(builder.clock(clock.clone()).build().expect(name));
        succeed(&breaker, 3);
        breaker.trip().expect("no override stands");
        clock.advance(Duration::MAX);
        breaker.reset().expect("no override stands");
        assert_eq!(breaker.state(), State::Closed, "{name}");
    }
}

#[test]
fn the_defaults_are_those_of_c_breaker() {
    let clock = ManualClock::new();
    let breaker = CircuitBreaker::new(builder().clock(clock.clone()).build().expect("the defaults"));
    fail(&breaker, 1);
    clock.advance(secs(60));
    fail(&breaker, 4);
    assert_eq!(breaker.state(), State::Closed, "failure_threshold 5, time_window_seconds 60");
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.retry_after(), Some(secs(30)), "recovery_timeout 30");
    clock.advance(secs(30));
    let probe = breaker.acquire().expect("the cooldown is over");
    assert!(breaker.acquire().is_err(), "half_open_max_calls 1");
    probe.success();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn c_breakers_sliding_window_has_its_defaults() {
    let trips_after = |detector: detect::OfLast| {
        let breaker = CircuitBreaker::new(builder().detector(detector).build().expect("a rate"));
        (1..=10).find(|_| {
            fail(&breaker, 1);
            breaker.is_open()
        })
    };
    assert_eq!(trips_after(detect::failure_rate(0.5).of_last(10)), Some(5), "min_calls 5 when left out");
    assert_eq!(trips_after(detect::failure_rate(0.5).of_last(3)), Some(3), "or the window, where that is shorter");
    assert_eq!(trips_after(detect::failures(1).of_last(1)), Some(1), "highway's failure_limit 1/1");
}

#[test]
fn the_two_ways_to_the_defaults_agree() {
    let built = builder().build().expect("the defaults");
    assert_eq!(format!("{:?}", CircuitBreakerConfig::new("x")), format!("{built:?}"));
}

#[test]
fn the_documented_defaults_are_the_real_ones() {
    // What the table says, and how `Debug` shows it.
    let meaning = [
        ("`failures(5).within(60s)`", "failures(5).within(60s)"),
        ("30 s", "30s"),
        (
            "`Probes::one()`, each with 30 s to answer",
            "Probes { needed: 1, of: 1, concurrent: 1, deadline: 30s, decide_within: None }",
        ),
        ("5 min", "300s"),
        ("off", "None"),
        ("off", "false"),
        ("what the detector's own window holds", "0"),
        ("the system's", "System"),
        ("the system's", "Coarse"),
    ];
    let source = include_str!("../src/breaker/config.rs");
    let table: Vec<(&str, &str)> = source
        .lines()
        .skip_while(|line| *line != "/// # Default")
        .skip_while(|line| !line.starts_with("/// |---"))
        .skip(1)
        .map_while(|line| line.strip_prefix("/// | ")?.strip_suffix(" |")?.split_once(" | "))
        .map(|(setting, default)| (setting.trim_matches('`'), default))
        .collect();
    let shown = format!("{:#?}", CircuitBreakerConfig::new("x"));
    let fields: Vec<&str> = shown
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(": "))
        .map(|(field, _)| field)
        .filter(|field| !field.starts_with(' ') && !["name", "listeners"].contains(field))
        .collect();
    assert_eq!(table.iter().map(|(setting, _)| *setting).collect::<Vec<_>>(), fields, "one row for each setting");

    let line = format!("{:?}", CircuitBreakerConfig::new("x"));
    for (setting, default) in table {
        let found =
            meaning.iter().any(|(text, debug)| *text == default && line.contains(&format!(" {setting}: {debug},")));
        assert!(found, "`{setting}` is documented as {default:?} and is not that in {line}");
    }
}

// Templates

/// A detector of one's own: two failures.
#[derive(Clone, Debug)]
struct Two(u32);

impl Detector for Two {
    fn record(&mut self, call: &Call) {
        self.0 += u32::from(call.failed());
    }

    fn verdict(&self, _now: Timestamp) -> bool {
        self.0 >= 2
    }

    fn reset(&mut self) {
        self.0 = 0;
    }

    fn tally(&self, _now: Timestamp) -> Tally {
        Tally::failures(self.0.into())
    }

    fn save(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.0 = u32::from_le_bytes(bytes.try_into().map_err(|_| LoadError::new("expected four bytes"))?);
        Ok(())
    }

    fn rule(&self) -> String {
        "two".to_owned()
    }
}

#[test]
fn one_configuration_makes_many_breakers_that_know_nothing_of_each_other() {
    let detectors: Vec<Box<dyn Detector>> = vec![
        Box::new(detect::failures(2).within(secs(60))),
        Box::new(detect::failure_rate(0.5).of_last(10).min_calls(2)),
        Box::new(detect::failure_rate(0.5).within(secs(60)).min_calls(2)),
        Box::new(detect::consecutive_failures(2)),
        Box::new(detect::consecutive_failures(9).or(detect::failures(2).of_last(5))),
        Box::new(detect::consecutive_failures(2).and(detect::failures(2).of_last(5))),
        Box::new(Two(0)),
    ];
    for detector in detectors {
        let rule = detector.rule();
        let template = CircuitBreakerConfig::template().detector(detector).cooldown(secs(7)).build().expect("it works");
        assert_eq!(template.name(), "unnamed");
        let [one, other] = ["one", "other"].map(|name| CircuitBreaker::new(template.clone().named(name)));
        fail(&one, 1);
        fail(&other, 1);
        assert_eq!((one.state(), other.state()), (State::Closed, State::Closed), "{rule}: one failure each");
        fail(&one, 1);
        assert_eq!((one.state(), other.state()), (State::Open, State::Closed), "{rule}");
        assert_eq!((&*one.name(), &*other.name()), ("one", "other"));
        let debug = |name: &str| format!("{:?}", template.clone().named(name));
        assert_eq!(debug("a").replace("\"a\"", "\"b\""), debug("b"), "only the name differs");
        fail(&other, 1);
        assert_eq!(other.state(), State::Open, "{rule}");
    }
}

#[test]
fn a_template_s_breakers_share_its_clock_and_listeners() {
    let (clock, told) = (ManualClock::new(), Record::default());
    let list = told.clone();
    let template = CircuitBreakerConfig::template()
        .clock(clock.clone())
        .on_state_change(move |breaker, _, to| list.add((breaker.name().to_string(), to)))
        .build()
        .expect("it works");
    let [one, other] = ["one", "other"].map(|name| CircuitBreaker::new(template.clone().named(name)));
    other.trip().expect("no override stands");
    clock.advance(secs(29));
    assert_eq!(other.retry_after(), Some(secs(1)));
    one.trip().expect("no override stands");
    assert_eq!(told.take(), [("other".to_owned(), State::Open), ("one".to_owned(), State::Open)]);
}

#[test]
fn an_empty_name_is_none() {
    assert_eq!(CircuitBreakerConfig::new("payments").named("").name(), "unnamed");
    assert_eq!(CircuitBreakerConfig::template().build().expect("the defaults work").named("a").name(), "a");
}
