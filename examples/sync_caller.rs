//! A breaker in plain threads, without an async runtime: `cargo run --example sync_caller`.
//!
//! Four threads share one breaker in front of one device. There are three ways to make a call: `call_blocking` with a
//! closure, `wrap` for a function that is called in many places, and `acquire` where the call does not fit into a
//! closure.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]
#![expect(clippy::disallowed_methods, reason = "a thread may sleep")]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use fusebox::{BoxError, CallError, CircuitBreaker, CircuitBreakerConfig, detect};

/// Something slow at the end of a cable.
#[derive(Default)]
struct Scale {
    is_unplugged: AtomicBool,
    asked: AtomicU32,
}

impl Scale {
    fn weigh(&self, parcel: u32) -> io::Result<u32> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(2));
        if self.is_unplugged.load(Ordering::Relaxed) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(100 + parcel) }
    }
}

/// What a thread saw.
#[derive(Default)]
struct Seen {
    weighed: u32,
    failed: u32,
    rejected: u32,
}

/// Lets four threads weigh twenty parcels each.
fn weigh_in_threads(scale: &Scale, breaker: &CircuitBreaker) {
    scale.asked.store(0, Ordering::Relaxed);
    let work = || {
        let mut seen = Seen::default();
        for parcel in 0..20 {
            match breaker.call_blocking(|| scale.weigh(parcel)) {
                Ok(_) => seen.weighed += 1,
                Err(CallError::Inner(_)) => seen.failed += 1,
                Err(CallError::Rejected(_)) => seen.rejected += 1,
            }
        }
        seen
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (1..=4).map(|n| (n, scope.spawn(work))).collect();
        for (n, thread) in threads {
            let Seen { weighed, failed, rejected } = thread.join().unwrap_or_default();
            println!("  thread {n}: {weighed:>2} weighed, {failed:>2} failed, {rejected:>2} rejected");
        }
    });
    println!("  the scale was asked {} times", scale.asked.load(Ordering::Relaxed));
}

fn main() -> Result<(), BoxError> {
    let config = CircuitBreakerConfig::builder("scale")
        .detector(detect::consecutive_failures(5))
        .cooldown(Duration::from_millis(500))
        .on_state_change(|breaker, from, to| println!("  * {}: {from} -> {to}", breaker.name()))
        .build()?;
    let breaker = CircuitBreaker::new(config);
    let scale = Scale::default();

    println!("Four threads weigh 20 parcels each with `call_blocking`:");
    weigh_in_threads(&scale, &breaker);

    println!("\nSomebody pulls the plug, and they do it again:");
    scale.is_unplugged.store(true, Ordering::Relaxed);
    weigh_in_threads(&scale, &breaker);

    println!("\nThe plug is back. A rejection says when to come again, a function made with `wrap` does:");
    scale.is_unplugged.store(false, Ordering::Relaxed);
    let weigh = breaker.wrap(|parcel| scale.weigh(parcel));
    if let Err(CallError::Rejected(rejected)) = weigh.call_blocking(1) {
        println!("  {rejected}");
        thread::sleep(rejected.retry_after().unwrap_or_default());
    }
    println!("  parcel 1: {} g", weigh.call_blocking(1)?);

    println!("\nWith `acquire` the call is up to you, and so is the verdict:");
    let permit = breaker.acquire()?;
    let grams = scale.weigh(2);
    match &grams {
        Ok(1..) => permit.success(),
        // An answer, but nothing on the scale can weigh nothing.
        Ok(0) | Err(_) => permit.failure(),
    }
    println!("  parcel 2: {} g", grams?);
    println!("  {}", breaker.snapshot());
    Ok(())
}
