//! What a call costs when the last minute holds many: a window that keeps a record per call, and
//! walks them, is fast only in a benchmark that makes few.

use crate::caller::{Caller, Outcome, Req};
use std::hint::black_box;
use std::time::{Duration, Instant};

pub const WINDOW: Duration = Duration::from_secs(60);
pub const SIZES: [u64; 5] = [10, 100, 1_000, 10_000, 100_000];

const CALLS_AT_ONCE: u64 = 10;

pub struct Growth {
    pub id: &'static str,
    pub name: &'static str,
    largest: u64,
    time: Box<dyn Fn(u64) -> f64>,
    /// By size, ns per call of every round.
    pub samples: [Vec<f64>; SIZES.len()],
}

impl Growth {
    pub fn new<C: Caller>(
        id: &'static str,
        name: &'static str,
        largest: u64,
        breakers: usize,
        build: impl Fn() -> C + 'static,
    ) -> Growth {
        let time = Box::new(move |size| time(size, breakers, &build));
        Growth { id, name, largest, time, samples: Default::default() }
    }

    pub fn round(&mut self) {
        for (size, samples) in SIZES.iter().zip(&mut self.samples) {
            if *size <= self.largest {
                samples.push((self.time)(*size));
            }
        }
    }
}

/// Nanoseconds per call with `size` calls in the window. Timing adds calls to the window, so it is
/// spread over many breakers and stops before they hold a tenth more (ten calls more for the
/// smallest); every size makes its calls in the same order over as many breakers, or caches and
/// branch predictors would make the difference.
fn time<C: Caller>(size: u64, breakers: usize, build: &dyn Fn() -> C) -> f64 {
    let passes = (size / 100).max(1);
    let fillings = (20 / passes).max(1);
    let mut spent = Duration::ZERO;
    for _ in 0..fillings {
        let mut all: Vec<C> = (0..breakers).map(|_| build()).collect();
        for caller in &mut all {
            (0..size).for_each(|i| assert_eq!(caller.call(Req::ok(i)), Outcome::Ok));
        }
        let start = Instant::now();
        for _ in 0..passes {
            for caller in &mut all {
                for i in 0..CALLS_AT_ONCE {
                    black_box(black_box(&mut *caller).call(black_box(Req::ok(i))));
                }
            }
        }
        spent += start.elapsed();
    }
    spent.as_nanos() as f64 / (fillings * passes * breakers as u64 * CALLS_AT_ONCE) as f64
}
