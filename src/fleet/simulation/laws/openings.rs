//! No verdict on evidence that is not there: whenever a fleet under load opens, one breaker that saw the calls of all would
//! have had a reason.

use super::super::loads::{Load, Run, rules};
use super::super::runner::seeds;
use crate::circuit::detector::{Limit, Over, Shape};

/// Instances, and the calls of each a second.
const FLEETS: [(u32, f64); 4] = [(10, 5.0), (10, 50.0), (100, 5.0), (2, 500.0)];
const SECONDS: u64 = 3;
/// What clocks differ by and ticks hide, twice: in which order calls of several instances ended in such a time is not known.
const UNORDERED: f64 = 0.05;

/// Tells whether so many calls are over sooner than their order is known.
fn is_short(shape: &Shape, rate: f64) -> bool {
    let calls = match shape {
        Shape::Threshold(threshold) => match (threshold.over(), threshold.limit) {
            (Over::Calls(calls), _) | (Over::Row, Limit::Count(calls)) => calls,
            _ => return false,
        },
        _ => return false,
    };
    f64::from(calls) < UNORDERED * rate
}

#[test]
fn a_fleet_under_load_opens_for_no_wrong_reason() {
    let (mut openings, mut wrong, mut excused, mut seconds) = (0, Vec::new(), 0, 0);
    for (rule, detector) in rules() {
        for load in [Load::Even, Load::Chance, Load::Skew] {
            for (instances, rate) in FLEETS {
                // One of two instances is half of the calls.
                if load == Load::Skew && instances == 2 {
                    continue;
                }
                for (seed, push) in seeds(2).flat_map(|seed| [(seed, true), (seed, false)]) {
                    let out =
                        Run { load, instances: instances as usize, rate, detector, seconds: SECONDS, push, seed }.run();
                    openings += out.openings;
                    if is_short(&detector().shape(), rate * f64::from(instances)) {
                        excused += out.wrong;
                        seconds += SECONDS;
                    } else if out.wrong > 0 {
                        wrong.push(format!("{rule} {load:?} {instances}x{rate} push {push} seed {seed}: {out:?}"));
                    }
                }
            }
        }
    }
    println!("{openings} openings; in {seconds} s of windows too short, {excused} wrong");
    assert!(openings > 0, "some of these rules are truly met");
    assert!(wrong.is_empty(), "of {openings} openings wrong:\n{}", wrong.join("\n"));
    assert!(excused <= seconds.div_ceil(60), "{excused} wrong in {seconds} s, at most one a minute");
}
