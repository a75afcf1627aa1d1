//! Several processes, one breaker: `cargo run --example fleet --features redis`.
//!
//! The program starts five instances of itself (`-- 8` for eight) that call one dependency through one breaker, whose state
//! they share through Redis or Postgres: `FUSEBOX_STORE_URL=redis://..`, or `postgres://..` with `--features postgres`.
//! Without one it starts a private redis-server, where that is installed. Then it lets the dependency fail, kills the
//! instance that is the first to probe, lets the dependency recover, and prints how long everything took.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]
#![expect(clippy::disallowed_methods, reason = "it measures time, and waits")]

mod dependency;
mod instance;
mod instances;
mod server;

use std::time::{Duration, Instant};

use dependency::{Dependency, Health};
use fusebox::BoxError;
use instances::Instances;

/// How long the circuit stays open.
const COOLDOWN: Duration = Duration::from_secs(2);
/// How long a probe may take, before its place is another's.
const PROBE_DEADLINE: Duration = Duration::from_secs(3);

fn main() -> Result<(), BoxError> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        // This is one of the instances.
        Some("instance") => instance::run(&args.collect::<Vec<_>>()),
        Some(count) => fleet(count.parse()?),
        None => fleet(5),
    }
}

fn fleet(count: usize) -> Result<(), BoxError> {
    let store = server::find_or_start()?;
    println!("{count} processes, one breaker, shared through {}", store.what());
    let dependency = Dependency::start()?;
    let mut instances = Instances::start(count, store.url(), dependency.address())?;

    println!("\nAll is well: failures(5).within(10 s) over all instances together, cooldown {COOLDOWN:?}");
    instances.until(|seen| seen.calls() > 50 * count as u64)?;
    println!("  {} calls, no failure, every circuit closed", instances.calls());

    println!("\nThe dependency fails");
    let failed = dependency.set(Health::Failing);
    instances.until(|seen| seen.all("open"))?;
    println!("  all {} instances open {} after the first failed call", instances.alive(), ms(failed.first()));
    println!("  the dependency saw {} failing calls, of {count} instances", dependency.failed());
    println!("  {} of them decided, the others did as it did", instances.deciders());

    println!("\nThe cooldown is over, and the dependency answers nobody");
    dependency.set(Health::Hanging);
    let prober = dependency.next_call()?;
    let asked = Instant::now();
    println!("  instance {prober} probes, while all others ask and are rejected");
    std::thread::sleep(Duration::from_millis(500));
    let others = dependency.hanging() - 1;
    println!("  after {} {others} other calls have gone out", ms(asked.elapsed()));
    if others > 0 {
        return Err(format!("{others} calls went out beside the probe").into());
    }
    instances.kill(prober)?;
    println!("  instance {prober} is killed in the middle of its probe");

    println!("\nThe dependency is well again");
    let well = Instant::now();
    dependency.set(Health::Well);
    instances.until(|seen| seen.all("closed"))?;
    println!(
        "  all {} instances left are closed {} later: the place of the probe",
        instances.alive(),
        ms(well.elapsed())
    );
    println!("  that was killed was free after its {PROBE_DEADLINE:?}, and one more cooldown");
    let calls = instances.calls();
    instances.until(|seen| seen.calls() > calls + 10 * count as u64)?;
    println!("  calls go through");
    Ok(())
}

fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
