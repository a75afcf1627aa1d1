//! Fallback, retry and circuit breaker as one: `cargo run --example safety_net`.
//!
//! A safety net is put together once, and then used around services and around functions. The first part is the
//! outermost: the fallback answers whatever is left, the retry stops when the circuit opens, and the breaker sees every
//! attempt.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fusebox::{
    BoxError, CircuitBreakerConfig, CircuitBreakerLayer, RetryConfig, RetryLayer, SafetyNet, backoff, detect,
};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};

/// Where prices come from.
#[derive(Clone, Default)]
struct Prices {
    /// How many calls will fail.
    failing: Arc<AtomicU32>,
    asked: Arc<AtomicU32>,
}

impl Prices {
    async fn of(self, sku: u32) -> io::Result<u32> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(2)).await;
        let failing = self.failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if failing.is_ok() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(100 + sku) }
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let retry = RetryConfig::builder().max_retries(2).backoff(backoff::fixed(Duration::from_millis(10))).build()?;
    let breaker = CircuitBreakerConfig::builder("prices").detector(detect::consecutive_failures(4)).build()?;
    let net = SafetyNet::builder()
        .fallback(|error: BoxError| async move {
            println!("    yesterday's price will do: {error}");
            Ok(99)
        })
        .retry(RetryLayer::new(retry))
        .breaker(CircuitBreakerLayer::new(breaker))
        .build();
    println!("{net}\n");

    let prices = Prices::default();
    for (what, failing) in [
        ("all is well", 0),
        ("one failure is mended by a retry", 1),
        ("with three, no retries are left", u32::MAX),
        ("the fourth opens the circuit", u32::MAX),
        ("an open circuit costs nothing", u32::MAX),
    ] {
        prices.failing.store(failing, Ordering::Relaxed);
        prices.asked.store(0, Ordering::Relaxed);
        let price = net.call(|| prices.clone().of(7)).await?;
        println!("  {what:<34}{price:>4} cents, attempts: {}", prices.asked.load(Ordering::Relaxed));
    }

    let around_a_service = net.layer(service_fn(|sku| prices.clone().of(sku)));
    println!("  {:<34}{:>4} cents", "the same net around a service", around_a_service.oneshot(8).await?);

    println!("\nThere are some with numbers that do for most:\n");
    println!("  {}", SafetyNet::database("orders")?);
    #[cfg(feature = "http")]
    println!("  {}", SafetyNet::http("shop")?);
    #[cfg(feature = "reqwest")]
    println!("  {}", SafetyNet::reqwest("stock")?);
    #[cfg(feature = "grpc")]
    println!("  {}", SafetyNet::grpc("payments")?);
    Ok(())
}
