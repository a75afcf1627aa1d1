//! Many more names than there is room for: a few are asked for often and most seldom (Zipf's law), or each once.

use super::{Setup, failsafe, floor, one_call, recloser, tower_resilience};
use crate::alloc;
use crate::caller::{Caller, Growing, HOSTS_MOST, Req, hosts};
use crate::measure::Runner;
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
pub enum Load {
    Thousands,
    Million,
    Flood,
}

impl Load {
    pub const ALL: [Load; 3] = [Load::Thousands, Load::Million, Load::Flood];

    pub fn title(self) -> &'static str {
        match self {
            Load::Thousands => "10,000 names by Zipf, room for 1,000",
            Load::Million => "1,000,000 names by Zipf, room for 100,000",
            Load::Flood => "a flood of 1,000,000 names, each once, room for 10,000",
        }
    }

    /// How many breakers a registry may hold. A map has no such limit.
    #[cfg_attr(not(feature = "ours"), expect(dead_code, reason = "the peers have no registry"))]
    pub fn room(self) -> usize {
        match self {
            Load::Thousands => 1_000,
            Load::Million => 100_000,
            Load::Flood => 10_000,
        }
    }

    /// The names in the order in which they are asked for.
    fn names(self) -> &'static [u32] {
        static NAMES: [OnceLock<Vec<u32>>; 3] = [const { OnceLock::new() }; 3];
        NAMES[self as usize].get_or_init(|| match self {
            Load::Thousands => zipf(10_000),
            Load::Million => zipf(HOSTS_MOST as u32),
            Load::Flood => (0..HOSTS_MOST as u32).collect(),
        })
    }
}

/// A million draws; the name of rank k is drawn 1/k times as often as the first.
fn zipf(names: u32) -> Vec<u32> {
    let sums: Vec<f64> = (1..=names)
        .scan(0.0, |sum, rank| {
            *sum += 1.0 / f64::from(rank);
            Some(*sum)
        })
        .collect();
    let mut random = 88_172_645_463_325_252_u64;
    let draw = |_| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let at = (random >> 11) as f64 / (1_u64 << 53) as f64 * sums[sums.len() - 1];
        let rank = sums.partition_point(|sum| *sum < at) as u64;
        // Neighbours in rank would be neighbours in memory; 7,919 has no divisor in common with the numbers of names.
        (rank * 7_919 % u64::from(names)) as u32
    };
    (0..CALLS).map(draw).collect()
}

pub struct Keys {
    pub name: &'static str,
    make: Box<dyn Fn(Load) -> Runner>,
    /// By load, ns per call of every round.
    pub samples: [Vec<f64>; Load::ALL.len()],
    /// What it holds after the load, in bytes.
    pub held: [i64; Load::ALL.len()],
}

/// At most so many rounds: a load lasts a second, since a registry looks for what it may forget once a second.
pub const ROUNDS: usize = 3;
const LASTS: Duration = Duration::from_millis(1_100);
const CHUNK: u64 = 10_000;
/// As many as there are draws.
const CALLS: u64 = HOSTS_MOST as u64;

impl Keys {
    pub fn new<C: Caller>(name: &'static str, build: impl Fn(Load) -> C + 'static) -> Keys {
        let make = Box::new(move |load: Load| {
            let mut caller = build(load);
            let mut names = load.names().iter().cycle();
            let run: Runner = Box::new(move |n| {
                for (i, name) in (0..n).zip(&mut names) {
                    one_call(&mut caller, Req::ok(i).to(*name as usize));
                }
            });
            run
        });
        Keys { name, make, samples: Default::default(), held: [0; Load::ALL.len()] }
    }

    /// A breaker for each name in a map behind a lock.
    fn growing<C: Caller + Sync>(name: &'static str, build: impl Fn(Setup) -> C + Clone + Send + 'static) -> Keys {
        Keys::new(name, move |_| {
            let build = build.clone();
            Growing::new(move || build(Setup::STEADY))
        })
    }

    pub fn round(&mut self) {
        for (load, samples) in Load::ALL.into_iter().zip(&mut self.samples) {
            samples.push(time((self.make)(load), load));
        }
    }

    /// Finds what is held after a million calls.
    pub fn weigh(&mut self) {
        for (load, held) in Load::ALL.into_iter().zip(&mut self.held) {
            warm_names(load);
            let (_, bytes, kept) = alloc::count(|| {
                let mut runner = (self.make)(load);
                runner(CALLS);
                runner
            });
            drop(kept);
            *held = bytes;
        }
    }
}

/// The names are no breaker's cost.
fn warm_names(load: Load) {
    black_box((load.names(), hosts(HOSTS_MOST)));
}

fn time(mut runner: Runner, load: Load) -> f64 {
    warm_names(load);
    // A flood can't go on: the second time its names would not be new.
    let (most, warm_up) = if matches!(load, Load::Flood) { (CALLS, 0) } else { (u64::MAX, CALLS / 2) };
    runner(warm_up);
    let (start, mut calls) = (Instant::now(), 0);
    while calls < most && start.elapsed() < LASTS {
        runner(CHUNK);
        calls += CHUNK;
    }
    start.elapsed().as_nanos() as f64 / calls as f64
}

pub fn rows() -> Vec<Keys> {
    let mut rows = vec![Keys::growing("passthrough layer, in a map (the floor)", floor::passthrough)];
    #[cfg(feature = "ours")]
    rows.extend(super::ours::keys());
    rows.extend([
        Keys::growing("recloser 1.4.0, in a map", recloser::build),
        Keys::growing("failsafe 1.3.0, in a map", failsafe::build),
        Keys::growing("tower-resilience 0.14.0, in a map", |setup| tower_resilience::build(setup, false)),
    ]);
    rows
}
