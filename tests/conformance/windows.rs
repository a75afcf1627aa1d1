//! 1, 2, 3, 23, 24: windows slide, forget, and are checked.

use super::*;

// 1

#[test]
fn c01_a_window_slides_after_ten_thousand_successes() {
    for (rule, breaker, clock) in breakers() {
        succeed(&breaker, 10_000);
        clock.advance(secs(60));
        fail(&breaker, 2);
        assert_eq!(breaker.state(), State::Closed, "{rule}");
        fail(&breaker, 1);
        assert_eq!(breaker.state(), State::Open, "{rule}: three of the last few, whatever was before");
    }
}

#[test]
fn c01_failures_that_left_the_window_count_no_more() {
    for (rule, breaker, clock) in breakers() {
        for _ in 0..20 {
            fail(&breaker, 2);
            succeed(&breaker, 6);
            clock.advance(secs(60));
        }
        assert_eq!(breaker.state(), State::Closed, "{rule}");
    }
}

#[test]
fn c01_a_failure_is_out_when_it_is_exactly_one_window_old() {
    for (age, state) in [(just_under(secs(60)), State::Open), (secs(60), State::Closed)] {
        let (breaker, clock) = breaker(|b| b.detector(detect::failures(2).within(secs(60))));
        fail(&breaker, 1);
        clock.advance(age);
        fail(&breaker, 1);
        assert_eq!(breaker.state(), state);
    }
}

// 2

#[test]
fn c02_reset_in_closed_forgets_the_window() {
    for (rule, breaker, _clock) in breakers() {
        fail(&breaker, 2);
        breaker.reset().expect("no override stands");
        assert_eq!(failures(&breaker), 0, "{rule}");
        fail(&breaker, 2);
        assert_eq!(breaker.state(), State::Closed, "{rule}");
        fail(&breaker, 1);
        assert_eq!(breaker.state(), State::Open, "{rule}");
    }
}

// 3; the whole table is in `config.rs`

#[test]
fn c03_settings_that_cannot_work_are_refused_and_zero_waits_are_not() {
    let refused = |field: &str, detector: Box<dyn Detector>, probes: Probes| {
        let error =
            fusebox::CircuitBreakerConfig::builder("x").detector(Combined::any(vec![detector])).probes(probes).build();
        let error = error.expect_err(field);
        assert_eq!(error.field(), field);
        assert!(!error.given().is_empty() && !error.allowed().is_empty());
    };
    let fine = || Box::new(detect::consecutive_failures(1));
    refused("probes", fine(), Probes::consecutive(0));
    refused("of_last", Box::new(detect::failures(1).of_last(0)), Probes::one());
    refused("within", Box::new(detect::failures(1).within(Duration::ZERO)), Probes::one());
    refused("within", Box::new(detect::failure_rate(0.5).within(Duration::ZERO)), Probes::one());
    for rate in [0.0, 1.1, f64::NAN] {
        refused("failure_rate", Box::new(detect::failure_rate(rate).of_last(10)), Probes::one());
    }
    refused("min_calls", Box::new(detect::failure_rate(0.5).of_last(10).min_calls(11)), Probes::one());

    let (breaker, _clock) = breaker(|b| b.detector(detect::consecutive_failures(1)).cooldown(Duration::ZERO));
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed, "with a cooldown of zero the very next call is the probe");
}

// 23; what a call allocates is in `memory.rs`

#[test]
fn c23_the_memory_of_a_window_does_not_depend_on_the_calls_in_it() {
    let size = |detector: &dyn Detector| detector.save().len();
    let mut windows: Vec<Box<dyn Detector>> = vec![
        Box::new(detect::failures(5).within(secs(60))),
        Box::new(detect::failure_rate(0.5).within(secs(60))),
        Box::new(detect::slow_call_rate(0.5).slower_than(secs(1)).within(secs(60))),
    ];
    for window in &mut windows {
        let mut sizes = Vec::new();
        for calls in 0..100_000_u64 {
            let at = Timestamp::ZERO + Duration::from_micros(calls * 599);
            let call = if calls % 2 == 0 { Call::failure(at) } else { Call::success(at) };
            window.record(&call);
            window.record_successes(3, at);
            if [9_999, 99_999].contains(&calls) {
                sizes.push(size(&**window));
            }
        }
        assert!(sizes[1] <= 2 * sizes[0] + 512, "{window:?}: {sizes:?}");
        assert!(sizes[1] < 16_384, "{window:?}: {sizes:?}");
    }
}

// 24

#[test]
fn c24_ratios_are_not_reduced() {
    let trips_after = |detector: detect::OfLast| {
        let (breaker, _clock) = breaker(|b| b.detector(detector));
        (1..=20).find(|_| {
            fail(&breaker, 1);
            breaker.is_open()
        })
    };
    assert_eq!(trips_after(detect::failures(5).of_last(10)), Some(5), "not 1 of 2");
    assert_eq!(trips_after(detect::failures(5).of_last(5)), Some(5), "not 1 of 1");
    assert_eq!(trips_after(detect::failures(1).of_last(1)), Some(1));
    assert_eq!(trips_after(detect::failures(5).of_last(10).min_calls(10)), Some(10));

    let (breaker, _clock) = breaker(|b| b.detector(detect::failures(5).of_last(10)));
    for _ in 0..4 {
        fail(&breaker, 1);
        succeed(&breaker, 1);
    }
    assert_eq!(breaker.state(), State::Closed, "half of eight, and no five yet");
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open, "five of the last ten");
}

#[test]
fn c24_a_ratio_of_probes_is_not_reduced() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::ratio(2, 4)));
    first_probe(&breaker, &clock).success();
    assert_eq!(breaker.state(), State::HalfOpen, "two of four is not one of two");
    fail(&breaker, 2);
    assert_eq!(breaker.state(), State::HalfOpen);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}
