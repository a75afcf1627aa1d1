//! A rule of your own for when a circuit opens: `cargo run --example custom_detector`.
//!
//! A leaky bucket: every failure pours in one unit, and one unit leaks out every ten seconds. Failures now and then
//! never fill it; failures in quick succession do, and then the circuit opens. Time is simulated with a
//! [`ManualClock`], as in a test.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::time::Duration;

use fusebox::{
    BoxError, CircuitBreaker, CircuitBreakerConfig, Clock, ConfigError, ManualClock,
    clock::Timestamp,
    detect::{Call, Detector, LoadError, Tally},
};

/// Trips when it is full. A detector is plain data and needs no clock: every input brings its time along.
#[derive(Clone, Debug)]
struct LeakyBucket {
    holds: u32,
    leaks_one_in: Duration,
    /// All there is to remember: when it will have run empty.
    empty_at: Timestamp,
}

impl LeakyBucket {
    const fn new(holds: u32, leaks_one_in: Duration) -> Self {
        Self { holds, leaks_one_in, empty_at: Timestamp::ZERO }
    }

    /// The first byte of what it saves; another format gets another one.
    const VERSION: u8 = 1;
}

impl Detector for LeakyBucket {
    fn record(&mut self, call: &Call) {
        if call.failed() {
            self.empty_at = self.empty_at.max(call.ended()) + self.leaks_one_in;
        }
    }

    /// Successes come in batches; this detector doesn't care about them at all.
    fn record_successes(&mut self, _count: u64, _at: Timestamp) {}

    /// It says so here, and successes cost the breaker nothing.
    fn absorbs_success(&self) -> bool {
        true
    }

    fn verdict(&self, now: Timestamp) -> bool {
        self.tally(now).count() >= self.holds.into()
    }

    fn reset(&mut self) {
        self.empty_at = Timestamp::ZERO;
    }

    /// A unit that leaks still is one. Events and snapshots show this, too.
    fn tally(&self, now: Timestamp) -> Tally {
        let units = self.empty_at.since(now).as_nanos().div_ceil(self.leaks_one_in.as_nanos());
        Tally::failures(u64::try_from(units).unwrap_or(u64::MAX))
    }

    fn save(&self) -> Vec<u8> {
        [&[Self::VERSION], self.empty_at.as_nanos().to_le_bytes().as_slice()].concat()
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let Some((&Self::VERSION, nanos)) = bytes.split_first() else {
            return Err(LoadError::new("not a leaky bucket of version 1"));
        };
        let nanos = nanos.try_into().map_err(|_| LoadError::new(format!("{} bytes instead of 8", nanos.len())))?;
        self.empty_at = Timestamp::from_nanos(u64::from_le_bytes(nanos));
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.holds == 0 {
            return Err(ConfigError::new("holds", &self.holds, "at least 1"));
        }
        if self.leaks_one_in.is_zero() {
            return Err(ConfigError::new("leaks_one_in", &"0s", "more than zero"));
        }
        Ok(())
    }
}

fn main() -> Result<(), BoxError> {
    let clock = ManualClock::new();
    let config = CircuitBreakerConfig::builder("printer")
        .detector(LeakyBucket::new(3, Duration::from_secs(10)))
        .cooldown(Duration::from_secs(30))
        .clock(clock.clone())
        .build()?;
    let breaker = CircuitBreaker::new(config);

    println!("A bucket for 3 failures that loses one every 10 s; cooldown 30 s.\n");
    println!("{:>7}  {:<10}{:<11}{:<10}reason", "time", "call", "in bucket", "state");
    let steps = [
        (0, Err("jam")),
        (15, Err("jam")),
        (30, Err("jam")),
        (60, Ok("page")),
        (70, Err("jam")),
        (72, Err("jam")),
        (74, Err("jam")),
        (80, Ok("page")),
        (104, Ok("page")),
        (106, Ok("page")),
    ];
    for (second, answer) in steps {
        clock.set(Timestamp::ZERO + Duration::from_secs(second));
        row(&breaker, &clock, answer);
    }

    println!("\nWhat one bucket saves, another one loads:");
    let mut bucket = LeakyBucket::new(3, Duration::from_secs(10));
    bucket.record(&Call::failure(clock.now()));
    bucket.record(&Call::failure(clock.now()));
    let mut other = LeakyBucket::new(3, Duration::from_secs(10));
    other.load(&bucket.save())?;
    println!("  saved {}, loaded {}", bucket.tally(clock.now()), other.tally(clock.now()));
    if let Err(refused) = other.load(b"something else") {
        println!("  {refused}");
    }
    Ok(())
}

/// Makes a call and prints what the breaker thinks of it.
fn row(breaker: &CircuitBreaker, clock: &ManualClock, answer: Result<&str, &'static str>) {
    let call = match breaker.call_blocking(|| answer) {
        Ok(_) => "ok",
        Err(error) if error.rejected().is_some() => "rejected",
        Err(_) => "failed",
    };
    let seen = breaker.snapshot();
    let level = seen.detectors.first().map_or(0, |part| part.tally.count());
    let time = clock.now().since(Timestamp::ZERO).as_secs();
    let reason = seen.reason.map(|reason| reason.to_string()).unwrap_or_default();
    let line = format!("{time:>5} s  {call:<10}{level:<11}{:<10}{reason}", seen.state.to_string());
    println!("{}", line.trim_end());
}
