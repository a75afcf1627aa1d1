//! Breakers for many hosts, and retries, from one file: `cargo run --example config_templates --features serde`.
//!
//! A registry makes a breaker for each host out of the template in `services.toml`; one host has a template of its own.
//! Retries sit outside, and share a budget. The program adds what a file cannot say: who listens. A file with a mistake
//! is refused as a whole, and says where and what.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::collections::BTreeMap;
use std::future::ready;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fusebox::retry::RetryStats;
use fusebox::settings::Settings;
use fusebox::{BoxError, CircuitBreakerLayer, RetryLayer, State};
use tower::{ServiceBuilder, ServiceExt, service_fn};

const HOSTS: [&str; 3] = ["good.example", "flaky.example", "ill.example"];
const CALLS: u32 = 8;

/// What the hosts do: one answers, one fails every other time, one always.
fn host(name: &'static str, attempts: &AtomicU32) -> Result<&'static str, io::Error> {
    let attempt = attempts.fetch_add(1, Ordering::Relaxed);
    match name {
        "good.example" => Ok("42"),
        "flaky.example" if attempt % 2 == 1 => Ok("42"),
        _ => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let settings: Settings = toml::from_str(include_str!("services.toml"))?;
    let settings = settings.each(|breaker| {
        breaker.on_state_change(|breaker, from, to| println!("  * {}: {from} -> {to}", breaker.name()))
    });
    let hosts = settings.registry("hosts")?;
    let stats = RetryStats::new();
    let reads = settings.retry("reads")?.into_builder().stats(stats.clone()).build()?;
    println!("retries of reads:   {reads}");
    println!("retries of orders:  {}\n", settings.retry("orders")?);

    let attempts: BTreeMap<_, _> = HOSTS.map(|name| (name, Arc::new(AtomicU32::new(0)))).into();
    let servers = attempts.clone();
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new(reads))
        .layer(CircuitBreakerLayer::keyed(hosts.clone(), |name: &&'static str| Some(*name)))
        .service(service_fn(move |name: &'static str| ready(host(name, &servers[name]))));

    println!("{CALLS} reads of each host:");
    let mut answered = BTreeMap::new();
    for name in HOSTS {
        for _ in 0..CALLS {
            if client.clone().oneshot(name).await.is_ok() {
                *answered.entry(name).or_insert(0) += 1;
            }
        }
    }
    println!("\n  {:<15}{:>9}{:>9}  breaker", "host", "answered", "attempts");
    let mut rows = Vec::new();
    for name in HOSTS {
        let breaker = hosts.breaker(name)?;
        let (answered, attempts) = (answered.get(name).copied().unwrap_or(0), attempts[name].load(Ordering::Relaxed));
        println!("  {name:<15}{answered:>9}{attempts:>9}  {}", breaker.snapshot().detectors[0].rule);
        rows.push((answered, attempts, breaker.state()));
    }
    println!("\n{} retries, all within one budget: {:?}", stats.counts().retries, settings.budget("outbound")?);

    let typo =
        "[registries.hosts.keys.\"ill.example\"]\ndetector = { any = [{ type = \"consecutive_failure\", count = 2 }] }";
    let error = toml::from_str::<Settings>(typo).err().ok_or("a mistake is refused")?;
    println!("\nA file with a mistake:\n\n{error}");

    // What the file promises.
    assert_eq!(rows[0], (CALLS, CALLS, State::Closed), "one attempt each");
    assert_eq!(rows[1], (CALLS, 2 * CALLS, State::Closed), "retried, and 50 % of failures are below 80 %");
    assert_eq!(rows[2], (0, 2, State::Open), "its own template opens at the second failure in a row");
    Ok(())
}
