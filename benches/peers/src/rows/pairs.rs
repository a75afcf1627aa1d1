//! What of a breaker or a retry can be large: each at a size and at a hundred times that.

use super::ours::{host, one, open};
use super::{one_call, opened, successes, tenths};
use crate::caller::{Boom, Caller, Req, Tower, hosts, inner};
use crate::laws::Law::{Flat, Linear};
use crate::laws::Pair;
use crate::measure::Runner;
use fusebox::detect::{self, Combined, Detector, OfLast};
use fusebox::{
    CircuitBreakerConfig, CircuitBreakerConfigBuilder, CircuitBreakerLayer, Probes, Registry, RetryConfig, RetryLayer,
    backoff,
};
use std::sync::mpsc;
use std::time::Duration;
use tower_layer::Layer;

const CLOSED: &str = "closed, success";
const TENTH: &str = "10 % failures";
const CYCLE: &str = "trip + probe + close";

/// Threads begin and wait in more or fewer instructions, which so many calls outweigh.
const MANY: (u64, u64) = (1_000, 101_000);

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

#[derive(Clone, Copy)]
enum Calls {
    Successes,
    Tenths,
    Cycles,
}
use Calls::{Cycles, Successes, Tenths};

impl Calls {
    fn run<C: Caller>(self, caller: &mut C, n: u64) {
        match self {
            Successes => successes(caller, n),
            Tenths => tenths(caller, n),
            Cycles => cycles(caller, n),
        }
    }
}

fn layered(config: CircuitBreakerConfigBuilder) -> impl Caller {
    one(config.build())
}

fn running(config: CircuitBreakerConfigBuilder, warm_up: u64, calls: Calls) -> Runner {
    let mut caller = layered(config);
    calls.run(&mut caller, warm_up);
    Box::new(move |n| calls.run(&mut caller, n))
}

fn config() -> CircuitBreakerConfigBuilder {
    CircuitBreakerConfig::builder("api").cooldown(Duration::ZERO)
}

fn rate(calls: u64) -> OfLast {
    let calls = u32::try_from(calls).unwrap();
    detect::failure_rate(0.5).of_last(calls).min_calls(calls.min(100))
}

fn rate_within(window: Duration) -> detect::Within {
    detect::failure_rate(0.5).within(window).min_calls(100)
}

fn any_of(detectors: u64) -> CircuitBreakerConfigBuilder {
    if detectors == 1 {
        return config().detector(rate(100));
    }
    let first: Combined = rate(100).or(rate(101));
    config().detector((2..detectors).fold(first, |all, more| all.or(rate(100 + more))))
}

/// Ten failures open it, a success closes it again.
fn cycles<C: Caller>(caller: &mut C, n: u64) {
    for i in 0..n {
        one_call(caller, if i % 11 == 10 { Req::ok(i) } else { Req::failing(i) });
    }
}

fn cycling(config: impl Fn() -> CircuitBreakerConfigBuilder) -> Runner {
    let of_ten = || config().detector(detect::failure_rate(0.5).of_last(10).min_calls(10)).probes(Probes::one());
    assert_eq!(opened(layered(of_ten().cooldown(HOUR))).1, 10);
    running(of_ten(), 110, Cycles)
}

fn listening(listeners: u64) -> CircuitBreakerConfigBuilder {
    (0..listeners).fold(config(), |config, _| config.on_event(|_| {}))
}

fn told_of_changes(listeners: u64) -> CircuitBreakerConfigBuilder {
    (0..listeners).fold(config(), |config, _| config.on_state_change(|_, _, _| {}))
}

/// With so many other handles.
fn cloned(clones: u64) -> Runner {
    let mut caller = layered(config().detector(rate(100)));
    let others: Vec<_> = (0..clones).map(|_| caller.clone()).collect();
    successes(&mut caller, 300);
    Box::new(move |n| {
        successes(&mut caller, n);
        std::hint::black_box(&others);
    })
}

/// With so many other threads that have called, and stay until the process ends.
fn beside_threads(threads: u64, calls: Calls) -> Runner {
    let mut caller = layered(config().detector(rate(100)));
    for _ in 0..threads {
        let (mut caller, (tell, called)) = (caller.clone(), mpsc::channel());
        std::thread::spawn(move || {
            calls.run(&mut caller, 300);
            tell.send(()).unwrap();
            loop {
                std::thread::park();
            }
        });
        called.recv().unwrap();
    }
    calls.run(&mut caller, 300);
    Box::new(move |n| calls.run(&mut caller, n))
}

/// One of so many names, each in turn, all with a full window.
fn keyed(names: u64) -> Runner {
    let of_ten = || detect::failure_rate(0.5).of_last(10).min_calls(10);
    let registry = Registry::new(move |name: &str| CircuitBreakerConfig::builder(name).detector(of_ten()).build());
    let names = usize::try_from(names).unwrap();
    for name in hosts(names) {
        let breaker = registry.breaker(name).unwrap();
        (0..64).for_each(|_| breaker.acquire().unwrap().success());
    }
    let service = CircuitBreakerLayer::keyed(registry, host).map_rejection(open).layer(inner());
    let mut caller = Tower { service, rejected: |e: &Boom| *e == Boom::OPEN };
    let mut next = 0;
    Box::new(move |n| {
        for i in 0..n {
            one_call(&mut caller, Req::ok(i).to(next));
            next = (next + 1) % names;
        }
    })
}

/// All attempts fail: a call counts as that many.
fn attempted(retries: u64) -> Runner {
    let config =
        RetryConfig::builder().max_retries(retries.try_into().unwrap()).backoff(backoff::fixed(Duration::ZERO));
    let service = RetryLayer::new(config.build().unwrap()).layer(inner());
    let mut caller = Tower { service, rejected: |_: &Boom| false };
    Box::new(move |n| {
        assert_eq!(n % (retries + 1), 0);
        (0..n / (retries + 1)).for_each(|i| one_call(&mut caller, Req::failing(i)));
    })
}

/// A closed breaker of that detector, after so many calls.
fn after(detector: impl Into<Box<dyn Detector>>, warm_up: u64, calls: Calls) -> Runner {
    running(config().detector(detector), warm_up, calls)
}

pub fn pairs() -> Vec<Pair> {
    let calls = ("window length, calls", 100);
    let time = ("window length, seconds", 60);
    let held = ("calls in a window of 60 s", 100);
    let threads = ("threads", 1);
    let listeners = ("listeners", 1);
    let detectors = ("detectors in a combination", 1);
    vec![
        Pair::new("calls", calls, CLOSED, Flat, |n| after(rate(n), n + 300, Successes)),
        Pair::new("calls-tenth", calls, TENTH, Flat, |n| after(rate(n), n + 300, Tenths)),
        Pair::new("time-tenth", time, TENTH, Flat, |n| after(rate_within(Duration::from_secs(n)), 300, Tenths)),
        Pair::new("held", held, CLOSED, Flat, |n| after(rate_within(MINUTE), n, Successes)),
        Pair::new("held-tenth", held, TENTH, Flat, |n| after(rate_within(MINUTE), n, Tenths)),
        Pair::new("breakers", ("breakers of a registry", 100), CLOSED, Flat, keyed),
        Pair::new("threads", threads, CLOSED, Flat, |n| beside_threads(n, Successes)).over(MANY),
        Pair::new("threads-tenth", threads, TENTH, Flat, |n| beside_threads(n, Tenths)).over(MANY),
        Pair::new("clones", ("clones of the service", 1), CLOSED, Flat, cloned),
        Pair::new("listeners", listeners, CLOSED, Flat, |n| running(listening(n).detector(rate(100)), 300, Successes)),
        Pair::new("listeners-tenth", listeners, TENTH, Linear, |n| {
            running(listening(n).detector(rate(100)), 300, Tenths)
        }),
        Pair::new("listeners-changes-tenth", ("listeners to changes", 1), TENTH, Flat, |n| {
            running(told_of_changes(n).detector(rate(100)), 300, Tenths)
        }),
        Pair::new("listeners-changes-cycle", ("listeners to changes", 1), CYCLE, Linear, |n| {
            cycling(|| told_of_changes(n))
        }),
        Pair::new("detectors", detectors, CLOSED, Flat, |n| running(any_of(n), 600, Successes)),
        Pair::new("detectors-tenth", detectors, TENTH, Linear, |n| running(any_of(n), 600, Tenths)),
        Pair::new("attempts", ("retries", 3), "all attempts fail, per attempt", Flat, attempted),
    ]
}
