//! Detectors, custom ones too.

use super::*;

// Detectors

#[test]
fn combined_detectors_trip_on_any_part_or_only_on_all() {
    let (run, share) = (|| detect::consecutive_failures(3), || detect::failure_rate(0.5).of_last(10).min_calls(6));
    let (any, _clock) = breaker(|b| b.detector(run().or(share())));
    let (all, _clock) = breaker(|b| b.detector(run().and(share())));
    fail(&any, 3);
    fail(&all, 3);
    assert_eq!((any.state(), all.state()), (State::Open, State::Closed), "three in a row, but not six calls");
    succeed(&all, 3);
    fail(&all, 2);
    assert_eq!(all.state(), State::Closed, "half of ten, but not three in a row");
    fail(&all, 1);
    assert_eq!(all.state(), State::Open);
    assert_eq!(all.snapshot().detectors.len(), 2, "each part shows its counts");
}

#[test]
fn the_success_that_completes_a_window_opens_nothing() {
    let window = secs(60);
    let rules: [Box<dyn Detector>; 4] = [
        Box::new(detect::failures(2).of_last(10).min_calls(3)),
        Box::new(detect::failure_rate(0.5).of_last(10).min_calls(3)),
        Box::new(detect::failure_rate(0.5).within(window).min_calls(3)),
        Box::new(detect::failures(2).within(window).and(detect::failure_rate(0.5).of_last(10).min_calls(3))),
    ];
    for rule in rules {
        let (breaker, _clock) = breaker(|b| b.detector(rule.clone()));
        fail(&breaker, 2);
        succeed(&breaker, 1);
        assert_eq!(breaker.state(), State::Closed, "{rule:?}: met, by a success");
        fail(&breaker, 1);
        assert_eq!(breaker.state(), State::Open, "{rule:?}: met, by a failure");
    }
}

#[test]
fn failures_in_a_row_begin_anew_after_a_success() {
    let (breaker, _clock) = breaker(|b| b.detector(detect::consecutive_failures(3)));
    fail(&breaker, 2);
    succeed(&breaker, 1);
    fail(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

/// Trips at `most` points; a failure scores one more than the one before.
#[derive(Clone, Debug)]
struct Escalating {
    points: u32,
    next: u32,
    most: u32,
}

impl Detector for Escalating {
    fn record(&mut self, call: &Call) {
        if call.failed() {
            self.points += self.next;
            self.next += 1;
        }
    }

    fn verdict(&self, _now: Timestamp) -> bool {
        self.points >= self.most
    }

    fn reset(&mut self) {
        (self.points, self.next) = (0, 1);
    }

    fn tally(&self, _now: Timestamp) -> Tally {
        Tally::failures(self.points.into())
    }

    fn save(&self) -> Vec<u8> {
        [self.points.to_le_bytes(), self.next.to_le_bytes()].concat()
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let Some((points, Some(next))) = bytes.split_first_chunk().map(|(points, rest)| (points, rest.first_chunk()))
        else {
            return Err(LoadError::new("expected eight bytes"));
        };
        (self.points, self.next) = (u32::from_le_bytes(*points), u32::from_le_bytes(*next));
        Ok(())
    }
}

#[test]
fn a_detector_of_ones_own_decides_and_its_state_comes_back_from_its_bytes() {
    let fresh = || Escalating { points: 0, next: 1, most: 6 };
    let (breaker, clock) = breaker(|b| b.detector(fresh()));
    succeed(&breaker, 100);
    fail(&breaker, 2);
    assert_eq!((breaker.state(), failures(&breaker)), (State::Closed, 3));
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
    clock.advance(secs(30));
    succeed(&breaker, 1);
    assert_eq!(failures(&breaker), 0, "it was reset");

    let pair = || Combined::any(vec![Box::new(fresh()), Box::new(detect::consecutive_failures(9))]);
    let mut there = pair();
    (0..2).for_each(|_| there.record(&Call::failure(Timestamp::ZERO)));
    let mut here = pair();
    here.load(&there.save()).expect("its own bytes");
    assert_eq!(here.save(), there.save());
    here.record(&Call::failure(Timestamp::ZERO));
    assert!(here.verdict(Timestamp::ZERO));
    assert!(here.load(b"something else").is_err());
    assert!(here.verdict(Timestamp::ZERO), "and a refused load changes nothing");
}
